"""One tool or file for each rule of the linter, and what the prompt shows of every tool that passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.errors import ToolError
from fgkit.prompts import conversation, render
from fgkit.prompts.declarations import RESERVED_NAMES
from fgkit.tools import coercion, lint_tools, load_tools, tools_from_json
from fgkit.tools.rules import MAX_DESCRIPTION, MAX_TOOLS, RULES, rules_table

STRING = {"type": "string", "description": "X"}
ROOT = Path(__file__).resolve().parents[2]


def tool(
    properties: Any = None, name: Any = "go", description: Any = "Goes.", **parameters: Any
) -> dict:
    return {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": properties or {}, **parameters},
    }


def one(schema: Any, **parameters: Any) -> list[dict]:
    return [tool({"x": schema}, **parameters)]


# rule, tools, where the message says it is (after the place and the rule)
TOOLS = [
    ("T006", {"tools": [tool()], "nextCursor": "abc"}, "has a 'nextCursor'"),
    ("T201", [3], "has no 'function' mapping"),
    ("T201", [{"function": 3}], "has no 'function' mapping"),
    ("T202", [tool(name="two words")], "name: is 'two words'"),
    ("T202", [tool(name="größe")], "name: is 'größe'"),
    ("T202", [tool(name=None)], "name: is None"),
    ("T202", [tool({"1a": STRING})], "go.parameters.properties.1a: is '1a'"),
    (
        "T202",
        one({"type": "object", "properties": {"a b": STRING}, "description": "X"}),
        "go.parameters.properties.x.properties: name: is 'a b'",
    ),
    (
        "T203",
        [tool(), tool(description="Other.")],
        "go: two tools are called 'go', the other one at tools: tool 1.",
    ),
    (
        "T204",
        [tool(name="get_light"), tool(name="getLights", description="Other.")],
        "getLights: differs from 'get_light' at tools: tool 1 only in case, separators or a plural s",
    ),
    ("T205", [tool(name="call")], "name: is 'call', a word of LiteRT-LM's call grammar"),
    *[
        ("T205", [tool({word: STRING})], f"go.parameters.properties.{word}: is '{word}'")
        for word in ("true", "false", "null")
    ],
    (
        "T205",
        one({"type": "object", "description": "X", "properties": {"call": STRING}}),
        "go.parameters.properties.x.properties.call: is 'call'",
    ),
    *[
        (
            "T206",
            [tool({name: STRING})],
            f"go.parameters.properties.{name}: a parameter called '{name}'",
        )
        for name in RESERVED_NAMES
    ],
    *[
        (
            "T206",
            one(
                {
                    "type": "array",
                    "description": "X",
                    "items": {"type": "object", "properties": {name: STRING}},
                }
            ),
            f"go.parameters.properties.x.items.properties.{name}: a parameter called",
        )
        for name in RESERVED_NAMES
    ],
    (
        "T207",
        [tool(name=f"go_{n}", description=f"Goes {n}.") for n in range(MAX_TOOLS + 1)],
        "this is tool 15 of 15",
    ),
    ("T301", [{"name": "go"}], "go.description: is empty"),
    ("T301", [tool(description=" ")], "go.description: is empty"),
    ("T302", one({"type": "string"}), "go.parameters.properties.x: has no description"),
    (
        "T302",
        one(
            {
                "type": "array",
                "description": "X",
                "items": {"type": "object", "properties": {"y": {"type": "string"}}},
            }
        ),
        "go.parameters.properties.x.items.properties.y: has no description",
    ),
    (
        "T303",
        [tool(), tool(name="run", description="Goes. ")],
        "run.description: repeats that of go",
    ),
    ("T304", [tool(description="Say <escape>.")], "go.description: holds <escape>"),
    (
        "T304",
        one({**STRING, "description": "<start_of_turn>"}),
        "go.parameters.properties.x.description: holds",
    ),
    ("T304", one({**STRING, "enum": ["<eos>"]}), "go.parameters.properties.x.enum[0]: holds <eos>"),
    ("T304", [tool(description=None)], "go.description: is None"),
    ("T304", [tool(description=3)], "go.description: is 3"),
    ("T304", [tool(description="half \ud83d")], "go.description: holds half of a surrogate pair"),
    (
        "T304",
        one({"type": "array", "description": "X", "items": {**STRING, "title": "<bos>"}}),
        "go.parameters.properties.x.items.title: holds <bos>",
    ),
    ("T305", [tool(description="x" * (MAX_DESCRIPTION + 1))], "go.description: has 301 characters"),
    (
        "T305",
        one({**STRING, "description": "x" * 999}),
        "go.parameters.properties.x.description: has 999",
    ),
    ("T401", one({"description": "X"}), "go.parameters.properties.x: has no type"),
    (
        "T401",
        one({"type": "array", "items": {"description": "X"}}),
        "go.parameters.properties.x.items: has no type",
    ),
    (
        "T402",
        one({"anyOf": [STRING, {"type": "integer"}]}),
        "go.parameters.properties.x.anyOf: is a union of 2 schemas (string, integer)",
    ),
    ("T402", one({"type": ["string", "integer"]}), "go.parameters.properties.x.type: is a union"),
    (
        "T402",
        one({**STRING, "oneOf": [{"const": 1}, {"const": 2}]}),
        "go.parameters.properties.x.oneOf: is a union",
    ),
    (
        "T402",
        [tool(allOf=[{"properties": {}}, {"properties": {}}])],
        "go.parameters.allOf: is a union",
    ),
    (
        "T402",
        one({"type": "array", "items": {"anyOf": [STRING, {"type": "integer"}]}}),
        "go.parameters.properties.x.items.anyOf: is",
    ),
    (
        "T403",
        one({"type": "integer", "enum": [1, 2]}),
        "go.parameters.properties.x.enum: is left out",
    ),
    (
        "T403",
        one({"type": "boolean", "const": True}),
        "go.parameters.properties.x.enum: is left out",
    ),
    ("T403", one({"type": "string", "enum": ["a", 1]}), "go.parameters.properties.x.enum[1]: is 1"),
    (
        "T403",
        one({"type": "object", "properties": {"y": {"type": "number", "enum": [1]}}}),
        "go.parameters.properties.x.properties.y.enum: is left out",
    ),
    ("T404", one({"type": "string", "enum": []}), "go.parameters.properties.x.enum: is empty"),
    (
        "T405",
        one({"type": "array", "items": {"type": "array", "items": STRING}}),
        "go.parameters.properties.x.items: arrays of arrays",
    ),
    (
        "T405",
        one({"type": "array", "items": {"type": "string", "items": STRING}}),
        "go.parameters.properties.x.items: arrays of arrays",
    ),
    ("T406", one({"type": "array"}), "go.parameters.properties.x: does not say what it holds"),
    (
        "T406",
        one({"type": "array", "items": {}}),
        "go.parameters.properties.x: does not say what it holds",
    ),
    (
        "T406",
        one({"type": "array", "prefixItems": [STRING]}),
        "go.parameters.properties.x: does not say what it holds",
    ),
    (
        "T407",
        one({"type": "object", "additionalProperties": {"type": "integer"}}),
        "go.parameters.properties.x: an object without",
    ),
    (
        "T407",
        one(
            {
                "type": "array",
                "items": {"type": "object", "additionalProperties": {"type": "integer"}},
            }
        ),
        "go.parameters.properties.x.items: an object without",
    ),
    ("T408", one({"type": "object"}), "go.parameters.properties.x: names no properties"),
    (
        "T408",
        one({"type": "object", "additionalProperties": True}),
        "go.parameters.properties.x: names no properties",
    ),
    (
        "T408",
        one({"type": "array", "items": {"type": "object"}}),
        "go.parameters.properties.x.items: names no properties",
    ),
    (
        "T409",
        [{**tool(), "parameters": {"type": "string"}}],
        "go.parameters.type: is 'string', expected \"object\"",
    ),
    ("T409", [{**tool(), "parameters": {"properties": {}}}], "go.parameters: has no 'type'"),
    ("T409", [{**tool(), "parameters": True}], "go.parameters: is of type bool"),
    (
        "T410",
        one(STRING, required=["y"]),
        "go.parameters.required: names 'y', which is no property.",
    ),
    (
        "T410",
        one({"type": "object", "properties": {"city": STRING}, "required": ["citi"]}),
        "go.parameters.properties.x.required: names 'citi', which is no property; did you mean 'city'?",
    ),
    ("T410", one(STRING, required="x"), "go.parameters.required: is of type str"),
    ("T411", one({"type": "text"}), "go.parameters.properties.x.type: is no valid JSON Schema"),
    (
        "T411",
        one({"type": "string", "pattern": "("}),
        "go.parameters.properties.x.pattern: is no valid JSON Schema",
    ),
    (
        "T411",
        one({"type": "string", "required": True}),
        "go.parameters.properties.x.required: is no valid JSON Schema",
    ),
    (
        "T411",
        one({**STRING}, required=["x", "x"]),
        "go.parameters.required: is no valid JSON Schema",
    ),
    (
        "T411",
        [tool({"\ud83d": {"type": 5}})],
        "go.parameters.properties.\ud83d.type: is no valid JSON Schema",
    ),
    ("T411", one(True), "go.parameters.properties.x: is True, expected a JSON schema"),
    ("T411", one(None), "go.parameters.properties.x: is None, expected a JSON schema"),
    ("T413", one({**STRING, "default": Path()}), "go: cannot be written as JSON"),
    (
        "T413",
        one({"type": "array", "items": {**STRING, "default": float("inf")}}),
        "go.parameters.properties.x.items.default: is inf",
    ),
    ("T414", one({"$ref": "#/$defs/a"}), "go.parameters.properties.x: refers to '#/$defs/a'"),
    (
        "T414",
        one({"type": "array", "items": {"$ref": "http://example.com/s"}}),
        "go.parameters.properties.x.items: refers to",
    ),
    (
        "T415",
        one({**STRING, "nullable": True}, required=["x"]),
        "go.parameters.properties.x: is required and may be null",
    ),
    (
        "T415",
        one({"anyOf": [STRING, {"type": "null"}]}, required=["x"]),
        "go.parameters.properties.x: is required and may be null",
    ),
    (
        "T501",
        one({"type": "integer", "minimum": 0, "default": 3, "description": "X"}),
        "go.parameters.properties.x: is shown to the model without 'minimum', 'default'. Say in the description",
    ),
    (
        "T501",
        one({**STRING, "descripton": "Y"}),
        "go.parameters.properties.x: is shown to the model without 'descripton'; did you mean 'description'?",
    ),
    *[
        (
            "T501",
            one({**STRING, key: value}),
            f"go.parameters.properties.x: is shown to the model without '{key}'",
        )
        for key, value in {
            "pattern": "a+",
            "format": "date",
            "examples": ["a"],
            "title": "T",
            "minLength": 1,
            "items": {},
            "not": {},
        }.items()
    ],
    (
        "T501",
        [
            {
                **tool(),
                "parameters": {
                    "type": "object",
                    "additionalProperties": False,
                    "title": "T",
                    "description": "D",
                },
            }
        ],
        "go.parameters: is shown to the model without 'additionalProperties', 'title', 'description'",
    ),
    (
        "T501",
        [tool(anyOf=[{"required": ["x"]}, {"required": ["y"]}])],
        "go.parameters: is shown to the model without 'anyOf'",
    ),
    ("T501", [{**tool(), "examples": ["go now"]}], "go: is shown to the model without 'examples'"),
]


@pytest.mark.parametrize(("rule", "tools", "message"), TOOLS)
def test_each_rule_at_its_place(rule: str, tools: Any, message: str) -> None:
    report = lint_tools(tools)
    found = [finding for finding in report.findings if finding.rule_id == rule]
    assert any(finding.message.startswith(message) for finding in found), report.table()
    for finding in report.findings:
        assert re.fullmatch(r"tools(: tool \d+)?", finding.place)
        assert re.search(r"[.?] [A-Z][^.]+.*\.$", finding.message), f"no remedy: {finding}"
        assert finding.severity == RULES[finding.rule_id].severity
    if RULES[rule].severity == "error":
        with pytest.raises(ToolError, match=f": {rule} "):
            tools_from_json(tools, "tools")
    else:
        assert finding not in report.errors and f"warning: {found[0]}" in report.table()


FUNCTIONS = {  # rule -> file, and the line that is named
    "T002": ("def go(:\n", ":1"),
    "T003": ("x = 1\n1 / 0\n", ":2"),
    "T005": ("x = 1\n", ""),
    "T101": ("def go(): ...\n", ":1"),
    "T102": ("def go(*x: int):\n    '''Goes.'''\n", ":1"),
    "T103": ("\ndef go(x):\n    '''Goes.'''\n", ":2"),
    "T104": (
        "import datetime\ndef go(x: datetime.date):\n    '''Goes.\n\n    Args:\n        x: X\n    '''\n",
        ":2",
    ),
    "T105": ("def go(x: int):\n    '''Goes.'''\n", ":1"),
    "T106": ("def go():\n    '''A.'''\ndef go():\n    '''B.'''\n", ""),
    "T107": ("def go():\n    '''Goes.\n\n    Args:\n        x: X\n    '''\n", ":1"),
}


@pytest.mark.parametrize("rule", FUNCTIONS)
def test_rules_of_python_files(rule: str, tmp_path: Path) -> None:
    text, line = FUNCTIONS[rule]
    path = tmp_path / "tools.py"
    path.write_text(text)
    if RULES[rule].severity == "error":
        with pytest.raises(ToolError) as caught:
            load_tools(path)
        lines = str(caught.value).splitlines()
    else:
        lines = [str(finding) for finding in lint_tools(path).warnings]
    assert any(each.startswith(f"{path}{line}: {rule} ") for each in lines), lines


def test_depth_is_limited() -> None:
    schema = STRING
    for _ in range(70):
        schema = {"type": "object", "properties": {"x": schema}, "description": "X"}
    with pytest.raises(ToolError, match=": T412 .* is nested deeper than 64 levels. Flatten it"):
        tools_from_json(one(schema), "tools")


def test_every_rule_is_tested() -> None:
    elsewhere = {"T001", "T004", "T412"}  # test_tools.py, and the test above
    assert {rule for rule, *_ in TOOLS} | set(FUNCTIONS) | elsewhere == set(RULES)


def test_what_the_model_sees_in_full_gets_no_finding() -> None:
    schemas = {
        "a": {**STRING, "enum": ["x"], "nullable": True},
        "b": {"type": "number", "description": "B"},
        "Type": STRING,
        "c": {
            "type": "array",
            "items": {"type": "integer", "enum": [1, 2], "minimum": 0},
            "description": "C",
        },
        "d": {
            "type": "object",
            "properties": {"e.f-g": {"type": "boolean", "description": "E"}},
            "required": ["e.f-g"],
            "description": "D",
        },
    }
    report = lint_tools(
        [
            tool(schemas, required=["b"]),
            {"name": "stop", "description": "Stops."},
            {"name": "wait", "description": "Waits.", "parameters": {}},
            tool(name="turn_on", description="On."),
            tool(name="turn_off", description="Off."),
            tool(name="set_timer", description="Sets."),
            tool(name="get_timer", description="Gets."),
        ]
    )
    assert report.findings == ()
    short = [tool(name="run_gps", description="Runs."), tool(name="run_gp", description="Asks.")]
    assert lint_tools(short).findings == ()  # no plural
    free = one({"type": "object", "additionalProperties": True, "description": "X"})
    assert [finding.rule_id for finding in lint_tools(free).findings] == ["T408"]


def test_the_document_has_the_rules_and_the_coercions() -> None:
    text = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    assert rules_table() in text and len(RULES) > 35
    coercions = re.findall(r"^\|.*\|$", coercion.__doc__, re.MULTILINE)
    assert len(coercions) == 9 and "\n".join(coercions) in text
    assert list(RULES) == sorted(RULES) and all(re.fullmatch(r"T\d{3}", rule) for rule in RULES)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,6}", fullmatch=True).filter(
    lambda name: name not in (*RESERVED_NAMES, "call", "true", "false", "null")
)
MORE = {
    "description": st.text(max_size=5),
    "nullable": st.booleans(),
    "default": st.integers(),
    "title": st.text(max_size=3),
}
SCALARS = st.fixed_dictionaries(
    {"type": st.sampled_from(["INTEGER", "number", "boolean"])}, optional=MORE
) | st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={**MORE, "enum": st.lists(st.text(max_size=3), min_size=1, max_size=2)},
)
OBJECTS = st.fixed_dictionaries(
    {"type": st.just("object")}, optional={**MORE, "additionalProperties": st.booleans()}
)


def larger(inner: st.SearchStrategy) -> st.SearchStrategy:
    objects = st.builds(
        lambda schema, properties: {**schema, "properties": properties},
        OBJECTS,
        st.dictionaries(NAMES, inner, max_size=3),
    )
    return st.one_of(
        objects,
        st.builds(lambda items: {"type": "array", "items": items}, SCALARS | objects),
        st.builds(lambda schema: {"anyOf": [schema, {"type": "null"}]}, objects | SCALARS),
    )


SCHEMAS = st.recursive(SCALARS | OBJECTS | st.just({"type": "array"}), larger, max_leaves=6)


def names_in(schema: dict) -> list[str]:
    """Every property name in a schema, in the order in which the prompt must show them."""
    if schema.get("type") == "array":
        return names_in(schema["items"]) if isinstance(schema.get("items"), dict) else []
    found = []
    for name, inner in sorted(
        (schema.get("properties") or {}).items(), key=lambda item: item[0].lower()
    ):
        found += [name, *names_in(inner)]
    return found


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, SCHEMAS, max_size=3), st.randoms())
def test_every_name_of_an_accepted_tool_can_be_read_in_the_prompt(
    properties: dict, random: Any
) -> None:
    required = random.sample(sorted(properties), random.randint(0, len(properties)))
    try:
        (accepted,) = tools_from_json([tool(properties, required=required)], "tools")
    except ToolError:
        return
    text = render(conversation("Hi"), [accepted])
    assert (
        text.count("<start_function_declaration>") == text.count("<end_function_declaration>") == 1
    )
    declared = re.sub(
        "<escape>.*?<escape>",
        "S",
        text.partition("declaration:go")[2].partition("<end_function")[0],
        flags=re.DOTALL,
    )
    assert declared.count("{") == declared.count("}") and declared.count("[") == declared.count("]")
    shown = re.findall(
        r"(?:(?<=properties:\{)|(?<=type:S\},)|(?<=\]\},)|(?<=\}\},))([A-Za-z_][\w.-]*):\{",
        declared,
    )
    assert shown == names_in(accepted["function"]["parameters"])
    for name in required:
        assert f"<escape>{name}<escape>" in text.partition("required:")[2]
