"""Style litert_lm against LiteRT-LM itself: a bundle of a tiny network and fgkit's template, texts compared byte for byte."""

from __future__ import annotations

import math

import litert_lm
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgkit import prompts
from fgkit.calls import Call, parse
from fgkit.errors import PromptError, ToolError
from fgkit.prompts import litert_lm as style_litert_lm, render
from fgkit.prompts.format import walk
from fgkit.subprocesses import quiet_stderr
from tests.bundles.test_create import tiny_tokenizer
from tests.export.test_conversion import tiny_tflite
from tests.prompts.test_template import ANSWER, CONTENTS, NAMES, TEXTS, TOOLS, USER, call, tool

STYLE = {"style": "litert_lm", "add_generation_prompt": True}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """LiteRT-LM with a `.litertlm` of type function_gemma that carries our template."""
    from litert_lm_builder import litertlm_builder
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    folder = tmp_path_factory.mktemp("litertlm")
    metadata = llm_metadata_pb2.LlmMetadata(
        max_num_tokens=64, jinja_prompt_template=prompts.chat_template()
    )
    metadata.start_token.token_str = "<bos>"
    for token in prompts.STOP_TOKENS:
        metadata.stop_tokens.add().token_str = token
    metadata.llm_model_type.function_gemma.SetInParent()
    (folder / "metadata.pb").write_bytes(metadata.SerializeToString())
    (folder / "tokenizer.model").write_bytes(tiny_tokenizer())
    builder = litertlm_builder.LitertLmFileBuilder()
    builder.add_system_metadata(
        litertlm_builder.Metadata(key="Authors", value="tests", dtype=litertlm_builder.DType.STRING)
    )
    builder.add_llm_metadata(str(folder / "metadata.pb"))
    builder.add_sentencepiece_tokenizer(str(folder / "tokenizer.model"))
    builder.add_tflite_model(str(tiny_tflite()), litertlm_builder.TfLiteModelType.PREFILL_DECODE)
    with open(folder / "tiny.litertlm", "wb") as file:
        builder.build(file)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    (folder / "cache").mkdir()
    with quiet_stderr():
        opened = litert_lm.Engine(
            str(folder / "tiny.litertlm"),
            backend=litert_lm.Backend.CPU(),
            cache_dir=str(folder / "cache"),
        )
    yield opened
    with quiet_stderr():
        opened.close()


class Declared(litert_lm.Tool):
    """A tool that is only shown."""

    def __init__(self, description):
        self.description = description

    def get_tool_description(self):
        return self.description

    def execute(self, param):
        raise AssertionError("nothing is called here")


def by_runtime(engine, messages, tools):
    """What LiteRT-LM puts before the model, the start token that it writes itself put in front."""
    with (
        quiet_stderr() as said,
        engine.create_conversation(
            messages=messages[:-1],
            tools=[Declared(each) for each in tools or []],
            automatic_tool_calling=False,
        ) as conversation,
    ):
        text = conversation.render_message_to_string(messages[-1])
    assert text, said()
    return "<bos>" + text


def test_the_example_with_its_awkward_parts(engine):
    tools = [
        tool(
            {
                "required": ["b"],
                "properties": {
                    "b": {
                        "description": 'say "hi"\n\\ é ☃ 🎌 </>&\'',
                        "type": "string",
                        "enum": ["a", "{x}"],
                        "title": "B",
                    },
                    "A": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "n": {
                                    "type": "integer",
                                    "minimum": -3,
                                    "maximum": 10**18,
                                    "default": None,
                                },
                                "x": {
                                    "type": "number",
                                    "enum": [0.1, 1.0, -0.0, 1e-7, 1e16, 1e15],
                                    "nullable": True,
                                },
                            },
                        },
                    },
                },
                "type": "object",
            },
            strict=True,
        ),
        tool({}),
        tool(),
        tool({"type": ["string", "Null"], "type_": "string"}),
    ]
    messages = [
        {"role": "developer", "content": " Call.\n"},
        {"role": "user", "content": ' "é"\n☃ \\ '},
    ]
    text = render(messages, tools, **STYLE)
    assert text == by_runtime(engine, messages, tools)
    assert text == (
        "<bos><start_of_turn>developer\nCall."
        "<start_function_declaration>declaration:f{description:<escape>d<escape>,strict:true,parameters:{required:["
        '<escape>b<escape>],properties:{b:{description:<escape>say "hi"\n\\ é ☃ 🎌 </>&\'<escape>,type:<escape>STRING<escape>,'
        "enum:[<escape>a<escape>,<escape>{x}<escape>],title:<escape>B<escape>},A:{type:<escape>ARRAY<escape>,items:{type:"
        "<escape>OBJECT<escape>,properties:{n:{type:<escape>INTEGER<escape>,minimum:-3,maximum:1000000000000000000,"
        "default:null},x:{type:<escape>NUMBER<escape>,enum:[0.1,1.0,-0.0,1e-07,1e+16,1e+15],nullable:true}}}}},"
        "type:<escape>OBJECT<escape>}}<end_function_declaration>"
        "<start_function_declaration>declaration:f{description:<escape>d<escape>,parameters:{}}<end_function_declaration>"
        "<start_function_declaration>declaration:f{description:<escape>d<escape>}<end_function_declaration>"
        "<start_function_declaration>declaration:f{description:<escape>d<escape>,parameters:{type:[<escape>string<escape>,"
        "<escape>Null<escape>],type_:<escape>string<escape>}}<end_function_declaration><end_of_turn>\n"
        '<start_of_turn>user\n"é"\n☃ \\<end_of_turn>\n<start_of_turn>model\n'
    )


def accepted(messages, tools):
    """The text, where the style takes them: numbers are the only thing that the strategies make in vain."""
    try:
        return render(messages, tools, **STYLE)
    except (PromptError, ToolError) as error:
        assert "LiteRT-LM may print otherwise" in str(error) or "more than 64 bits" in str(error)
        return None


def plain_floats(tools):
    """Whether all floats are quarters: of others, a few are printed longer (style_litert_lm.number_problems)."""
    return all(
        abs(leaf) < 2**40 and leaf * 4 == int(leaf * 4)
        for _, leaf, is_key in walk(tools, "")
        if isinstance(leaf, float) and not is_key
    )


def no_nul(text):  # the runtime's C interface ends texts at it
    return "\x00" not in str(text)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["system", "developer", None]),
    CONTENTS.filter(no_nul),
    CONTENTS.filter(no_nul),
    TOOLS.filter(lambda tools: "\\x00" not in repr(tools) and plain_floats(tools)),
)
def test_any_request_is_what_the_runtime_writes(engine, role, developer, user, tools):
    messages = [{"role": role, "content": developer}] if role else []
    messages.append({"role": "user", "content": user})
    text = accepted(messages, tools)
    if text is not None and no_nul(text):
        assert text == by_runtime(engine, messages, tools)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(NAMES | TEXTS, VALUES, max_size=4).filter(
        lambda item: "\\x00" not in repr(item)
    )
)
def test_a_response_comes_sorted(engine, response):
    messages = [USER, call(), {"role": "tool", "content": [{"name": "f", "response": response}]}]
    assert render(messages, [tool()], **STYLE) == by_runtime(engine, messages, [tool()])


def test_the_turns_after_a_response(engine):
    messages = [
        USER,
        call(a="x", B=1),
        {
            "role": "tool",
            "content": [{"name": "f", "response": {"y": 1}}, {"name": "g", "response": {}}],
        },
    ]
    assert render(messages, [tool()], **STYLE).endswith(
        "model\n<start_function_call>call:f{a:<escape>x<escape>,B:1}<end_function_call>"
        "<start_function_response>response:f{y:1}<end_function_response>"
        "<start_function_response>response:g{}<end_function_response>"
    )
    for messages in (messages, [*messages, ANSWER, USER], [USER, ANSWER, USER]):
        assert render(messages, [tool()], **STYLE) == by_runtime(engine, messages, [tool()])


def test_the_start_token_is_written_once(engine):
    expected = engine.tokenize(render([USER], [], **STYLE).removeprefix("<bos>"))
    with quiet_stderr(), engine.create_conversation(max_output_tokens=1) as conversation:
        conversation.send_message(USER)
        assert (
            conversation.token_count == 1 + len(expected) + 1
        )  # start token, prompt, one token of the answer


def test_the_same_spaces_are_trimmed(engine):
    spaces = {chr(code) for code in range(0x10000) if chr(code).isspace()} | set(
        "\u200b\ufeff\u180e"
    )
    kept = {
        space
        for space in spaces
        if space
        in by_runtime(engine, [{"role": "user", "content": f"{space}x"}], [])
        .removeprefix("<bos><start_of_turn>user")
        .split("x")[0][1:]
    }
    assert kept == spaces - set(style_litert_lm.SPACES) == set("\x1c\x1d\x1e\x1f\u200b\ufeff\u180e")


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=50, max_size=50))
def test_numbers(engine, bits):
    numbers = [*bits, *(-(each >> 1) for each in bits), *((each >> 40) / 4 for each in bits)]
    tools = [tool({"type": "object", "e": numbers})]
    assert render([USER], tools, **STYLE) == by_runtime(engine, [USER], tools)


@pytest.mark.parametrize(
    "number, text",
    [
        (1e14, "100000000000000.0"),
        (1e15, "1e+15"),
        (-1.25e15, "-1.25e+15"),
        (9.99999999999999e15, "9.99999999999999e+15"),
        (1e16, "1e+16"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (5e-324, "5e-324"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (True, "true"),
    ],
)
def test_number(engine, number, text):
    tools = [tool({"type": "object", "x": number})]
    assert f"x:{text}}}" in render([USER], tools, **STYLE) == by_runtime(engine, [USER], tools)


@pytest.mark.parametrize(
    "parameters, expected",
    [
        (
            {"x": 2**64},
            "tools[0] f.parameters.x: is an integer of more than 64 bits, which LiteRT-LM turns into a float. Pass",
        ),
        ({"x": [-(2**63) - 1]}, "tools[0] f.parameters.x[0]: is an integer of more than 64 bits"),
        (
            {"x": 0.1 + 0.2},
            "tools[0] f.parameters.x: is 0.30000000000000004, whose last digit LiteRT-LM may print otherwise.",
        ),
        ({"x": math.nan}, "tools[0] f.parameters.x: is nan, which the format has no number for"),
        (
            {"a b": 1},
            "tools[0] f.parameters: key 'a b': is 'a b', but names are not empty and hold no space",
        ),
        (
            {"x": "<escape>"},
            "tools[0] f.parameters.x: holds <escape>, which the model reads as a control token",
        ),
        ([], "tools[0] f.parameters: is of type list, expected a JSON schema"),
    ],
)
def test_what_it_would_write_otherwise_is_refused(parameters, expected):
    with pytest.raises(ToolError) as caught:
        render([USER], [tool(parameters)], style="litert_lm")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_other_refusals():
    for tools, expected in (
        ("f", "tools: is of type str"),
        ([{"name": "f"}], "tools[0]: has no 'function' mapping"),
        ([tool(name="a b")], "tools[0]: name: is 'a b'"),
        ([tool(description=None)], "tools[0] f.description: is None"),
    ):
        with pytest.raises(ToolError) as caught:
            render([USER], tools, style="litert_lm")
        assert expected in str(caught.value)
    with pytest.raises(
        PromptError,
        match=r"messages\[2\] \(tool\): response.x\[0\]: is 0.30000000000000004, whose last",
    ):
        render(
            [USER, call(), {"role": "tool", "name": "f", "content": {"x": [0.1 + 0.2]}}],
            [],
            style="litert_lm",
        )


@pytest.mark.parametrize(
    "name, arguments, expected",
    [
        (
            "call",
            {},
            "calls[0]: name: is one of call, true, false, null, which LiteRT-LM's parser does not read as a name",
        ),
        (
            "f",
            {"a": [{"null": 1}]},
            "calls[0]: arguments.a[0]: key 'null': is one of call, true, false, null",
        ),
        (
            "f",
            {"a": None},
            "calls[0]: arguments.a: is None, which LiteRT-LM's parser does not read (it reads null). Leave",
        ),
        (
            "f",
            {"a": {"b": -1.5e-7}},
            "calls[0]: arguments.a.b: is -1.5e-07, and LiteRT-LM's parser reads no number with both",
        ),
        (
            "f",
            {"a": '<|"|>'},
            "calls[0]: arguments.a: holds <|\"|>, which LiteRT-LM's parser takes for <escape>",
        ),
        (
            "f",
            {"a": "x<ctrl46>"},
            "calls[0]: arguments.a: holds <ctrl46>, which LiteRT-LM's parser takes for <escape>",
        ),
    ],
)
def test_answers_its_parser_does_not_read_are_refused(name, arguments, expected):
    calls = [Call(name, arguments)]
    assert parse(prompts.completion(calls)) == calls
    for write in (prompts.completion, prompts.answer):
        with pytest.raises(PromptError) as caught:
            write(calls, style="litert_lm")
        assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_other_answers_are_the_same_text():
    calls = [Call("f", {"truly": "null", "nulls": [True, 1e-5, 1e16, 0.0001, {}], "b.c-d": "call"})]
    assert prompts.completion(calls, style="litert_lm") == prompts.completion(calls)
    assert prompts.answer([], "fine", style="litert_lm") == "fine<end_of_turn>"
