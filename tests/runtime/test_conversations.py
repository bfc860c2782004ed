"""runtime_conversations: LiteRT-LM's conversations with a tiny network: what they write is the trained prompt."""

from __future__ import annotations

import os

import pytest
import tiny
from hypothesis import HealthCheck, given, settings

from fgkit import prompts
from fgkit.bundles import create as bundle
from fgkit.calls import Call, parse
from fgkit.dataset.records import request
from fgkit.errors import BundleError, CallSyntaxError, PromptError, ToolError
from fgkit.prompts import PromptSetup
from fgkit.runtime import conversations, grammar
from fgkit.runtime.session import Runtime
from fgkit.subprocesses import quiet_stderr
from tests.bundles.test_create import tiny_tokenizer
from tests.export.test_conversion import TINY, tiny_tflite
from tests.prompts.test_litert_lm import Declared, no_nul, plain_floats
from tests.prompts.test_template import TOOLS as ANY_TOOLS, USER, call, tool

ROOM = {
    "type": "function",
    "function": {
        "name": "go",
        "description": "Goes.",
        "parameters": {
            "type": "object",
            "required": ["room", "fast"],
            "properties": {
                "room": {"type": "string", "enum": ["living room", "office #2"]},
                "fast": {"type": "boolean"},
            },
        },
    },
}
DEVELOPER = {"role": "developer", "content": prompts.DEFAULT_SYSTEM_MSG}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conversations")
    (folder / "tokenizer.model").write_bytes(tiny_tokenizer())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGKIT_CACHE", str(folder / "cache"))
        path = bundle.create_litertlm(
            tiny_tflite(),
            folder / "tokenizer.model",
            folder / "tiny.litertlm",
            style="template",
            sidecar={},
        )
        with Runtime(path) as opened:
            yield opened


def written(runtime, messages, tools):
    """What a conversation puts before the model."""
    with (
        quiet_stderr() as said,
        runtime._engine.create_conversation(
            messages=messages[:-1],
            tools=[Declared(each) for each in tools or []],
            automatic_tool_calling=False,
        ) as conversation,
    ):
        text = conversation.render_message_to_string(messages[-1])
    assert text, said()
    return "<bos>" + text


def no_null_in_items(schema) -> bool:
    """Whether no description of array items says null: LiteRT-LM hands it to the template as an empty list."""
    if isinstance(schema, dict):
        return "None" not in repr(schema.get("items", "")) and all(
            map(no_null_in_items, schema.values())
        )
    return not isinstance(schema, (list, tuple)) or all(map(no_null_in_items, schema))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ANY_TOOLS.filter(
        lambda tools: "\\x00" not in repr(tools) and plain_floats(tools) and no_null_in_items(tools)
    )
)
def test_the_runtime_writes_the_text_of_the_models_own_template(runtime, tools):
    messages = [DEVELOPER, {"role": "user", "content": " make it red "}]
    try:
        text = prompts.render(messages, tools, add_generation_prompt=True)
    except (PromptError, ToolError):
        return
    if no_nul(text):
        assert written(runtime, messages, tools) == text


def test_a_tools_response_is_written_as_it_is_trained(runtime):
    messages = [
        DEVELOPER,
        USER,
        call(b="x", A=[1, True, {"z": 1.5}]),
        {
            "role": "tool",
            "content": [
                {"name": "f", "response": {"y": 1, "B": {"c": "d"}}},
                {"name": "g", "response": {}},
            ],
        },
    ]
    assert written(runtime, messages, [tool()]) == prompts.render(
        messages, [tool()], add_generation_prompt=True
    )


def test_a_reply_carries_prompt_and_answer(runtime):
    messages = [{"role": "user", "content": "make it red"}]
    reply = conversations.ask(runtime, messages, [], max_new_tokens=4)
    assert reply.prompt == prompts.render(messages, [], add_generation_prompt=True)
    assert not reply.calls and reply.text


def test_prompts_that_are_not_the_trained_ones_are_counted_and_shown(runtime, capsys):
    rows = [request(1, "red"), request(2, "blue")]
    trained = [
        prompts.render(
            prompts.conversation(row.user_content, "Act."), [], add_generation_prompt=True
        )
        for row in rows
    ]
    texts, same = conversations.ask_all(
        runtime,
        rows,
        PromptSetup([], "Act."),
        [trained[0], trained[1] + "x"],
        max_new_tokens=2,
        progress=False,
    )
    assert len(texts) == 2 and same == 1
    assert (
        "wrote 1 of 2 prompts otherwise than they are trained. They part at"
        in capsys.readouterr().out
    )


def test_an_answer_is_scored_by_the_calls_that_the_runtime_read():
    calls = (Call("f", {"a": 1, "b": [True, "x"]}), Call("g", {}))
    assert tuple(parse(conversations.Reply("", calls, "").as_model_text())) == calls
    assert parse(conversations.Reply("", (), "Hello").as_model_text()) == []
    unsayable = conversations.Reply("", (Call("f", {"a": "<escape>"}),), "")
    assert "<escape>" in unsayable.as_model_text()


def test_calls_that_the_runtime_cannot_read_are_a_wrong_answer(runtime, monkeypatch):
    class Conversation:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def render_message_to_string(self, message):
            return "prompt"

        def send_message(self, message, response_format):
            os.write(
                2,
                b"E0000 00:00 1 x.cc:1] INVALID_ARGUMENT: Failed to parse tool calls from code block: calll:ping{}\n",
            )
            raise RuntimeError("litert_lm_conversation_send_message failed")

    monkeypatch.setattr(runtime._engine, "create_conversation", lambda **_: Conversation())
    reply = conversations.ask(runtime, [USER], [tool()], max_new_tokens=2)
    assert reply == conversations.Reply("<bos>prompt", (), "<start_function_call>calll:ping{}")
    with pytest.raises(CallSyntaxError):
        parse(reply.as_model_text())


def test_a_constrained_answer_is_what_the_grammar_allows(tmp_path, monkeypatch):
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    tiny.tokenizer_files(
        tmp_path
    )  # a piece for every ASCII sign, and here for long words: the tiny KV cache holds 72 tokens
    declared = {"type": "function", "function": {"name": "go", "description": ""}}
    model = ModelProto.FromString((tmp_path / "tokenizer.model").read_bytes())
    words = ["developer", "declaration:go{description:", "user", "model", "call:go{", "room:"]
    for number in range(TINY["vocab_size"] - len(model.pieces)):
        model.pieces.add(
            piece=words[number] if number < len(words) else chr(0x100 + number), type=4
        )
    (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
    path = bundle.create_litertlm(
        tiny_tflite(),
        tmp_path / "tokenizer.model",
        tmp_path / "tiny.litertlm",
        style="template",
        sidecar={},
    )
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    one_call = grammar.pattern([ROOM]).removeprefix(grammar._TEXT).replace(")*(", "){1}(")
    monkeypatch.setattr(
        grammar, "pattern", lambda tools: one_call
    )  # of a random network: text would go on and on
    with Runtime(path) as runtime:
        reply = conversations.ask(runtime, [USER], [declared], max_new_tokens=40, constrained=True)
        free = conversations.ask(runtime, [USER], [declared], max_new_tokens=40)
    assert reply.calls and not free.calls
    (made,) = reply.calls
    assert made.name == "go" and made.arguments.keys() == {"fast", "room"}
    assert made.arguments["fast"] in (True, False) and made.arguments["room"] in (
        "living room",
        "office #2",
    )


def test_what_does_not_fit_or_cannot_be_said_is_one_message(runtime, monkeypatch):
    with pytest.raises(
        BundleError, match="tiny.litertlm: LiteRT-LM's conversation failed .*larger"
    ):
        conversations.ask(
            runtime, [{"role": "user", "content": "hello " * 300}], [], max_new_tokens=2
        )
    monkeypatch.setattr(
        grammar, "pattern", lambda tools: "\u20ac"
    )  # no piece, and bytes are spelt otherwise
    with pytest.raises(
        BundleError, match="doesn't satisfy the grammar.* or leave constrained decoding off"
    ):
        conversations.ask(runtime, [USER], [tool()], max_new_tokens=4, constrained=True)
