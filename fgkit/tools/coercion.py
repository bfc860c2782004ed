"""A parsed call against its tool's schema: values of the wrong spelling put right, everything else refused.

In: a `Call` from `calls.parse`, which gives what the model wrote, and the tools. Out: a call whose arguments have the
types that the tool declares, or every reason why it has not.

>>> coerce(Call("set_timer", {"minutes": "5", "sound": "BELL", "label": None}), tools)
Call(name='set_timer', arguments={'minutes': 5, 'sound': 'bell'})

| declared | written | becomes |
|---|---|---|
| integer | text of an integer, as the wire format spells it: `"42"` | `42` |
| integer | a number without a fraction: `42.0` | `42` |
| number | an integer: `1` | `1.0` |
| number | text of a number, as the wire format spells it: `"0.5"` | `0.5` |
| boolean | the text true or false in any case: `"True"` | `true` |
| string with an enum | a value that differs from exactly one of the enum's in case only: `"RED"` | `"red"` |
| not required, not nullable | null | left out |

Lists and objects are coerced inside. Nothing else is guessed: no 1 for true, no text for a number, no list for a value,
no trimming, no nearest enum value, no default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from fgkit.calls import Call
from fgkit.errors import ArgumentError

from .validation import Checker, name_complaint

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def coerce(call: Call, tools: list[dict], *, strict: bool = False) -> Call:
    """Give the call with the types that its tool declares.

    Args:
        call: as the model wrote it; it stays as it is.
        tools: declarations from `load_tools`.
        strict: change nothing, only check.
    Returns:
        a call that fits its tool's schema; what fitted before is unchanged, but for integers that become numbers.
    Raises:
        ArgumentError: the tool is unknown, an argument is unknown, missing or does not fit; one line a problem.
    """
    declared = {tool["function"]["name"]: tool for tool in tools}
    if call.name not in declared:
        raise ArgumentError(f"{call.name}: {name_complaint(call.name, declared)}")
    checker = Checker(declared[call.name])
    arguments = (
        call.arguments if strict else _coerced(call.arguments, {"type": "object"} | checker.schema)
    )
    if problems := list(checker(arguments)):
        raise ArgumentError("\n".join(f"{call.name}: {problem}" for problem in problems))
    return Call(call.name, arguments)


def _coerced(value: Any, schema: Any) -> Any:
    """The value in the declared type where the table has a line for it, the value as it is "
    "otherwise."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "object" and isinstance(value, dict):
        return _coerced_members(value, schema)
    if kind == "array" and isinstance(value, list):
        return [_coerced(item, schema.get("items")) for item in value]
    if kind == "integer":
        if (
            isinstance(value, str) and _INTEGER.fullmatch(value) and len(value) < 4000
        ):  # Python's own limit is 4300
            return int(value)
        return int(value) if isinstance(value, float) and value.is_integer() else value
    if kind == "number":
        return _number(value)
    if kind == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    enum = schema.get("enum") if kind == "string" else None
    if isinstance(enum, list) and isinstance(value, str) and value not in enum:
        alike = [
            item for item in enum if isinstance(item, str) and item.casefold() == value.casefold()
        ]
        return alike[0] if len(alike) == 1 else value
    return value


def _coerced_members(value: dict, schema: Mapping[str, Any]) -> dict:
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    members = {}
    for name, item in value.items():
        inner = properties.get(name)
        if item is None and inner is not None and name not in required and not _takes_null(inner):
            continue
        members[name] = _coerced(item, inner)
    return members


def _number(value: Any) -> Any:
    is_text = isinstance(value, str) and _NUMBER.fullmatch(value)
    if not is_text and type(value) is not int:
        return value
    try:
        number = float(value)
    except OverflowError:
        return value
    return number if math.isfinite(number) and (is_text or number == value) else value


def _takes_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and (
        schema.get("nullable") is True or schema.get("type") in (None, "null")
    )
