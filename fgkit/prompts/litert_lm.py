"""The text that LiteRT-LM's conversation interface puts before the model.

Written down from LiteRT-LM 0.18.1 with model type `function_gemma` and fgkit's chat template in the
bundle; tests/prompts/test_litert_lm.py compares it with the runtime itself, byte for byte.

In: one tool, or one value. Out: its text as LiteRT-LM writes it, or what LiteRT-LM would change.

>>> declaration({"function": {"name": "f", "x": [1, None]}})
'<start_function_declaration>declaration:f{x:[1,null]}<end_function_declaration>'

LiteRT-LM turns tools into text before the template sees them: every key in the order of the source,
nothing left out, null for None, numbers as nlohmann's JSON library prints them (except for the last
digits of about one float in a thousand, see `number_problems`). A tool's response is sorted by code
point. Calls of earlier turns are repeated as the model wrote them. Texts are trimmed by MiniJinja,
which keeps U+001C to U+001F. The runtime writes the start token itself and passes the template an
empty `bos_token`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .declarations import declaration_problems, tool_problems, wrapped
from .format import (
    ESCAPE,
    PLAIN_NAME,
    name_problems,
    text_problems,
    value_problems,
    walk,
)
from .messages import responses_of

# Unicode's White_Space, which Rust trims; Python's `str.strip` takes U+001C to U+001F, too.
SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)
_TYPES = {"string", "number", "integer", "object", "array", "boolean", "null"}
# From LiteRT-LM's grammar of calls: words that it does not read as names, and what it reads as
# <escape> besides <escape> itself.
_KEYWORDS = ("call", "true", "false", "null")
_QUOTES = ("<ctrl46>", '<|"|>')
_EXACT_DIGITS = 15  # with more, the library often prints other digits than Python


def declaration(tool: Mapping[str, Any]) -> str:
    """Write one tool that `litert_tool_problems` accepts."""
    fields = {key: item for key, item in _upper_types(tool["function"]).items() if key != "name"}
    return wrapped(f"{tool['function']['name']}{value(fields)}")


def value(
    item: Any, *, in_order: Callable[[Mapping[str, Any]], Iterable[tuple[str, Any]]] = Mapping.items
) -> str:
    """Write one value as LiteRT-LM does.

    Args:
        item: str, bool, int, float, None, list, tuple or dict, nested as you like.
        in_order: gives the entries of a dict in the order to write; by default as they come.
    """
    if isinstance(item, str):
        return f"{ESCAPE}{item}{ESCAPE}"
    if item is None:
        return "null"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return int.__repr__(item)
    if isinstance(item, float):
        return _float(item)
    if isinstance(item, Mapping):
        return (
            "{"
            + ",".join(f"{key}:{value(inner, in_order=in_order)}" for key, inner in in_order(item))
            + "}"
        )
    return "[" + ",".join(value(inner, in_order=in_order) for inner in item) + "]"


def response(item: Mapping[str, Any]) -> str:
    """Write what a tool answered, its keys by code point at every level."""
    return value(item, in_order=lambda mapping: sorted(mapping.items()))


def strip(text: str) -> str:
    """Trim a text as MiniJinja does."""
    return text.strip(SPACES)


def litert_tool_problems(tools: Any) -> list[str]:
    """List everything in `tools` that LiteRT-LM would change; empty where there is nothing."""
    if not isinstance(tools, (list, tuple)):
        return tool_problems(tools)
    problems = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping):
            problems += [problem for _, problem in declaration_problems(tool, where)]
            continue
        wrong = name_problems(function.get("name"), f"{where}: name", PLAIN_NAME)
        where = where if wrong else f"{where} {function['name']}"
        rest = {key: item for key, item in function.items() if key not in ("name", "description")}
        problems += wrong + text_problems(function.get("description", ""), f"{where}.description")
        unwritable = value_problems(rest, where, keys=PLAIN_NAME)
        problems += unwritable or number_problems(rest, where)
        parameters = function.get("parameters")
        if parameters is not None and not isinstance(parameters, Mapping):
            problems.append(
                f"{where}.parameters: is of type {type(parameters).__name__}, expected a JSON "
                "schema. Use {'type': 'object', 'properties': {...}}."
            )
    return problems


def call_problems(name: str, arguments: Any, where: str) -> list[str]:
    """List what LiteRT-LM's parser cannot read in a call.

    That is: its keywords as names, None, some numbers, and its other spellings of <escape>.

    Args:
        name, arguments: the call.
        where: how messages refer to it.
    """
    entries = [(f"{where}: name", name, True), *walk(arguments or {}, f"{where}: arguments")]
    return [
        f"{path}: {problem}" for path, item, is_key in entries if (problem := _unread(item, is_key))
    ]


def _unread(item: Any, is_name: bool) -> str:
    """Why LiteRT-LM's parser cannot read a name or a value; "" where it can."""
    if is_name:
        if item not in _KEYWORDS:
            return ""
        return (
            f"is one of {', '.join(_KEYWORDS)}, which LiteRT-LM's parser does not read as a name. "
            "Rename it."
        )
    if item is None:
        return (
            "is None, which LiteRT-LM's parser does not read (it reads null). Leave the argument "
            "out."
        )
    if isinstance(item, float) and {".", "e"} <= set(repr(item)):
        return (
            f"is {item!r}, and LiteRT-LM's parser reads no number with both fraction and "
            "exponent. Round it, or pass it as a string."
        )
    quotes = [mark for mark in _QUOTES if isinstance(item, str) and mark in item]
    return (
        f"holds {quotes[0]}, which LiteRT-LM's parser takes for <escape>. Spell it differently."
        if quotes
        else ""
    )


def message_problems(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the numbers in responses that would reach the model changed."""
    return [
        problem
        for index, message in enumerate(messages)
        if message["role"] == "tool"
        for _, content in responses_of(message)
        for problem in number_problems(content, f"messages[{index}] (tool): response")
    ]


def number_problems(item: Any, where: str) -> list[str]:
    """List the numbers in a value that LiteRT-LM's JSON library is likely to print differently.

    Its algorithm, Grisu2, does not always find the shortest digits. Of everyday floats with up to
    15 digits, between 1e-5 and 1e16, fewer than one in a thousand is printed with more digits
    (0.80756 is); only running the library would tell which.

    Args:
        item: a value that `value_problems` accepts.
        where: how messages refer to it.
    """
    problems = []
    for path, leaf, is_key in walk(item, where):
        if not is_key and type(leaf) is int and not -(2**63) <= leaf < 2**64:
            problems.append(
                f"{path}: is an integer of more than 64 bits, which LiteRT-LM turns into a float. "
                "Pass it as a string."
            )
        elif (
            isinstance(leaf, float)
            and len(Decimal(repr(leaf)).normalize().as_tuple().digits) > _EXACT_DIGITS
        ):
            problems.append(
                f"{path}: is {leaf!r}, whose last digit LiteRT-LM may print otherwise. Round it "
                f"to {_EXACT_DIGITS} digits, or pass it as a string."
            )
    return problems


def _float(number: float) -> str:
    text = float.__repr__(number)
    # From 1e15 on the library writes exponents; Python writes all digits up to 1e16.
    if 1e15 <= abs(number) < 1e16:
        digits = text.lstrip("-").removesuffix(".0").rstrip("0")
        text = f"{'-' * (number < 0)}{digits[0]}{'.' * (len(digits) > 1)}{digits[1:]}e+15"
    return text


def _upper_types(item: Any) -> Any:
    """A schema with the names of JSON types in capitals, as LiteRT-LM writes them."""
    if isinstance(item, Mapping):
        return {
            key: inner.upper()
            if key == "type" and isinstance(inner, str) and inner in _TYPES
            else _upper_types(inner)
            for key, inner in item.items()
        }
    return [_upper_types(inner) for inner in item] if isinstance(item, (list, tuple)) else item
