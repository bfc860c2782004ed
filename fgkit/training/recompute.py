"""A Gemma 3 layer's norms and feed-forward part, with less kept for the backward pass and the same gradients.

In: a model. Out: for the length of a block, modules that keep their inputs and compute again what follows from them: of a
token's 89 KB a layer in bf16 autocast the norms held 33 and the feed-forward part 22.

>>> with lean(model):
...     model(input_ids=ids, labels=ids).loss.backward()
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def lean(model: Any) -> Iterator[None]:
    """Have a model's norms and feed-forward parts keep less; when the block ends they are as they were.

    Args:
        model: a Gemma 3 causal language model.
    """
    norm, feed_forward = type(model.model.norm), type(model.model.layers[0].mlp)
    replaced = {norm: _normalised, feed_forward: _fed_forward}
    modules = [module for module in model.modules() if type(module) in replaced]
    for module in modules:
        module.forward = types.MethodType(replaced[type(module)], module)
    try:
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward")


def _fed_forward(self: Any, states: torch.Tensor) -> torch.Tensor:
    from torch.utils.checkpoint import checkpoint

    return checkpoint(
        lambda gate, up: self.down_proj(self.act_fn(gate) * up),
        self.gate_proj(states),
        self.up_proj(states),
        use_reentrant=False,
        preserve_rng_state=False,
    )  # the multiplication itself is not made again


def _normalised(self: Any, states: torch.Tensor) -> torch.Tensor:
    return _rms_norm().apply(states, self.weight, self.eps)


@lru_cache
def _rms_norm() -> Any:
    import torch

    class RMSNorm(torch.autograd.Function):
        """`x / sqrt(mean(x²) + eps) * (1 + weight)` in fp32 (arXiv 1910.07467; the weight as Gemma has it)."""

        @staticmethod
        def forward(
            ctx: Any, states: torch.Tensor, weight: torch.Tensor, eps: float
        ) -> torch.Tensor:
            wide = states.float()
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
            ctx.save_for_backward(states, weight, scale)
            return (wide * scale * (1.0 + weight.float())).to(states.dtype)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
            states, weight, scale = ctx.saved_tensors
            normal, wide = states.float() * scale, gradient.float()
            for_weight = (wide * normal).flatten(0, -2).sum(0).to(weight.dtype)
            wide = wide * (1.0 + weight.float())
            for_states = scale * (wide - normal * (wide * normal).mean(-1, keepdim=True))
            return for_states.to(states.dtype), for_weight, None

    return RMSNorm
