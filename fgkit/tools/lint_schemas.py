"""The tool linter's checks of schemas: names, types, enums, arrays, objects, compositions.

Each check takes a well-formed JSON schema and where it is, such as `go.parameters`, and yields
`(rule id, message)` pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fgkit.chat_types import JsonObject, JsonValue
from fgkit.prompts.declarations import Problem
from fgkit.prompts.format import NAME, PLAIN_NAME
from fgkit.text import nearest, shown

from .json_forms import COMPOSED, DEFINITIONS, JSON_TYPES, REFERENCES, UNNAMED
from .rules import MAX_DESCRIPTION

# Words of LiteRT-LM's call grammar.
_RUNTIME_WORDS = ("call", "true", "false", "null")
# The keywords that the prompt shows for a schema of each type; inside `items` it shows everything.
_SHOWN = {
    "object": ("type", "description", "properties", "required"),
    "array": ("type", "description", "items"),
    "string": ("type", "description", "enum"),
}
# Keywords that have rules of their own, or that do not matter to a model.
_UNREPORTED = (*REFERENCES, *DEFINITIONS, *COMPOSED, "enum", "nullable")
# A composition is a union if one of its options has such a keyword. Other compositions only
# restrict, such as `anyOf: [{required: ...}, ...]`.
_TYPING = ("type", "properties", "items", "enum", "const", *REFERENCES, *COMPOSED)


def property_problems(schema: JsonObject, where: str) -> Iterator[Problem]:
    """Check the properties of an object, and that `required` names only these."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for name in required:
        if name not in properties:
            yield (
                "T410",
                f"{where}.required: names {shown(name)}, which is no property"
                f"{nearest(name, properties)} Add the property or take the name out.",
            )
    for name, inner in properties.items():
        place = f"{where}.properties.{name}"
        yield from name_problems(name, place)
        if not isinstance(inner, dict):
            continue
        if not inner.get("description"):
            yield "T302", f"{place}: has no description. Say what goes in, in which unit or form."
        elif inner.get("nullable") is True and name in required:
            yield (
                "T415",
                f"{place}: is required and may be null, but the prompt does not say that null is "
                "allowed. Take it out of `required`.",
            )
        yield from length_problems(inner.get("description"), f"{place}.description")
        yield from _schema_problems(inner, place)
        if isinstance(inner.get("type"), str):
            yield from hidden_keyword_problems(
                inner, _SHOWN.get(inner["type"], ("type", "description")), place
            )


def _schema_problems(
    schema: JsonObject, where: str, *, in_array: bool = False
) -> Iterator[Problem]:
    """Check the schema of one value.

    Args:
        schema: of a property or of the items of an array.
        where: how messages name it.
        in_array: whether it is the schema of an array's items, all of which the prompt shows.
    """
    composed = list(composition_problems(schema, where))
    yield from composed
    if schema.get("type") is None and not composed:
        yield (
            "T401",
            f"{where}: has no type, and the prompt would show an empty one. Give it one of "
            f'{", ".join(JSON_TYPES)}; for an optional value add "nullable": true.',
        )
    yield from _enum_problems(schema, where, in_array=in_array)
    if schema.get("type") == "object":
        yield from _object_problems(schema, where, in_array=in_array)
    elif schema.get("type") == "array":
        items = schema.get("items")
        if isinstance(items, dict) and items:
            yield from _schema_problems(items, f"{where}.items", in_array=True)
        elif not in_array:
            yield (
                "T406",
                f'{where}: does not say what it holds. Add "items", such as {{"type": "string"}}.',
            )


def _enum_problems(schema: JsonObject, where: str, *, in_array: bool) -> Iterator[Problem]:
    enum = schema.get("enum")
    if enum == []:
        yield "T404", f"{where}.enum: is empty, so no value fits. Name the values or drop the enum."
    elif (
        schema.get("type") != "string" and not in_array and (enum is not None or "const" in schema)
    ):
        yield (
            "T403",
            f"{where}.enum: is left out of the prompt, which shows enums of strings only. Make the "
            "type string, or name the values in the description and drop the enum.",
        )


def _object_problems(schema: JsonObject, where: str, *, in_array: bool) -> Iterator[Problem]:
    unnamed = [key for key in UNNAMED if isinstance(schema.get(key), Mapping)]
    # Outside of an array `declaration_problems` reports the first of these.
    if not schema.get("properties") and unnamed and in_array:
        yield (
            "T407",
            f"{where}: an object without 'properties' would show {', '.join(unnamed)} to the model "
            "unchanged. Name the object's properties.",
        )
    elif not schema.get("properties") and not unnamed:
        yield (
            "T408",
            f"{where}: names no properties, so the model cannot know what goes in. Name them, or "
            "take the data as separate parameters.",
        )
    yield from property_problems(schema, where)


def composition_problems(schema: JsonObject, where: str) -> Iterator[Problem]:
    """Check `$ref`, `anyOf`, `oneOf` and `allOf`, as far as they could not be written out."""
    for key in REFERENCES:
        if key in schema:
            yield (
                "T414",
                f"{where}: refers to {shown(schema[key])}, which leads to itself, to nothing or "
                "out of the tool, so the prompt cannot show it. Write the schema out in its place.",
            )
    for key in COMPOSED:
        options = [option for option in schema.get(key, ()) if isinstance(option, dict)]
        if any(word in option for option in options for word in _TYPING):
            types = ", ".join(
                dict.fromkeys(str(option.get("type", "no type")) for option in options)
            )
            yield (
                "T402",
                f"{where}.{key}: is a union of {len(schema[key])} schemas ({types}), which the "
                "prompt cannot show. Choose one, or make it several parameters.",
            )
        elif key in schema:
            yield from hidden_keyword_problems({key: None}, (), where)


def hidden_keyword_problems(
    schema: Mapping[str, Any], visible: Sequence[str], where: str
) -> Iterator[Problem]:
    """Check for keywords that the prompt does not show.

    Args:
        schema: a tool, or one of its schemas.
        visible: the keywords that are shown; none reports every keyword of the schema.
        where: how messages name it.
    """
    from jsonschema import Draft202012Validator

    # `additionalProperties: true` means the same as leaving it out.
    hidden = [
        key
        for key in schema
        if key not in visible
        and (not visible or key not in _UNREPORTED)
        and (key, schema[key]) != ("additionalProperties", True)
    ]
    if hidden:
        misspelt = [
            key
            for key in hidden
            if isinstance(key, str)
            and key not in Draft202012Validator.VALIDATORS
            and key not in ("title", "default", "example", "examples", "deprecated")
        ]
        hint = nearest(misspelt[0], visible) if misspelt else "."
        yield (
            "T501",
            f"{where}: is shown to the model without {', '.join(map(shown, hidden))}{hint} Say in "
            "the description what the model must know.",
        )


def length_problems(description: JsonValue, where: str) -> Iterator[Problem]:
    """Check that a description is not too long for every prompt to carry it."""
    if isinstance(description, str) and len(description) > MAX_DESCRIPTION:
        yield (
            "T305",
            f"{where}: has {len(description)} characters, and every prompt carries them. Keep to "
            f"{MAX_DESCRIPTION}: one or two sentences.",
        )


def name_problems(name: JsonValue, where: str) -> Iterator[Problem]:
    """Check that a tool's or parameter's name can be written in a call, and read by LiteRT-LM."""
    if name in _RUNTIME_WORDS:
        yield (
            "T205",
            f"{where}: is {name!r}, a word of LiteRT-LM's call grammar, which then cannot read the "
            f"call. Rename it, to {'make_call' if name == 'call' else name + '_'!r} for example.",
        )
    # A declaration can hold more names than a call can; `declaration_problems` reports the others.
    if isinstance(name, str) and PLAIN_NAME.fullmatch(name) and not NAME.fullmatch(name):
        yield (
            "T202",
            f"{where}: is {shown(name)}, which cannot be written in a call: names start with an "
            "ASCII letter or _ and go on with these, digits, . and -. Rename it.",
        )
