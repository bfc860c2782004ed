"""Charts of scores: rates as bars with 95% intervals, and the confusion matrix of the tools.

For example:

    plot({"base": base, "tuned": tuned}, "scores.png")
    plot_confusion(tuned, "confusion.png", name="tuned")

The matrix uses blue and orange, which colour-blind readers can tell apart, and also shows every
number.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from fgkit.dataset.records import KIND_LABELS, NO_CALL
from fgkit.plots import GRID, INK, OKABE_ITO, new, save
from fgkit.record_types import Interval, Rates, Score
from fgkit.text import short

from .matching import NOT_PARSED
from .scores import METRICS
from .tables import NamedScores, part_of, parts, share_of

MOST_TOOLS = 60
_OTHERS = "(other tools)"
_LAST = (_OTHERS, NO_CALL, NOT_PARSED)


def plot(named_scores: NamedScores, path: str | Path) -> Path:
    """Draw the scores as grouped bars with error bars into a PNG file and return its path.

    Args:
        named_scores: as for `tables.compare`, up to eight; bars of a score without intervals have
            no error bars.
        path: the file; an existing one is replaced when the new one is complete.
    """
    shown = [(part, name) for part, name, _ in parts(named_scores)]
    labels = [
        *METRICS.values(),
        *(f"exact match: {short(KIND_LABELS.get(name, name), 32)}" for _, name in shown),
    ]
    thickness = 0.8 / len(named_scores)
    figure, axes = new(8.0, 1.1 + (0.14 + 0.19 * len(named_scores)) * len(labels))
    for index, (name, score) in enumerate(named_scores.items()):
        bars: list[tuple[Rates | None, str]] = [(score, metric) for metric in METRICS]
        bars += [(part_of(score, part, key), "exact_match") for part, key in shown]
        for position, (rates, metric) in enumerate(bars):
            height = position + (index - (len(named_scores) - 1) / 2) * thickness
            _draw_bar(
                axes,
                height,
                0.92 * thickness,
                share_of(rates, metric),
                rates.get("intervals", {}).get(metric) if rates else None,
                OKABE_ITO[index % len(OKABE_ITO)],
                f"{_literal(name)} ({score['n']} rows)" if not position else None,
            )
    axes.axhline(len(METRICS) - 0.5, color=INK, linewidth=0.6)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel("share (%); lines: 95% interval, bootstrap over paraphrase groups")
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.yaxis.grid(False)
    figure.legend(loc="outside upper center", ncols=min(4, len(named_scores)), frameon=False)
    return save(figure, path)


def plot_confusion(score: Score, path: str | Path, *, name: str = "") -> Path:
    """Draw the confusion matrix of a score into a PNG file and return its path.

    Args:
        score: what `evaluation.score` returned.
        path: the file; an existing one is replaced when the new one is complete.
        name: the model's name, for the title.
    """
    return save(confusion(score, name), path)


def confusion(score: Score, name: str = "") -> Any:
    """Draw the confusion matrix as a figure; arguments as for `plot_confusion`."""
    from matplotlib import colormaps

    counts = _merged(score.get("confusion", {}))
    rows, columns = (
        sorted(tools, key=lambda tool: (_LAST.index(tool) if tool in _LAST else -1, tool))
        for tools in (
            {expected for expected, _ in counts},
            {tool for pair in counts for tool in pair},
        )
    )
    totals: Counter[str] = Counter()
    for (expected, _), count in counts.items():
        totals[expected] += count
    many = len(columns) > 25
    cell, font = (0.26, 6) if many else (0.42, 8)
    figure, axes = new(max(5.0, 2.8 + cell * len(columns)), 2.4 + cell * len(rows))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    image = [[(1.0, 1.0, 1.0)] * len(columns) for _ in rows]
    for (expected, called), count in counts.items():
        share, y, x = count / totals[expected], rows.index(expected), columns.index(called)
        scale = colormaps[
            "Oranges" if expected != called else "Greys" if called == _OTHERS else "Blues"
        ]
        image[y][x] = scale(0.15 + 0.75 * share)[:3]
        axes.text(
            x,
            y,
            str(count),
            ha="center",
            va="center",
            fontsize=font,
            color="white" if share > 0.55 else "black",
        )
    axes.imshow(image or [[(1.0, 1.0, 1.0)]], aspect="equal")
    axes.set_xticks(
        range(len(columns)), [short(tool, 32) for tool in columns], rotation=90, fontsize=font + 1
    )
    axes.set_yticks(
        range(len(rows)),
        [f"{short(tool, 32)}  ({totals[tool]})" for tool in rows],
        fontsize=font + 1,
    )
    axes.xaxis.tick_top()
    axes.set_xticks([index - 0.5 for index in range(len(columns) + 1)], minor=True)
    axes.set_yticks([index - 0.5 for index in range(len(rows) + 1)], minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_ylabel("expected (calls)")
    axes.set_title(f"called{' by ' + _literal(name) if name else ''}", fontsize=10, pad=10)
    figure.supxlabel(
        "blue: right, orange: wrong; the darker, the more of the expected calls", fontsize=8
    )
    return figure


def _draw_bar(
    axes: Any,
    height: float,
    thickness: float,
    share: float | None,
    interval: Interval,
    color: str,
    label: str | None,
) -> None:
    axes.barh(height, 100 * (share or 0), thickness, color=color, label=label)
    low, high = [100 * end for end in interval or (share or 0, share or 0)]
    if interval:
        axes.plot(
            [low, high], [height, height], color="black", linewidth=1.1, solid_capstyle="butt"
        )
    axes.annotate(
        "–" if share is None else f"{100 * share:.0f}",
        (high, height),
        (3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _merged(confusion: dict[str, dict[str, int]]) -> Counter[tuple[str, str]]:
    """Flatten the counts to (expected, called) pairs; rare tools are merged.

    The MOST_TOOLS tools with most calls keep their own row; all others are counted as `_OTHERS`.
    """
    sizes: Counter[str] = Counter()
    for expected, row in confusion.items():
        for called, count in row.items():
            sizes.update({expected: count} | ({called: count} if called != expected else {}))
    kept = [tool for tool, _ in sizes.most_common() if tool not in _LAST][:MOST_TOOLS]
    merged: Counter[tuple[str, str]] = Counter()
    for expected, row in confusion.items():
        for called, count in row.items():
            row_name, column_name = (
                tool if tool in kept or tool in _LAST else _OTHERS for tool in (expected, called)
            )
            merged[row_name, column_name] += count
    return merged


def _literal(name: str) -> str:
    """Escape dollar signs, which Matplotlib takes for the start of a formula."""
    return name.replace("$", r"\$")
