"""Attention over a token tree, block by block: each block of tokens looks at its ancestors and at itself only.

In: the positions and last descendants of a `prefix_tree.Tree`. Out: for each of Gemma 3's two kinds of layers the blocks
that cover the tree, which the attention implementation `IMPLEMENTATION` takes where a mask would stand. A mask over the
whole tree costs tokens squared; blocks of sibling rows cost their own tokens times what they can see:

    <bos> developer turn, 230 tokens ─┬─ rows 1 to 3, 90 tokens   block of  90 looking at 230 + 90
                                      ├─ rows 4 to 6, 85 tokens   block of  85 looking at 230 + 85
                                      └─ ...                      a mask: 1,210 looking at 1,210

>>> [block.stop - block.start for block in blocks(tree.positions, tree.last_descendants, window=512)["full_attention"]]
[128, 153, 85, 89, 94, ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IMPLEMENTATION = "fgkit_tree"
_CHAIN = 128  # tokens after which a stretch without branches may be cut
_CALL = 8192  # what one more block costs, in pairs of tokens: some 0.3 ms a layer, estimated
_LONGEST = 1024


@dataclass(frozen=True)
class Block:
    """Consecutive places of a tree and what they may attend to.

    Args:
        start, stop: the block's places.
        first, last: its ancestors' places, where they are consecutive.
        keys: places of the ancestors and of the block itself, where the ancestors are not consecutive; None otherwise.
        bias: shape (stop - start, keys), 0 where attention is allowed and minus infinity elsewhere.
    """

    start: int
    stop: int
    first: int
    last: int
    keys: torch.Tensor | None
    bias: torch.Tensor


def blocks(
    positions: Sequence[int], last_descendants: Sequence[int], window: int, *, device: Any = "cpu"
) -> dict[str, list[Block]]:
    """Cut a tree into blocks of attention.

    Args:
        positions, last_descendants: of a `prefix_tree.Tree`.
        window: sliding-window size in positions; a token sees itself and `window - 1` before it.
        device: where the network is.
    Returns:
        the blocks of `full_attention` and of `sliding_attention` layers, in the order of the tree.
    """
    import torch

    depth, last = torch.tensor(positions), torch.tensor(last_descendants)
    found: dict[str, list[Block]] = {"full_attention": [], "sliding_attention": []}
    for start, stop in _cuts(positions):
        ancestors = (last[:start] >= start).nonzero()[:, 0]
        own = torch.arange(start, stop)
        for kind, reach in (("full_attention", len(positions)), ("sliding_attention", window)):
            # No place of the block is less deep than its first one, unless a branch from further up begins in it.
            near = ancestors[depth[ancestors] > int(depth[start:stop].min()) - reach]
            keys = torch.cat([near, own])
            allowed = (
                (keys[None, :] <= own[:, None])
                & (own[:, None] <= last[keys][None, :])
                & (depth[own][:, None] - depth[keys][None, :] < reach)
            )
            bias = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf")).to(device)
            first, end = (int(near[0]), int(near[-1]) + 1) if len(near) else (start, start)
            in_one_piece = end - first == len(near)
            found[kind].append(
                Block(start, stop, first, end, None if in_one_piece else keys.to(device), bias)
            )
    return found


def register() -> None:
    """Make the attention known to transformers under the name `IMPLEMENTATION`."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, attend)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Sequence[Block],
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention of a whole tree, in the form of a transformers attention implementation.

    Args:
        module: the attention layer.
        query: shape (1, heads, tokens, head size).
        key, value: shape (1, key-value heads, tokens, head size).
        attention_mask: the tree's blocks for this kind of layer.
        scaling: factor of the scores.
    Returns:
        (shape (1, tokens, heads, head size), None: no weights are given).
    """
    query, key = (
        query.to(value.dtype),
        key.to(value.dtype),
    )  # autocast leaves what was rotated in fp32
    return _function().apply(query, key, value, attention_mask, scaling).transpose(1, 2), None


def attended_pairs(positions: Sequence[int], window: int | None = None) -> int:
    """Number of (token, ancestor or itself) pairs in a tree: what attention has to compute at least."""
    return sum(min(position + 1, window or position + 1) for position in positions)


@lru_cache
def _function() -> Any:
    import torch

    class TreeAttention(torch.autograd.Function):
        """Weights are computed again for the backward pass, so memory grows with tokens and not with pairs of them.

        The query heads of a key-value head stand below each other: one multiplication, and no copy of the keys a head.
        """

        @staticmethod
        def forward(
            ctx: Any,
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            blocks: Sequence[Block],
            scaling: float,
        ) -> torch.Tensor:
            ctx.save_for_backward(query, key, value)
            ctx.blocks, ctx.scaling = blocks, scaling
            out = torch.empty_like(query)
            for block in blocks:
                queries = _stacked(query, key, block)
                weights = _weights(queries, _seen(key, block), block, scaling)
                part = out[:, :, block.start : block.stop]
                part.copy_((weights.to(value.dtype) @ _seen(value, block)).view(part.shape))
            return out

        @staticmethod
        def backward(
            ctx: Any, gradient: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None]:
            query, key, value = ctx.saved_tensors
            kind = value.dtype
            for_query = torch.empty_like(query)
            for_key, for_value = (torch.zeros(key.shape, device=key.device) for _ in range(2))
            for block in ctx.blocks:
                queries, keys, values = (
                    _stacked(query, key, block),
                    _seen(key, block),
                    _seen(value, block),
                )
                wanted = _stacked(gradient, key, block)
                weights = _weights(queries, keys, block, ctx.scaling)
                _add(for_value, block, weights.to(kind).transpose(-1, -2) @ wanted)
                for_weights = (wanted @ values.transpose(-1, -2)).float()
                for_scores = (
                    weights
                    * (for_weights - (weights * for_weights).sum(-1, keepdim=True))
                    * ctx.scaling
                )
                part = for_query[:, :, block.start : block.stop]
                part.copy_((for_scores.to(kind) @ keys).view(part.shape))
                _add(for_key, block, for_scores.to(kind).transpose(-1, -2) @ queries)
            return for_query, for_key.to(key.dtype), for_value.to(kind), None, None

    return TreeAttention


def _weights(
    queries: torch.Tensor, keys: torch.Tensor, block: Block, scaling: float
) -> torch.Tensor:
    """Softmax in fp32, shape (1, key-value heads, query heads of each * block, keys)."""
    scores = (queries @ keys.transpose(-1, -2)).float().mul_(scaling)
    scores.unflatten(2, (-1, len(block.bias))).add_(block.bias)
    return scores.softmax(-1)


def _stacked(states: torch.Tensor, key: torch.Tensor, block: Block) -> torch.Tensor:
    return states[:, :, block.start : block.stop].reshape(1, key.shape[1], -1, key.shape[-1])


def _seen(states: torch.Tensor, block: Block) -> torch.Tensor:
    import torch

    if block.keys is not None:
        return states[:, :, block.keys]
    if block.last == block.start or block.first == block.last:
        return states[:, :, min(block.first, block.start) : block.stop]
    return torch.cat(
        [states[:, :, block.first : block.last], states[:, :, block.start : block.stop]], 2
    )


def _add(total: torch.Tensor, block: Block, part: torch.Tensor) -> None:
    """Add to the places that `_seen` takes."""
    if block.keys is not None:
        total.index_add_(2, block.keys, part.to(total.dtype))
        return
    ancestors = block.last - block.first
    total[:, :, block.first : block.last] += part[:, :, :ancestors]
    total[:, :, block.start : block.stop] += part[:, :, ancestors:]


def _cuts(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The cheapest blocks that cover the tree: tokens times what they see, plus `_CALL` a block."""
    branches = [
        0,
        *(place for place in range(1, len(positions)) if positions[place] <= positions[place - 1]),
    ]
    edges = [
        place
        for start, stop in zip(branches, [*branches[1:], len(positions)])
        for place in range(start, stop, _CHAIN)
    ] + [len(positions)]
    costs, starts = [0.0], [0]
    for end in range(1, len(edges)):
        best = (float("inf"), 0)
        for start in range(end - 1, -1, -1):
            length = edges[end] - edges[start]
            if length > _LONGEST and start < end - 1:
                break
            best = min(
                best, (costs[start] + length * (positions[edges[start]] + length) + _CALL, start)
            )
        costs.append(best[0])
        starts.append(best[1])
    found, end = [], len(edges) - 1
    while end:
        found.append((edges[starts[end]], edges[end]))
        end = starts[end]
    return found[::-1]
