r"""Write a regular expression of the answers that a set of tools allows, for constrained decoding.

In: tool declarations. Out: a pattern for LiteRT-LM's `ResponseFormat.regex`. It allows text, or
calls of these tools and no others, with every required argument, in the order of the format, each
of its declared type and one of its allowed values.

>>> tools = [{"type": "function", "function": {"name": "light", "parameters": {
...     "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}}}]
>>> print(pattern(tools).partition("<start_function_call>")[2])
call:(?:light\{on:(?:true|false)\})<end_function_call>)*(?:<start_function_response>|<end_of_turn>)

LiteRT-LM 0.18.1 matches the pattern against the vocabulary's pieces as SentencePiece stores
them: a space is U+2581, and a character without a piece of its own is its bytes,
`<0xE2><0x82><0xAC>` (google-ai-edge/LiteRT-LM#3510). Where only one continuation is left,
LiteRT-LM forces it and chooses the pieces itself; it then spells a control token of which only
the rest is left in ordinary pieces. So wherever two control tokens are possible, they must
differ in the first letter after the `<`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fgkit.prompts import format as prompt_format

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
# Every control token begins with `<` and a lower-case letter.
_TEXT = "(?:[^<]|<[^a-z<])*"
_STRING = f"{prompt_format.ESCAPE}{_TEXT}{prompt_format.ESCAPE}"
_INTEGER = "-?(?:0|[1-9][0-9]*)"
_VALUES = {
    "string": _STRING,
    "integer": _INTEGER,
    "number": rf"{_INTEGER}(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?",
    "boolean": "(?:true|false)",
    "null": "None",
}
# A value whose schema says nothing that the pattern could check.
_ANY = f"(?:[^<]|{_STRING})+"


def pattern(tools: Sequence[Mapping[str, Any]]) -> str:
    """Write the pattern of the answers that these tools allow.

    Args:
        tools: as returned by `load_tools`; without any, only text is allowed.
    """
    functions = [tool["function"] for tool in tools]
    one_call = "|".join(
        _spelled(function["name"]) + _arguments(function.get("parameters") or {})
        for function in functions
    )
    calls = f"(?:<start_function_call>call:(?:{one_call})<end_function_call>)*" if one_call else ""
    # Calls end in the first token and text in the second. Both are allowed after both, so that the
    # end is never the only continuation, which LiteRT-LM would force (see above).
    return f"{_TEXT}{calls}(?:<start_function_response>|<end_of_turn>)"


def _arguments(schema: Mapping[str, Any]) -> str:
    """The pattern of an object with these properties, optional ones left out or not.

    It is built from the last property to the first. `first` matches the rest of the properties
    where none was written before, `after` the rest behind another one, with its comma.
    """
    first = after = ""
    for key, inner in reversed(prompt_format.by_key(schema.get("properties") or {})):
        pair = f"{_spelled(key)}:{_value(inner)}"
        if key in schema.get("required", ()):
            first, after = f"{pair}{after}", f",{pair}{after}"
        else:
            first, after = f"(?:{pair}{after}|{first})", f"(?:,{pair})?{after}"
    return rf"\{{{first}\}}"


def _value(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return _ANY
    if schema.get("nullable"):
        return f"(?:{_value({**schema, 'nullable': False})}|{_VALUES['null']})"
    if schema.get("enum"):
        return f"(?:{'|'.join(_spelled(prompt_format.value(item)) for item in schema['enum'])})"
    declared = schema.get("type")
    if declared == "array":
        item = _value(schema.get("items"))
        return rf"\[(?:{item}(?:,{item})*)?\]"
    if declared == "object" and schema.get("properties"):
        return _arguments(schema)
    return _VALUES.get(declared, _ANY) if isinstance(declared, str) else _ANY


def _spelled(text: str) -> str:
    """A pattern of a text as the pieces of the vocabulary may spell it."""
    return "".join(
        _SPACE
        if char == " "
        else re.escape(char)
        if char.isascii()
        else f"(?:{char}|{_in_bytes(char)})"
        for char in text
    )


def _in_bytes(char: str) -> str:
    return "".join(f"<0x{byte:02X}>" for byte in char.encode())
