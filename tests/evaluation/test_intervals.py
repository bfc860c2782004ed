"""Intervals: against the binomial law that they must follow, at the ends where the bootstrap fails, over groups."""

from __future__ import annotations

import time
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fgkit.evaluation.intervals import difference_intervals, rate_intervals


def column(hits: int, n: int) -> tuple[list[list[int]], list[list[int]]]:
    return [[1]] * hits + [[0]] * (n - hits), [[1]] * n


def binomial_quantile(n: int, share: float, level: float) -> int:
    total = 0.0
    for k in range(n + 1):
        total += comb(n, k) * share**k * (1 - share) ** (n - k)
        if total >= level:
            return k
    return n


@pytest.mark.parametrize(("hits", "n"), [(75, 100), (150, 200), (30, 60), (700, 1000)])
def test_a_rate_follows_the_binomial_law(hits: int, n: int) -> None:
    """The hits of a resample of n rows are binomial, so the ends are quantiles known without any drawing."""
    ((low, high),) = rate_intervals(*column(hits, n), range(n))
    assert low * n == pytest.approx(binomial_quantile(n, hits / n, 0.025), abs=1)
    assert high * n == pytest.approx(binomial_quantile(n, hits / n, 0.975), abs=1)


def test_a_paired_difference_follows_its_normal_law() -> None:
    """Of 400 rows 60 are gained and 20 lost: the difference varies with sqrt(60 + 20 - 40 ** 2 / 400) rows."""
    before = [[1]] * 20 + [[0]] * 60 + [[1]] * 320
    after = [[0]] * 20 + [[1]] * 60 + [[1]] * 320
    ((low, high),) = difference_intervals((before, [[1]] * 400), (after, [[1]] * 400), range(400))
    spread = 1.96 * sqrt(60 + 20 - 40**2 / 400)
    assert (400 * low, 400 * high) == (
        pytest.approx(40 - spread, abs=1),
        pytest.approx(40 + spread, abs=1),
    )
    half = column(200, 400)
    assert difference_intervals(half, half, range(400)) == [(-0.01, 0.01)], (
        "pairing is what makes it narrow"
    )
    assert difference_intervals(half, (half[0][::-1], half[1]), range(400))[0][1] > 0.08


def test_nothing_seen_leaves_four_groups_open() -> None:
    ones = column(100, 100)
    assert rate_intervals(*ones, range(100)) == [(0.96, 1.0)]
    assert rate_intervals(*column(0, 100), range(100)) == [(0.0, 0.04)]
    assert rate_intervals(*ones, [place // 10 for place in range(100)]) == [(0.6, 1.0)]
    assert difference_intervals(ones, ones, range(100)) == [(-0.04, 0.04)]
    assert rate_intervals(*column(1, 3), range(3)) == [(0.0, 1.0)]
    gained = [[0]] * 4 + [[1]] * 96, [[1]] * 100
    assert difference_intervals(gained, ones, range(100))[0][0] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95, 0.98, 0.99])
def test_coverage_is_at_least_what_is_said(share: float) -> None:
    """Exactly, over all outcomes of 60 rows: how often the interval holds the true share."""
    n = 60
    found = [rate_intervals(*column(k, n), range(n), resamples=2000)[0] for k in range(n + 1)]
    weights = [comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    assert (
        sum(
            weight
            for weight, (low, high) in zip(weights, found, strict=True)
            if low <= share <= high
        )
        > 0.93
    )


def test_rows_of_a_group_count_as_one() -> None:
    hits = [[1], [0], [1], [1]] * 20
    once = rate_intervals(hits, [[1]] * 80, range(80))
    thrice = rate_intervals(hits * 3, [[1]] * 240, [*range(80)] * 3)
    alone = rate_intervals(hits * 3, [[1]] * 240, range(240))
    assert once == thrice and alone[0][1] - alone[0][0] < 0.7 * (once[0][1] - once[0][0])


def test_a_rate_of_nothing_has_no_interval_and_spoils_no_other() -> None:
    hits, totals = [[1, 0, 1], [0, 0, 0]] * 30, [[1, 0, 1], [1, 0, 0]] * 30
    first, none, sparse = rate_intervals(hits, totals, range(60))
    assert none is None and first == rate_intervals(*column(30, 60), range(60))[0]
    assert sparse == (round(1 - 4 / 30, 6), 1.0), "30 groups are about it, not 60"
    assert rate_intervals([[0, 1]], [[0, 1]], [0]) == [None, (0.0, 1.0)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12
    )
)
def test_an_interval_holds_its_estimate_within_bounds(rows: list[tuple[int, int, int]]) -> None:
    hits, totals, groups = (
        [[min(a, b)] for a, b, _ in rows],
        [[max(a, b)] for a, b, _ in rows],
        [g for *_, g in rows],
    )
    (found,) = rate_intervals(hits, totals, groups, resamples=200)
    whole = sum(total for (total,) in totals)
    assert (found is None) == (whole == 0)
    if found:
        assert 0 <= found[0] <= round(sum(hit for (hit,) in hits) / whole, 6) <= found[1] <= 1
        assert rate_intervals(hits[::-1], totals[::-1], groups[::-1], resamples=200) == [found]
        names = [f"group {group}" for group in groups]
        assert rate_intervals(hits, totals, names, resamples=200) == [found]
        ((low, high),) = difference_intervals(
            (hits, totals), (hits[::-1], totals[::-1]), groups, resamples=200
        )
        assert -1 <= low <= 0 <= high <= 1


def test_the_seed_decides() -> None:
    generator = np.random.default_rng(3)
    hits, totals, groups = generator.random((500, 1)), np.ones((500, 1)), range(500)
    assert rate_intervals(hits, totals, groups) == rate_intervals(hits, totals, groups)
    assert rate_intervals(hits, totals, groups) != rate_intervals(hits, totals, groups, seed=1)


def test_ten_thousand_resamples_are_quick() -> None:
    generator = np.random.default_rng(1)
    hits = generator.integers(0, 2, (200, 5))
    rate_intervals(hits, np.ones_like(hits), range(200))
    start = time.process_time()
    rate_intervals(hits, np.ones_like(hits), range(200))
    assert time.process_time() - start < 0.8
