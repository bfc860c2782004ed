"""Token rows are the served text: same prompt, answer marked, too long rows named, another template refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fgkit import prompts
from fgkit.calls import Call
from fgkit.dataset import tokenize
from fgkit.dataset.records import request
from fgkit.errors import DataError, ModelError
from fgkit.prompts import PromptSetup
from fgkit.tools import load_tools

DATA = Path(__file__).parents[2] / "data"
RECORDS = [
    request(1, "make it red", (Call("change_background_color", {"color": "red"}),)),
    request(
        7, "show an alert saying hi", (Call("show_alert", {"title": "Alert", "message": "hi"}),)
    ),
]


@pytest.fixture(scope="module")
def tools() -> list[dict]:
    return load_tools(DATA / "tools.py")


def test_rows_hold_the_prompt_then_the_answer(tokenizer: Any, tools: list[dict]) -> None:
    rows = tokenize.tokenize_records(RECORDS, PromptSetup(tools), tokenizer, max_length=2048)
    for record, row in zip(RECORDS, rows, strict=True):
        prompt = prompts.render(
            prompts.conversation(record.user_content), tools, add_generation_prompt=True
        )
        assert tokenizer.decode(row.tokens[: row.prompt_length]) == prompt
        assert tokenizer.decode(row.tokens[row.prompt_length :]) == prompts.completion(record.calls)
        assert row.tokens.count(2) == 1  # one <bos>
        assert row.tokens[-1] == 50


def test_the_developer_text_is_the_official_sentence_unless_set(tools: list[dict]) -> None:
    official, own = (
        tokenize.prompt_texts(RECORDS, PromptSetup(tools, message))[0]
        for message in ("", "Be brief.")
    )
    assert official.startswith(
        "<bos><start_of_turn>developer\nYou are a model that can do function calling with the "
        "following functions<start_function_declaration>"
    )
    assert own.startswith("<bos><start_of_turn>developer\nBe brief.<start_function_declaration>")


def test_long_rows_are_named_not_cut(tokenizer: Any, tools: list[dict]) -> None:
    with pytest.raises(
        DataError, match=r"2 rows are longer than max_length \(100\): line 1: \d+ tokens, line 7: "
    ):
        tokenize.tokenize_records(RECORDS, PromptSetup(tools), tokenizer, max_length=100)


def test_our_template_agrees_and_another_is_refused_with_the_difference(
    tokenizer: Any, tools: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tokenize.check_template(tokenizer, RECORDS, PromptSetup(tools)) == 2
    monkeypatch.setattr(
        tokenizer, "chat_template", tokenizer.chat_template.replace("declaration:", "function:")
    )
    with pytest.raises(
        ModelError, match="line 1: the prompt that would be trained is not the model's own"
    ) as caught:
        tokenize.check_template(tokenizer, RECORDS, PromptSetup(tools))
    assert "function:change_background_color" in str(caught.value)
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ModelError, match="no chat template"):
        tokenize.check_template(tokenizer, RECORDS, PromptSetup(tools))
