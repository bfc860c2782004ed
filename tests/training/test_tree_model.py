"""A tree's loss and gradients are those of rows that are run one by one, in the tiny network and in the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from separate_rows import ROWS, gradients, relative_error, separate_loss

from fgkit.dataset import tokenize
from fgkit.dataset.reading import read_records
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import ModelError
from fgkit.locations import shipped
from fgkit.models import base as base_model
from fgkit.prompts import PromptSetup
from fgkit.tools import load_tools
from fgkit.training.tree_model import collate, tree_training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_folder(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture
def model(folder: Path) -> Any:
    model = base_model.load(folder)[0].float()
    with (
        torch.no_grad()
    ):  # weights as they start hardly attend to anything, which would hide a wrong mask
        for parameter in model.parameters():
            parameter.mul_(1.0 if parameter.ndim == 1 else 5.0)
    return model


def test_loss_and_gradients_equal_separate_rows(model: Any) -> None:
    wanted_loss = separate_loss(model, ROWS)  # eager, as the model is loaded
    wanted = gradients(model, wanted_loss)
    with tree_training(model):
        loss = model(**collate(ROWS))
        got = gradients(model, loss)
    assert relative_error(loss.detach(), wanted_loss.detach()) < 1e-5
    assert len(got) > 20
    assert {
        name: error for name in got if (error := relative_error(got[name], wanted[name])) >= 1e-4
    } == {}


@pytest.fixture
def real() -> tuple[Any, list[TokenizedExample]]:
    """The real network in fp32, and rows of the example."""
    tools = load_tools(shipped("data", "tools.py"))
    model, tokenizer = base_model.load(base_model.find_base("offline").folder)
    records = read_records(shipped("data", "training_data.jsonl"), tools)[:4]
    return model.float(), tokenize.tokenize_records(
        records, PromptSetup(tools), tokenizer, max_length=1024
    )


def backward_one_by_one(model: Any, rows: list[TokenizedExample], count: int = 1) -> Any:
    """Summed loss of separate rows over `count`; a backward pass each, because the logits of all would not fit."""
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        loss = separate_loss(model, [row]) / count
        loss.backward()
        total += loss.detach()
    return total


@pytest.mark.slow
def test_the_real_network_gives_the_gradients_of_separate_rows(
    real: tuple[Any, list[TokenizedExample]],
) -> None:
    model, rows = real
    wanted_loss = backward_one_by_one(model, rows)
    wanted = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    with tree_training(model):
        loss = model(**collate(rows))
        got = gradients(model, loss)
    assert relative_error(loss.detach(), wanted_loss) < 1e-4
    assert len(got) == 236
    assert {
        name: error for name in got if (error := relative_error(got[name], wanted[name])) >= 1e-4
    } == {}


@pytest.mark.slow
def test_the_real_network_moves_in_three_steps_as_separate_rows_move_it(
    real: tuple[Any, list[TokenizedExample]],
) -> None:
    model, rows = real
    rows, start = rows[:2], {name: value.clone() for name, value in model.state_dict().items()}
    answers = sum(len(row.tokens) - row.prompt_length for row in rows)

    def three_steps(backward: Any) -> dict[str, Any]:
        model.load_state_dict(start)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return {name: value.clone() for name, value in model.state_dict().items()}

    wanted = three_steps(lambda: backward_one_by_one(model, rows, answers))
    with tree_training(model):
        got = three_steps(lambda: (model(**collate(rows)) / answers).backward())
    assert max(relative_error(wanted[name], start[name]) for name in wanted) > 1e-3
    assert len(got) >= 236
    assert {
        name: error for name in got if (error := relative_error(got[name], wanted[name])) >= 1e-4
    } == {}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(st.integers(109, 112), min_size=2, max_size=40).flatmap(
            lambda tokens: st.integers(1, len(tokens) - 1).map(
                lambda n: TokenizedExample((2, *tokens), n)
            )
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_tree_equals_separate_rows(model: Any, rows: list[TokenizedExample]) -> None:
    wanted_loss = separate_loss(model, rows)
    wanted = gradients(model, wanted_loss)["model.embed_tokens.weight"]
    with tree_training(model):
        loss = model(**collate(rows))
        assert relative_error(loss.detach(), wanted_loss.detach()) < 1e-5
        assert relative_error(gradients(model, loss)["model.embed_tokens.weight"], wanted) < 1e-4


@pytest.mark.parametrize("broken", ["window", "siblings", "positions"])
def test_a_wrong_mask_or_position_is_noticed(
    model: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    wanted = gradients(model, separate_loss(model, ROWS))
    batch = collate(ROWS)
    if broken == "window":
        monkeypatch.setattr(model.config, "sliding_window", 10_000)
    elif broken == "siblings":
        batch["last_descendants"] = torch.full_like(
            batch["last_descendants"], len(batch["last_descendants"])
        )
    else:
        batch["position_ids"] = torch.arange(batch["position_ids"].shape[1])[None]
    with tree_training(model):
        got = gradients(model, model(**batch))
    errors = {name: relative_error(got[name], wanted[name]) for name in wanted if "proj" in name}
    assert (
        len(errors) > 20 and min(errors.values()) > 1e-3
    )  # ten times what exact gradients may differ by


def test_a_model_is_afterwards_as_it_was(model: Any) -> None:
    before = model(input_ids=torch.tensor([ROWS[0].tokens])).logits
    with pytest.raises(KeyboardInterrupt), tree_training(model):
        assert model(**collate(ROWS)).ndim == 0
        raise KeyboardInterrupt
    assert model.config._attn_implementation == "eager"
    assert torch.equal(model(input_ids=torch.tensor([ROWS[0].tokens])).logits, before)


def test_a_model_that_caps_its_logits_is_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.config, "final_logit_softcapping", 30.0)
    with pytest.raises(ModelError, match="caps its logits"), tree_training(model):
        pass
