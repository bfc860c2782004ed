"""Blocks let every token see its own row and nothing else, by positions, and give what one mask over all would give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from fgkit.dataset.tokenize import TokenizedExample
from fgkit.training import attention_blocks, prefix_tree, tree_attention

trees = st.lists(
    st.lists(st.integers(0, 2), min_size=2, max_size=14).map(
        lambda tokens: TokenizedExample((9, *tokens), 1)
    ),
    min_size=1,
    max_size=9,
).map(prefix_tree.build)


def seen(tree: prefix_tree.Tree, window: int, kind: str) -> list[set[int]]:
    """For each place the places that its block allows."""
    found = []
    for block in attention_blocks.blocks(tree.positions, tree.last_descendants, window)[kind]:
        keys = (
            block.keys.tolist()
            if block.keys is not None
            else [
                *range(block.ancestors_start, block.ancestors_stop),
                *range(block.start, block.stop),
            ]
        )
        assert block.bias.shape == (block.stop - block.start, len(keys))
        found += [
            {key for key, bias in zip(keys, row, strict=True) if bias == 0}
            for row in block.bias.tolist()
        ]
    return found


@settings(max_examples=200, deadline=None)
@given(trees, st.integers(1, 9), st.sampled_from([1, 8, 10_000]), st.sampled_from([2, 128]))
def test_blocks_allow_exactly_the_ancestors_within_the_window(
    tree: prefix_tree.Tree, window: int, call: int, chain: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # few and many blocks
        patch.setattr(attention_blocks, "_BLOCK_COST", call)
        patch.setattr(attention_blocks, "_UNBRANCHED", chain)
        full, near = (seen(tree, window, kind) for kind in ("full_attention", "sliding_attention"))
    ancestors = [
        {other for other in range(place + 1) if place <= tree.last_descendants[other]}
        for place in range(len(tree.tokens))
    ]
    assert full == ancestors
    assert near == [
        {other for other in row if tree.positions[place] - tree.positions[other] < window}
        for place, row in enumerate(ancestors)
    ]


@settings(max_examples=50, deadline=None)
@given(trees, st.integers(0, 2**31 - 1))
def test_attention_and_its_gradients_equal_one_mask_over_everything(
    tree: prefix_tree.Tree, seed: int
) -> None:
    torch.manual_seed(seed)
    length = len(tree.tokens)
    query, key, value = (
        torch.randn(1, heads, length, 8, requires_grad=True) for heads in (4, 2, 2)
    )
    place, last = torch.arange(length), torch.tensor(tree.last_descendants)
    mask = (place[None] <= place[:, None]) & (place[:, None] <= last[None])
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), attn_mask=mask, scale=0.3
    ).transpose(1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_blocks, "_BLOCK_COST", 4)
        cut = attention_blocks.blocks(tree.positions, tree.last_descendants, 10_000)[
            "full_attention"
        ]
    got, _ = tree_attention.attend(
        SimpleNamespace(num_key_value_groups=2), query, key, value, cut, scaling=0.3
    )
    weights = torch.randn(wanted.shape)
    for one, other in zip(
        *(torch.autograd.grad((out * weights).sum(), (query, key, value)) for out in (got, wanted)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def cost(tree: prefix_tree.Tree) -> int:
    """Pairs of tokens that the blocks compute."""
    return sum(
        block.bias.numel()
        for block in attention_blocks.blocks(tree.positions, tree.last_descendants, 512)[
            "full_attention"
        ]
    )


def test_cost_grows_with_the_tokens_and_not_with_their_square() -> None:
    def rows(count: int, prefix: tuple[int, ...]) -> Any:
        return prefix_tree.build(
            [TokenizedExample((2, *prefix, *[1000 + i] * 28), 1) for i in range(count)]
        )

    shared = tuple(range(100, 330))
    assert cost(rows(64, shared)) < 2.2 * cost(rows(32, shared))
    unshared = [TokenizedExample((2, *[1000 + i] * 258), 1) for i in range(16)]
    assert (
        cost(prefix_tree.build(unshared)) <= 16 * 258 * 259
    )  # never more than the rows one by one, each with its mask
    assert cost(rows(32, shared)) < 0.35 * (230 + 32 * 28) ** 2


def test_attended_pairs_counts_ancestors() -> None:
    tree = prefix_tree.build(
        [TokenizedExample((2, 3, 4, 5), 1), TokenizedExample((2, 3, 9, 9, 9), 1)]
    )
    assert attention_blocks.attended_pairs(tree.positions) == 1 + 2 + 3 + 3 + 4
    assert attention_blocks.attended_pairs(tree.positions, window=3) == 1 + 2 + 3 + 3 + 3
