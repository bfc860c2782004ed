"""A call's arguments against its tool's JSON schema: every mismatch in words a person can act on.

>>> list(Checker(tool)({"colour": "red"}))
["unknown argument 'colour', expected: set_color takes color; did you mean 'color'? Rename or remove it.", ...]

Plain schemas are compiled into a quick test, so that jsonschema looks only at arguments that may be wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from fgkit.prompts.format import NAME, text_problems, value_problems
from fgkit.text import nearest, short, shown

_NOTES = {
    "description",
    "title",
    "default",
    "examples",
    "$comment",
    "deprecated",
    "return",
    "format",
}


class Checker:
    """All complaints about the arguments of one tool; a call of it gives them."""

    def __init__(self, tool: dict):
        self.name = tool["function"]["name"]
        self.schema = tool["function"].get("parameters") or {}
        self.properties = self.schema.get("properties", {})
        self._accepts = _quick_test(
            _strict(self.schema) | {"type": "object", "additionalProperties": False}
        )

    def __call__(self, arguments: dict[str, Any]) -> Iterator[str]:
        """Complaints, each with what was found, expected and the remedy.

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
            if (
                error.path or error.validator != "required"
            ):  # those of the top level are named above
                yield f"argument {_place(error.path)!r}: {_mismatch(error)}"

    def without_filled(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments without the nulls that Arrow fills in for every argument that another call has.

        A call that holds a null its schema has no room for has been through Arrow, and then none of its nulls for
        optional arguments can be told from a filled one: all are left out. Any other call comes back as it is.
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


def name_complaint(name: Any, known: Iterable[str]) -> str:
    """What to say of a call to a function that is not there."""
    known = list(known)
    some = ", ".join(known[:10]) + (", ..." if known[10:] else "") if known else "no tool at all"
    return f"found {shown(name)}, expected one of {some}{nearest(str(name), known)} Correct it."


def _mismatch(error: Any) -> str:
    """Found, expected, remedy for one jsonschema error."""
    found, expected = short(json.dumps(error.instance, ensure_ascii=False)), error.validator_value
    if error.validator == "type":
        kinds = expected if isinstance(expected, list) else [expected]
        remedy = (
            "Write it without quotes." if isinstance(error.instance, str) else "Correct the value."
        )
        if "string" in kinds:
            remedy = f'Put it in quotes: "{found}".'
        return f"found {found}, expected type {' or '.join(kinds)}. {remedy}"
    if error.validator == "enum":
        close = nearest(str(error.instance), map(str, expected))
        allowed = short(json.dumps(expected, ensure_ascii=False), 200)
        return f"found {found}, expected one of {allowed}{close} Correct it."
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        stray = [key for key in error.instance if key not in known]
        return (
            f"has {', '.join(map(shown, stray))}, expected only {', '.join(known) or 'nothing'}"
            f"{nearest(stray[0], known)} Rename or remove it."
        )
    return (
        f"found {found}, expected {error.validator} {short(json.dumps(expected), 120)}. Correct it."
    )


def _place(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(
        "."
    )


def without_nulls(value: Any, schema: Any) -> tuple[Any, bool]:
    """The value without nulls in optional members, and whether one of them cannot be meant."""
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
        return value, False  # an object with free names may hold any
    members, needed, kept, filled = (
        schema.get("properties") or {},
        schema.get("required") or (),
        {},
        False,
    )
    for key, item in value.items():
        member = members.get(key) or {}
        if item is None and key not in needed:
            filled |= not (member.get("nullable") is True or "null" in member.get("type", ()))
        else:
            kept[key], inner = without_nulls(item, member)
            filled |= inner
    return kept, filled


def _strict(schema: Any) -> Any:
    """The schema in JSON Schema's words: `nullable: true` spelt out, nested objects that list "
    "names closed."""
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


def _quick_test(schema: Any) -> Callable[[Any], bool] | None:
    """A test that accepts only what jsonschema and the format accept, or None where a keyword is "
    "beyond it."""
    if not isinstance(schema, dict):
        return None
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "enum" in schema and (
        not {*kinds} <= {"string", "null"} or "null" in kinds and None not in schema["enum"]
    ):
        return None
    keywords = {key for key in schema if key not in _NOTES} - {"type", "nullable"}
    tests: list[Callable[[Any], bool]] = []
    for kind in kinds:
        make, understood = _TESTS.get(kind, (None, ()))
        keywords -= set(understood)
        test = make and make(schema)
        if test is None:
            return None
        tests.append(test)
    if keywords:
        return None
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _string_test(schema: dict) -> Callable[[Any], bool] | None:
    if "enum" not in schema:
        return lambda value: type(value) is str and not text_problems(value, "")
    allowed = frozenset(
        item for item in schema["enum"] if isinstance(item, str) and not text_problems(item, "")
    )
    return lambda value: type(value) is str and value in allowed


def _number_test(schema: dict, kinds: tuple[type, ...]) -> Callable[[Any], bool] | None:
    low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63)
    return lambda value: type(value) in kinds and low <= value <= high and abs(value) <= 2**63


def _array_test(schema: dict) -> Callable[[Any], bool] | None:
    item = _quick_test(schema["items"]) if "items" in schema else _writable
    return item and (lambda value: type(value) is list and all(map(item, value)))


def _object_test(schema: dict) -> Callable[[Any], bool] | None:
    if not schema.get("properties") and schema.get("additionalProperties") is not False:
        return lambda value: type(value) is dict and _writable(value)
    members = {key: _quick_test(inner) for key, inner in schema.get("properties", {}).items()}
    if None in members.values() or schema.get("additionalProperties") is not False:
        return None
    needed = schema.get("required", [])
    return lambda value: (
        type(value) is dict
        and all(key in value for key in needed)
        and all(key in members and members[key](item) for key, item in value.items())
    )


def _writable(value: Any) -> bool:
    return not value_problems(value, "", keys=NAME)


_TESTS: dict[Any, tuple[Callable[[dict], Callable[[Any], bool] | None], tuple[str, ...]]] = {
    "string": (_string_test, ("enum",)),
    "integer": (lambda schema: _number_test(schema, (int,)), ("minimum", "maximum")),
    "number": (lambda schema: _number_test(schema, (int, float)), ("minimum", "maximum")),
    "boolean": (lambda schema: lambda value: type(value) is bool, ()),
    "null": (lambda schema: lambda value: value is None, ()),
    "array": (_array_test, ("items",)),
    "object": (_object_test, ("properties", "required", "additionalProperties")),
}
