"""The tree holds every prefix once, and the intervals of descendants let each row see its own tokens and nothing else."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from fgkit.dataset.tokenize import TokenizedExample
from fgkit.training import prefix_tree

rows_of_few_tokens = st.lists(
    st.lists(st.integers(0, 3), min_size=2, max_size=12).flatmap(
        lambda tokens: st.integers(1, len(tokens) - 1).map(
            lambda length: TokenizedExample(tuple(tokens), length)
        )
    ),
    min_size=1,
    max_size=8,
)


def ancestors(tree: prefix_tree.Tree, place: int) -> list[int]:
    """Places a token may attend to under the full mask, by the rule written in `Tree`."""
    return [other for other in range(place + 1) if place <= tree.last_descendants[other]]


@settings(max_examples=300, deadline=None)
@given(rows_of_few_tokens)
def test_every_prediction_sees_exactly_its_own_row(rows: list[TokenizedExample]) -> None:
    tree = prefix_tree.build(rows)
    seen = sorted(
        (tuple(tree.tokens[other] for other in ancestors(tree, place)), target)
        for place, target in zip(tree.predictors, tree.targets, strict=True)
    )
    wanted = sorted(
        (row.tokens[:length], row.tokens[length])
        for row in rows
        for length in range(row.prompt_length, len(row.tokens))
    )
    assert seen == wanted


@settings(max_examples=300, deadline=None)
@given(rows_of_few_tokens)
def test_every_prefix_stands_once_at_its_depth(rows: list[TokenizedExample]) -> None:
    tree = prefix_tree.build(rows)
    prefixes = {row.tokens[:length] for row in rows for length in range(1, len(row.tokens))}
    assert len(tree.tokens) == len(prefixes)
    assert all(
        len(ancestors(tree, place)) == position + 1 for place, position in enumerate(tree.positions)
    )


def test_shared_prefix_is_not_repeated() -> None:
    prefix = tuple(range(100, 330))
    tree = prefix_tree.build([TokenizedExample(prefix + (1000 + i,) * 28, 241) for i in range(32)])
    assert len(tree.tokens) == 230 + 32 * 27
    assert len(tree.targets) == 32 * 17


def test_equal_rows_count_twice() -> None:
    tree = prefix_tree.build([TokenizedExample((2, 5, 6), 1)] * 2)
    assert tree.tokens == (2, 5)
    assert sorted(tree.targets) == [5, 5, 6, 6]
