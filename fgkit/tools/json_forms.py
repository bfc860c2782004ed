"""Rewrites tools as other systems write them into fgkit's one form.

That form is {"type": "function", "function": {"name", "description", "parameters"}} with lower-case
types, local references written out, and unions with null as `nullable`.

>>> far = {"anyOf": [{"type": "BOOLEAN"}, {"type": "null"}]}
>>> schema = {"type": "object", "properties": {"far": far}}
>>> tool = normal_tool({"name": "go", "description": "Goes.", "inputSchema": schema})
>>> tool["function"]["parameters"]["properties"]
{'far': {'type': 'boolean', 'nullable': True}}

It reads OpenAI's two forms, Hugging Face's, MCP's `tools/list` (its answer, or the JSON-RPC message
around it), Anthropic's, Google's upper-case declarations and `functionDeclarations`, and
{"tools": [...]} around any of them. Only what means the same in both forms is rewritten; what has
no counterpart stays as it is, and the linter reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fgkit.chat_types import JsonObject, JsonValue
from fgkit.prompts.declarations import RESERVED_NAMES

JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
COMPOSED = ("anyOf", "oneOf", "allOf")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
DEFINITIONS = ("$defs", "definitions")
# What an object may hold besides its properties.
UNNAMED = ("additionalProperties", "patternProperties", "propertyNames")
# Entries of a tool for the runtime or for people, which no prompt shows.
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
# Keywords by which other schemas refer to a schema. Validators act on them; references of this kind
# are not followed here.
_BOOKKEEPING = ("$schema", "$id", "$anchor", "$dynamicAnchor", "$vocabulary", "$comment")
_SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema", "parametersJsonSchema")
_LISTS = ("tools", "functions", "functionDeclarations", "function_declarations")
# Texts about a schema. Both sides of a composition may have them; the outer one is closer to the
# parameter and is kept.
_ANNOTATIONS = ("title", "description", "default", "examples", "deprecated")
# References can double a schema at every level. After this many nodes the rest stays unresolved,
# and the linter refuses it.
_MAX_NODES = 2_000


def tools_in(value: JsonValue) -> list[JsonValue] | None:
    """Return the tools of a parsed JSON file as they are written, or None without a list of tools.

    Args:
        value: what the file holds.
    """
    if isinstance(value, Mapping):
        value = value["result"] if isinstance(value.get("result"), Mapping) else value
        value = _listed(value)
    if not isinstance(value, list):
        return None
    return [tool for item in value for tool in _declarations(item)]


def has_more_pages(value: JsonValue) -> bool:
    """Return whether a parsed JSON file is one page of an MCP list that has more pages.

    Args:
        value: what the file holds.
    """
    if isinstance(value, Mapping) and isinstance(value.get("result"), Mapping):
        value = value["result"]
    return isinstance(value, Mapping) and bool(value.get("nextCursor"))


def normal_tool(tool: JsonValue) -> JsonValue:
    """Return one tool in fgkit's form; what is no tool in any known form is returned unchanged.

    Args:
        tool: an entry of `tools_in`.
    """
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


def _declarations(item: JsonValue) -> Iterator[JsonValue]:
    inner = _listed(item) if isinstance(item, Mapping) else None
    yield from [item] if inner is None else inner


def _listed(value: Mapping[str, JsonValue]) -> list[JsonValue] | None:
    """The list of tools in an object, or None."""
    return next((value[key] for key in _LISTS if isinstance(value.get(key), list)), None)


class _Reader:
    """Rewrites the schema of one tool; `root` is the schema that local references start from."""

    def __init__(self, root: JsonValue):
        self.root = root
        self.nodes = 0

    def parameters(self) -> JsonValue:
        schema = self.schema(self.root, ())
        if isinstance(schema, dict) and not _refers(schema):
            schema = {key: item for key, item in schema.items() if key not in DEFINITIONS}
        return schema

    def schema(self, schema: JsonValue, followed: tuple[str, ...]) -> JsonValue:
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

    def inlined(self, schema: JsonObject, followed: tuple[str, ...]) -> JsonObject:
        reference = schema.get("$ref")
        if not isinstance(reference, str) or reference in followed or self.nodes > _MAX_NODES:
            return schema
        target = self.schema(self.target(reference), (*followed, reference))
        rest = {key: item for key, item in schema.items() if key != "$ref"}
        joined = _joined(target, rest) if isinstance(target, dict) and not _refers(target) else None
        return schema if joined is None else joined

    def target(self, reference: str) -> JsonValue:
        if not reference.startswith("#/"):
            return None
        target = self.root
        for part in reference[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            target = target.get(part) if isinstance(target, Mapping) else None
        return target


def _merged(schema: JsonObject) -> JsonObject:
    """The schema with compositions of one schema, or of one and null, replaced by that schema."""
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


def _joined(inner: JsonObject, outer: JsonObject) -> JsonObject | None:
    """Both schemas as one, or None if they have different values for one keyword."""
    shared = [key for key in inner if key in outer and key not in _ANNOTATIONS]
    return inner | outer if all(inner[key] == outer[key] for key in shared) else None


def _nullable(schema: JsonObject) -> JsonObject:
    """The schema with types in lower case; a list of one type, or of one and null, is that type."""
    declared = schema.get("type")
    if isinstance(declared, str):
        return schema | {"type": _lower(declared)}
    if not isinstance(declared, list):
        return schema
    types = [_lower(type_) for type_ in declared]
    not_null = [type_ for type_ in types if type_ != "null"]
    if len(not_null) != 1:
        return schema | {"type": types}
    nullable = {"nullable": True} if len(not_null) < len(types) else {}
    return schema | {"type": not_null[0]} | nullable


def _string_enum(schema: JsonObject) -> JsonObject:
    """The schema with its enum of strings in fgkit's form.

    A constant string becomes an enum of one, null among the values becomes `nullable`, and a
    missing type is added.
    """
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


def _open_object(schema: JsonObject) -> JsonObject:
    """The schema of an object with keywords but without `properties`, with empty properties.

    Otherwise the model's template would show the keywords as properties.
    """
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


def _is_null(schema: JsonValue) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _lower(type_: JsonValue) -> JsonValue:
    return type_.lower() if isinstance(type_, str) and type_.lower() in JSON_TYPES else type_


def _refers(value: JsonValue) -> bool:
    if isinstance(value, Mapping):
        return any(
            key in REFERENCES or key not in DEFINITIONS and _refers(item)
            for key, item in value.items()
        )
    return isinstance(value, list) and any(map(_refers, value))
