"""Conversations: what is trained is the conversation's own text, and a record written to a file comes back the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgkit import prompts
from fgkit.calls import Call, parse
from fgkit.dataset import tokenize
from fgkit.dataset.formats.messages import call_message
from fgkit.dataset.reading import inspect_records, read_records
from fgkit.dataset.records import Record
from fgkit.errors import PromptError
from fgkit.prompts import PromptSetup

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="<"), min_size=1, max_size=12
).filter(str.strip)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)
FREE = st.dictionaries(KEYS, VALUES, max_size=3)


def tool(name: str, **properties: dict) -> dict:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "Does.",
            "parameters": {"type": "object", "properties": properties, "required": []},
        },
    }


RUN_TOOLS = [
    tool("free", x={"type": "object"}),
    tool("other", x={"type": "object"}, n={"type": "integer"}),
]
OWN_TOOLS = [tool("free", x={"type": "object"}, y={"type": "string"})]


@st.composite
def conversations(draw: Any) -> dict:
    """A row of the messages format: any number of exchanges of any kind, with or without tools of its own."""
    own = draw(st.booleans())
    names = ["free"] if own else ["free", "other"]
    messages = (
        [{"role": draw(st.sampled_from(["system", "developer"])), "content": draw(TEXT)}]
        if draw(st.booleans())
        else []
    )
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(TEXT)})
        for _ in range(draw(st.integers(0, 2))):
            calls = [
                (draw(st.sampled_from(names)), {"x": draw(FREE)})
                for _ in range(draw(st.integers(1, 3)))
            ]
            messages.append(call_message(calls, draw(st.just("") | TEXT)))
            messages += [
                {
                    "role": "tool",
                    "name": name,
                    "content": draw(
                        TEXT
                        | FREE.filter(bool)
                        | st.builds(lambda told: [{"name": name, "response": told}], FREE)
                    ),
                }
                for name, _ in calls
            ]
        messages.append({"role": "assistant", "content": draw(TEXT)})
    if draw(st.booleans()):  # ends with calls that wait for a response
        messages += [
            {"role": "user", "content": draw(TEXT)},
            call_message([(draw(st.sampled_from(names)), {"x": draw(FREE)})]),
        ]
    return {"messages": messages} | ({"tools": OWN_TOOLS} if own else {})


def read(path: Path, *rows: dict) -> list[Record]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_records(path, RUN_TOOLS)


def same(one: Any, other: Any) -> bool:
    """Equal values of equal types in the same order of keys; `==` takes 1, 1.0 and True for one."""
    return json.dumps(one) == json.dumps(other)


fuzzed = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@fuzzed
@given(conversations())
def test_every_answer_is_trained_as_it_stands_in_the_conversation(
    tmp_path: Path, row: dict
) -> None:
    records = read(tmp_path / "data.jsonl", row)
    answers = [message for message in row["messages"] if message["role"] == "assistant"]
    assert len(records) == len(answers)
    whole = tokenize._with_developer(row["messages"], PromptSetup(RUN_TOOLS))
    text = prompts.render(whole, row.get("tools", RUN_TOOLS))
    for record, message in zip(records, answers, strict=True):
        (prompt,) = tokenize.prompt_texts([record], PromptSetup(RUN_TOOLS))
        assert text.startswith(prompt + prompts.answer(record.calls, record.text))
        assert [call.name for call in record.calls] == [
            call["function"]["name"] for call in message.get("tool_calls", ())
        ]
        assert parse(prompts.answer(record.calls, record.text)) == list(record.calls)


@fuzzed
@given(conversations())
def test_nothing_is_filled_in_retyped_or_reordered(tmp_path: Path, row: dict) -> None:
    for record in read(tmp_path / "data.jsonl", row):
        assert same(record.messages, row["messages"][: len(record.messages)])
        written = {"messages": record.conversation} | (
            {} if record.tools is None else {"tools": record.tools}
        )
        again = read(tmp_path / "again.jsonl", written)[-1]
        assert same(again.messages, record.messages) and same(again.tools, record.tools)
        assert same([vars(call) for call in again.calls], [vars(call) for call in record.calls])
        assert again.text == record.text and again.kind == record.kind


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(conversations(), min_size=1, max_size=3))
def test_every_kind_of_record_equals_the_models_own_template(
    tmp_path: Path, tokenizer: Any, rows: list[dict]
) -> None:
    records = inspect_records(write(tmp_path, rows), RUN_TOOLS).records
    assert (
        tokenize.check_template(tokenizer, records, PromptSetup(RUN_TOOLS, "Act."))
        == len(records)
        > 0
    )


def write(folder: Path, rows: list[dict]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_tokens_of_a_follow_up_begin_with_the_answer_before_it(
    tmp_path: Path, tokenizer: Any
) -> None:
    """So the prefix tree computes the shared part of a conversation once."""
    records = read(
        tmp_path / "data.jsonl",
        {
            "messages": [
                {"role": "user", "content": "go"},
                call_message([("free", {})]),
                {"role": "tool", "name": "free", "content": "ok"},
                {"role": "assistant", "content": "Done."},
                {"role": "user", "content": "thanks"},
                {"role": "assistant", "content": "Welcome."},
            ]
        },
    )
    call, text, last = tokenize.tokenize_records(
        records, PromptSetup(RUN_TOOLS), tokenizer, max_length=4096
    )
    assert text.tokens[: len(call.tokens)] == call.tokens and call.tokens[-1] == 50
    assert tokenizer.decode(text.tokens[text.prompt_length :]) == "Done.<end_of_turn>"
    assert tokenizer.decode(last.tokens).count("<start_of_turn>model\n") == 2
    assert last.tokens[: len(text.tokens)] == text.tokens


def test_own_developer_text_and_own_tools_stand_in_the_prompt(tmp_path: Path) -> None:
    user, answer = {"role": "user", "content": "go"}, {"role": "assistant", "content": "No."}
    plain, own = read(
        tmp_path / "data.jsonl",
        {"messages": [user, answer]},
        {
            "tools": OWN_TOOLS,
            "messages": [
                {"role": "system", "content": "It is Monday."},
                {"role": "user", "content": "on"},
                answer,
            ],
        },
    )
    first, second = tokenize.prompt_texts([plain, own], PromptSetup(RUN_TOOLS, "Act."))
    assert "developer\nAct.<start" in first and "declaration:other" in first
    assert (
        "developer\nIt is Monday.<start" in second
        and "declaration:other" not in second
        and ",y:{" not in first
    )


def test_answer_is_text_or_calls_or_both() -> None:
    call = Call("f", {"a": 1})
    written = "<start_function_call>call:f{a:1}<end_function_call>"
    assert (
        prompts.answer([call])
        == prompts.completion([call])
        == f"{written}<start_function_response>"
    )
    assert prompts.answer([], " Sorry, no.\n") == "Sorry, no.<end_of_turn>"
    assert (
        prompts.answer([call, call], "Both:") == f"Both:{written}{written}<start_function_response>"
    )
    for calls, text, problem in (
        ([], " ", "text: is empty"),
        ([], "a<end_of_turn>", "text: holds <end_of_turn>"),
        ([Call("f g", {})], "x", "name"),
    ):
        with pytest.raises(PromptError, match=problem):
            prompts.answer(calls, text)
