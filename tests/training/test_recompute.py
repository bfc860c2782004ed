"""Layers that keep less for the backward pass: the same gradients, half the memory, and afterwards as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from separate_rows import ROWS, gradients, relative_error

from fgkit.models import base as base_model
from fgkit.training.recompute import recomputing


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = base_model.load(tiny.model_folder(Path(tmp_path_factory.mktemp("model"), "base")))[
        0
    ].float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.5 if "norm" in name else 0.05))
    return model


def kept_bytes(model: Any) -> tuple[Any, int]:
    """A forward pass's loss, and the bytes of activations that its backward pass holds."""
    kept: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        if not tensor.is_leaf:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.tensor([row.tokens[:50] for row in ROWS])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state
    return states.square().sum(), sum(kept.values())


def test_gradients_are_the_models_own_and_less_is_kept(model: Any) -> None:
    loss, whole = kept_bytes(model)
    wanted = gradients(model, loss)
    with recomputing(model):
        loss_in_block, less = kept_bytes(model)
        got = gradients(model, loss_in_block)
    assert relative_error(loss_in_block.detach(), loss.detach()) < 1e-6
    assert len(got) > 20
    assert {
        name: error for name in got if (error := relative_error(got[name], wanted[name])) >= 1e-5
    } == {}
    assert less < 0.75 * whole
    assert kept_bytes(model)[1] == whole


def test_a_small_change_of_a_norm_is_noticed(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = gradients(model, kept_bytes(model)[0])
    monkeypatch.setattr(model.model.layers[1].pre_feedforward_layernorm, "eps", 0.01)
    with recomputing(model):
        got = gradients(model, kept_bytes(model)[0])
    assert max(relative_error(got[name], wanted[name]) for name in got) > 1e-4
