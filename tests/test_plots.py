"""plot_look: pictures that are readable in light and in dark pages, and colours that differ in brightness, too."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.colors import to_rgb

from fgkit import plots as plot_look
from fgkit.training.plots import loss_figure


def luminance(colour: str) -> float:
    parts = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in to_rgb(colour)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_and_lines_stand_out_from_the_card():
    assert contrast(plot_look.INK, plot_look.CARD) > 7
    assert all(
        contrast(colour, plot_look.CARD) > 3
        for colour in (plot_look.BLUE, plot_look.VERMILION, plot_look.GREEN)
    )


def test_a_picture_is_an_opaque_card_with_labelled_axes():
    from matplotlib.image import imread

    log = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 1.0},
        {"step": 2, "eval_loss": 1.5, "eval_exact": 0.25},
    ]
    figure = loss_figure(log)
    image = imread(io.BytesIO(plot_look.png(figure)), format="png")
    assert image.shape[2] == 3 or np.all(image[..., 3] == 1)
    assert np.all(image[0, :, :3] == 1) and np.all(image[:, 0, :3] == 1)
    loss, right = figure.axes
    assert (
        loss.get_ylabel().endswith("(nats)")
        and right.get_ylabel().endswith("(%)")
        and right.get_xlabel() == "optimizer step"
    )
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [
        "training rows",
        "held-out rows",
    ]
    assert list(right.lines[0].get_ydata()) == [25.0]
    assert len(loss_figure(log[:2]).axes) == 1 and loss_figure([]).axes
