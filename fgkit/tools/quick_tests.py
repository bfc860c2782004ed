"""Compiles plain JSON schemas into quick tests of values.

A quick test accepts only values that jsonschema and the prompt format accept. A value that it does
not
accept may still be right: jsonschema decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fgkit.chat_types import JsonObject, JsonValue
from fgkit.prompts.format import NAME, text_problems, value_problems

Test = Callable[[JsonValue], bool]

# Keywords that do not restrict values.
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


def quick_test(schema: JsonValue) -> Test | None:
    """Return a test of values, or None if the schema has a keyword that it does not cover.

    Args:
        schema: in standard JSON Schema, such as `validation.Checker` makes it.
    """
    if not isinstance(schema, dict):
        return None
    declared = schema.get("type")
    types = declared if isinstance(declared, list) else [declared]
    if "enum" in schema and (
        not {*types} <= {"string", "null"} or "null" in types and None not in schema["enum"]
    ):
        return None
    keywords = {key for key in schema if key not in _NOTES} - {"type", "nullable"}
    tests: list[Test] = []
    for type_ in types:
        if type_ not in _TEST_MAKERS:
            return None
        make_test, understood = _TEST_MAKERS[type_]
        test = make_test(schema)
        if test is None:
            return None
        keywords -= set(understood)
        tests.append(test)
    if keywords:
        return None
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _string_test(schema: JsonObject) -> Test | None:
    if "enum" not in schema:
        return lambda value: type(value) is str and not text_problems(value, "")
    allowed = frozenset(
        item for item in schema["enum"] if isinstance(item, str) and not text_problems(item, "")
    )
    return lambda value: type(value) is str and value in allowed


def _number_test(schema: JsonObject, types: tuple[type, ...]) -> Test | None:
    low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**63)
    return lambda value: type(value) in types and low <= value <= high and abs(value) <= 2**63


def _array_test(schema: JsonObject) -> Test | None:
    item_test = quick_test(schema["items"]) if "items" in schema else _writable
    if item_test is None:
        return None
    return lambda value: type(value) is list and all(map(item_test, value))


def _object_test(schema: JsonObject) -> Test | None:
    if not schema.get("properties") and schema.get("additionalProperties") is not False:
        return lambda value: type(value) is dict and _writable(value)
    if schema.get("additionalProperties") is not False:
        return None
    member_tests: dict[str, Test] = {}
    for key, inner in schema.get("properties", {}).items():
        test = quick_test(inner)
        if test is None:
            return None
        member_tests[key] = test
    required: Iterable[str] = schema.get("required", [])
    return lambda value: (
        type(value) is dict
        and all(key in value for key in required)
        and all(key in member_tests and member_tests[key](item) for key, item in value.items())
    )


def _writable(value: JsonValue) -> bool:
    """Whether the prompt format can write the value."""
    return not value_problems(value, "", keys=NAME)


# For each type what makes its test, and the keywords that the test covers.
_TEST_MAKERS: dict[JsonValue, tuple[Callable[[JsonObject], Test | None], tuple[str, ...]]] = {
    "string": (_string_test, ("enum",)),
    "integer": (lambda schema: _number_test(schema, (int,)), ("minimum", "maximum")),
    "number": (lambda schema: _number_test(schema, (int, float)), ("minimum", "maximum")),
    "boolean": (lambda schema: lambda value: type(value) is bool, ()),
    "null": (lambda schema: lambda value: value is None, ()),
    "array": (_array_test, ("items",)),
    "object": (_object_test, ("properties", "required", "additionalProperties")),
}
