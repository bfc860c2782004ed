"""Tools as other systems write them, in fgkit's one form.

In: what a JSON file of tools holds. Out: the tools in it, each as {"type": "function", "function": {"name",
"description", "parameters"}} with lower-case types, local references written out and unions with null as `nullable`.

>>> normal_tool({"name": "go", "description": "Goes.", "inputSchema": {"type": "object", "properties": {
...     "far": {"anyOf": [{"type": "BOOLEAN"}, {"type": "null"}]}}}})["function"]["parameters"]["properties"]
{'far': {'type': 'boolean', 'nullable': True}}

Read are OpenAI's two forms, Hugging Face's, MCP's `tools/list` (its answer, or the JSON-RPC message around it),
Anthropic's, Google's upper-case declarations and `functionDeclarations`, and {"tools": [...]} around any of them. Only
what says the same in both forms is rewritten; whatever has no counterpart stays as it is, for `tool_lint` to name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fgkit.prompts.declarations import RESERVED_NAMES

JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
COMPOSED = ("anyOf", "oneOf", "allOf")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
DEFINITIONS = ("$defs", "definitions")
UNNAMED = (
    "additionalProperties",
    "patternProperties",
    "propertyNames",
)  # an object's members beside its properties
# Entries of a tool that speak to the runtime or to people, and are no part of what any prompt shows.
_SILENT = (
    "type",
    "return",
    "strict",
    "title",
    "annotations",
    "icons",
    "outputSchema",
    "output_schema",
    "response",
    "responseJsonSchema",
    "execution",
    "cache_control",
    "_meta",
)
# Keywords that name a schema for other schemas. Validators act on them, and references by them are not followed here.
_BOOKKEEPING = ("$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "$comment")
_SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema", "parametersJsonSchema")
_LISTS = ("tools", "functions", "functionDeclarations", "function_declarations")
# Text about a schema, which may stand on both sides of a composition; the outer one is nearer to the parameter.
_ANNOTATIONS = ("title", "description", "default", "examples", "deprecated")
# References can double a schema at every level; past this many nodes the rest stays unresolved and is refused.
_MAX_NODES = 2_000


def tools_in(value: Any) -> list[Any] | None:
    """The tools of a parsed JSON file, as they are written there; None where there is no list of "
    "tools."""
    if isinstance(value, Mapping):
        value = value["result"] if isinstance(value.get("result"), Mapping) else value
        value = _listed(value)
    if not isinstance(value, list):
        return None
    return [tool for item in value for tool in _declarations(item)]


def has_more_pages(value: Any) -> bool:
    """Whether a parsed JSON file is one page of an MCP list that goes on."""
    if isinstance(value, Mapping) and isinstance(value.get("result"), Mapping):
        value = value["result"]
    return isinstance(value, Mapping) and bool(value.get("nextCursor"))


def normal_tool(tool: Any) -> Any:
    """Give one tool in fgkit's form; what is no tool in any known form comes back as it is."""
    if not isinstance(tool, Mapping):
        return tool
    if isinstance(tool.get("function"), Mapping):
        body = tool["function"]
    elif "name" in tool and tool.get("type", "function") == "function":
        body = tool
    else:
        return tool
    schema = next((body[key] for key in _SCHEMA_KEYS if body.get(key) is not None), None)
    normal = {key: body[key] for key in ("name", "description") if key in body}
    if schema is not None:
        normal["parameters"] = _Reader(schema).parameters()
    rest = {
        key: item for key, item in body.items() if key not in (*normal, *_SILENT, *_SCHEMA_KEYS)
    }
    return {"type": "function", "function": normal | rest}


def _declarations(item: Any) -> Iterator[Any]:
    inner = _listed(item) if isinstance(item, Mapping) else None
    yield from [item] if inner is None else inner


def _listed(value: Mapping) -> list | None:
    return next((value[key] for key in _LISTS if isinstance(value.get(key), list)), None)


class _Reader:
    """Rewrites one tool's schema."""

    def __init__(self, root: Any):
        self.root = root
        self.nodes = 0

    def parameters(self) -> Any:
        schema = self.schema(self.root, ())
        if isinstance(schema, dict) and not _refers(schema):
            schema = {key: item for key, item in schema.items() if key not in DEFINITIONS}
        return schema

    def schema(self, schema: Any, followed: tuple[str, ...]) -> Any:
        self.nodes += 1
        if not isinstance(schema, Mapping):
            return schema
        is_root = schema is self.root
        schema = self.inlined(
            {key: item for key, item in schema.items() if key not in _BOOKKEEPING}, followed
        )
        for key in COMPOSED:
            if isinstance(schema.get(key), list):
                schema[key] = [self.schema(option, followed) for option in schema[key]]
        schema = _nullable(_merged(schema))
        if isinstance(schema.get("properties"), Mapping):
            schema["properties"] = {
                name: self.schema(inner, followed) for name, inner in schema["properties"].items()
            }
        if "items" in schema:
            schema["items"] = self.schema(schema["items"], followed)
        schema = _string_enum(schema)
        return schema if is_root or schema.get("properties") is not None else _open_object(schema)

    def inlined(self, schema: dict, followed: tuple[str, ...]) -> dict:
        reference = schema.get("$ref")
        if not isinstance(reference, str) or reference in followed or self.nodes > _MAX_NODES:
            return schema
        target = self.schema(self.target(reference), (*followed, reference))
        rest = {key: item for key, item in schema.items() if key != "$ref"}
        joined = _joined(target, rest) if isinstance(target, dict) and not _refers(target) else None
        return schema if joined is None else joined

    def target(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            return None
        found = self.root
        for part in reference[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def _merged(schema: dict) -> dict:
    """`anyOf`, `oneOf` and `allOf` that come to one schema, or one and null, written as that "
    "schema."""
    for key in COMPOSED:
        options = schema.get(key)
        if not isinstance(options, list):
            continue
        kept = [option for option in options if key == "allOf" or not _is_null(option)]
        if len(kept) == 1 and isinstance(kept[0], dict):
            joined = _joined(kept[0], {name: item for name, item in schema.items() if name != key})
            if joined is not None:
                schema = joined | {"nullable": True} if len(kept) < len(options) else joined
    return schema


def _joined(inner: dict, outer: dict) -> dict | None:
    """Both schemas as one; None where they say different things under one keyword."""
    shared = [key for key in inner if key in outer and key not in _ANNOTATIONS]
    return inner | outer if all(inner[key] == outer[key] for key in shared) else None


def _nullable(schema: dict) -> dict:
    """Types in lower case; a list of one type, or one and null, as that type."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return schema | {"type": _lower(kind)}
    if isinstance(kind, list):
        kinds = [_lower(each) for each in kind]
        named = [each for each in kinds if each != "null"]
        if len(named) == 1:
            schema = (
                schema
                | {"type": named[0]}
                | ({"nullable": True} if len(named) < len(kinds) else {})
            )
        else:
            schema = schema | {"type": kinds}
    return schema


def _string_enum(schema: dict) -> dict:
    """A constant string as an enum of one, null among enum values as `nullable`, an enum of "
    "strings with its type."""
    if isinstance(schema.get("const"), str) and "enum" not in schema:
        schema = {
            "enum" if key == "const" else key: [item] if key == "const" else item
            for key, item in schema.items()
        }
    enum = schema.get("enum")
    if not isinstance(enum, list) or schema.get("type", "string") != "string":
        return schema
    values = [value for value in enum if value is not None]
    if values and all(isinstance(value, str) for value in values):
        if len(values) < len(enum) and ("type" not in schema or schema.get("nullable") is True):
            schema = schema | {"enum": values, "nullable": True}
        return schema if "type" in schema else {"type": "string"} | schema
    return schema


def _open_object(schema: dict) -> dict:
    """An object with keywords but no `properties`, with empty ones: the template would show its "
    "keywords as such."""
    keywords = [key for key in schema if key not in RESERVED_NAMES]
    if (
        schema.get("type") != "object"
        or not keywords
        or any(isinstance(schema.get(key), Mapping) for key in UNNAMED)
    ):
        return schema
    return schema | {
        "properties": {},
        "additionalProperties": schema.get("additionalProperties", True),
    }


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _lower(kind: Any) -> Any:
    return kind.lower() if isinstance(kind, str) and kind.lower() in JSON_TYPES else kind


def _refers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(
            key in REFERENCES or key not in DEFINITIONS and _refers(item)
            for key, item in value.items()
        )
    return isinstance(value, list) and any(map(_refers, value))
