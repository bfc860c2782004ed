"""Tool schemas as FunctionGemma reads them.

In: {"type": "function", "function": {"name", "description", "parameters"}}. Out: one declaration,
or what is wrong with the tool.

>>> declaration({"function": {"name": "t", "description": "d"}})
'<start_function_declaration>declaration:t{description:<escape>d<escape>}<end_function_declaration>'

What the format has no room for (`default`, `format`, enums of numbers, `return`, `strict`) is left
out, as the model's own template does; what the format would garble is refused.
`fgkit.tools.check_tools` is stricter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fgkit.text import shown

from .format import (
    ESCAPE,
    MAX_DEPTH,
    PLAIN_NAME,
    by_key,
    name_problems,
    text_problems,
    value,
    value_problems,
)

# The model's template reads these as schema keywords and leaves out parameters of these names.
RESERVED_NAMES = ("description", "type", "properties", "required", "nullable")

# A rule's id (`fgkit.tools.rules`) and the message: where, what was found, what to do.
Problem = tuple[str, str]
_Order = Callable[[Mapping[str, Any]], Iterable[tuple[str, Any]]]


def declaration(tool: Mapping[str, Any], *, in_order: _Order = by_key) -> str:
    """Write one tool that `tool_problems` accepts.

    Args:
        tool: {"function": {"name", "description", "parameters"}}.
        in_order: gives the parameters of a mapping in the order to write; left out, the order of
            the model's template.
    """
    function = tool["function"]
    parameters = function.get("parameters")
    text = f"{function['name']}{{description:{value(function.get('description', ''))}"
    if parameters:
        text += ",parameters:{"
        if parameters.get("properties"):
            text += f"properties:{_properties(parameters['properties'], in_order)},"
        if parameters.get("required"):
            text += f"required:{value(parameters['required'])},"
        text += f"type:{_type(parameters)}}}"
    return wrapped(text + "}")


def wrapped(text: str) -> str:
    """Put a tool's text, name first, between the tokens of a declaration."""
    return f"<start_function_declaration>declaration:{text}<end_function_declaration>"


def _properties(schemas: Mapping[str, Any], in_order: _Order) -> str:
    return (
        "{"
        + ",".join(f"{name}:{_property(schema, in_order)}" for name, schema in in_order(schemas))
        + "}"
    )


def _property(schema: Mapping[str, Any], in_order: _Order) -> str:
    text = f"{{description:{value(schema.get('description', ''))}"
    type_name = _type(schema)
    if type_name == f"{ESCAPE}STRING{ESCAPE}" and schema.get("enum"):
        text += f",enum:{value(schema['enum'])}"
    elif type_name == f"{ESCAPE}OBJECT{ESCAPE}":
        text += f",properties:{_properties(schema.get('properties') or {}, in_order)}"
        if schema.get("required"):
            text += f",required:{value(schema['required'])}"
    elif (
        type_name == f"{ESCAPE}ARRAY{ESCAPE}"
        and schema.get("items")
        and isinstance(schema["items"], Mapping)
    ):
        text += f",items:{_items(schema['items'], in_order)}"
    return f"{text},type:{type_name}}}"


def _items(schema: Mapping[str, Any], in_order: _Order) -> str:
    pairs = []
    for key, item in by_key(schema):
        if item is None:
            continue
        if key == "properties":
            text = _properties(item, in_order)
        elif key == "type":
            text = _type(schema)
        else:
            text = value(item, escape_keys=True)
        pairs.append(f"{key}:{text}")
    return "{" + ",".join(pairs) + "}"


def _type(schema: Mapping[str, Any]) -> str:
    type_name = schema.get("type", "")
    return value(
        type_name.upper() if isinstance(type_name, str) else [name.upper() for name in type_name]
    )


def tool_problems(tools: Any) -> list[str]:
    """List everything in `tools` that a declaration cannot express; empty for nothing."""
    if not isinstance(tools, (list, tuple)):
        return [
            f"tools: is of type {type(tools).__name__}, expected a list of tools. Wrap it in a "
            "list."
        ]
    return [
        problem
        for index, tool in enumerate(tools)
        for _, problem in declaration_problems(tool, f"tools[{index}]")
    ]


def declaration_problems(tool: Any, where: str) -> Iterator[Problem]:
    """Give everything in one tool that a declaration cannot express, with the rule's id.

    Args:
        tool: any object.
        where: how messages refer to the tool.
    """
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        yield (
            "T201",
            (
                f"{where}: has no 'function' mapping. Write it as {{'type': 'function', "
                "'function': {'name': ..., 'description': ..., 'parameters': ...}}."
            ),
        )
        return
    wrong = name_problems(function.get("name"), f"{where}: name", PLAIN_NAME)
    yield from _with_rule("T202", wrong)
    if not wrong:
        where += f" {function['name']}"
    yield from _description_problems(function, where)
    parameters = function.get("parameters")
    if parameters is None or parameters == {}:
        return
    where += ".parameters"
    if not isinstance(parameters, Mapping):
        yield (
            "T409",
            (
                f"{where}: is of type {type(parameters).__name__}, expected a JSON schema. "
                "Use {'type': 'object', 'properties': {...}}."
            ),
        )
        return
    if not parameters.get("type"):
        yield (
            "T409",
            f"{where}: has no 'type', which breaks the declaration's braces. Add 'type': 'object'.",
        )
    else:
        yield from _type_problems(parameters, where)
    yield from _members_problems(parameters, where, 0)


def _members_problems(schema: Mapping[str, Any], where: str, depth: int) -> Iterator[Problem]:
    """Problems in `properties` and `required`, at any level of a schema."""
    if depth > MAX_DEPTH:
        yield "T412", f"{where}: is nested deeper than {MAX_DEPTH} levels. Flatten it."
        return
    properties, required = schema.get("properties"), schema.get("required")
    if properties is not None and not isinstance(properties, Mapping):
        yield (
            "T411",
            (
                f"{where}.properties: is {shown(properties)}, expected a mapping of parameter "
                "names to schemas. Write it as one."
            ),
        )
    elif properties:
        for name, inner in properties.items():
            wrong = name_problems(name, f"{where}.properties: name", PLAIN_NAME)
            yield from _with_rule("T202", wrong)
            member = f"{where}.properties.{shown(name) if wrong else name}"
            yield from _property_problems(name, inner, member, depth + 1)
    if required is not None:
        yield from _strings_problems("T410", required, f"{where}.required")


def _property_problems(name: Any, schema: Any, where: str, depth: int) -> Iterator[Problem]:
    if name in RESERVED_NAMES:
        yield (
            "T206",
            (
                f"{where}: a parameter called {name!r} is left out by the model's template. "
                f"Rename it, to {name + '_'!r} for example."
            ),
        )
    if not isinstance(schema, Mapping):
        yield (
            "T411",
            (
                f"{where}: is {shown(schema)}, expected a JSON schema. Write one, or drop the "
                "parameter (Arrow fills missing ones with null: load the data as text and "
                "json.loads each row)."
            ),
        )
        return
    yield from _description_problems(schema, where)
    yield from _type_problems(schema, where)
    type_name = schema["type"].upper() if isinstance(schema.get("type"), str) else None
    if type_name == "STRING" and schema.get("enum") is not None:
        yield from _strings_problems("T403", schema["enum"], f"{where}.enum")
    elif type_name == "OBJECT":
        yield from _members_problems(schema, where, depth)
        stray = [shown(key) for key in schema if key not in RESERVED_NAMES]
        if schema.get("properties") is None and stray:
            yield (
                "T407",
                (
                    f"{where}: an object without 'properties' would show {', '.join(stray)} to the "
                    "model as parameters. Name the object's properties, or take JSON text in a "
                    "string."
                ),
            )
    elif type_name == "ARRAY" and isinstance(schema.get("items"), Mapping):
        yield from _items_problems(schema["items"], f"{where}.items", depth)


def _items_problems(schema: Mapping[Any, Any], where: str, depth: int) -> Iterator[Problem]:
    yield from _members_problems(schema, where, depth)
    types = schema.get("type")
    if types is None or isinstance(types, str):
        types = [types or ""]
    if isinstance(types, (list, tuple)) and not types:
        yield "T401", f"{where}.type: is an empty list. Name a type."
    wrong = list(_strings_problems("T401", types, f"{where}.type"))
    yield from wrong
    if (
        schema.get("items") is not None
        or not wrong
        and "ARRAY" in [type_name.upper() for type_name in types]
    ):
        yield (
            "T405",
            f"{where}: arrays of arrays have no declaration. Use an array of objects, or of "
            "strings.",
        )
    for key, item in schema.items():
        yield from _with_rule("T202", name_problems(key, f"{where}: key", PLAIN_NAME))
        if key not in ("properties", "required", "type", "items"):
            yield from _with_rule(
                "T304" if isinstance(item, str) else "T413", value_problems(item, f"{where}.{key}")
            )


def _type_problems(schema: Mapping[str, Any], where: str) -> Iterator[Problem]:
    type_name = schema.get("type", "")
    if isinstance(type_name, (list, tuple)):
        yield (
            "T402",
            f"{where}.type: is a union, which the model was not trained on. Choose one type.",
        )
    else:
        yield from _with_rule("T401", text_problems(type_name, f"{where}.type"))


def _description_problems(schema: Mapping[str, Any], where: str) -> Iterator[Problem]:
    yield from _with_rule(
        "T304", text_problems(schema.get("description", ""), f"{where}.description")
    )


def _strings_problems(rule: str, items: Any, where: str) -> Iterator[Problem]:
    if not isinstance(items, (list, tuple)):
        yield (
            rule,
            f"{where}: is of type {type(items).__name__}, expected a list of strings. Write it as "
            "one.",
        )
        return
    for index, item in enumerate(items):
        yield from _with_rule(
            "T304" if isinstance(item, str) else rule, text_problems(item, f"{where}[{index}]")
        )


def _with_rule(rule: str, problems: Iterable[str]) -> Iterator[Problem]:
    return ((rule, problem) for problem in problems)
