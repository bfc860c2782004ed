"""The prompt styles that fgkit knows, and the choice among them: one style, or a mix by row.

Different runtimes put different texts before one model. To add a style, add an entry to `STYLES`
with the functions that write its text, and its section to docs/prompts.md.

In: a setting such as "template,flutter_gemma", what is stored with a model, what a user asks for.
Out: names of `STYLES`, or a refusal that shows where the texts differ.

>>> split("template, flutter_gemma")
('template', 'flutter_gemma')
>>> of_row("make it red", split("template, flutter_gemma"), seed=42)
'flutter_gemma'
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fgkit.errors import ConfigError, FgkitError, ModelError, PromptError
from fgkit.text import nearest

from . import flutter_gemma, litert_lm, template
from .declarations import tool_problems
from .format import DEFAULT_SYSTEM_MSG
from .style import PromptStyle, Tools

DEFAULT = "template"
STYLES: dict[str, PromptStyle] = {
    style.name: style
    for style in (
        PromptStyle(
            "template",
            "the model's own chat template",
            template.layout,
            tool_problems,
            is_model_template=True,
            has_conversation=True,
        ),
        PromptStyle(
            "flutter_gemma",
            "what the Flutter plugin flutter_gemma sends",
            flutter_gemma.layout,
            flutter_gemma.flutter_tool_problems,
            flutter_gemma.message_problems,
            flutter_gemma.call_problems,
            runtime="flutter_gemma",
            app_language="dart",
            profile="flutter_gemma",
            fixed_system_message=DEFAULT_SYSTEM_MSG,
        ),
        PromptStyle(
            "litert_lm",
            "what LiteRT-LM's conversations send when they write the tools",
            partial(
                template.layout,
                declaration=litert_lm.declaration,
                strip=litert_lm.strip,
                response=litert_lm.response,
            ),
            litert_lm.litert_tool_problems,
            litert_lm.message_problems,
            litert_lm.call_problems,
            has_conversation=True,
            template_writes_tools=False,
            runtime="LiteRT-LM's conversation interface",
            app_language="kotlin",
        ),
    )
}


def get(name: str) -> PromptStyle:
    """Give the style of a name.

    Raises:
        PromptError: no style is called that.
    """
    if not isinstance(name, str) or name not in STYLES:
        raise PromptError(
            f"style: is {name!r}, expected one of {', '.join(STYLES)}. Choose one of these."
        )
    return STYLES[name]


def with_conversation() -> tuple[str, ...]:
    """Names of the styles whose text LiteRT-LM's conversations can write."""
    return tuple(name for name, style in STYLES.items() if style.has_conversation)


def of_profile(profile: str) -> PromptStyle | None:
    """The style that a bundle profile is made for; None where the profile suits every style."""
    return next((style for style in STYLES.values() if profile and style.profile == profile), None)


def of_app(language: str) -> PromptStyle:
    """The style that the runtime of an app in this language ("dart" or "kotlin") writes."""
    return next(style for style in STYLES.values() if style.app_language == language)


def help_text() -> str:
    """Every style with its summary in one line, for help texts."""
    return "; ".join(
        f"{name}{' (default)' if name == DEFAULT else ''}: {style.summary}"
        for name, style in STYLES.items()
    )


def problems(text: str) -> list[str]:
    """List what is wrong with a setting that names one style, or several with commas between."""
    names = [name.strip() for name in text.split(",")]
    wrong = [
        f"style is {text!r}: {name!r} is none of {', '.join(STYLES)}{nearest(name, STYLES)}"
        for name in names
        if name not in STYLES
    ]
    if not wrong and len(set(names)) < len(names):
        wrong.append(f"style is {text!r}, which names a style twice; name each once")
    return wrong


def split(text: str) -> tuple[str, ...]:
    """Give the styles that a setting names, in its order.

    Raises:
        ConfigError: one is unknown or named twice.
    """
    if wrong := problems(text):
        raise ConfigError("\n".join(wrong))
    return tuple(name.strip() for name in text.split(","))


def join(names: Sequence[str]) -> str:
    """Write a choice of styles in the form in which records store it."""
    return ",".join(names)


def of_row(key: str, names: Sequence[str], seed: int) -> str:
    """Choose the style of a training row by its content.

    The order and the number of rows therefore change nothing, and a resumed run chooses the same.

    Args:
        key: what tells the row from others, such as its prompt in one style.
        names: the styles to choose from.
        seed: the run's seed.
    """
    # surrogatepass: a text with half a surrogate pair is refused later, with a message of its own.
    digest = hashlib.blake2b(f"{seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8)
    return names[int.from_bytes(digest.digest(), "big") % len(names)]


def resolve(
    where: str | Path, stored: str | None, asked: str | None, tools: Tools
) -> tuple[str, ...]:
    """Decide which styles to prompt a model with.

    Args:
        where: the model or bundle, for messages.
        stored: the styles stored with it; None or "" where nothing is stored.
        asked: the styles that the user wants; None or "" for all that are stored.
        tools: the tools to show the difference with.
    Raises:
        ModelError: the stored styles are not known to this fgkit, or the model was not trained in
            a style that is asked for.
        ConfigError: an asked style is unknown.
    """
    if stored and problems(stored):
        raise ModelError(
            f"{where}: was trained with prompt style {stored!r}, which this fgkit does not know: "
            f"expected {', '.join(STYLES)}. Update fgkit."
        )
    trained = split(stored) if stored else ()
    wanted = split(asked) if asked else trained or (DEFAULT,)
    for name in wanted:
        if trained and name not in trained:
            raise ModelError(
                f"{where}: was trained with prompt style {join(trained)!r}, but {name!r} is asked "
                f"for. {difference(trained[0], name, tools)} Leave the style out, or train with "
                f"style {name!r}."
            )
    return wanted


def difference(name: str, other_name: str, tools: Tools) -> str:
    """Say where the texts of two styles begin to differ, on one request with these tools."""
    texts = []
    for style in (name, other_name):
        try:
            texts.append(get(style).render(template.conversation("..."), tools, True))
        except FgkitError as error:
            return f"Style {style!r} cannot say it: {str(error).splitlines()[0]}"
    return first_difference(name, texts[0], other_name, texts[1])


def first_difference(name: str, text: str, other_name: str, other: str) -> str:
    """Say where two texts begin to differ, with a little of both, or that they are equal."""
    if text == other:
        return f"Here {name} and {other_name} give the same text."
    at = next(
        (index for index, (ours, theirs) in enumerate(zip(text, other)) if ours != theirs),
        min(len(text), len(other)),
    )
    return (
        f"They part at character {at}, after {text[max(0, at - 30) : at]!r}: {name} has "
        f"{text[at : at + 30]!r}, {other_name} has {other[at : at + 30]!r}."
    )
