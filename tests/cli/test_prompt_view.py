"""`prompt`: text, tokens and differences, shown and as JSON, and every way to ask wrongly."""

from __future__ import annotations

import doctest
import json

import pytest
import tiny
from hypothesis import given, settings, strategies as st

from fgkit import locations, prompts
from fgkit.cli import prompt_view
from fgkit.cli.main import main
from fgkit.dataset.records import request
from tests.workflow.test_stages import TOOLS

RED = request(1, "make it red")
DATA = locations.shipped("data", "training_data.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompt(capsys):
    def call(*arguments):
        code = main(["prompt", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_the_modules_example():
    assert doctest.testmod(prompt_view).attempted == 1 and doctest.testmod(prompt_view).failed == 0


@pytest.mark.parametrize("style", prompts.STYLES)
def test_text_of_each_style(prompt, style):
    code, out, err = prompt("make", "it", "red", "--style", style)
    text = prompts.render(
        prompts.conversation("make it red"), TOOLS, add_generation_prompt=True, style=style
    )
    assert (code, err) == (0, "")
    assert out == f"{text}\n{style}: {len(text):,} characters, {len(text.encode()):,} bytes\n"


def test_tokens_are_those_the_model_gets(prompt, folder):
    code, out, _ = prompt("é", "--tokens", folder, "--json", "--diff", "flutter_gemma")
    found = json.loads(out)
    assert code == 0 and set(found) == {"style", "text", "characters", "bytes", "tokens", "diff"}
    assert found["bytes"] == found["characters"] + 1
    assert [token["id"] for token in found["tokens"][:3]] == [2, 105, found["tokens"][2]["id"]]
    assert found["tokens"][0]["piece"] == "<bos>" and found["tokens"][-1]["piece"] == "\n"
    assert sum(token["id"] == 46 for token in found["tokens"]) == 3
    assert (
        found["diff"]["style"] == "flutter_gemma"
        and found["diff"]["tokens"] == len(found["tokens"]) + 4
    )
    assert {
        "byte": 103,
        "after": "g with the following functions",
        "here": "",
        "there": "\n",
    } in found["diff"]["places"]
    _, out, _ = prompt("é", "--tokens", folder, "--diff", "flutter_gemma")
    lines = out.split("template: ")[1].splitlines()
    assert f", {len(found['tokens']):,} tokens" in lines[0] and lines[1].startswith(
        "     0  2:'<bos>' 105:'<start_of_turn>'"
    )
    assert all(len(line) <= 120 for line in lines if line[:6].strip().isdigit())
    assert f"{len(found['tokens']):,} -> {len(found['tokens']) + 4:,} tokens" in out
    assert "  byte 103, after 'g with the following functions': '' -> '\\n'" in out


def test_a_row_of_a_file(prompt, tmp_path):
    row = json.loads(DATA.read_text(encoding="utf-8").splitlines()[2])
    assert f"user\n{row['user_content']}<end_of_turn>" in prompt("--row", 3)[1]
    mine = tmp_path / "rows.jsonl"
    tools = [{"type": "function", "function": {"name": "own", "description": "Mine."}}]
    turns = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "no"},
    ]
    mine.write_text("\n" + json.dumps({"messages": turns, "tools": tools}) + "\n", encoding="utf-8")
    out = prompt("--row", 2, "--data", mine)[1]
    assert (
        "declaration:own{" in out and "show_alert" not in out and out.count("<start_of_turn>") == 5
    )
    code, _, err = prompt("--row", 2, "--data", mine, "--style", "flutter_gemma")
    assert (
        code == 2
        and "line 2: messages: hold assistant messages, but style flutter_gemma is single-turn"
        in err
    )


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), "give a text, or --row N for a row of --data, and not both."),
        (("x", "--row", 1), "give a text, or --row N for a row of --data, and not both."),
        (
            ("x", "--style", "chat"),
            "style is 'chat': 'chat' is none of template, flutter_gemma, litert_lm.",
        ),
        (
            ("x", "--diff", "litert"),
            "'litert' is none of template, flutter_gemma, litert_lm; did you mean 'litert_lm'?",
        ),
        (
            ("x", "--style", "template,litert_lm"),
            "style is 'template,litert_lm', expected one style: a prompt has one text.",
        ),
        (("x", "--tools", "none.py"), "none.py"),
        (("x", "--tokens", "none"), "base is 'none'"),
        (("--row", 0), "has no row in line 0, expected one of its 284 rows, lines 1 to 284."),
        (
            ("a<end_of_turn>b",),
            "content: holds <end_of_turn>, which the model reads as a control token",
        ),
    ],
)
def test_a_mistake_is_one_message(prompt, arguments, expected):
    code, out, err = prompt(*arguments)
    assert code == 2 and out == "" and expected in err and "Traceback" not in err


def test_control_tokens_are_coloured_on_a_terminal_only(prompt, monkeypatch):
    assert "\033" not in prompt("hi")[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out = prompt("hi")[1]
    assert "\033[1;36m<start_of_turn>\033[0mdeveloper" in out and "\033[33m<escape>\033[0m" in out


TEXTS = st.text("ab<é \n", max_size=12)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_places_turn_one_text_into_the_other(text, other):
    data, moved = text.encode(), 0
    for place in prompt_view.places(text, other):
        start = place["byte"] + moved
        assert text.encode()[: place["byte"]].decode().endswith(place["after"])
        here, there = place["here"].encode(), place["there"].encode()
        assert data[start : start + len(here)] == here != there
        data, moved = (
            data[:start] + there + data[start + len(here) :],
            moved + len(there) - len(here),
        )
    assert data == other.encode()


def test_equal_texts():
    assert (
        prompt_view.difference("a", "a", "x", "y", counts=(1, 1))
        == "x -> y: the same text, 1 -> 1 bytes, 1 -> 1 tokens"
    )
