"""How every picture of fgkit looks, and how it is saved: one white card with dark text, in a light page and in a dark one.

>>> figure, axes = new(7, 3.6)
>>> axes.plot([1, 2], [3, 1], color=BLUE)
>>> save(figure, "loss.png")

Colours are Okabe and Ito's, which colour-blind readers tell apart; lines differ in marker and stroke as well, bars in
their order and hatching. The card is opaque: a transparent picture would lose its text in one of the two themes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fgkit.atomic_files import replacing

OKABE_ITO = ("#999999", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
BLUE, VERMILION, GREEN = OKABE_ITO[1], OKABE_ITO[6], OKABE_ITO[3]
CARD, INK, GRID = "#ffffff", "#222222", "#dddddd"
DPI = 144


def new(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Any, Any]:
    """A figure and its axes, both dressed.

    Args:
        width, height: in inches of 144 pixels.
        rows, columns: of axes.
        options: for `Figure.subplots`, such as `sharex=True`.
    Returns:
        (figure, axes), the axes as `Figure.subplots` gives them.
    """
    from matplotlib.figure import Figure
    from numpy import ravel

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=CARD)
    axes = figure.subplots(rows, columns, **options)
    for one in ravel(axes):
        one.set_facecolor(CARD)
        one.grid(color=GRID, linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Any) -> bytes:
    """A figure as the bytes of a PNG file."""
    _ink(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor=CARD)
    return buffer.getvalue()


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure into a PNG file, whole or not at all, and return its path."""
    content = png(figure)
    with replacing(path) as part:
        part.write_bytes(content)
    return Path(path)


def _ink(figure: Any) -> None:
    """Give ticks, frames, labels and titles the one dark colour."""
    for axes in figure.axes:
        axes.tick_params(colors=INK, which="both")
        for spine in axes.spines.values():
            spine.set_color(INK)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_color(INK)
