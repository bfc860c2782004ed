"""Attention over a token tree, computed block by block.

In: queries, keys and values of all tokens of a tree, and its blocks (`attention_blocks`), which
stand in for the attention mask. Out: what each row's own attention would give, with its gradients.

Tree Training (arXiv 2511.00413) brings trees to attention kernels of GPUs; this needs nothing but
matrix multiplications, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.autograd.function import FunctionCtx
from transformers import AttentionInterface

from .attention_blocks import Block

IMPLEMENTATION = "fgkit_tree"


def register() -> None:
    """Make the attention known to transformers under the name `IMPLEMENTATION`."""
    AttentionInterface.register(IMPLEMENTATION, attend)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Sequence[Block],
    *,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention of a whole tree, as transformers calls it.

    Args:
        module: the attention layer.
        query: shape (1, heads, tokens, head size).
        key: shape (1, key-value heads, tokens, head size).
        value: shape (1, key-value heads, tokens, head size).
        attention_mask: the tree's blocks for this type of layer.
        scaling: factor of the scores.
    Returns:
        (shape (1, tokens, heads, head size), None: attention weights are not returned).
    """
    # Within autocast the rotary embedding leaves queries and keys in fp32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    apply: Callable[..., torch.Tensor] = _TreeAttention.apply
    return apply(query, key, value, attention_mask, scaling).transpose(1, 2), None


class _TreeAttention(torch.autograd.Function):
    """Attention of all blocks, with the attention weights computed again in the backward pass.

    Keeping the weights, as PyTorch would, takes memory for every pair of a token and a key in every
    layer and head. The queries, keys and values that are kept instead grow with the tokens only.
    Computing the weights again costs one multiplication for each block, as in FlashAttention (arXiv
    2205.14135).
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        blocks: Sequence[Block],
        scaling: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.blocks, ctx.scaling = blocks, scaling  # type: ignore[attr-defined]
        out = torch.empty_like(query)
        for block in blocks:
            queries = _stack_heads(query, key, block)
            weights = _weights(queries, _keys_of(key, block), block, scaling)
            part = out[:, :, block.start : block.stop]
            part.copy_((weights.to(value.dtype) @ _keys_of(value, block)).view(part.shape))
        return out

    @staticmethod
    def backward(
        ctx: FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None]:
        """The usual gradients of attention, block by block.

        A query belongs to one block, so its gradient is written there. A key or value of a shared
        prefix is used by many blocks and its gradient is the sum of their parts. This is what makes
        the gradients equal those of separate rows, each with its own copy of the prefix. The sum is
        taken in fp32, because bfloat16 would round away small parts.
        """
        query, key, value = ctx.saved_tensors  # type: ignore[attr-defined]
        blocks: Sequence[Block] = ctx.blocks  # type: ignore[attr-defined]
        scaling: float = ctx.scaling  # type: ignore[attr-defined]
        dtype = value.dtype
        query_gradient = torch.empty_like(query)
        key_gradient, value_gradient = (torch.zeros(key.shape, device=key.device) for _ in range(2))
        for block in blocks:
            queries = _stack_heads(query, key, block)
            keys, values = _keys_of(key, block), _keys_of(value, block)
            out_gradient = _stack_heads(gradient, key, block)
            weights = _weights(queries, keys, block, scaling)
            _add_to_keys(value_gradient, block, weights.to(dtype).transpose(-1, -2) @ out_gradient)
            weights_gradient = (out_gradient @ values.transpose(-1, -2)).float()
            # The derivative of the softmax: p * (g - sum(p * g)).
            mean = (weights * weights_gradient).sum(-1, keepdim=True)
            scores_gradient = weights * (weights_gradient - mean) * scaling
            part = query_gradient[:, :, block.start : block.stop]
            part.copy_((scores_gradient.to(dtype) @ keys).view(part.shape))
            _add_to_keys(key_gradient, block, scores_gradient.to(dtype).transpose(-1, -2) @ queries)
        return query_gradient, key_gradient.to(key.dtype), value_gradient.to(dtype), None, None


def _weights(
    queries: torch.Tensor, keys: torch.Tensor, block: Block, scaling: float
) -> torch.Tensor:
    """Softmax in fp32, shape (1, key-value heads, query heads of each * tokens, keys)."""
    scores = (queries @ keys.transpose(-1, -2)).float().mul_(scaling)
    # Every head gets the same bias.
    scores.view(*scores.shape[:2], -1, *block.bias.shape).add_(block.bias)
    return scores.softmax(-1)


def _stack_heads(states: torch.Tensor, key: torch.Tensor, block: Block) -> torch.Tensor:
    """The block's part of the queries; heads that share a key-value head are below each other.

    Four query heads of FunctionGemma share one key-value head. Stacked, they are one matrix, and a
    single multiplication with the keys replaces one for each head, which would need a copy of the
    keys for each.
    """
    return states[:, :, block.start : block.stop].reshape(1, key.shape[1], -1, key.shape[-1])


def _keys_of(states: torch.Tensor, block: Block) -> torch.Tensor:
    """The keys or values that a block attends to: its ancestors', then its own."""
    if block.keys is not None:
        return states[:, :, block.keys]
    # Ancestors directly before the block, or none at all: one slice, which copies nothing.
    if block.ancestors_stop == block.start or block.ancestors_start == block.ancestors_stop:
        return states[:, :, min(block.ancestors_start, block.start) : block.stop]
    return torch.cat(
        [
            states[:, :, block.ancestors_start : block.ancestors_stop],
            states[:, :, block.start : block.stop],
        ],
        2,
    )


def _add_to_keys(total: torch.Tensor, block: Block, part: torch.Tensor) -> None:
    """Add a block's gradient to the keys that `_keys_of` takes."""
    if block.keys is not None:
        total.index_add_(2, block.keys, part.to(total.dtype))
        return
    ancestors = block.ancestors_stop - block.ancestors_start
    total[:, :, block.ancestors_start : block.ancestors_stop] += part[:, :, :ancestors]
    total[:, :, block.start : block.stop] += part[:, :, ancestors:]
