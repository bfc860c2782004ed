"""Counts of rows go in; 95% intervals of their rates, and of the differences between two models, come out.

What is resampled is the paraphrase group: rows that differ only in their values succeed and fail together, so a
sentence said thirty times proves little more than one said once. Where every row is its own group this is the plain
bootstrap.

>>> rate_intervals([[1], [1], [0], [1]] * 25, [[1]] * 100, range(100))
[(0.66, 0.83)]

The bootstrap alone says that nothing can vary where all rows agree. Of m groups that agree, the exact binomial
interval leaves 3.69/m open, and four changed rows without one that changed back are no evidence yet (mid-p McNemar,
p = 0.06). So no end of an interval is nearer to its estimate than 4/m.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fgkit import progress

if TYPE_CHECKING:
    import numpy

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0
OPEN_GROUPS = 4
_BLOCK = 4_000_000  # numbers held at a time

Interval = tuple[float, float] | None


def rate_intervals(
    hits: Any, totals: Any, groups: Sequence[Any], *, resamples: int = RESAMPLES, seed: int = SEED
) -> list[Interval]:
    """An interval for each rate, sum(hits) / sum(totals).

    Args:
        hits: what went right, one row a scored row and one column a rate.
        totals: what could have gone right, the same shape; a rate without any has no interval: None.
        groups: the paraphrase group of each row.
        resamples: how many times the groups are drawn again.
        seed: another seed moves the ends by about the width of a row.
    """
    return _intervals(
        [(hits, totals)], groups, lambda rates: rates[:, 0], (0.0, 1.0), resamples, seed
    )


def difference_intervals(
    before: tuple[Any, Any],
    after: tuple[Any, Any],
    groups: Sequence[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Interval]:
    """An interval for each rate of `after` minus that of `before`, both of the same rows: each draw takes both answers.

    Args:
        before, after: (hits, totals) of two models, as for `rate_intervals`.
        groups, resamples, seed: as for `rate_intervals`.
    """
    return _intervals(
        [before, after],
        groups,
        lambda rates: rates[:, 1] - rates[:, 0],
        (-1.0, 1.0),
        resamples,
        seed,
    )


def _intervals(
    counted: list[tuple[Any, Any]],
    groups: Sequence[Any],
    statistic: Callable[[Any], Any],
    bounds: tuple[float, float],
    resamples: int,
    seed: int,
) -> list[Interval]:
    import numpy as np

    rows = np.moveaxis(np.array(counted, float), 2, 0)  # row, model, hits or totals, rate
    places = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((places.max() + 1, *rows.shape[1:]))
    np.add.at(sums, places, rows)
    seen = sums[:, :, 1].any(axis=1).sum(axis=0)  # groups that a rate is about
    estimate = statistic(_rates(sums.sum(axis=0, keepdims=True)))[0]
    drawn = statistic(_rates(_draw(sums, resamples, seed)))
    found: list[Interval] = []
    for index, middle in enumerate(estimate):
        values = drawn[:, index]
        values = values[~np.isnan(values)]
        if np.isnan(middle):
            found.append(None)
            continue
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        least = OPEN_GROUPS / seen[index]
        found.append(
            (
                round(float(max(bounds[0], min(low, middle - least))), 6),
                round(float(min(bounds[1], max(high, middle + least))), 6),
            )
        )
    return found


def _draw(sums: numpy.ndarray, resamples: int, seed: int) -> numpy.ndarray:
    """Sums over as many groups as there are, drawn with replacement, `resamples` times.

    Groups with the same sums are one kind, and what is drawn is how often each kind comes: the same draw, but as fast
    for a hundred thousand rows as for a hundred, and blind to the order of the rows.
    """
    import numpy as np

    kinds, counts = np.unique(sums.reshape(len(sums), -1), axis=0, return_counts=True)
    generator, block = np.random.default_rng(seed), max(1, _BLOCK // len(kinds))
    starts: Any = range(0, resamples, block)
    if len(starts) > 1:
        starts = progress.bar(starts, desc="95% intervals", leave=False)
    drawn = [
        generator.multinomial(len(sums), counts / len(sums), size=min(block, resamples - start))
        @ kinds
        for start in starts
    ]
    return np.concatenate(drawn).reshape(resamples, *sums.shape[1:])


def _rates(sums: numpy.ndarray) -> numpy.ndarray:
    """Hits over totals; NaN where there was nothing to hit."""
    import numpy as np

    hits, totals = sums[:, :, 0], sums[:, :, 1]
    return np.divide(hits, totals, out=np.full_like(hits, np.nan), where=totals > 0)
