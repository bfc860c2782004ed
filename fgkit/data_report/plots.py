"""The picture of a data report: how long the rows are, and how many rows each tool has."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit.dataset.records import KIND_LABELS, KINDS
from fgkit.plots import INK, OKABE_ITO, new, save
from fgkit.text import short

from .overlap import Side
from .report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More tools than this would not be readable.
TOOLS_DRAWN = 25


def plot(report: Report, path: str | Path) -> Path:
    """Draw how long rows are and how many rows each tool has into a PNG file, and return its path.

    Args:
        report: from `inspect`; without token counts the left half shows characters.
        path: the file; an existing one is replaced when the new one is complete.
    """
    figure, (left, right) = new(11, 4.6, columns=2)
    right.yaxis.grid(False)
    _draw_lengths(left, report)
    _draw_tools(right, report.sides[0])
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(
                loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize=8
            )
    return save(figure, path)


def _draw_lengths(axes: Axes, report: Report) -> None:
    """Draw rows by their length, one colour and line style a file, and the limits that are near."""
    row_lengths = [
        side.lengths.total.tolist() if side.lengths else [len(text) for text in side.texts]
        for side in report.sides
    ]
    all_lengths = [length for lengths in row_lengths for length in lengths] or [0]
    shortest, longest = min(all_lengths), max(all_lengths)
    span: dict[str, Any] = {
        "bins": min(40, longest - shortest + 1),
        "range": (shortest - 0.5, longest + 0.5),
    }
    for rows, name, style, color in zip(
        row_lengths, ("training", "held out"), ("-", "--"), OKABE_ITO[1:]
    ):
        axes.hist(rows, **span, histtype="stepfilled", alpha=0.35, color=color)
        axes.hist(
            rows,
            **span,
            histtype="step",
            linestyle=style,
            color=color,
            linewidth=1.5,
            label=f"{name} ({len(rows)} rows)",
        )
    if not report.without_lengths:
        for (name, limit), style in zip(
            asdict(report.limits).items(), (":", "-.", "--"), strict=True
        ):
            if shortest / 2 <= limit <= 2 * longest:
                axes.axvline(
                    limit, color=INK, linestyle=style, linewidth=1, label=f"{name} {limit}"
                )
    axes.set_xlabel(
        "characters a request (no tokenizer, so no tokens)"
        if report.without_lengths
        else "tokens a row, prompt and answer"
    )
    axes.set_ylabel("rows")


def _draw_tools(axes: Axes, side: Side) -> None:
    """Draw the training rows of each tool by kind of answer, the most frequent tools first."""
    order = sorted(side.counts["per_tool"].items(), key=lambda item: -sum(item[1].values()))
    names, left = (
        [short(name, 32) for name, _ in order[:TOOLS_DRAWN]],
        [0] * len(order[:TOOLS_DRAWN]),
    )
    for kind, color, hatch in zip(KINDS, OKABE_ITO[1:4], ("", "//", ".."), strict=True):
        widths = [kinds[kind] for _, kinds in order[:TOOLS_DRAWN]]
        if not any(widths):
            continue
        axes.barh(
            range(len(names)),
            widths,
            left=left,
            color=color,
            hatch=hatch,
            edgecolor="white",
            label=KIND_LABELS[kind],
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    more = len(order) - len(names)
    axes.set_xlabel(
        "training rows"
        + (f" (the {len(names)} most frequent tools, {more} more are not drawn)" if more else "")
    )
    axes.set_ylabel("tool")
