"""Attention over a token tree, block by block: each block of tokens looks at its ancestors and at itself only.

In: the positions and last descendants of a `prefix_tree.Tree`. Out: for each of Gemma 3's two kinds of layers the blocks
that cover the tree, which the attention implementation `IMPLEMENTATION` takes in place of a mask.

A mask over the whole tree costs tokens squared, most of it for pairs of tokens in different rows, which must not see each
other. Blocks of sibling rows cost their own tokens times what they can see:

    <bos> developer turn, 230 tokens ─┬─ rows 1 to 3, 90 tokens   block of  90 looking at 230 + 90
                                      ├─ rows 4 to 6, 85 tokens   block of  85 looking at 230 + 85
                                      └─ ...                      a mask: 1,210 looking at 1,210

Within a block a small bias still separates the rows from each other. Tree Training (arXiv 2511.00413) packs trees for
attention kernels of GPUs; the blocks here need nothing but matrix multiplications.

Gemma 3 alternates layers that see everything with layers that see a sliding window of positions (Gemma 3 Technical
Report, arXiv 2503.19786), so every tree is cut for both.

Example:

    both = blocks(tree.positions, tree.last_descendants, window=512)
    [block.stop - block.start for block in both["full_attention"]]      # [128, 153, 85, 89, 94, ...]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.autograd.function import FunctionCtx
from transformers import AttentionInterface

IMPLEMENTATION = "fgkit_tree"
# Blocks begin where a branch begins; a stretch without branches may also be cut after this many tokens.
_UNBRANCHED = 128
# What one more block costs, in pairs of tokens: some 0.3 ms a layer for a handful of small operations (estimated).
_BLOCK_COST = 8192
# Longest block made of several stretches, which bounds the search for the cheapest cut.
_LONGEST = 1024


@dataclass(frozen=True)
class Block:
    """Consecutive tokens of a tree and what they may attend to; all numbers are indexes in the tree.

    The keys of a block are its ancestors, then its own tokens.

    Args:
        start: first token of the block.
        stop: end of the block, exclusive.
        ancestors_start: first ancestor, if the ancestors are consecutive, as below a single shared prefix.
        ancestors_stop: end of the ancestors, exclusive; equal to `ancestors_start` if there are none.
        keys: indexes of all keys, if the ancestors are not consecutive; None if they are, because slices need no copy.
        bias: shape (stop - start, keys), 0 where attention is allowed and minus infinity elsewhere.
    """

    start: int
    stop: int
    ancestors_start: int
    ancestors_stop: int
    keys: torch.Tensor | None
    bias: torch.Tensor


def blocks(
    positions: Sequence[int],
    last_descendants: Sequence[int],
    window: int | None,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, list[Block]]:
    """Cut a tree into blocks of attention.

    Args:
        positions: depth of each token, see `prefix_tree.Tree`.
        last_descendants: last descendant of each token, see there.
        window: size of the sliding window in positions; a token sees itself and `window - 1` positions before it;
            None for full attention in all layers.
        device: device of the model.
    Returns:
        the blocks of `full_attention` and of `sliding_attention` layers, in the order of the tree. The keys are the
        layer types of a Gemma 3 configuration, by which the model picks a mask for each layer.
    """
    depth, last = torch.tensor(positions), torch.tensor(last_descendants)
    result: dict[str, list[Block]] = {"full_attention": [], "sliding_attention": []}
    for start, stop in _cuts(positions):
        # Tokens before the block that have a descendant in or behind it.
        ancestors = (last[:start] >= start).nonzero()[:, 0]
        own = torch.arange(start, stop)
        for layer_type, reach in (
            ("full_attention", len(positions)),
            ("sliding_attention", window or len(positions)),
        ):
            # The window counts positions in the row, not indexes in the tree. A block may contain branches that begin
            # further up, so its least deep token is the one that reaches back furthest.
            near = ancestors[depth[ancestors] > int(depth[start:stop].min()) - reach]
            keys = torch.cat([near, own])
            # A token sees its ancestors and itself (the rule of `Tree.last_descendants`), within the window.
            allowed = (
                (keys[None, :] <= own[:, None])
                & (own[:, None] <= last[keys][None, :])
                & (depth[own][:, None] - depth[keys][None, :] < reach)
            )
            bias = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf")).to(device)
            first, end = (int(near[0]), int(near[-1]) + 1) if len(near) else (start, start)
            consecutive = end - first == len(near)
            result[layer_type].append(
                Block(start, stop, first, end, None if consecutive else keys.to(device), bias)
            )
    return result


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
    """Scaled dot-product attention of a whole tree, in the form of a transformers attention implementation.

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


def attended_pairs(positions: Sequence[int], window: int | None = None) -> int:
    """Number of pairs of a token and an ancestor or itself in a tree: the least that attention has to compute.

    Args:
        positions: depth of each token.
        window: size of the sliding window in positions; None for full attention.
    """
    return sum(min(position + 1, window or position + 1) for position in positions)


class _TreeAttention(torch.autograd.Function):
    """Attention of all blocks, with the attention weights computed again in the backward pass.

    Keeping the weights, as PyTorch would, takes memory for every pair of a token and a key in every layer and head. The
    queries, keys and values that are kept instead grow with the tokens only. Computing the weights again costs one
    multiplication for each block, as in FlashAttention (arXiv 2205.14135).
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

        A query belongs to one block, so its gradient is written there. A key or value of a shared prefix is used by many
        blocks and its gradient is the sum of their parts. This is what makes the gradients equal those of separate rows,
        each with its own copy of the prefix. The sum is taken in fp32, because bfloat16 would round away small parts.
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
    """Softmax in fp32, shape (1, key-value heads, query heads of each * tokens of the block, keys)."""
    scores = (queries @ keys.transpose(-1, -2)).float().mul_(scaling)
    # Every head gets the same bias.
    scores.view(*scores.shape[:2], -1, *block.bias.shape).add_(block.bias)
    return scores.softmax(-1)


def _stack_heads(states: torch.Tensor, key: torch.Tensor, block: Block) -> torch.Tensor:
    """The block's part of the queries, with the query heads that share a key-value head below each other.

    Four query heads of FunctionGemma share one key-value head. Stacked, they are one matrix, and a single multiplication
    with the keys replaces one for each head, which would need a copy of the keys for each.
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


def _cuts(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The cheapest blocks that cover the tree, as (start, stop).

    Large blocks compute many pairs of tokens that the bias then discards; small ones spend their time on launching
    operations. The cost of a block is its tokens times the keys they see, plus `_BLOCK_COST`. Dynamic programming finds
    the best cut: `costs[i]` is the cost of everything before the `i`-th edge, `starts[i]` where its last block begins.
    """
    # A branch begins where the depth does not grow.
    branches = [
        0,
        *(index for index in range(1, len(positions)) if positions[index] <= positions[index - 1]),
    ]
    edges = [
        index
        for start, stop in zip(branches, [*branches[1:], len(positions)])
        for index in range(start, stop, _UNBRANCHED)
    ] + [len(positions)]
    costs, starts = [0.0], [0]
    for end in range(1, len(edges)):
        best = (float("inf"), 0)
        for start in range(end - 1, -1, -1):
            length = edges[end] - edges[start]
            if length > _LONGEST and start < end - 1:
                break
            # A token at the block's start sees as many ancestors as it is deep.
            keys = positions[edges[start]] + length
            best = min(best, (costs[start] + length * keys + _BLOCK_COST, start))
        costs.append(best[0])
        starts.append(best[1])
    result, end = [], len(edges) - 1
    while end:
        result.append((edges[starts[end]], edges[end]))
        end = starts[end]
    return result[::-1]
