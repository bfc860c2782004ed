"""A call's arguments against its tool's JSON schema: every mismatch in words a person can act on.

>>> list(argument_checker(tools)("set_color", {"colour": "red"}))
["unknown argument 'colour', expected: set_color takes color; did you mean 'color'? Rename or remove it.", ...]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .tools import nearest
from .wire import NAME, shown, value_problems


def argument_checker(tools: list[dict]) -> Callable[[str, Any], Iterator[str]]:
    """A function of tool name and arguments that gives all complaints; arguments that are no object are skipped."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # JSON Schema calls 1.0 an integer; a call would spell it 1.0, and typed app code expects 1.
    integer = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = extend(Draft202012Validator, type_checker=integer)
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    validators = {name: validator(_with_null(schema)) for name, schema in schemas.items()}

    def check(name: str, arguments: Any) -> Iterator[str]:
        if name not in schemas:
            known = ", ".join(list(schemas)[:10]) + (", ..." if len(schemas) > 10 else "")
            yield f"tool_name: found {shown(name)}, expected one of {known}{nearest(name, schemas)} Correct it."
            return
        if not isinstance(arguments, dict):
            return
        properties = schemas[name].get("properties", {})
        takes = f"{name} takes {', '.join(properties) or 'none'}"
        for key in arguments:
            if key not in properties:
                yield f"unknown argument {shown(key)}, expected: {takes}{nearest(key, properties)} Rename or remove it."
        for key in schemas[name].get("required", []):
            if key not in arguments:
                yield f"missing argument {key!r}, expected: {takes}. Add it."
        known = {key: value for key, value in arguments.items() if key in properties}
        if unwritable := value_problems(known, "arguments", keys=NAME):
            yield from unwritable
            return
        for error in validators[name].iter_errors(known):
            if error.path or error.validator != "required":  # those of the top level are named above
                yield f"argument {_place(error.path)!r}: {_mismatch(error)}"

    return check


def _mismatch(error: Any) -> str:
    """Found, expected, remedy for one jsonschema error."""
    found, expected = short(json.dumps(error.instance, ensure_ascii=False)), error.validator_value
    if error.validator == "type":
        kinds = expected if isinstance(expected, list) else [expected]
        remedy = "Write it without quotes." if isinstance(error.instance, str) else "Correct the value."
        if "string" in kinds:
            remedy = f'Put it in quotes: "{found}".'
        return f"found {found}, expected type {' or '.join(kinds)}. {remedy}"
    if error.validator == "enum":
        close = nearest(str(error.instance), map(str, expected))
        allowed = short(json.dumps(expected, ensure_ascii=False), 200)
        return f"found {found}, expected one of {allowed}{close} Correct it."
    return f"found {found}, expected {error.validator} {short(json.dumps(expected), 120)}. Correct it."


def _place(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _with_null(schema: Any) -> Any:
    """`nullable: true`, which JSON Schema does not know, in its own words."""
    if isinstance(schema, list):
        return [_with_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _with_null(value) for key, value in schema.items()}
    if result.get("nullable") is True and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
        if "enum" in result:
            result["enum"] = [*result["enum"], None]
    return result


def short(text: str, width: int = 60) -> str:
    """The text, or its beginning and `...` where it is longer than `width` characters."""
    return text if len(text) <= width else text[:width - 3] + "..."
