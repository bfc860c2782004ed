"""Gives the arguments of a parsed call the types that its tool declares, or refuses the call.

Example:
    coerce(Call("set_timer", {"minutes": "5", "sound": "BELL", "label": None}), tools)
    # Call(name='set_timer', arguments={'minutes': 5, 'sound': 'bell'})

| declared | written | becomes |
|---|---|---|
| integer | text of an integer, as the prompt format writes it: `"42"` | `42` |
| integer | a number without a fraction: `42.0` | `42` |
| number | an integer: `1` | `1.0` |
| number | text of a number, as the prompt format writes it: `"0.5"` | `0.5` |
| boolean | the text true or false in any case: `"True"` | `true` |
| string with an enum | a value that equals one enum value except for case: `"RED"` | `"red"` |
| not required, not nullable | null | left out |

Values inside lists and objects are coerced, too. Nothing else is guessed: no 1 for true, no text
for a number, no list for a value, no trimming, no nearest enum value, no default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from fgkit.calls import Call
from fgkit.chat_types import JsonObject, JsonValue, ToolDeclaration
from fgkit.errors import ArgumentError

from .validation import Checker, name_complaint

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def coerce(call: Call, tools: Sequence[ToolDeclaration], *, strict: bool = False) -> Call:
    """Return the call with the types that its tool declares.

    Args:
        call: as the model wrote it; it is not changed.
        tools: declarations from `load_tools`.
        strict: change nothing, only check.
    Returns:
        a call that fits its tool's schema. Values that fit already stay the same, except that an
        integer becomes a float if the tool declares a number.
    Raises:
        ArgumentError: the tool is unknown, or an argument is unknown, missing or does not fit; the
            message has one line a problem.
    """
    declared = {tool["function"]["name"]: tool for tool in tools}
    if call.name not in declared:
        raise ArgumentError(f"{call.name}: {name_complaint(call.name, declared)}")
    checker = Checker(declared[call.name])
    arguments = call.arguments
    if not strict:
        arguments = _coerced(arguments, {"type": "object"} | checker.schema)
    if problems := list(checker(arguments)):
        raise ArgumentError("\n".join(f"{call.name}: {problem}" for problem in problems))
    return Call(call.name, arguments)


def _coerced(value: JsonValue, schema: JsonValue) -> JsonValue:
    """The value in the declared type if the table says how, else the value unchanged."""
    declared = schema.get("type") if isinstance(schema, Mapping) else None
    if declared == "object" and isinstance(value, dict):
        return _coerced_members(value, schema)
    if declared == "array" and isinstance(value, list):
        return [_coerced(item, schema.get("items")) for item in value]
    if declared == "integer":
        return _integer(value)
    if declared == "number":
        return _number(value)
    if declared == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    if declared == "string":
        return _enum_value(value, schema.get("enum"))
    return value


def _coerced_members(value: JsonObject, schema: Mapping[str, JsonValue]) -> JsonObject:
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    members = {}
    for name, item in value.items():
        inner = properties.get(name)
        is_optional = inner is not None and name not in required
        if item is None and is_optional and not _accepts_null(inner):
            continue
        members[name] = _coerced(item, inner)
    return members


def _integer(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        # Python refuses to convert integers of more than 4,300 digits.
        return int(value) if _INTEGER.fullmatch(value) and len(value) < 4000 else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: JsonValue) -> JsonValue:
    is_text = isinstance(value, str) and _NUMBER.fullmatch(value)
    if not is_text and type(value) is not int:
        return value
    try:
        number = float(value)
    except OverflowError:
        return value
    # An integer that a float cannot hold exactly stays an integer.
    return number if math.isfinite(number) and (is_text or number == value) else value


def _enum_value(value: JsonValue, enum: JsonValue) -> JsonValue:
    """The only enum value that equals the value except for case, else the value."""
    if not isinstance(enum, list) or not isinstance(value, str) or value in enum:
        return value
    matches = [
        item for item in enum if isinstance(item, str) and item.casefold() == value.casefold()
    ]
    return matches[0] if len(matches) == 1 else value


def _accepts_null(schema: JsonValue) -> bool:
    return isinstance(schema, Mapping) and (
        schema.get("nullable") is True or schema.get("type") in (None, "null")
    )
