"""The style of all plots, and how they are saved: dark text on an opaque white background.

Colours are Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), which colour-blind readers
can tell apart; lines also differ in marker and stroke, bars in order and hatching. The background
is opaque because the dark text would be unreadable on a notebook's dark theme. Example:

    figure, axes = new(7, 3.6)
    axes.plot([1, 2], [3, 1], color=BLUE)
    save(figure, "loss.png")
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fgkit.atomic_files import replacing
from fgkit.display import DPI

OKABE_ITO = ("#999999", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
BLUE, VERMILION, GREEN = OKABE_ITO[1], OKABE_ITO[6], OKABE_ITO[3]
CARD, INK, GRID = "#ffffff", "#222222", "#dddddd"


def new(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Any, Any]:
    """Create a figure and its axes in the style of all plots.

    Args:
        width: in inches of 144 pixels.
        height: likewise.
        rows: how many rows of axes.
        columns: how many columns of axes.
        options: further arguments of `Figure.subplots`, such as `sharex=True`.

    Returns:
        (figure, axes), the axes as `Figure.subplots` returns them.
    """
    from matplotlib.figure import Figure
    from numpy import ravel

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=CARD)
    axes = figure.subplots(rows, columns, **options)
    for plot in ravel(axes):
        plot.set_facecolor(CARD)
        plot.grid(color=GRID, linewidth=0.6)
        plot.set_axisbelow(True)
        plot.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Any) -> bytes:
    """Render a figure as the bytes of a PNG file."""
    _ink(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=CARD)
    return buffer.getvalue()


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure into a PNG file atomically, and return its path."""
    content = png(figure)
    with replacing(path) as part:
        part.write_bytes(content)
    return Path(path)


def _ink(figure: Any) -> None:
    """Set ticks, frames, labels and titles to the dark text colour."""
    for axes in figure.axes:
        axes.tick_params(colors=INK, which="both")
        for spine in axes.spines.values():
            spine.set_color(INK)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_color(INK)
