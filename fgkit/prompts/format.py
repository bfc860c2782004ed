"""FunctionGemma's text format: its control tokens, names and values.

In: one Python value as JSON knows it. Out: its text, or the list of what cannot be written.

>>> value({"zone": "UTC", "Hours": [1, 2.0, True, None]})
'{Hours:[1,2.0,true,None],zone:<escape>UTC<escape>}'

The format cannot escape anything, so a control token inside a text looks like the format itself.
fgkit refuses such text everywhere (contents, descriptions, values, keys) instead of changing it
silently: the owner of the text decides what to write instead, or calls `neutralise`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fgkit.errors import PromptError
from fgkit.text import shown

CONTROL_TOKENS = {
    "<pad>": 0,
    "<eos>": 1,
    "<bos>": 2,
    "<unk>": 3,
    "<start_function_declaration>": 46,
    "<end_function_declaration>": 47,
    "<start_function_call>": 48,
    "<end_function_call>": 49,
    "<start_function_response>": 50,
    "<end_function_response>": 51,
    "<escape>": 52,
    "<start_of_turn>": 105,
    "<end_of_turn>": 106,
}
# Gemma 3's image tokens are never part of a call, but the tokenizer reads each as a single token.
IMAGE_TOKENS = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
STOP_TOKENS = ("<eos>", "<start_function_response>", "<end_of_turn>")
STOP_IDS = tuple(CONTROL_TOKENS[token] for token in STOP_TOKENS)
ESCAPE = "<escape>"
# Google calls this sentence essential: it makes the model answer with calls. It has no full stop
# and no newline. Source: the function calling guide of google/functiongemma-270m-it.
DEFAULT_SYSTEM_MSG = "You are a model that can do function calling with the following functions"

# What no text may contain.
CONTROL = re.compile("|".join(map(re.escape, (*CONTROL_TOKENS, *IMAGE_TOKENS))))
# A control token, or what may become one when the next part of a message is joined on.
_BREAKABLE = re.compile(
    "|".join(
        [f"<(?={re.escape(token[1:])})" for token in (*CONTROL_TOKENS, *IMAGE_TOKENS)]
        + [
            rf"<(?={re.escape(part)}\Z)"
            for part in sorted(
                {
                    token[1:end]
                    for token in (*CONTROL_TOKENS, *IMAGE_TOKENS)
                    for end in range(1, len(token))
                }
            )
        ]
    )
)
BREAK = "\u200b"  # zero-width space: not seen, and no runtime trims it off
# Names in trained and generated calls: LiteRT-LM's rule, and what `calls.parse` reads.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# Names that can be told apart from the format's own signs; the model's template writes any of them.
PLAIN_NAME = re.compile(r"[^\s{}\[\],:<>]+")
# Deeper values end in Python's recursion limit, in fgkit or in the Jinja template.
MAX_DEPTH = 64

_NAME_RULES = {
    NAME: "start with an ASCII letter or '_' and go on with these, digits, '.' and '-'",
    PLAIN_NAME: "are not empty and hold no space and none of {}[],:<>",
}
SURROGATE = re.compile("[\ud800-\udfff]")


def value(item: Any, *, escape_keys: bool = False) -> str:
    """Write one value that `value_problems` accepts.

    Args:
        item: str, bool, int, float, None, list, tuple or dict, nested as you like.
        escape_keys: wrap dict keys in <escape>, as declarations do; calls and responses write
            them bare.
    """
    if isinstance(item, str):
        return f"{ESCAPE}{str.__str__(item)}{ESCAPE}"
    if isinstance(item, bool):
        return "true" if item else "false"
    if item is None:
        return "None"
    if isinstance(item, int):
        return int.__repr__(item)
    if isinstance(item, float):
        return float.__repr__(item)
    if isinstance(item, Mapping):
        mark = ESCAPE if escape_keys else ""
        pairs = (
            f"{mark}{key}{mark}:{value(inner, escape_keys=escape_keys)}"
            for key, inner in by_key(item)
        )
        return "{" + ",".join(pairs) + "}"
    return "[" + ",".join(value(inner, escape_keys=escape_keys) for inner in item) + "]"


def by_key(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Give the items in the format's order: by lower-cased key, as Jinja's `dictsort` does."""
    return sorted(mapping.items(), key=lambda item: item[0].lower())


def value_problems(
    item: Any, where: str, *, keys: re.Pattern[str] | None = None, depth: int = 0
) -> list[str]:
    """List what keeps a value from being written and read back.

    Args:
        item: any object.
        where: how messages refer to it, such as "messages[1].tool_calls[0].arguments.city".
        keys: what dict keys must match, `NAME` or `PLAIN_NAME`; left out, any text without a
            control token.
        depth: how deep `item` is nested in the value that it belongs to.
    """
    if depth > MAX_DEPTH:
        return [f"{where}: is nested deeper than {MAX_DEPTH} levels. Flatten it."]
    if isinstance(item, str):
        return text_problems(item, where)
    if isinstance(item, Mapping):
        problems = []
        for key, inner in item.items():
            path = f"{where}: key {shown(key)}"
            wrong = name_problems(key, path, keys) if keys else text_problems(key, path)
            problems += wrong + value_problems(
                inner, f"{where}.{shown(key) if wrong else key}", keys=keys, depth=depth + 1
            )
        return problems
    if isinstance(item, (list, tuple)):
        return [
            problem
            for index, inner in enumerate(item)
            for problem in value_problems(inner, f"{where}[{index}]", keys=keys, depth=depth + 1)
        ]
    if isinstance(item, float) and not math.isfinite(item):
        return [
            f"{where}: is {item}, which the format has no number for. Use a finite number, None "
            "or a string."
        ]
    if isinstance(item, int) and not isinstance(item, bool):
        try:
            int.__repr__(item)
        except ValueError:
            return [f"{where}: is an integer too long for Python to print. Pass it as a string."]
    if item is None or isinstance(item, (bool, int, float)):
        return []
    return [
        f"{where}: is of type {type(item).__name__}; values are strings, numbers, booleans, None, "
        "lists and dicts. Convert it first, dates to ISO strings for example."
    ]


def walk(item: Any, where: str) -> Iterator[tuple[str, Any, bool]]:
    """Give every key and every leaf of a nested value: its path, itself, and whether it is a key.

    Args:
        item: a value that `value_problems` accepts.
        where: how messages refer to it, the beginning of every path.
    """
    if isinstance(item, Mapping):
        for key, inner in item.items():
            yield f"{where}: key {shown(key)}", key, True
            yield from walk(inner, f"{where}.{key}")
    elif isinstance(item, (list, tuple)):
        for index, inner in enumerate(item):
            yield from walk(inner, f"{where}[{index}]")
    else:
        yield where, item, False


def name_problems(name: Any, where: str, rule: re.Pattern[str]) -> list[str]:
    """List what is wrong with the name of a function or argument.

    Args:
        name: any object.
        where: how messages refer to it.
        rule: `NAME` or `PLAIN_NAME`.
    """
    problems = text_problems(name, where)
    if not problems and not rule.fullmatch(name):
        problems = [f"{where}: is {shown(name)}, but names {_NAME_RULES[rule]}. Rename it."]
    return problems


def text_problems(text: Any, where: str) -> list[str]:
    """List what keeps a text out of a prompt: no string, a control token, a lone surrogate."""
    if not isinstance(text, str):
        return [
            f"{where}: is {shown(text)}, expected a string. Write the text or leave the entry out."
        ]
    problems = []
    if tokens := sorted(set(CONTROL.findall(text))):
        problems.append(
            f"{where}: holds {', '.join(tokens)}, which the model reads as a control token and "
            "which cannot be escaped. Remove it or spell it differently, such as "
            f"{tokens[0].replace('<', '< ')!r}; an app may pass what users type through "
            "`fgkit.prompts.neutralise`."
        )
    if SURROGATE.search(text):
        problems.append(
            f"{where}: holds half of a surrogate pair, which is not Unicode text. Repair the "
            "source."
        )
    return problems


def neutralise(text: str) -> str:
    """Break every control token in a text, so that a prompt can hold it as plain text.

    For apps whose users type freely; fgkit itself never does this unasked. A zero-width space is
    put after the "<" of each token. The same happens to the beginning of a token at the end of the
    text, so that no token appears when parts are joined. Nothing else is changed, and a second pass
    changes nothing.

    Args:
        text: what the user typed.
    Raises:
        PromptError: it is not a string.
    """
    if not isinstance(text, str):
        raise PromptError(
            f"text: is {shown(text)}, expected a string. Neutralise each text of a message on its "
            "own."
        )
    return _BREAKABLE.sub("<" + BREAK, text)
