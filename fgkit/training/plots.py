"""The training curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgkit import plots

from .monitor import LogEntry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_loss(log: Sequence[LogEntry], path: Path) -> Path:
    """Draw the curves of a training (`loss_figure`) into a PNG file and return its path."""
    return plots.save(loss_figure(log), path)


def loss_figure(log: Sequence[LogEntry]) -> Figure:
    """Draw the loss of training and held-out rows and the share of held-out answers that are right.

    Args:
        log: what `tuning.train` returned, or the first part of it. The share is left out while the
            log does not have it.
    """
    right = [(entry["step"], 100 * entry["eval_exact"]) for entry in log if "eval_exact" in entry]
    figure: Figure
    figure, axes = plots.new(
        7,
        4.6 if right else 3.4,
        rows=1 + bool(right),
        squeeze=False,
        sharex=True,
        height_ratios=(2, 1) if right else (1,),
    )
    _draw_loss(axes[0, 0], log)
    if right:
        axes[1, 0].plot(*zip(*right), color=plots.GREEN, marker="s")
        axes[1, 0].set_ylim(-5, 105)
        axes[1, 0].set_ylabel("held-out answers\nword for word (%)")
    axes[-1, 0].set_xlabel("optimizer step")
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _draw_loss(axes: Axes, log: Sequence[LogEntry]) -> None:
    for key, label, marker, line in (
        ("loss", "training rows", "", "-"),
        ("eval_loss", "held-out rows", "o", "--"),
    ):
        points = [(entry["step"], entry[key]) for entry in log if key in entry]
        if points:
            color, width = (plots.BLUE, 1.4) if key == "loss" else (plots.VERMILION, None)
            axes.plot(
                *zip(*points),
                label=label,
                color=color,
                marker=marker,
                linestyle=line,
                linewidth=width,
            )
    values = [entry[key] for entry in log for key in ("loss", "eval_loss") if key in entry]
    # From a base that has never seen a call the loss falls by two orders of magnitude.
    if values and max(values) > 10 * min(values) > 0:
        axes.set_yscale("log")
    axes.set_ylabel("loss per answer token (nats)")
    if log:
        axes.legend(frameon=False)
