"""Every row once an epoch, rows that begin alike together, trees within memory, shares that make up the batch."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st
from separate_rows import ROWS

from fgkit.dataset.tokenize import TokenizedExample
from fgkit.training import batches, prefix_tree
from fgkit.training.batches import Batches, packs

TOKENS = st.lists(st.integers(5, 8), min_size=2, max_size=30)
SOME_ROWS = st.lists(
    TOKENS.flatmap(
        lambda tokens: st.integers(1, len(tokens) - 1).map(
            lambda n: TokenizedExample(tuple(tokens), n)
        )
    ),
    min_size=1,
    max_size=40,
)


def of_set(number: int, rows: int) -> list[TokenizedExample]:
    """Rows behind the declarations of one set of tools."""
    return [
        TokenizedExample((2, *[10 + number] * 50, 100 + row, 101, 102, 103), 53)
        for row in range(rows)
    ]


@given(SOME_ROWS, st.integers(1, 12), st.integers(0, 3))
def test_an_epoch_has_every_row_once(rows: list[TokenizedExample], size: int, epoch: int) -> None:
    sampler = Batches(rows, size, seed=7)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert sorted(place for batch in found for place in batch) == list(range(len(rows)))
    assert len(found) == len(sampler)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert found == list(sampler)  # asking again gives the same


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = of_set(0, 60)
    orders = []
    for seed, epoch in ((1, 0), (1, 1), (2, 0)):
        sampler = Batches(rows, 60, seed)
        sampler.set_epoch(epoch)
        orders.append(tuple(next(iter(sampler))))
    assert len(set(orders)) == 3
    assert all(order != tuple(range(60)) for order in orders)


def test_one_set_of_tools_is_shuffled_as_a_whole() -> None:
    rows = of_set(0, 600)  # sorted by what the user says
    batch = next(iter(Batches(rows, 20, seed=1)))
    assert max(batch) - min(batch) > 200


def test_rows_of_several_sets_of_tools_meet() -> None:
    sets = [of_set(number, 24) for number in range(5)]
    rows = [row for group in zip(*sets) for row in group]  # every neighbour has other tools
    for batch in Batches(rows, 8, seed=1):
        assert len({rows[place].tokens[1] for place in batch}) == 1


def test_the_rows_of_a_conversation_stay_together() -> None:
    talks = [
        [
            TokenizedExample(
                (2, *[10] * 50, 100 + talk, *range(200, 200 + 6 * turn)), 51 + 6 * turn - 2
            )
            for turn in (1, 2, 3)
        ]
        for talk in range(40)
    ]
    rows = [row for turn in zip(*talks) for row in turn]
    together = Counter(
        place % 40 for batch in list(Batches(rows, 30, seed=1))[:1] for place in batch
    )
    assert set(together.values()) == {3}


@given(SOME_ROWS, st.integers(1, 4))
def test_the_shares_of_all_processes_are_the_batch(
    rows: list[TokenizedExample], processes: int
) -> None:
    shares = [
        row
        for process in range(processes)
        for pack in packs(rows, process, processes)
        for row in pack
    ]
    assert Counter(shares) == Counter(rows)


def test_trees_stay_within_memory_and_share_what_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    long = [TokenizedExample((2, *[7] * 500, *[20 + i] * 200), 600) for i in range(20)]
    found = packs(long)
    sizes = [len(prefix_tree.build(pack).tokens) for pack in found]
    assert (
        len(found) == 2 and max(sizes) <= batches.PACK_TOKENS
    )  # 501 shared and 199 each: 18 rows and 2
    monkeypatch.setattr(batches, "PACK_ANSWERS", 21)  # rows of 6, 7, 8, 6, ... answer tokens
    assert [len(pack) for pack in packs(ROWS)] == [3, 3, 2]


def test_a_prefix_longer_than_a_tree_is_still_shared() -> None:
    long = [TokenizedExample((2, *[7] * 5000, *[20 + i] * 20), 5010) for i in range(300)]
    found = packs(long)
    tokens = sum(len(prefix_tree.build(pack).tokens) for pack in found)
    assert len(found) == 4  # 93 rows have 1,023 answer tokens
    assert tokens == 4 * 5001 + 300 * 19
