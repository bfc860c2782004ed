"""prompts.render against the shared vectors, its refusals, and fgkit's Jinja template against it."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from fgkit import prompts
from fgkit.calls import Call
from fgkit.errors import FgkitError, PromptError, ToolError
from fgkit.prompts import completion, conversation, format as prompt_format, render

VECTORS = [
    vector
    for vector in json.loads(
        (Path(__file__).parents[1] / "vectors" / "wire_vectors.json").read_text(encoding="utf-8")
    )
    if vector["kind"] == "render"
]
PLAIN = [vector for vector in VECTORS if not vector.get("quirk")]
QUIRKS = [vector for vector in VECTORS if vector.get("quirk")]

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "done"}


def call(name="f", **arguments):
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}


def response(content=None, **more):
    return {
        "role": "tool",
        "content": {"name": "f", "response": {"ok": True}} if content is None else content,
        **more,
    }


def tool(parameters=None, **more):
    function = {"name": "f", "description": "d", **more}
    return {
        "type": "function",
        "function": function if parameters is None else {**function, "parameters": parameters},
    }


def with_property(schema, name="x"):
    return [tool({"type": "object", "properties": {name: schema}})]


def by_template(messages, tools, add_generation_prompt=False):
    from transformers.utils.chat_template_utils import render_jinja_template

    texts, _ = render_jinja_template(
        [messages],
        tools=tools,
        chat_template=prompts.chat_template(),
        add_generation_prompt=add_generation_prompt,
    )
    return texts[0]


# --- the vectors ---


def test_every_shared_vector_is_here():
    assert len(PLAIN) == 54
    assert len(QUIRKS) == 19


@pytest.mark.parametrize("vector", PLAIN, ids=lambda vector: vector["id"])
def test_vector(vector):
    given_ = vector["input"]
    text = render(
        given_["messages"], given_["tools"], add_generation_prompt=given_["add_generation_prompt"]
    )
    assert text == vector["expected"]
    assert (
        by_template(given_["messages"], given_["tools"], given_["add_generation_prompt"])
        == vector["expected"]
    )


@pytest.mark.parametrize("vector", QUIRKS, ids=lambda vector: vector["id"])
def test_every_trap_is_refused(vector):
    given_ = vector["input"]
    with pytest.raises(ToolError if vector["id"].startswith("r-decl") else PromptError):
        render(
            given_["messages"],
            given_["tools"],
            add_generation_prompt=given_["add_generation_prompt"],
        )


# --- what the vectors do not show ---


def body(messages, **more):
    return render(messages, None, **more).removeprefix(
        "<bos><start_of_turn>user\nhi<end_of_turn>\n"
    )


def test_tools_alone_make_a_developer_turn():
    assert render([USER], [tool()]).startswith(
        "<bos><start_of_turn>developer\n<start_function_declaration>declaration:f{description:<escape>d<escape>}"
        "<end_function_declaration><end_of_turn>\n<start_of_turn>user\n"
    )


def test_conversation_carries_the_trigger_sentence():
    assert (
        prompts.DEFAULT_SYSTEM_MSG
        == "You are a model that can do function calling with the following functions"
    )
    assert conversation(" red ") == [
        {"role": "developer", "content": prompts.DEFAULT_SYSTEM_MSG},
        {"role": "user", "content": " red "},
    ]
    assert "developer\nBe brief.<end_of_turn>" in render(conversation("red", "Be brief."), [])


def test_chain_of_calls_is_one_model_turn():
    assert body([USER, call(a=1), response(), call("g"), response("", name="g"), ANSWER, USER]) == (
        "<start_of_turn>model\n<start_function_call>call:f{a:1}<end_function_call>"
        "<start_function_response>response:f{ok:true}<end_function_response>"
        "<start_function_call>call:g{}<end_function_call>done<end_of_turn>\n"
        "<start_of_turn>user\nhi<end_of_turn>\n"
    )


@pytest.mark.parametrize(
    "content, more, text",
    [
        ({"name": "f", "response": {"b": 1, "A": "x"}}, {}, "response:f{A:<escape>x<escape>,b:1}"),
        ({"t": 15}, {"name": "g"}, "response:g{t:15}"),
        ({"name": "n", "response": {}}, {"name": "other"}, "response:n{}"),
        ({"name": "n"}, {"name": "g"}, "response:g{name:<escape>n<escape>}"),
        (
            {"New York": None, "12:00": [1.0]},
            {"name": "g"},
            "response:g{12:00:[1.0],New York:None}",
        ),
        (
            [{"t": 1}, {"name": "h", "response": {"u": 2}}],
            {"name": "g"},
            "response:g{t:1}<end_function_response><start_function_response>response:h{u:2}",
        ),
    ],
)
def test_responses(content, more, text):
    messages = [USER, call(), response(content, **more)]
    expected = f"<end_function_call><start_function_response>{text}<end_function_response>"
    assert body(messages, add_generation_prompt=True).endswith(expected)
    assert by_template(messages, None, True).endswith(expected)


@pytest.mark.parametrize("content", [None, "", {}, []])
def test_empty_response_prints_nothing(content):
    messages = [USER, call(), {"role": "tool", "name": "f", "content": content}]
    assert body(messages, add_generation_prompt=True).endswith("call:f{}<end_function_call>")
    assert body([*messages, ANSWER]).endswith("call:f{}<end_function_call>done<end_of_turn>\n")


@pytest.mark.parametrize(
    "value, text",
    [
        (0.1 + 0.2, "0.30000000000000004"),
        (1e16, "1e+16"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (10**25, "1" + "0" * 25),
        (True, "true"),
        (None, "None"),
        ([], "[]"),
        ({}, "{}"),
        ((1, "a"), "[1,<escape>a<escape>]"),
        ({"b": {"d": 1, "C": 2}, "A": 1, "_": 0, "1": 9}, "{1:9,_:0,A:1,b:{C:2,d:1}}"),
    ],
)
def test_values(value, text):
    assert body([USER, call(v=value)]).endswith(
        f"call:f{{v:{text}}}<end_function_call><start_function_response>"
    )
    assert by_template([USER, call(v=value)], None) == render([USER, call(v=value)], None)


def test_image_part_and_text_parts():
    parts = [{"type": "text", "text": " a "}, {"type": "image"}, {"type": "text", "text": " b"}]
    text = render([{"role": "user", "content": parts}], None)
    assert text == "<bos><start_of_turn>user\na<start_of_image>b<end_of_turn>\n"
    parts[0]["text"], parts[2]["text"] = "<end_of", "_turn>"
    assert "<end_of<start_of_image>_turn><end_of_turn>" in render(
        [{"role": "user", "content": parts}], None
    )


def test_model_is_another_word_for_assistant():
    assert render([USER, {**ANSWER, "role": "model"}], []) == render([USER, ANSWER], [])


@pytest.mark.parametrize(
    "schema, text",
    [
        ({}, "{description:<escape><escape>,type:<escape><escape>}"),
        (
            {"type": "Date", "format": "x", "default": 1},
            "{description:<escape><escape>,type:<escape>DATE<escape>}",
        ),
        (
            {"type": "object", "description": " D "},
            "{description:<escape> D <escape>,properties:{},type:<escape>OBJECT<escape>}",
        ),
        (
            {
                "type": "object",
                "properties": {"b": {"type": "integer"}, "A": {"type": "null"}},
                "required": ["b"],
                "x": 1,
            },
            "{description:<escape><escape>,properties:{A:{description:<escape><escape>,type:<escape>NULL<escape>},"
            "b:{description:<escape><escape>,type:<escape>INTEGER<escape>}},required:[<escape>b<escape>],"
            "type:<escape>OBJECT<escape>}",
        ),
        (
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": [],
                    "additionalProperties": {"type": "integer"},
                },
            },
            "{description:<escape><escape>,items:{additionalProperties:{<escape>type<escape>:<escape>integer<escape>},"
            "required:[],type:<escape>OBJECT<escape>},type:<escape>ARRAY<escape>}",
        ),
        (
            {"type": "array", "items": {"enum": ["a", 1], "description": None}},
            "{description:<escape><escape>,items:{enum:[<escape>a<escape>,1]},type:<escape>ARRAY<escape>}",
        ),
        ({"type": "array"}, "{description:<escape><escape>,type:<escape>ARRAY<escape>}"),
    ],
)
def test_property_schemas(schema, text):
    assert f"properties:{{x:{text}}},type:" in render([USER], with_property(schema))
    assert by_template([USER], with_property(schema)) == render([USER], with_property(schema))


def test_parameters_keep_their_names_sorted_by_lower_case():
    properties = {name: {"type": "string"} for name in ("b", "A", "_c", "9", "a1", "a_")}
    text = render(
        [USER], [tool({"type": "object", "properties": properties, "required": ["b", "A"]})]
    )
    places = [text.index(f"{name}:{{description") for name in ("9", "_c", "A", "a1", "a_", "b")]
    assert places == sorted(places)
    assert "required:[<escape>b<escape>,<escape>A<escape>]," in text


def test_facts_have_one_home():
    assert prompts.STOP_IDS == (1, 50, 106)
    assert [prompts.CONTROL_TOKENS[token] for token in prompts.STOP_TOKENS] == [1, 50, 106]
    assert sorted(prompts.CONTROL_TOKENS.values()) == [0, 1, 2, 3, *range(46, 53), 105, 106]
    assert tuple(prompts.STYLES) == ("template", "flutter_gemma", "litert_lm")


# --- refusals: conversations ---


@pytest.mark.parametrize(
    "messages, expected",
    [
        ([], "messages: is of type list, expected a list of one or more"),
        ("hi", "messages: is 'hi', expected a list of one or more"),
        (
            [["hi"]],
            "messages[0]: is of type list, expected a dict whose 'role' is one of system, developer, user, assista",
        ),
        (
            [{"role": "narrator", "content": "x"}],
            "messages[0]: role is 'narrator', expected a dict whose 'role' is one of",
        ),
        ([{"role": ["user"]}], "messages[0]: role is of type list, expected"),
        (
            [USER, {"role": "system", "content": "x"}],
            "messages[1] (system): a system message can only be the first. Move",
        ),
        (
            [USER, {"role": "developer"}],
            "messages[1] (developer): a developer message can only be the first. Move",
        ),
        ([USER, call(), USER], "messages[2] (user): follows a call that has no response"),
        ([USER, call(), ANSWER], "messages[2] (assistant): follows a call that has no response"),
        (
            [USER, call(), response(), USER],
            "messages[3] (user): follows a tool response and would be written into the mod",
        ),
        ([USER, response()], "messages[1] (tool): answers no call. Put the assistant message"),
        (
            [{"role": "user", "content": 5}],
            "messages[0] (user): content is of type int, expected a string, a list of text",
        ),
        (
            [{"role": "system", "content": {"a": 1}}, USER],
            "messages[0] (system): content is of type dict, expected a stri",
        ),
        (
            [{"role": "user", "content": ["x"]}],
            "messages[0] (user): content[0]: is 'x', expected {'type': 'text', 'text':",
        ),
        (
            [{"role": "user", "content": [{"type": "audio"}]}],
            "content[0]: is of type dict, expected {'type': 'text', 'tex",
        ),
        (
            [{"role": "system", "content": [{"type": "image"}]}],
            "content[0]: is of type dict, expected {'type': 'text', 't",
        ),
        (
            [{"role": "user", "content": "\ud800"}],
            "messages[0] (user): content: holds half of a surrogate pair",
        ),
        (
            [{**USER, "tool_calls": call()["tool_calls"]}],
            "messages[0] (user): 'tool_calls' is of type list, expected a",
        ),
        (
            [USER, {"role": "assistant", "tool_calls": {"name": "f"}}],
            "'tool_calls' is of type dict, expected a list, and",
        ),
        (
            [USER, {"role": "assistant", "tool_calls": [{"name": "f"}]}],
            "tool_calls[0]: has no 'function' mapping. Write i",
        ),
        (
            [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}],
                },
            ],
            "messages[1] (assistant): tool_calls[0]: arguments is JSON text, expected a mapping. Pass json.loads(arguments).",
        ),
        (
            [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": [1]}}],
                },
            ],
            "tool_calls[0]: arguments is of type list, expected a mapping",
        ),
        (
            [USER, {"role": "assistant", "tool_calls": [{"function": {}}]}],
            "tool_calls[0]: name: is None, expected a strin",
        ),
        (
            [USER, call("a b")],
            "tool_calls[0]: name: is 'a b', but names are not empty and hold no space and none of {}[],",
        ),
        (
            [USER, call(**{"a:b": 1})],
            "tool_calls[0]: arguments: key 'a:b': is 'a:b', but names are not empty",
        ),
        ([USER, call(a={1: 2})], "tool_calls[0]: arguments.a: key 1: is 1, expected a string"),
        (
            [USER, call(a=[math.nan])],
            "tool_calls[0]: arguments.a[0]: is nan, which the format has no number for. Use a fi",
        ),
        (
            [USER, call(a=math.inf)],
            "tool_calls[0]: arguments.a: is inf, which the format has no number for",
        ),
        (
            [USER, call(a=10**5000)],
            "tool_calls[0]: arguments.a: is an integer too long for Python to print. Pass it as a",
        ),
        (
            [USER, call(a=datetime.date(2025, 6, 6))],
            "tool_calls[0]: arguments.a: is of type date; values are strings, num",
        ),
        (
            [USER, call(a={"b": "x<escape>y"})],
            "tool_calls[0]: arguments.a.b: holds <escape>, which the model reads as a",
        ),
        (
            [USER, call(), response("text")],
            "messages[2] (tool): a response without a name. Set the message's 'name'",
        ),
        (
            [USER, call(), response({"t": 1})],
            "messages[2] (tool): a response without a name. Set the message's 'name'",
        ),
        (
            [USER, call(), response({"name": "a:b", "response": {}})],
            "messages[2] (tool): response name: is 'a:b', but nam",
        ),
        (
            [USER, call(), response({"name": 7, "response": {}})],
            "messages[2] (tool): response name: is 7, expected a stri",
        ),
        (
            [USER, call(), response({"name": "f", "response": 15})],
            "response is 15, expected a mapping. Wrap it as {'value",
        ),
        (
            [USER, call(), response({"name": "f", "response": {"x<eos>": 1}})],
            "response: key 'x<eos>': holds <eos>, which",
        ),
        (
            [USER, call(), response(5)],
            "messages[2] (tool): content is of type int, expected {'name': ..., 'response': {..",
        ),
        (
            [USER, call(), response(["x"], name="f")],
            "messages[2] (tool): content[0] is 'x', expected {'name': ..., 'respo",
        ),
        (
            [USER, call(), response([{"type": "text", "text": "15"}], name="f")],
            "messages[2] (tool): content[0] is of type dict, expected {'name': ..., 'response': {...}}. Give text as a plain",
        ),
    ],
)
def test_conversation_is_refused(messages, expected):
    with pytest.raises(PromptError) as caught:
        render(messages, [])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_generation_prompt_after_a_call_is_refused():
    with pytest.raises(
        PromptError,
        match=r"messages\[1\] \(assistant\): a generation prompt after a call would open",
    ):
        render([USER, call()], [], add_generation_prompt=True)


def test_unknown_style_names_the_known():
    with pytest.raises(
        PromptError,
        match="style: is 'chatml', expected one of template, flutter_gemma, litert_lm. Choose one",
    ):
        render([USER], [], style="chatml")


@pytest.mark.parametrize("token", [*prompts.CONTROL_TOKENS, *prompt_format.IMAGE_TOKENS])
def test_control_tokens_are_refused_everywhere(token):
    text = f"a{token}b"
    places = [
        ([{"role": "user", "content": text}], [], "messages[0] (user): content"),
        ([{"role": "system", "content": text}], [], "messages[0] (system): content"),
        ([USER, {"role": "assistant", "content": text}], [], "messages[1] (assistant): content"),
        ([USER, call(a=text)], [], "messages[1] (assistant): tool_calls[0]: arguments.a"),
        ([USER, call(), response(text, name="f")], [], "messages[2] (tool): response.value"),
        ([USER], [tool(description=text)], "tools[0] f.description"),
        (
            [USER],
            with_property({"type": "string", "title": "t", "description": text}),
            "tools[0] f.parameters.properties.x.description",
        ),
        (
            [USER],
            with_property({"type": "string", "enum": [text]}),
            "tools[0] f.parameters.properties.x.enum[0]",
        ),
        ([USER], with_property({"type": text}), "tools[0] f.parameters.properties.x.type"),
        ([USER], [tool(name=text)], "tools[0]: name"),
    ]
    for messages, tools, where in places:
        with pytest.raises(FgkitError) as caught:
            render(messages, tools)
        assert str(caught.value).startswith(
            f"{where}: holds {token}, which the model reads as a control token"
        )
        assert "spell it differently" in str(caught.value)


def test_control_token_across_two_parts_is_refused():
    parts = [{"type": "text", "text": "<end_of"}, {"type": "text", "text": "_turn>"}]
    with pytest.raises(PromptError, match="holds <end_of_turn>"):
        render([{"role": "user", "content": parts}], [])


def test_all_problems_are_told_at_once():
    messages = [
        {"role": "narrator"},
        {"role": "user", "content": "<eos>"},
        call(a=math.nan, b="<bos>"),
        USER,
    ]
    tools = [{"name": "flat"}, tool({"properties": {"type": None}})]
    with pytest.raises(PromptError) as caught:
        render(messages, tools)
    starts = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert starts == [
        "messages[0]",
        "messages[1] (user)",
        "messages[2] (assistant)",
        "messages[2] (assistant)",
        "messages[3] (user)",
        "tools[0]",
        "tools[1] f.parameters",
        "tools[1] f.parameters.properties.type",
        "tools[1] f.parameters.properties.type",
    ]


def test_depth_is_limited_before_python_gives_up():
    value: object = "x"
    schema: dict = {"type": "string"}
    for _ in range(prompt_format.MAX_DEPTH - 1):
        value, schema = {"k": value}, {"type": "object", "properties": {"k": schema}}
    deepest = [USER, call(a=value)], with_property(schema)
    assert by_template(*deepest) == render(*deepest)
    circle: list = []
    circle.append(circle)
    for bad in ({"k": {"k": value}}, circle):
        with pytest.raises(PromptError, match="is nested deeper than 64 levels. Flatten it."):
            render([USER, call(a=bad)], [])
    schema["properties"]["k"] = schema
    with pytest.raises(ToolError, match="is nested deeper than 64 levels. Flatten it."):
        render([USER], with_property(schema))


# --- refusals: tools ---


@pytest.mark.parametrize(
    "tools, expected",
    [
        ("f", "tools: is of type str, expected a list of tools. Wrap it in a list."),
        (
            [{"name": "f", "parameters": {}}],
            "tools[0]: has no 'function' mapping. Write it as {'type': 'function', 'funct",
        ),
        ([tool(name=None)], "tools[0]: name: is None, expected a string"),
        ([tool(name="a b")], "tools[0]: name: is 'a b', but names are not empty and hold no space"),
        (
            [tool(description=None)],
            "tools[0] f.description: is None, expected a string. Write the text or leave the entry",
        ),
        (
            [tool([1])],
            "tools[0] f.parameters: is of type list, expected a JSON schema. Use {'type': 'object'",
        ),
        (
            [tool({"properties": {}})],
            "tools[0] f.parameters: has no 'type', which breaks the declaration's braces. Add 't",
        ),
        (
            [tool({"type": ["object"]})],
            "tools[0] f.parameters.type: is a union, which the model was not trained on",
        ),
        (
            [tool({"type": "object", "properties": ["x"]})],
            "f.parameters.properties: is of type list, expected a mapping o",
        ),
        (
            [tool({"type": "object", "required": "x"})],
            "f.parameters.required: is of type str, expected a list of strings.",
        ),
        (
            [tool({"type": "object", "required": [1]})],
            "f.parameters.required[0]: is 1, expected a string",
        ),
        (
            with_property({"type": "string"}, "a b"),
            "f.parameters.properties: name: is 'a b', but names are not empty",
        ),
        (
            with_property({"type": "string"}, 5),
            "f.parameters.properties: name: is 5, expected a string",
        ),
        (
            with_property(None),
            "f.parameters.properties.x: is None, expected a JSON schema. Write one, or drop the paramet",
        ),
        (with_property(True), "f.parameters.properties.x: is True, expected a JSON schema"),
        (
            with_property({"type": "string", "description": None}),
            "f.parameters.properties.x.description: is None, expecte",
        ),
        (
            with_property({"type": None}),
            "f.parameters.properties.x.type: is None, expected a string",
        ),
        (
            with_property({"type": ["string", "null"]}),
            "f.parameters.properties.x.type: is a union, which the model was no",
        ),
        (
            with_property({"type": "string", "enum": ["a", 1]}),
            "f.parameters.properties.x.enum[1]: is 1, expected a string",
        ),
        (
            with_property({"type": "object", "additionalProperties": {"type": "integer"}}),
            "x: an object without 'properties' would show 'additionalProperties' to the model as parameters. Name the",
        ),
        (
            with_property({"type": "object", "properties": {"nullable": {"type": "string"}}}),
            "x.properties.nullable: a parameter called 'nullable' is left out by the model's template. Rename it, to",
        ),
        (
            with_property(
                {
                    "type": "array",
                    "items": {"type": "object", "properties": {"type": {"type": "string"}}},
                }
            ),
            "x.items.properties.type: a parameter called 'type' is left out by the model's template. Rename it",
        ),
        (
            with_property(
                {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
            ),
            "x.items: arrays of arrays have no declaration. Use an array of objects, or of strings.",
        ),
        (
            with_property({"type": "array", "items": {"items": {"type": "integer"}}}),
            "x.items: arrays of arrays have no",
        ),
        (
            with_property({"type": "array", "items": {"type": "array"}}),
            "x.items: arrays of arrays have no declaration",
        ),
        (
            with_property({"type": "array", "items": {"type": 5}}),
            "x.items.type: is of type int, expected a list of string",
        ),
        (
            with_property({"type": "array", "items": {"type": []}}),
            "x.items.type: is an empty list. Name a type.",
        ),
        (
            with_property({"type": "array", "items": {"default": math.nan}}),
            "x.items.default: is nan, which the format has",
        ),
        (
            with_property({"type": "array", "items": {"a b": 1}}),
            "x.items: key: is 'a b', but names are not empty",
        ),
        *(
            (
                with_property({"type": "string"}, name),
                f".{name}: a parameter called '{name}' is left out by the model's",
            )
            for name in ("description", "type", "properties", "required", "nullable")
        ),
    ],
)
def test_tools_are_refused(tools, expected):
    with pytest.raises(ToolError) as caught:
        render([USER], tools)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


# --- completion ---


def test_completion_is_what_render_writes_after_the_prompt():
    calls = [Call("f", {"b": "x", "a": [1, 2.0]}), Call("g", {})]
    answer = {
        "role": "assistant",
        "tool_calls": [
            {"type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in calls
        ],
    }
    prompt = render(conversation("hi"), [tool()], add_generation_prompt=True)
    assert prompt + completion(calls) == render([*conversation("hi"), answer], [tool()])


@pytest.mark.parametrize(
    "calls, expected",
    [
        ([], "calls: is empty, expected at least one call. Train plain answers as assistant text."),
        (
            [Call("ключ", {})],
            "calls[0]: name: is 'ключ', but names start with an ASCII letter or '_' and go on with these",
        ),
        (
            [Call("f", {}), Call("1f", {})],
            "calls[1]: name: is '1f', but names start with an ASCII letter",
        ),
        (
            [Call("f", {"a": {"1": 2}})],
            "calls[0]: arguments.a: key '1': is '1', but names start with an ASCII letter",
        ),
        (
            [Call("f", {"a": "<escape>"})],
            "calls[0]: arguments.a: holds <escape>, which the model reads as a control token",
        ),
        (
            [Call("f", {"a": math.inf})],
            "calls[0]: arguments.a: is inf, which the format has no number for",
        ),
    ],
)
def test_completion_is_refused(calls, expected):
    with pytest.raises(PromptError) as caught:
        completion(calls)
    assert expected in str(caught.value)


# --- the Jinja template writes what render writes ---

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True).filter(
    lambda name: name not in ("description", "type", "properties", "required", "nullable")
)
# Hypothesis takes constants from the code under test, control tokens too.
TEXTS = st.text(max_size=10).filter(
    lambda text: not prompt_format.CONTROL.search(text)
) | st.sampled_from(["", " a ", "{x}", "{{ y }}", "{% z %}", "\n<b>&'\"\n"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)
CONTENTS = (
    st.none() | TEXTS | st.lists(TEXTS.map(lambda text: {"type": "text", "text": text}), max_size=3)
)
KINDS = st.sampled_from(["integer", "number", "boolean", "null", "Date", ""])


def _schema(inner):
    described = {"description": TEXTS, "title": TEXTS, "default": VALUES}
    members = {
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "required": st.lists(NAMES, max_size=2),
    }
    items = st.fixed_dictionaries(
        {},
        optional={
            **members,
            "type": KINDS | st.lists(KINDS, min_size=1, max_size=2),
            "enum": st.lists(VALUES, max_size=2),
            "minimum": VALUES,
            "description": st.none() | TEXTS,
            "Extra": VALUES,
        },
    )
    return st.one_of(
        st.fixed_dictionaries(
            {"type": KINDS}, optional={**described, "enum": st.lists(VALUES, max_size=2)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("string")}, optional={**described, "enum": st.lists(TEXTS, max_size=3)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": members["properties"]},
            optional={**described, "required": members["required"]},
        ),
        st.fixed_dictionaries({"type": st.just("array")}, optional={**described, "items": items}),
    )


SCHEMAS = _schema(_schema(st.just({"type": "string"})))
PARAMETERS = st.none() | st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(NAMES, SCHEMAS, max_size=3),
        "required": st.lists(NAMES, max_size=2),
    },
)
TOOLS = st.none() | st.lists(
    st.fixed_dictionaries(
        {
            "function": st.fixed_dictionaries(
                {"name": NAMES},
                optional={"description": TEXTS, "strict": st.booleans(), "parameters": PARAMETERS},
            )
        }
    ),
    max_size=2,
)


@st.composite
def conversations(draw):
    """A conversation that render accepts: turns, and chains of calls, responses and answers."""
    messages = (
        [{"role": draw(st.sampled_from(["system", "developer"])), "content": draw(CONTENTS)}]
        if draw(st.booleans())
        else []
    )
    messages.append({"role": "user", "content": draw(CONTENTS)})
    for _ in range(draw(st.integers(0, 3))):
        names = draw(st.lists(NAMES, max_size=2))
        if names:
            messages.append(
                {
                    "role": "assistant",
                    "content": draw(CONTENTS),
                    "tool_calls": [
                        {"function": {"name": name, "arguments": draw(st.none() | ARGUMENTS)}}
                        for name in names
                    ],
                }
            )
            named = st.builds(
                lambda name, inner: {"name": name, "response": inner}, NAMES, ARGUMENTS
            )
            content = draw(
                st.one_of(st.none(), TEXTS, ARGUMENTS, named, st.lists(named, max_size=2))
            )
            messages.append({"role": "tool", "name": names[0], "content": content})
        messages.append({"role": "assistant", "content": draw(CONTENTS)})
        messages.append({"role": "user", "content": draw(CONTENTS)})
    return messages[: draw(st.integers(1, len(messages)))]


@settings(max_examples=150, deadline=None)
@given(conversations(), TOOLS, st.booleans())
def test_jinja_template_writes_what_render_writes(messages, tools, add_generation_prompt):
    add_generation_prompt = add_generation_prompt and not messages[-1].get("tool_calls")
    text = render(messages, tools, add_generation_prompt=add_generation_prompt)
    assert by_template(messages, tools, add_generation_prompt) == text


def test_jinja_template_keeps_to_plain_jinja():
    template = prompts.chat_template()
    for word in (".items(", ".strip(", ".keys(", ".split(", ".upper(", ".get(", "raise_exception"):
        assert word not in template
    assert template.count("{%") > 50


JUNK_KEYS = st.sampled_from(
    [
        "role",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "parameters",
        "type",
        "properties",
        "items",
        "required",
        "enum",
        "description",
        "response",
        5,
    ]
)
JUNK = st.recursive(
    st.one_of(
        VALUES,
        st.just(math.nan),
        st.sampled_from(["<escape>", "tool", "user", "object", "array", b"x"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JUNK_KEYS, inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
            optional={"content": JUNK, "tool_calls": JUNK, "name": JUNK},
        ),
        max_size=3,
    )
    | JUNK,
    st.lists(
        st.fixed_dictionaries(
            {
                "function": st.fixed_dictionaries(
                    {}, optional={"name": JUNK, "parameters": JUNK, "description": JUNK}
                )
            }
        ),
        max_size=2,
    )
    | JUNK,
)
def test_junk_is_refused_never_a_crash(messages, tools):
    for given_tools in (tools, []):
        try:
            text = render(messages, given_tools)
        except FgkitError as error:
            assert str(error).encode()
        else:
            assert text.startswith("<bos>") and by_template(messages, given_tools) == text
