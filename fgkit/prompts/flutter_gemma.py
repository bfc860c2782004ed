"""The text that the plugin flutter_gemma puts before the model.

Written down from the plugin's own renderer, version 1.2.3 and later.

In: messages and tools as `prompts.render` takes them. Out: the whole prompt, or what the plugin
cannot express.

>>> tool = {"function": {"name": "t", "description": "d"}}
>>> print(layout([{"role": "user", "content": "hi"}], [tool], True))
<bos><start_of_turn>developer
You are a model that can do function calling with the following functions
<start_function_declaration>declaration:t{description:<escape>d<escape>}<end_function_declaration>
<end_of_turn>
<start_of_turn>user
hi<end_of_turn>
<start_of_turn>model
<BLANKLINE>

The plugin always writes the trigger sentence, ends it and every declaration with a newline, keeps
parameters in the order in which they are declared, calls the top level OBJECT and trims nothing. It
starts again after every answer, so a prompt is one user message and the model's header after it.
The start token comes from the bundle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fgkit.text import shown

from .declarations import declaration, tool_problems
from .format import DEFAULT_SYSTEM_MSG, MAX_DEPTH, PLAIN_NAME, name_problems, walk
from .messages import text_of

_TYPES = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_WORD = re.compile(r"[A-Za-z0-9_]+")
# The plugin refuses enum values that contain these, whatever follows.
_MARKS = ("<start_", "<end_")


def layout(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], _: bool
) -> str:
    """Write checked messages and tools; the model's turn is opened whether asked for or not."""
    out = ["<bos>"]
    if tools:
        out.append(f"<start_of_turn>developer\n{DEFAULT_SYSTEM_MSG}\n")
        out += [declaration(_as_read(tool), in_order=Mapping.items) + "\n" for tool in tools]
        out.append("<end_of_turn>\n")
    return "".join(
        [
            *out,
            "<start_of_turn>user\n",
            text_of(messages[-1].get("content"), str),
            "<end_of_turn>\n<start_of_turn>model\n",
        ]
    )


def message_problems(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """List what the plugin cannot send of messages that the format allows."""
    problems = []
    users = [message for message in messages if message["role"] == "user"]
    others = sorted({message["role"] for message in messages} - {"user", "system", "developer"})
    if others:
        problems.append(
            f"messages: hold {' and '.join(others)} messages, but style flutter_gemma is "
            "single-turn: the plugin forgets every turn. Leave one user message, or use another "
            "style."
        )
    elif len(users) != 1:
        problems.append(
            f"messages: hold {len(users)} user messages, but style flutter_gemma is single-turn: "
            "the plugin sends exactly one. Leave one user message, or use another style."
        )
    for index, message in enumerate(messages):
        content = message.get("content")
        if message["role"] in ("system", "developer"):
            if (text := text_of(content)) not in ("", DEFAULT_SYSTEM_MSG):
                problems.append(
                    f"messages[{index}] ({message['role']}): is {shown(text)}, but the plugin "
                    f"always sends {DEFAULT_SYSTEM_MSG!r}. Leave the text out, or use another "
                    "style."
                )
        elif isinstance(content, (list, tuple)) and any(
            part["type"] == "image" for part in content
        ):
            problems.append(
                f"messages[{index}] ({message['role']}): holds an image, which the plugin does not "
                "send to this model. Leave it out."
            )
    return problems


def flutter_tool_problems(tools: Any) -> list[str]:
    """List everything in `tools` that the plugin refuses, drops or garbles; empty for nothing."""
    if not isinstance(tools, (list, tuple)):
        return tool_problems(tools)
    problems = tool_problems([_as_read(tool) for tool in tools])
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        parameters = function.get("parameters") if isinstance(function, Mapping) else None
        if isinstance(function, Mapping) and isinstance(parameters, Mapping):
            where = f"tools[{index}]"
            if not name_problems(function.get("name"), "", PLAIN_NAME):
                where = f"{where} {function['name']}"
            problems += _members_problems(parameters, f"{where}.parameters", 0)
    return problems


def call_problems(name: str, arguments: Any, where: str) -> list[str]:
    """List the names in a call that the plugin's parser cannot read.

    It reads letters, digits and '_' in names.

    Args:
        name, arguments: the call.
        where: how messages refer to it.
    """
    names = [
        (f"{where}: name", name),
        *((path, key) for path, key, is_key in walk(arguments, f"{where}: arguments") if is_key),
    ]
    return [
        f"{path}: is {shown(text)}, but the plugin reads only letters, digits and '_' in names. "
        "Rename it."
        for path, text in names
        if not _WORD.fullmatch(text)
    ]


def _as_read(tool: Any) -> Any:
    """The tool as the plugin reads it, ready for the model template's rules and declarations."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        return tool
    parameters = function.get("parameters")
    if isinstance(parameters, Mapping) and parameters:
        parameters = _pick(parameters, "properties", "required") | {"type": "object"}
        parameters["properties"] = _members(parameters.get("properties"), 0)
    return {
        "function": _pick(function, "name")
        | {"description": _description(function), "parameters": parameters}
    }


def _members(schemas: Any, depth: int) -> Any:
    if not isinstance(schemas, Mapping) or depth > MAX_DEPTH:
        return schemas
    return {
        name: _property(schema, depth) if isinstance(schema, Mapping) else schema
        for name, schema in schemas.items()
    }


def _property(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    read = _pick(schema, "enum", "required") | {
        "description": _description(schema),
        "type": _type(schema) or "",
    }
    if isinstance(read["type"], str) and read["type"].upper() == "OBJECT":
        read["properties"] = (
            {} if schema.get("properties") is None else _members(schema["properties"], depth + 1)
        )
    items = schema.get("items")
    if isinstance(items, Mapping):
        items = {
            key: _members(item, depth + 1) if key == "properties" else item
            for key, item in items.items()
        }
    return read if items is None else read | {"items": items}


def _type(schema: Mapping[str, Any]) -> Any:
    """The type as it is declared, or the one that the plugin infers."""
    if schema.get("type") is not None:
        return schema["type"]
    return "object" if "properties" in schema else "array" if "items" in schema else None


def _description(schema: Mapping[str, Any]) -> Any:
    return "" if schema.get("description") is None else schema["description"]


def _pick(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: mapping[key] for key in keys if key in mapping}


def _members_problems(schema: Mapping[str, Any], where: str, depth: int) -> list[str]:
    members = schema.get("properties")
    if depth > MAX_DEPTH or not isinstance(members, Mapping):
        return []  # `tool_problems` reports these
    return [
        problem
        for name, inner in members.items()
        if isinstance(inner, Mapping)
        for problem in _property_problems(inner, f"{where}.properties.{name}", depth + 1)
    ]


def _property_problems(schema: Mapping[str, Any], where: str, depth: int) -> list[str]:
    type_name, problems = _type(schema), []
    if type_name is None:
        problems.append(
            f"{where}: has no type, and the plugin stops at that. Give it one of "
            f"{', '.join(_TYPES).lower()}."
        )
    elif isinstance(type_name, str) and type_name.upper() not in _TYPES:
        problems.append(
            f"{where}.type: is {shown(type_name)}, expected one of {', '.join(_TYPES).lower()}, "
            "the types the plugin knows. Choose one of these."
        )
    enum = schema.get("enum")
    if isinstance(enum, (list, tuple)):
        problems += [
            f"{where}.enum[{index}]: is {shown(value)}, and the plugin stops at <start_ and <end_ "
            "in an enum. Spell it differently."
            for index, value in enumerate(enum)
            if isinstance(value, str) and any(mark in value for mark in _MARKS)
        ]
    problems += _members_problems(schema, where, depth)
    if isinstance(items := schema.get("items"), Mapping):
        problems += _members_problems(items, f"{where}.items", depth)
    return problems
