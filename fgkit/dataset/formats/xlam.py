"""Reads Salesforce xLAM's rows: one request, its calls, and tools with Python's names of types.

    {"query": "Wait 5", "answers": '[{"name": "wait", "arguments": {"s": 5}}]',
     "tools": '[{"name": "wait", ...}]'}

>>> tools, problems = tools_of(
...     [{"name": "f", "description": "Does.", "parameters": {"n": {"type": "int, optional"}}}]
... )
>>> tools[0]["parameters"]
{'type': 'object', 'properties': {'n': {'type': 'integer', 'description': ''}}, 'required': []}
"""

from __future__ import annotations

import json
import re

from fgkit.chat_types import JsonObject, JsonSchema, JsonValue
from fgkit.prompts.format import text_problems
from fgkit.text import shown

from .messages import call_message, json_text
from .parsed import RowFields

_TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "list": "array",
    "array": "array",
    "tuple": "array",
    "set": "array",
    "dict": "object",
    "object": "object",
}
_GENERIC = re.compile(r"(list|tuple|set|dict|optional)\[(.*)\]", re.IGNORECASE)

# In characters.
_LONGEST_TYPE = 200


def read(row: JsonObject) -> tuple[RowFields | None, list[str]]:
    """Return the fields of a `detection.ParsedRow`, or what is wrong with the row.

    Args:
        row: what its line of the file holds.
    """
    problems: list[str] = []
    query, answers, tools = row.get("query"), row.get("answers"), row.get("tools")
    if "query" in row:
        problems += text_problems(query, "query")
        if isinstance(query, str) and not query.strip():
            problems.append(
                "query: found an empty text, expected a request. Fill it in or delete the line."
            )
    if isinstance(answers, str):
        answers, more = json_text(answers, list, "answers", "a list of calls. Write one.")
        problems += more
    if isinstance(tools, str):
        tools, more = json_text(tools, list, "tools", "a list of tools. Write one.")
        problems += more
    tools, more = tools_of(tools) if isinstance(tools, list) else (None, [])
    problems += more
    calls = []
    for index, call in enumerate(answers if isinstance(answers, list) else []):
        name, arguments = (
            (call.get("name"), call.get("arguments")) if isinstance(call, dict) else (None, None)
        )
        if isinstance(name, str) and isinstance(arguments, dict):
            calls.append((name, arguments))
        else:
            problems.append(
                f"answers[{index}]: found {shown(json.dumps(call))}, expected "
                '{"name": ..., "arguments": {...}}. Write it so.'
            )
    if answers == []:
        problems.append(
            "answers: found no call, and the format has no place for a text. Delete the row, or "
            "write it in the format messages with what the model should say."
        )
    if problems or any(key not in row for key in ("query", "answers", "tools")):
        return None, problems
    return {
        "messages": [{"role": "user", "content": query}, call_message(calls)],
        "tools": tools,
    }, []


def tools_of(tools: list[JsonValue]) -> tuple[list[JsonObject], list[str]]:
    """Return functions with JSON schemas, and what could not be understood.

    A parameter is required unless its type says "optional" or it has a default, which the model's
    prompt does not show.

    Args:
        tools: as xLAM writes them.
    """
    functions: list[JsonObject] = []
    problems: list[str] = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        parameters = tool.get("parameters") if isinstance(tool, dict) else None
        if not isinstance(parameters, dict):
            problems.append(
                f"{where}: found {shown(json.dumps(tool))}, expected "
                '{"name": ..., "description": ..., "parameters": {...}}. Write it so.'
            )
            continue
        properties: JsonObject = {}
        required: list[str] = []
        for name, parameter in parameters.items():
            type_name = parameter.get("type") if isinstance(parameter, dict) else None
            schema = _schema(type_name) if isinstance(type_name, str) else None
            if schema is None or not isinstance(type_name, str):
                problems.append(
                    f"{where}.parameters.{name}: type is {shown(type_name)}, expected one of "
                    f'str, int, float, bool, list, dict, such as "int, optional" '
                    'or "List[str]". Choose one type.'
                )
                continue
            properties[name] = schema | {"description": parameter.get("description", "")}
            if not _is_optional(type_name) and "default" not in parameter:
                required.append(name)
        body = {"name": tool.get("name"), "description": tool.get("description", "")}
        if properties:
            body["parameters"] = {"type": "object", "properties": properties, "required": required}
        functions.append(body)
    return functions, problems


def _is_optional(type_name: str) -> bool:
    return "optional" in type_name.lower()


def _schema(type_name: str) -> JsonSchema | None:
    """The schema of a type such as "str", "int, optional", "List[float]" or "Optional[bool]"."""
    # `optional[optional[...` could go on for the whole line.
    if len(type_name) > _LONGEST_TYPE:
        return None
    type_name = re.sub(r",\s*(?:optional|default.*)$", "", type_name.strip(), flags=re.IGNORECASE)
    type_name = type_name.strip()
    generic = _GENERIC.fullmatch(type_name)
    if generic is None:
        known = _TYPES.get(type_name.lower())
        return {"type": known} if known else None
    outer, inner = generic[1].lower(), generic[2].strip()
    if outer == "optional":
        return _schema(inner)
    # A dict does not say which members it has.
    if outer == "dict":
        return {"type": "object"}
    items = {_TYPES.get(part.strip().lower()) for part in inner.split(",") if part.strip() != "..."}
    item = items.pop() if len(items) == 1 else None
    if item is None or item in ("array", "object"):
        return {"type": "array"}
    return {"type": "array", "items": {"type": item}}
