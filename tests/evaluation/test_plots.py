"""Pictures of scores: whole files that show the bars, their intervals and the cells."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from scored import RECORDS, UNPARSED, answer, perfect

from fgkit.calls import Call
from fgkit.evaluation import plots as score_plots
from fgkit.evaluation.plots import plot, plot_confusion
from fgkit.evaluation.scores import score


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, to look into."""
    figures: list[Figure] = []
    save = score_plots.save
    monkeypatch.setattr(
        score_plots, "save", lambda figure, path: figures.append(figure) or save(figure, path)
    )
    return figures


def texts_of(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_bars_with_their_intervals(tmp_path: Path, drawn) -> None:
    old = {"n": 4, "parse_rate": 0.5, "tool_accuracy": 0.25, "exact_match": 0.25, "per_tool": {}}
    path = plot({"old": old, "$tuned$ $x": score(RECORDS, perfect())}, tmp_path / "scores.png")
    content = path.read_bytes()
    assert (
        content.startswith(b"\x89PNG")
        and content.endswith(b"IEND\xaeB`\x82")
        and len(content) > 5000
    )
    assert [file.name for file in tmp_path.iterdir()] == ["scores.png"]
    ((axes,),) = [figure.axes for figure in drawn]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:5] == [
        "parse rate",
        "tool accuracy",
        "exact match",
        "argument precision",
        "argument recall",
    ]
    assert labels[5:] == [
        f"exact match: {name}" for name in ("one call", "several calls", "alert", "paint")
    ]
    assert texts_of(drawn[0]) == ["50", "25", "25", "–", "–", "–", "–", "–", "–", *["100"] * 9]
    spans = [list(line.get_xdata()) for line in axes.lines if len(set(line.get_ydata())) == 1][:-1]
    assert (
        spans == [[0.0, 100.0]] * 9
    )  # of the new score alone; the last line divides the metrics from the rest


def test_the_confusion_matrix(tmp_path: Path, drawn) -> None:
    result = score(RECORDS, [answer(Call("alert", {})), *perfect()[1:3], UNPARSED])
    path = plot_confusion(result, tmp_path / "confusion.png", name="tuned")
    assert path.read_bytes().startswith(b"\x89PNG")
    ((axes,),) = [figure.axes for figure in drawn]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "alert",
        "paint",
        "(does not parse)",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["alert  (3)", "paint  (2)"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "2", (2, 0): "1", (0, 1): "1", (1, 1): "1"}
    image = axes.images[0].get_array()
    blue, orange = image[0][0], image[1][0]
    assert blue[2] > blue[0] and orange[0] > orange[2] and tuple(image[0][1]) == (1.0, 1.0, 1.0)
    assert axes.get_title() == "called by tuned"


def test_many_tools_are_taken_together(tmp_path: Path, drawn, monkeypatch) -> None:
    monkeypatch.setattr(score_plots, "MOST_TOOLS", 6)
    counts = {f"f{n:03}": {f"f{n:03}": 200 - n, f"made_up_{n}": 1} for n in range(100)} | {
        "(no call)": {"f000": 3}
    }
    plot_confusion({"confusion": counts}, tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    names = [label.get_text().split("  ")[0] for label in axes.get_yticklabels()]
    assert names == [*(f"f{n:03}" for n in range(6)), "(other tools)", "(no call)"]
    assert sum(int(text) for text in texts_of(drawn[0])) == sum(
        sum(row.values()) for row in counts.values()
    )


def test_a_score_without_a_matrix_gives_an_empty_one(tmp_path: Path) -> None:
    assert plot_confusion({"n": 4}, tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
