"""Batched greedy decoding with a shared prefix gives, token for token, what `model.generate` gives alone."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch

from fgkit import prompts
from fgkit.calls import Call
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record
from fgkit.models import base as base_model
from fgkit.training import generation

TEXTS = [
    prompts.render(prompts.conversation(text), [], add_generation_prompt=True)
    for text in (
        "hi",
        "make it red",
        "a much longer request than the others " * 3,
        "make it red please",
        "é\n\nö",
    )
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    model, tokenizer = base_model.load(
        tiny.model_folder(tmp_path_factory.mktemp("model") / "base", seed=3)
    )
    with torch.no_grad():  # sharper weights, so that greedy decoding does not hang on rounding
        for parameter in model.parameters():
            parameter.mul_(1.0 if parameter.ndim == 1 else 8.0)
    return model.float(), tokenizer


def one_by_one(model: Any, tokenizer: Any, text: str, new: int) -> str:
    ids = torch.tensor([tokenize.encode(tokenizer, text)])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        do_sample=False,
        top_k=None,
        top_p=None,
        eos_token_id=list(prompts.STOP_IDS),
        pad_token_id=0,
    )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=False)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_equals_generate_token_for_token(loaded: tuple[Any, Any], batch_size: int) -> None:
    model, tokenizer = loaded
    wanted = [one_by_one(model, tokenizer, text, 40) for text in TEXTS]
    assert len(set(wanted)) > 1
    assert (
        generation.generate(model, tokenizer, TEXTS, max_new_tokens=40, batch_size=batch_size)
        == wanted
    )


@pytest.mark.parametrize("stop", prompts.STOP_IDS)
def test_stops_at_each_stop_id_and_keeps_it(
    loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    model, tokenizer = loaded
    bias = torch.zeros(model.config.vocab_size)
    bias[stop] = 1e6
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: output + bias)
    try:
        answers = generation.generate(model, tokenizer, TEXTS, max_new_tokens=9)
    finally:
        hook.remove()
    assert answers == [tokenizer.decode([stop])] * len(TEXTS)


def test_no_prompts_give_no_answers(loaded: tuple[Any, Any]) -> None:
    assert generation.generate(*loaded, [], max_new_tokens=4) == []


def test_equal_prompts_are_answered_each(loaded: tuple[Any, Any]) -> None:
    first, second = generation.generate(*loaded, [TEXTS[0]] * 2, max_new_tokens=12)
    assert first == second == one_by_one(*loaded, TEXTS[0], 12)


def test_longest_answer_is_the_longest_and_a_margin(loaded: tuple[Any, Any]) -> None:
    short, long = (Record(1, "x", (Call("f", {"a": value}),)) for value in ("b", "b" * 20))
    tokens = len(tokenize.encode(loaded[1], prompts.completion(long.calls)))
    assert generation.longest_answer(loaded[1], [short, long]) == tokens + 16
