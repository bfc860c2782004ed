r"""The answers that a set of tools allows, as a regular expression for a runtime that decodes under one.

In: tool declarations. Out: a pattern for LiteRT-LM's `ResponseFormat.regex`: text, or calls of these tools and no others,
with every required argument, in the format's order, each of its declared type and enum.

>>> tools = [{"type": "function", "function": {"name": "light", "parameters": {
...     "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}}}]
>>> pattern(tools).partition("<start_function_call>")[2]
'call:(?:light\\{on:(?:true|false)\\})<end_function_call>)*(?:<start_function_response>|<end_of_turn>)'

LiteRT-LM 0.18.1 holds the pattern against the pieces of the vocabulary as they are spelt there: a space is U+2581, and a
character that is no piece stands as its bytes, `<0xE2><0x82><0xAC>` (google-ai-edge/LiteRT-LM#3510). Where only one
continuation is left, it writes that in pieces of its own choosing, and a control token that is cut short in ordinary ones:
so two ways on from one place must part at the first letter after the `<`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fgkit.prompts import format as prompt_format

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_TEXT = "(?:[^<]|<[^a-z<])*"  # every control token is a `<` and a lower-case letter
_STRING = f"{prompt_format.ESCAPE}{_TEXT}{prompt_format.ESCAPE}"
_INTEGER = "-?(?:0|[1-9][0-9]*)"
_VALUES = {
    "string": _STRING,
    "integer": _INTEGER,
    "number": rf"{_INTEGER}(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?",
    "boolean": "(?:true|false)",
    "null": "None",
}
_ANY = f"(?:[^<]|{_STRING})+"  # what no schema tells apart


def pattern(tools: Sequence[Mapping[str, Any]]) -> str:
    """Write the pattern.

    Args:
        tools: as `tools.load_tools` gives them; none: only text is left.
    """
    functions = [tool["function"] for tool in tools]
    made = "|".join(
        _spelt(function["name"]) + _arguments(function.get("parameters") or {})
        for function in functions
    )
    calls = f"(?:<start_function_call>call:(?:{made})<end_function_call>)*" if made else ""
    return (
        f"{_TEXT}{calls}(?:<start_function_response>|<end_of_turn>)"  # both after both: see above
    )


def _arguments(schema: Mapping[str, Any]) -> str:
    """A mapping with these properties: `first` is what stands where no pair is yet, `after` what follows one."""
    first = after = ""
    for key, inner in reversed(prompt_format.by_key(schema.get("properties") or {})):
        pair = f"{_spelt(key)}:{_value(inner)}"
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
        return f"(?:{'|'.join(_spelt(prompt_format.value(item)) for item in schema['enum'])})"
    kind = schema.get("type")
    if kind == "array":
        item = _value(schema.get("items"))
        return rf"\[(?:{item}(?:,{item})*)?\]"
    if kind == "object" and schema.get("properties"):
        return _arguments(schema)
    return _VALUES.get(kind, _ANY) if isinstance(kind, str) else _ANY


def _spelt(text: str) -> str:
    """A text as the vocabulary may spell it."""
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
