"""Checks a call's arguments against its tool's JSON schema; each message says what to do.

Plain schemas are compiled into a quick test (`quick_tests`), so that the slow jsonschema validates
only arguments that may be wrong.

Example:
    list(Checker(tool)({"colour": "red"}))
    # ["unknown argument 'colour', expected: set_color takes color; did you mean 'color'? Rename or
    #   remove it.", ...]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from fgkit.chat_types import JsonObject, JsonValue, ToolDeclaration
from fgkit.prompts.format import NAME, value_problems
from fgkit.text import nearest, short, shown

from .quick_tests import quick_test


class Checker:
    """Checks the arguments of calls of one tool.

    Args:
        tool: a declaration from `load_tools`.
    """

    def __init__(self, tool: ToolDeclaration):
        self.name = tool["function"]["name"]
        self.schema: JsonObject = dict(tool["function"].get("parameters") or {})
        self.properties = self.schema.get("properties", {})
        self._accepts = quick_test(
            _strict(self.schema) | {"type": "object", "additionalProperties": False}
        )

    def __call__(self, arguments: JsonObject) -> Iterator[str]:
        """Yield what is wrong: what was found, what was expected and the remedy.

        Args:
            arguments: by name.
        """
        if self._accepts is not None and self._accepts(arguments):
            return
        takes = f"{self.name} takes {', '.join(self.properties) or 'none'}"
        for key in arguments:
            if key not in self.properties:
                yield (
                    f"unknown argument {shown(key)}, expected: "
                    f"{takes}{nearest(key, self.properties)} Rename or remove it."
                )
        for key in self.schema.get("required", []):
            if key not in arguments:
                yield f"missing argument {key!r}, expected: {takes}. Add it."
        known = {key: value for key, value in arguments.items() if key in self.properties}
        if unwritable := value_problems(known, "arguments", keys=NAME):
            yield from unwritable
            return
        for error in self._validator.iter_errors(known):
            # Missing arguments of the top level have been reported above.
            if error.path or error.validator != "required":
                yield f"argument {_dotted(error.path)!r}: {_mismatch(error)}"

    def without_filled(self, arguments: JsonObject) -> JsonObject:
        """Return the arguments without the nulls that Arrow fills in for arguments of other calls.

        A null that the schema does not allow shows that the call has been through Arrow. Then no
        null of an optional argument can be distinguished from one that was filled in, so all of
        them are left out. Any other call is returned unchanged.

        Args:
            arguments: by name.
        """
        required = self.schema.get("required", ())
        kept, filled = without_nulls(
            arguments, {"properties": self.properties, "required": required}
        )
        return kept if filled else arguments

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import extend

        # JSON Schema calls 1.0 an integer; a call would spell it 1.0, and typed app code expects 1.
        integer = Draft202012Validator.TYPE_CHECKER.redefine(
            "integer", lambda _, value: type(value) is int
        )
        return extend(Draft202012Validator, type_checker=integer)(_strict(self.schema))


def name_complaint(name: JsonValue, known: Iterable[str]) -> str:
    """Return the message for a call of an unknown function.

    Args:
        name: as called.
        known: the names of the tools.
    """
    known = list(known)
    names = ", ".join(known[:10]) + (", ..." if known[10:] else "") if known else "no tool at all"
    return f"found {shown(name)}, expected one of {names}{nearest(str(name), known)} Correct it."


def _mismatch(error: Any) -> str:
    """What was found, what was expected and the remedy for one jsonschema error."""
    value, expected = short(json.dumps(error.instance, ensure_ascii=False)), error.validator_value
    if error.validator == "type":
        types = expected if isinstance(expected, list) else [expected]
        remedy = (
            "Write it without quotes." if isinstance(error.instance, str) else "Correct the value."
        )
        if "string" in types:
            remedy = f'Put it in quotes: "{value}".'
        return f"found {value}, expected type {' or '.join(types)}. {remedy}"
    if error.validator == "enum":
        close = nearest(str(error.instance), map(str, expected))
        allowed = short(json.dumps(expected, ensure_ascii=False), 200)
        return f"found {value}, expected one of {allowed}{close} Correct it."
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        stray = [key for key in error.instance if key not in known]
        return (
            f"has {', '.join(map(shown, stray))}, expected only {', '.join(known) or 'nothing'}"
            f"{nearest(stray[0], known)} Rename or remove it."
        )
    return (
        f"found {value}, expected {error.validator} {short(json.dumps(expected), 120)}. Correct it."
    )


def _dotted(path: Iterable[str | int]) -> str:
    """A path such as `tags[1].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(
        "."
    )


def without_nulls(value: JsonValue, schema: JsonValue) -> tuple[JsonValue, bool]:
    """Return the value without nulls in optional members, and whether the schema allows no null.

    Args:
        value: arguments, or a value inside them.
        schema: of the value.
    Returns:
        (the value, whether a null was left out that the schema does not allow).
    """
    if not isinstance(schema, dict):
        return value, False
    if isinstance(value, list):
        pairs = [without_nulls(item, schema.get("items") or {}) for item in value]
        return [item for item, _ in pairs], any(filled for _, filled in pairs)
    if (
        not isinstance(value, dict)
        or not schema.get("properties")
        and schema.get("type") == "object"
    ):
        return value, False  # an object without named properties may hold any null
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    kept: JsonObject = {}
    filled = False
    for key, item in value.items():
        member = properties.get(key) or {}
        if item is None and key not in required:
            filled |= not (member.get("nullable") is True or "null" in member.get("type", ()))
        else:
            kept[key], inner = without_nulls(item, member)
            filled |= inner
    return kept, filled


def _strict(schema: JsonValue) -> JsonValue:
    """The schema in standard JSON Schema.

    `nullable: true` becomes a type, and objects with properties accept no other ones.
    """
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _strict(value) for key, value in schema.items()}
    if result.get("nullable") is True and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
        if isinstance(result.get("enum"), list):
            result["enum"] = [*result["enum"], None]
    if result.get("type") in ("object", ["object", "null"]) and result.get("properties"):
        result.setdefault("additionalProperties", False)
    return result
