"""The blocks in which attention over a token tree is computed.

In: the positions and last descendants of a `prefix_tree.Tree`. Out: for each of Gemma 3's two
types of layers the blocks of consecutive tokens that cover the tree, each with its ancestors.

A mask over the whole tree costs tokens squared, most of it for pairs of tokens in different rows,
which must not see each other. Blocks of sibling rows cost their own tokens times what they can see:

    <bos> developer turn, 230 tokens ─┬─ rows 1 to 3, 90 tokens   block of  90, seeing 230 + 90
                                      ├─ rows 4 to 6, 85 tokens   block of  85, seeing 230 + 85
                                      └─ ...                      a mask: 1,210 seeing 1,210

Within a block a small bias still separates the rows from each other.

Gemma 3 alternates layers that see everything with layers that see a sliding window of positions
(Gemma 3 Technical Report, arXiv 2503.19786), so every tree is cut for both.

Example:
    both = blocks(tree.positions, tree.last_descendants, window=512)
    [block.stop - block.start for block in both["full_attention"]]  # [128, 153, 85, 89, 94, ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

# Blocks begin where a branch begins; a stretch without branches may also be cut after this many
# tokens.
_UNBRANCHED = 128
# What one more block costs, in pairs of tokens: some 0.3 ms a layer for a handful of small
# operations (estimated).
_BLOCK_COST = 8192
# Longest block made of several stretches, which bounds the search for the cheapest cut.
_LONGEST = 1024


@dataclass(frozen=True)
class Block:
    """Consecutive tokens of a tree and what they may attend to.

    All numbers are indexes in the tree. The keys of a block are its ancestors, then its own tokens.

    Args:
        start: first token of the block.
        stop: end of the block, exclusive.
        ancestors_start: first ancestor, if the ancestors are consecutive, as below a single shared
            prefix.
        ancestors_stop: end of the ancestors, exclusive; equal to `ancestors_start` if there are
            none.
        keys: indexes of all keys, if the ancestors are not consecutive; None if they are, because
            slices need no copy.
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
        window: size of the sliding window in positions; a token sees itself and `window - 1`
            positions before it; None for full attention in all layers.
        device: device of the model.
    Returns:
        the blocks of `full_attention` and of `sliding_attention` layers, in the order of the tree.
        The keys are the layer types of a Gemma 3 configuration, by which the model picks a mask for
        each layer.
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
            # The window counts positions in the row, not indexes in the tree. A block may contain
            # branches that begin further up, so its least deep token is the one that reaches back
            # furthest.
            near = ancestors[depth[ancestors] > int(depth[start:stop].min()) - reach]
            keys = torch.cat([near, own])
            # A token sees its ancestors and itself (the rule of `Tree.last_descendants`), within
            # the window.
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


def attended_pairs(positions: Sequence[int], window: int | None = None) -> int:
    """Number of pairs of a token and an ancestor or itself: the least that attention computes.

    Args:
        positions: depth of each token.
        window: size of the sliding window in positions; None for full attention.
    """
    return sum(min(position + 1, window or position + 1) for position in positions)


def _cuts(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The cheapest blocks that cover the tree, as (start, stop).

    Large blocks compute many pairs of tokens that the bias then discards; small ones spend their
    time on launching operations. The cost of a block is its tokens times the keys they see, plus
    `_BLOCK_COST`. Dynamic programming finds the best cut: `costs[i]` is the cost of everything
    before the `i`-th edge, `starts[i]` where its last block begins.
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
