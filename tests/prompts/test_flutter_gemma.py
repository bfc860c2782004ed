"""Style flutter_gemma: exact texts, its own refusals, and the same declarations as in the other styles."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from fgkit import prompts
from fgkit.calls import Call, parse
from fgkit.errors import PromptError, ToolError
from fgkit.prompts import conversation, render
from tests.prompts.test_template import ANSWER, NAMES, TEXTS, USER, call, tool, with_property

TRIGGER = "You are a model that can do function calling with the following functions"


def written(messages, tools):
    return render(messages, tools, style="flutter_gemma")


def test_newlines_order_and_header():
    tools = [
        tool(
            {
                "type": "object",
                "required": ["b", "A"],
                "properties": {
                    "b": {"type": "string", "description": " B ", "enum": ["x", "y"]},
                    "A": {"type": "integer", "description": None},
                },
            }
        ),
        tool(name="now", description="The time."),
    ]
    expected = (
        "<bos><start_of_turn>developer\n" + TRIGGER + "\n"
        "<start_function_declaration>declaration:f{description:<escape>d<escape>,parameters:{properties:{"
        "b:{description:<escape> B <escape>,enum:[<escape>x<escape>,<escape>y<escape>],type:<escape>STRING<escape>},"
        "A:{description:<escape><escape>,type:<escape>INTEGER<escape>}},required:[<escape>b<escape>,<escape>A<escape>],"
        "type:<escape>OBJECT<escape>}}<end_function_declaration>\n"
        "<start_function_declaration>declaration:now{description:<escape>The time.<escape>}<end_function_declaration>\n"
        "<end_of_turn>\n<start_of_turn>user\n  make it\n red \n<end_of_turn>\n<start_of_turn>model\n"
    )
    assert written(conversation("  make it\n red \n"), tools) == expected
    user = {
        "role": "user",
        "content": [{"type": "text", "text": "  make it\n "}, {"type": "text", "text": "red \n"}],
    }
    assert render([user], tools, style="flutter_gemma", add_generation_prompt=True) == expected
    assert written([{"role": "system", "content": None}, user], tools) == expected


def test_without_tools_there_is_no_developer_turn():
    for tools in (None, []):
        assert (
            written(conversation("hi"), tools)
            == "<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n"
        )


@pytest.mark.parametrize(
    "parameters, text",
    [
        ({}, ""),
        (None, ""),
        ({"properties": {}}, ",parameters:{type:<escape>OBJECT<escape>}"),
        ({"type": ["object", "null"], "x": 1}, ",parameters:{type:<escape>OBJECT<escape>}"),
        (
            {"required": ["a"]},
            ",parameters:{required:[<escape>a<escape>],type:<escape>OBJECT<escape>}",
        ),
    ],
)
def test_top_level_is_always_an_object(parameters, text):
    assert f"declaration:f{{description:<escape>d<escape>{text}}}<end" in written(
        [USER], [tool(parameters or {})]
    )


@pytest.mark.parametrize(
    "schema, text",
    [
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            "{description:<escape><escape>,properties:{},type:<escape>OBJECT<escape>}",
        ),
        (
            {"properties": {"z": {"type": "null"}, "a": {"type": "Boolean"}}, "required": ["z"]},
            "{description:<escape><escape>,properties:{z:{description:<escape><escape>,type:<escape>NULL<escape>},"
            "a:{description:<escape><escape>,type:<escape>BOOLEAN<escape>}},required:[<escape>z<escape>],"
            "type:<escape>OBJECT<escape>}",
        ),
        (
            {
                "items": {
                    "type": "string",
                    "Enum": [True, None],
                    "description": None,
                    "required": [],
                }
            },
            "{description:<escape><escape>,items:{Enum:[true,None],required:[],type:<escape>STRING<escape>},"
            "type:<escape>ARRAY<escape>}",
        ),
        (
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"z": {"type": "string"}, "a": {"type": "string"}},
                },
            },
            "{description:<escape><escape>,items:{properties:{z:{description:<escape><escape>,type:<escape>STRING<escape>},"
            "a:{description:<escape><escape>,type:<escape>STRING<escape>}},type:<escape>OBJECT<escape>},"
            "type:<escape>ARRAY<escape>}",
        ),
        (
            {"type": "integer", "enum": [1], "default": 2, "nullable": True},
            "{description:<escape><escape>,type:<escape>INTEGER<escape>}",
        ),
    ],
)
def test_property_schemas(schema, text):
    assert f"properties:{{x:{text}}},type:" in written([USER], with_property(schema))


@pytest.mark.parametrize(
    "messages, expected",
    [
        (
            [USER, ANSWER, USER],
            "messages: hold assistant messages, but style flutter_gemma is single-turn: the plugin forgets",
        ),
        (
            [USER, call()],
            "messages: hold assistant messages, but style flutter_gemma is single-turn",
        ),
        (
            [USER, call(), {"role": "tool", "name": "f", "content": "1"}],
            "messages: hold assistant and tool messages, but style",
        ),
        (
            [USER, USER],
            "messages: hold 2 user messages, but style flutter_gemma is single-turn: the plugin sends exactly one",
        ),
        (
            [{"role": "developer", "content": TRIGGER}],
            "messages: hold 0 user messages, but style flutter_gemma is single-turn",
        ),
        (
            conversation("hi", "Be brief."),
            "messages[0] (developer): is 'Be brief.', but the plugin always sends 'You are a mod",
        ),
        (
            [{"role": "user", "content": [{"type": "image"}]}],
            "messages[0] (user): holds an image, which the plugin does not",
        ),
        (
            conversation("<eos>"),
            "messages[1] (user): content: holds <eos>, which the model reads as a control token",
        ),
    ],
)
def test_conversation_is_refused(messages, expected):
    with pytest.raises(PromptError) as caught:
        written(messages, [tool()])
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tools, expected",
    [
        ("f", "tools: is of type str, expected a list"),
        ([5], "tools[0]: has no 'function' mapping"),
        ([tool([1])], "tools[0] f.parameters: is of type list, expected a JSON schema"),
        ([tool({"properties": 5})], "tools[0] f.parameters.properties: is 5, expected a mapping"),
        (with_property(None), "f.parameters.properties.x: is None, expected a JSON schema"),
        (
            with_property({"type": ["string", "null"]}),
            "f.parameters.properties.x.type: is a union, which the model was not tr",
        ),
        (
            with_property({"description": "d"}),
            "f.parameters.properties.x: has no type, and the plugin stops at that. Give it",
        ),
        (
            with_property({"type": "date"}),
            "f.parameters.properties.x.type: is 'date', expected one of string, number, integer,",
        ),
        (with_property({"type": 5}), "f.parameters.properties.x.type: is 5, expected a string"),
        (
            with_property({"type": "string", "enum": ["<end_x"]}),
            "x.enum[0]: is '<end_x', and the plugin stops at <start_ and",
        ),
        (
            with_property({"type": "string"}, "type"),
            "properties.type: a parameter called 'type' is left out",
        ),
        (
            with_property({"type": "array", "items": {"properties": {"y": {}}}}),
            "x.items.properties.y: has no type, and the pl",
        ),
        (
            with_property({"type": "object", "properties": {"y": {"type": "any"}}}),
            "x.properties.y.type: is 'any', expected",
        ),
    ],
)
def test_tools_are_refused(tools, expected):
    with pytest.raises(ToolError) as caught:
        written([USER], tools)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_answers_its_parser_does_not_read_are_refused():
    calls = [Call("a.b", {"x-y": 1, "z": [{"k_1": 1, "l.m": None}]})]
    with pytest.raises(PromptError) as caught:
        prompts.completion(calls, style="flutter_gemma")
    assert str(caught.value) == "\n".join(
        f"calls[0]: {place}: is {name!r}, but the plugin reads only letters, digits and '_' in names. Rename it."
        for place, name in (
            ("name", "a.b"),
            ("arguments: key 'x-y'", "x-y"),
            ("arguments.z[0]: key 'l.m'", "l.m"),
        )
    )
    calls = [Call("a_b", {"xY1": None})]
    assert prompts.answer(calls, style="flutter_gemma") == prompts.completion(calls)


def test_depth_is_limited_before_python_gives_up():
    schema: dict = {"type": "object"}
    schema["properties"] = {"k": schema}
    with pytest.raises(ToolError, match="is nested deeper than 64 levels"):
        written([USER], with_property(schema))


# --- every style says the same of the same tools ---


def _schemas(inner):
    described = {"description": TEXTS}
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number", "boolean"]), **described}
        ),
        st.fixed_dictionaries(
            {"type": st.just("string"), **described},
            optional={
                "enum": st.lists(TEXTS.filter(lambda text: "<" not in text), min_size=1, max_size=2)
            },
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(NAMES, inner, max_size=3),
                **described,
            },
            optional={"required": st.lists(NAMES, min_size=1, max_size=2)},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, **described}),
    )


FLAT = st.fixed_dictionaries({"type": st.just("string"), "description": TEXTS})
TOOLS = st.lists(
    st.fixed_dictionaries(
        {
            "function": st.fixed_dictionaries(
                {
                    "name": NAMES,
                    "description": TEXTS,
                    "parameters": st.fixed_dictionaries(
                        {
                            "properties": st.dictionaries(
                                NAMES, _schemas(FLAT), min_size=1, max_size=4
                            ),
                            "type": st.just("object"),
                            "required": st.lists(NAMES, min_size=1, max_size=2),
                        }
                    ),
                }
            )
        }
    ),
    min_size=1,
    max_size=3,
)


def declarations(text):
    """The declarations of a prompt, read with the parser of calls, which knows their values."""
    found = re.findall(
        r"<start_function_declaration>declaration:(.*?)<end_function_declaration>", text, re.DOTALL
    )
    return [parse(f"<start_function_call>call:{each}<end_function_call>")[0] for each in found]


def types_in_upper_case(item):
    if isinstance(item, list):
        return [types_in_upper_case(inner) for inner in item]
    if not isinstance(item, dict):
        return item
    return {
        key: inner.upper()
        if key == "type" and isinstance(inner, str)
        else types_in_upper_case(inner)
        for key, inner in item.items()
    }


@settings(max_examples=100, deadline=None)
@given(TOOLS, TEXTS)
def test_all_styles_declare_the_same(tools, content):
    for style in prompts.STYLES:
        text = render(conversation(content), tools, style=style, add_generation_prompt=True)
        assert text.count("<bos>") == 1 and text.endswith("<end_of_turn>\n<start_of_turn>model\n")
        assert [(found.name, found.arguments) for found in declarations(text)] == [
            (
                each["function"]["name"],
                types_in_upper_case(
                    {key: each["function"][key] for key in ("description", "parameters")}
                ),
            )
            for each in tools
        ]


@settings(max_examples=60, deadline=None)
@given(TOOLS, TEXTS.map(str.strip))
def test_it_is_the_template_but_for_newlines_and_order(tools, content):
    for each in tools:
        properties = each["function"]["parameters"]["properties"]
        each["function"]["parameters"]["properties"] = {
            name: schema
            for name, schema in sorted(properties.items(), key=lambda item: item[0].lower())
            if schema["type"] not in ("object", "array")
        }
    text = written(conversation(content), tools)
    end = "<end_function_declaration>"
    assert text.replace(TRIGGER + "\n", TRIGGER, 1).replace(end + "\n", end) == render(
        conversation(content), tools, add_generation_prompt=True
    )
