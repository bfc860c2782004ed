"""Which runtime's text a model is trained on: one style, or a mix from which every row gets one.

In: a setting such as "template,flutter_gemma", what is stored with a model, what is asked for. Out: names of
`prompts.STYLES`, or a refusal that shows where the texts part.

>>> split("template, flutter_gemma")
('template', 'flutter_gemma')
>>> of_row("make it red", split("template, flutter_gemma"), seed=42)
'flutter_gemma'
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fgkit.errors import ConfigError, FgkitError, ModelError
from fgkit.text import nearest

from . import template as prompts

DEFAULT = "template"


def problems(text: str) -> list[str]:
    """List what is wrong with a setting that names one style or several with commas between."""
    names = [name.strip() for name in text.split(",")]
    found = [
        f"style is {text!r}: {name!r} is none of {', '.join(prompts.STYLES)}{nearest(name, prompts.STYLES)}"
        for name in names
        if name not in prompts.STYLES
    ]
    if not found and len(set(names)) < len(names):
        found.append(f"style is {text!r}, which names a style twice; name each once")
    return found


def split(text: str) -> tuple[str, ...]:
    """The styles that a setting names, in its order.

    Raises:
        ConfigError: one is unknown or named twice.
    """
    if wrong := problems(text):
        raise ConfigError("\n".join(wrong))
    return tuple(name.strip() for name in text.split(","))


def join(styles: Sequence[str]) -> str:
    """The one way in which a choice of styles is stored."""
    return ",".join(styles)


def of_row(key: str, styles: Sequence[str], seed: int) -> str:
    """The style that a training row is given: by its content, so that order and number of rows change nothing.

    Args:
        key: what tells the row from others, such as its prompt in one style.
        styles: the styles to choose from.
        seed: the run's.
    """
    digest = hashlib.blake2b(
        f"{seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    return styles[int.from_bytes(digest, "big") % len(styles)]


def chosen(where: Any, stored: str | None, asked: str | None, tools: list[dict]) -> tuple[str, ...]:
    """The styles to prompt a model with.

    Args:
        where: the model or bundle, for messages.
        stored: what was stored with it; None or "" where nothing was.
        asked: what the user wants; None or "" for all that is stored.
        tools: the tools to show the difference with.
    Raises:
        ModelError: the stored styles are not known here, or the model was not trained in one that is asked for.
        ConfigError: an asked style is unknown.
    """
    if stored and problems(stored):
        raise ModelError(
            f"{where}: was trained with prompt style {stored!r}, which this fgkit does not know: expected "
            f"{', '.join(prompts.STYLES)}. Update fgkit."
        )
    known = split(stored) if stored else ()
    wanted = split(asked) if asked else known or (DEFAULT,)
    for style in wanted:
        if known and style not in known:
            raise ModelError(
                f"{where}: was trained with prompt style {join(known)!r}, but {style!r} is asked for. "
                f"{difference(known[0], style, tools)} Leave the style out, or train with style {style!r}."
            )
    return wanted


def difference(style: str, other: str, tools: list[dict]) -> str:
    """Say where the texts of two styles part, on one request with these tools."""
    texts = []
    for name in (style, other):
        try:
            texts.append(
                prompts.render(
                    prompts.conversation("..."), tools, add_generation_prompt=True, style=name
                )
            )
        except FgkitError as error:
            return f"Style {name!r} cannot say it: {str(error).splitlines()[0]}"
    return first_difference(style, texts[0], other, texts[1])


def first_difference(name: str, text: str, other_name: str, other: str) -> str:
    """Say where two texts part, with a little of both; that they are equal where they are."""
    if text == other:
        return f"Here {name} and {other_name} give the same text."
    at = next(
        (index for index, (one, two) in enumerate(zip(text, other)) if one != two),
        min(len(text), len(other)),
    )
    return (
        f"They part at character {at}, after {text[max(0, at - 30) : at]!r}: {name} has {text[at : at + 30]!r}, "
        f"{other_name} has {other[at : at + 30]!r}."
    )
