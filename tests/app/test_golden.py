"""Golden vectors say what is trained: prompt, answer, calls and what the app's functions get."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_tools import RICH
from hypothesis import given, settings, strategies as st

from fgkit import calls, prompts
from fgkit.app import golden
from fgkit.calls import Call
from fgkit.dataset import tokenize
from fgkit.dataset.reading import read_records
from fgkit.dataset.records import Record, request
from fgkit.errors import ArgumentError
from fgkit.prompts import PromptSetup
from fgkit.tools import load_tools

DATA = Path(__file__).parents[2] / "data"
TOOLS = load_tools(DATA / "tools.py")
ROWS = read_records(DATA / "eval_data.jsonl", TOOLS)


@pytest.mark.parametrize("style", prompts.STYLES)
def test_prompt_and_answer_are_those_of_the_training(style):
    rows = ROWS[:5]
    setup = PromptSetup(TOOLS, styles=(style,))
    found = golden.vectors(rows, setup)
    assert [vector["prompt"] for vector in found] == tokenize.prompt_texts(rows, setup)
    for vector, row in zip(found, rows, strict=True):
        assert (
            vector["single"] and vector["line"] == row.line and vector["user"] == row.user_content
        )
        assert calls.parse(vector["answer"]) == [
            Call(call["name"], call["arguments"]) for call in vector["calls"]
        ]
        assert [call["received"] for call in vector["calls"]] == [
            call.arguments for call in row.calls
        ]


@pytest.mark.parametrize("style", prompts.STYLES)
@settings(max_examples=30, deadline=None)
@given(
    words=st.text(
        st.sampled_from(" \t\n\v\f\r\x1c\x1d\x85\xa0\u1680\u2003\u2028\u3000\ufeff\u200bab"),
        max_size=6,
    )
)
def test_the_text_around_a_request_gives_its_prompt(style, words):
    around = golden.prompt_text(PromptSetup(TOOLS, styles=(style,)))
    wanted = prompts.render(
        prompts.conversation(f"x{words}")
        if style == "flutter_gemma"
        else prompts.conversation(f"{words}x{words}"),
        TOOLS,
        add_generation_prompt=True,
        style=style,
    )
    assert (
        around.prompt_for(f"x{words}" if style == "flutter_gemma" else f"{words}x{words}") == wanted
    )


def test_a_conversation_is_no_single_request():
    talk = Record(
        3,
        (
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "make it red"},
        ),
        (),
        "Fine.",
    )
    own = Record(4, ({"role": "user", "content": "go"},), (Call("ping", {}),), tools=(RICH[0],))
    first, second = golden.vectors([talk, own], PromptSetup(TOOLS))
    assert (
        not first["single"]
        and first["user"] == "make it red"
        and first["calls"] == []
        and first["text"] == "Fine."
    )
    assert not second["single"] and second["calls"] == [{"name": "ping", "arguments": {}}]


def test_a_developer_text_is_in_the_prompt():
    assert "Be brief." in golden.vectors(ROWS[:1], PromptSetup(TOOLS, "Be brief."))[0]["prompt"]
    around = golden.prompt_text(PromptSetup(TOOLS, "Be brief."))
    assert around.prefix.startswith("<bos><start_of_turn>developer\nBe brief.")


def test_received_has_types_defaults_and_no_nulls():
    got = golden.received(Call("limits", {"count": "3", "some": None, "share": 0}), RICH)
    assert got == {
        "count": 3,
        "share": 0.0,
        "label": "it's $5",
        "times": 2,
        "loud": False,
        "size": "M",
    }
    assert (
        list(got) == ["count", "share", "label", "times", "loud", "size"]
        and type(got["share"]) is float
    )
    moved = golden.received(
        Call("move", {"to": {"x": 1, "y": None}, "many": [], "free": {"k": None}}), RICH
    )
    assert moved == {"to": {"x": 1.0}, "many": [], "free": {"k": None}}
    assert golden.received(Call("elsewhere", {}), RICH) is None
    with pytest.raises(ArgumentError):
        golden.received(Call("limits", {}), RICH)


def test_rows_are_chosen_from_every_kind_in_file_order():
    rows = [request(line, "x", [Call("often", {})]) for line in range(1, 9)] + [
        request(9, "x", [Call("seldom", {})]),
        Record(10, ({"role": "user", "content": "x"},), (), "No."),
    ]
    rows.append(request(11, "x", [Call("often", {}), Call("seldom", {})]))
    assert [row.line for row in golden.choose(rows, 5)] == [1, 2, 9, 10, 11]
    assert golden.choose(rows, 0) == [] and golden.choose(rows, 99) == rows
