"""Less memory for a Gemma 3 layer's norms and feed-forward part, with the same gradients.

The backward pass of a layer needs results of the forward pass, so PyTorch keeps them until then.
Some of them follow from others by cheap operations on single numbers and need not be kept: in bf16
autocast the norms keep 33 KB of the 89 KB that a layer holds for each token, and the feed-forward
part 22 KB. Within the block below they keep their inputs, and the backward pass computes the rest
again. Matrix multiplications, which are what a step's time goes into, are not repeated; that is the
difference from plain gradient checkpointing, which runs each layer's whole forward pass twice
(arXiv 1604.06174).

Example:
    with recomputing(model):
        model(input_ids=ids, labels=ids).loss.backward()
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch.autograd.function import FunctionCtx
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from transformers import Gemma3ForCausalLM
    from transformers.models.gemma3.modeling_gemma3 import Gemma3MLP, Gemma3RMSNorm


@contextlib.contextmanager
def recomputing(model: Gemma3ForCausalLM) -> Iterator[None]:
    """Have a model's norms and feed-forward parts keep less while the block runs.

    Args:
        model: a Gemma 3 causal language model; after the block its modules are as they were.
    """
    norm, feed_forward = type(model.model.norm), type(model.model.layers[0].mlp)
    forwards: dict[type, Callable[..., torch.Tensor]] = {
        norm: _norm_forward,
        feed_forward: _feed_forward_forward,
    }
    modules = [module for module in model.modules() if type(module) in forwards]
    # A `forward` of the instance hides the one of the class; removing it afterwards restores the
    # module.
    for module in modules:
        module.forward = types.MethodType(forwards[type(module)], module)
    try:
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward")


def _feed_forward_forward(self: Gemma3MLP, states: torch.Tensor) -> torch.Tensor:
    """`down(act(gate(x)) * up(x))`, which keeps the results of `gate` and `up` only.

    `checkpoint` runs its function again in the backward pass. `gate` and `up` are outside, so their
    multiplications are not repeated. `down` is inside so that its input need not be kept, but its
    multiplication is not repeated either: with `use_reentrant=False` the second run stops as soon
    as it has every tensor that the backward pass needs, which is the case before `down` is called.
    There is no dropout here, hence no random state to restore.
    """
    result: torch.Tensor = checkpoint(
        lambda gate, up: self.down_proj(self.act_fn(gate) * up),
        self.gate_proj(states),
        self.up_proj(states),
        use_reentrant=False,
        preserve_rng_state=False,
    )
    return result


def _norm_forward(self: Gemma3RMSNorm, states: torch.Tensor) -> torch.Tensor:
    apply: Callable[..., torch.Tensor] = _RMSNorm.apply
    return apply(states, self.weight, self.eps)


class _RMSNorm(torch.autograd.Function):
    """`x / sqrt(mean(x²) + eps) * (1 + weight)` in fp32 (arXiv 1910.07467; `1 +` is Gemma's).

    PyTorch would keep several fp32 matrices of the states' size, one for each operation. Kept here
    are the states as they came and one number for each token, its scale.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, states: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> torch.Tensor:
        wide = states.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(states, weight, scale)
        return (wide * scale * (1.0 + weight.float())).to(states.dtype)

    @staticmethod
    def backward(
        ctx: FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Compute the gradients of states and weight.

        With n = x * scale and h = gradient * (1 + weight), that of the states is
        scale * (h - n * mean(n * h)). The second term comes from the scale, which depends on every
        number of the token.
        """
        states, weight, scale = ctx.saved_tensors  # type: ignore[attr-defined]
        normalised, wide = states.float() * scale, gradient.float()
        weight_gradient = (wide * normalised).flatten(0, -2).sum(0).to(weight.dtype)
        wide = wide * (1.0 + weight.float())
        mean = (wide * normalised).mean(-1, keepdim=True)
        states_gradient = scale * (wide - normalised * mean)
        return states_gradient.to(states.dtype), weight_gradient, None
