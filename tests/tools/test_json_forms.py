"""Tools of other systems: one form comes out of all, and only what means the same is rewritten."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.errors import ToolError
from fgkit.prompts.declarations import declaration
from fgkit.tools import check_tools, lint_tools, load_tools, tools_from_json
from fgkit.tools.json_forms import normal_tool
from fgkit.tools.validation import Checker

SCHEMA = {
    "type": "object",
    "properties": {
        "room": {"type": "string", "enum": ["bath", "hall"], "description": "Which"},
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"by": {"type": "number", "description": "How far"}},
                "required": ["by"],
            },
            "description": "How",
        },
    },
    "required": ["room"],
}
BODY = {"name": "go", "description": "Goes.", "parameters": SCHEMA}
TOOL = {"type": "function", "function": BODY}


def shouting(value: Any) -> Any:
    if isinstance(value, list):
        return [shouting(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: item.upper() if key == "type" else shouting(item) for key, item in value.items()}


MCP = {
    "name": "go",
    "title": "Go!",
    "description": "Goes.",
    "inputSchema": {"$schema": "http://json-schema.org/draft-07/schema#", **SCHEMA},
    "outputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": True},
    "_meta": {},
}
GOOGLE = {"function": {"name": "go", "description": "Goes.", "parameters": shouting(SCHEMA)}}
FILES = {
    "openai chat": [{"type": "function", "function": {**BODY, "strict": True}}],
    "openai responses": [{"type": "function", "strict": True, **BODY}],
    "openai request": {"model": "m", "messages": [], "tools": [TOOL]},
    "openai functions": {"functions": [BODY]},
    "hugging face": [{"type": "function", "function": {**BODY, "return": {"type": "string"}}}],
    "anthropic": [{"name": "go", "description": "Goes.", "input_schema": SCHEMA}],
    "mcp": {"tools": [MCP]},
    "mcp over json-rpc": {"jsonrpc": "2.0", "id": 1, "result": {"tools": [MCP], "nextCursor": ""}},
    "mobile-actions": [GOOGLE],
    "gemini": {"tools": [{"functionDeclarations": [shouting(BODY)]}]},
    "gemini in Python": [{"function_declarations": [{**BODY, "response": {"type": "STRING"}}]}],
}


@pytest.mark.parametrize("name", FILES)
def test_every_system_comes_to_one_form(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(FILES[name]))
    assert load_tools(path) == [TOOL] == tools_from_json(FILES[name], "row 1")
    assert lint_tools(path).findings == ()


def parameter(schema: Any, **root: Any) -> Any:
    tool = {
        "name": "go",
        "description": "Goes.",
        "parameters": {"type": "object", "properties": {"x": schema}, **root},
    }
    before = copy.deepcopy(tool)
    normal = normal_tool(tool)
    assert tool == before, "the user's own object was changed"
    assert normal_tool(normal) == normal
    assert set(normal["function"]["parameters"]) == {"type", "properties"} | (
        set(root) - {"$defs", "definitions"}
    )
    return normal["function"]["parameters"]["properties"]["x"]


TEXT, ENUM = {"type": "string"}, {"type": "string", "enum": ["a", "b"]}
MEANS_THE_SAME = [
    (
        {"anyOf": [TEXT, {"type": "null"}], "description": "D"},
        {"type": "string", "description": "D", "nullable": True},
    ),
    (
        {"oneOf": [{"type": "null", "title": "T"}, {"type": "INTEGER"}]},
        {"type": "integer", "nullable": True},
    ),
    ({"anyOf": [ENUM]}, ENUM),
    ({"allOf": [ENUM], "description": "D"}, ENUM | {"description": "D"}),
    ({"allOf": [{"anyOf": [ENUM, {"type": "null"}]}]}, ENUM | {"nullable": True}),
    (
        {"anyOf": [{"title": "In", **TEXT}, {"type": "null"}], "title": "Out"},
        {**TEXT, "title": "Out", "nullable": True},
    ),
    ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    ({"type": ["NULL", "NUMBER"]}, {"type": "number", "nullable": True}),
    ({"type": ["string"]}, TEXT),
    ({"type": "BOOLEAN"}, {"type": "boolean"}),
    ({"const": "a"}, {"type": "string", "enum": ["a"]}),
    ({"type": "string", "const": "a"}, {"type": "string", "enum": ["a"]}),
    ({"enum": ["a", "b"]}, ENUM),
    ({"enum": ["a", "b", None]}, ENUM | {"nullable": True}),
    ({"type": ["string", "null"], "enum": ["a", "b", None]}, ENUM | {"nullable": True}),
    ({"type": "array", "items": {"anyOf": [ENUM]}}, {"type": "array", "items": ENUM}),
    (
        {"type": "object", "title": "T"},
        {"type": "object", "title": "T", "properties": {}, "additionalProperties": True},
    ),
    (
        {"type": "object", "additionalProperties": False},
        {"type": "object", "additionalProperties": False, "properties": {}},
    ),
    ({"$comment": "c", "$id": "http://[", **TEXT}, TEXT),
]


@pytest.mark.parametrize(("written", "expected"), MEANS_THE_SAME)
def test_what_means_the_same_is_rewritten(written: dict, expected: dict) -> None:
    assert parameter(written) == expected


STAYS = [
    TEXT,
    ENUM,
    {"anyOf": [TEXT, {"type": "integer"}]},
    {"type": ["string", "integer", "null"]},
    {"const": 3},
    {"enum": ["a", 1]},
    {"enum": [1, 2]},
    {"enum": []},
    {"type": "string", "enum": ["a", None]},
    {"enum": [None]},
    {"allOf": [TEXT, {"minLength": 1}]},
    {"allOf": [TEXT, {"type": "null"}]},
    {"type": "array", "allOf": [{"type": "string"}]},
    {"anyOf": [{"type": "null"}]},
    {"type": "object"},
    {"type": "object", "additionalProperties": TEXT},
    {"type": "text"},
    {"default": {"type": "STRING"}},
    {"$ref": "http://example.com/s"},
    {"$ref": "#/$defs/none"},
    {"$ref": 3},
    {"$ref": "#"},
    {"anyOf": TEXT},
    True,
    None,
    3,
    [],
]


@pytest.mark.parametrize("written", STAYS, ids=str)
def test_what_has_no_counterpart_stays(written: Any) -> None:
    assert parameter(written) == written


def test_parameters_without_properties_stay_so() -> None:
    assert normal_tool({**BODY, "parameters": {"type": "OBJECT", "title": "T"}})["function"][
        "parameters"
    ] == {"type": "object", "title": "T"}


def test_references_are_written_out() -> None:
    definitions = {
        "Kind": {"title": "Kind", "type": "string", "enum": ["a"]},
        "a/b~c": TEXT,
        "Pair": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/Kind"}, "right": {"$ref": "#/$defs/Kind"}},
        },
    }
    kind = {"title": "Kind", "type": "string", "enum": ["a"]}
    assert parameter(
        {"$ref": "#/$defs/Kind", "description": "D"}, **{"$defs": definitions}
    ) == kind | {"description": "D"}
    assert (
        parameter(
            {"$ref": "#/definitions/Pair"},
            definitions={**definitions, "Pair": {"$ref": "#/definitions/Kind"}},
        )
        == kind
    )
    assert parameter(
        {"type": "array", "items": {"$ref": "#/$defs/Pair"}}, **{"$defs": definitions}
    ) == {"type": "array", "items": {"type": "object", "properties": {"left": kind, "right": kind}}}
    assert parameter(
        {"anyOf": [{"$ref": "#/$defs/Kind"}, {"type": "null"}]}, **{"$defs": definitions}
    ) == kind | {"nullable": True}
    assert parameter({"$ref": "#/$defs/a~1b~0c"}, **{"$defs": definitions}) == TEXT


@pytest.mark.parametrize(
    "definitions",
    [
        {
            "Tree": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
            }
        },
        {"Tree": {"$ref": "#/$defs/Tree"}},
        {"Tree": {"$ref": "#/$defs/Leaf"}, "Leaf": {"$ref": "#/$defs/Tree"}},
        {"Tree": {"type": "string", "$ref": "#/$defs/Leaf"}, "Leaf": {"type": "integer"}},
        {
            f"{'Tree' if level == 0 else level}": {
                "type": "object",
                "properties": {side: {"$ref": f"#/$defs/{level + 1}"} for side in ("a", "b")},
            }
            for level in range(40)
        }
        | {"40": {"type": "string"}},
    ],
)
def test_references_that_never_end_are_refused(definitions: dict) -> None:
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/Tree"}}, "$defs": definitions}
    with pytest.raises(
        ToolError,
        match=r"rows.jsonl:7: tool 1: T414 go.parameters.properties.x: refers to '#/\$defs/Tree'",
    ):
        tools_from_json(
            [{"name": "go", "description": "Goes.", "parameters": schema}], "rows.jsonl:7"
        )


def test_what_is_no_list_of_tools_is_refused() -> None:
    for value in ({"name": "go"}, "go", 3, None, {"tools": {}}, {"result": {"tools": None}}):
        with pytest.raises(ToolError, match="row 1: T005 holds a .*, expected a list of tools"):
            tools_from_json(value, "row 1")
    with pytest.raises(ToolError, match="row 1: T005 holds no tools"):
        tools_from_json({"tools": []}, "row 1")
    with pytest.raises(ToolError, match="row 1: tool 1: T201 has no 'function' mapping"):
        tools_from_json([{"type": "custom", "name": "go", "format": {}}], "row 1")


NAMES = [
    "type",
    "properties",
    "required",
    "items",
    "enum",
    "description",
    "nullable",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "const",
    "additionalProperties",
    "name",
    "function",
    "parameters",
    "tools",
    "x",
    "title",
    "pattern",
    "minimum",
    "default",
    "format",
]
WORDS = [
    "object",
    "array",
    "string",
    "integer",
    "number",
    "STRING",
    "null",
    "#/$defs/x",
    "go",
    "x",
    "<escape>",
    "",
]
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
NEAR_PARAMETERS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(st.sampled_from(["x", "y", "type"]), ANY_JSON, max_size=3),
        "required": ANY_JSON,
        "$defs": ANY_JSON,
        "anyOf": ANY_JSON,
    },
)
NEAR_TOOL = st.fixed_dictionaries(
    {"name": st.sampled_from(["go", "stop"]), "description": st.sampled_from(["Goes.", "D" * 301])},
    optional={"parameters": NEAR_PARAMETERS},
)


@settings(max_examples=200, deadline=None)
@given(ANY_JSON | st.lists(NEAR_TOOL, max_size=2))
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        tools = tools_from_json(value, "here")
    except ToolError as error:
        assert all(line.startswith("here: ") for line in str(error).splitlines())
        return
    check_tools(tools, "here")
    assert tools_from_json(tools, "here") == tools
    report = lint_tools(value)
    assert report.errors == []
    assert [tool.characters for tool in report.tools] == [len(declaration(tool)) for tool in tools]
    for tool in tools:  # what was accepted can check arguments, too
        list(Checker(tool)({"x": 1, "y": None}))
