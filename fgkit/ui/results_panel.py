"""The results panel: scores side by side, the rows behind them, and confusion matrices.

The scores are read from a run's `summary.json`; the panel is a widget with three tabs. For example:

    display(Results(Path("run")).box)
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

from fgkit import plots
from fgkit.calls import Call
from fgkit.dataset.records import NO_CALL, show
from fgkit.evaluation import plots as score_plots, scores as evaluation
from fgkit.evaluation.paired import comparable
from fgkit.evaluation.scores import METRICS
from fgkit.evaluation.tables import part_of, parts, rate
from fgkit.record_types import CallRecord, ScoredRow
from fgkit.workflow import summary

from . import markup

# How many of the rows that pass the filters are shown at most.
SHOWN_ROWS = 200
_FILTERS = ("changed", "lost", "gained", "wrong after", "wrong before", "all")


class Results:
    """Scores, rows and confusion matrices of a run; `box` is the widget to display.

    Args:
        folder: the run's output folder.
    """

    def __init__(self, folder: Path):
        import ipywidgets as w

        scores = summary.scores_of(summary.read(folder))
        self._scores = {name: evaluation.completed(score) for name, score in scores.items()}
        pairs = [
            pair
            for pair in combinations(self._scores, 2)
            if comparable(*(self._scores[name] for name in pair))
        ]
        # The latest pair first, so that the panel opens with what the bundle changed.
        pairs = pairs[::-1]
        self.pair = w.Dropdown(
            options=[(f"{before} → {after}", (before, after)) for before, after in pairs],
            description="compare",
            layout=w.Layout(width="auto"),
        )
        self.filter = w.Dropdown(
            options=_FILTERS, description="rows", layout=w.Layout(width="auto")
        )
        tools = sorted(
            {name for score in self._scores.values() for name in score.get("per_tool", {})}
        )
        self.tool = w.Dropdown(
            options=["all", *tools], description="tool", layout=w.Layout(width="auto")
        )
        self.search = w.Text(
            placeholder="words of the request", description="search", continuous_update=False
        )
        self.rows = w.HTML(layout=w.Layout(width="100%"))
        self.matrix_of = w.Dropdown(
            options=[name for name, score in self._scores.items() if score.get("confusion")],
            description="model",
            layout=w.Layout(width="auto"),
        )
        self.matrix = w.Image(format="png", layout=w.Layout(max_width="620px"))
        if self.matrix_of.options:
            self.matrix_of.value = self.matrix_of.options[-1]
        self.tabs = self._layout()
        self.box = w.VBox([w.HTML(markup.STYLE), self.tabs])
        self.box.add_class("fgkit-panel")
        for widget in (self.pair, self.filter, self.tool, self.search):
            widget.observe(self._show_rows, "value")
        self.matrix_of.observe(self._show_matrix, "value")
        self._show_rows()
        self._show_matrix()

    def _layout(self) -> Any:
        """Arrange the widgets in three tabs."""
        import ipywidgets as w

        filters = w.HBox(
            [self.pair, self.filter, self.tool, self.search],
            layout=w.Layout(flex_flow="row wrap"),
        )
        tabs = w.Tab(
            [
                w.HTML(self._table()),
                w.VBox([filters, self.rows]),
                w.VBox([self.matrix_of, self.matrix]),
            ]
        )
        for index, title in enumerate(("scores", "rows", "which tool for which")):
            tabs.set_title(index, title)
        return tabs

    def _table(self) -> str:
        """Format the scores side by side: all rows first, then each row type and tool."""
        if not self._scores:
            return markup.note("Nothing is scored yet: run the cells above.")
        rows = [
            [label, *(rate(score, metric) for score in self._scores.values())]
            for metric, label in METRICS.items()
        ]
        rows += [
            [
                f"exact match: {name} ({n} rows)",
                *(
                    rate(part_of(score, part, name), "exact_match")
                    for score in self._scores.values()
                ),
            ]
            for part, name, n in parts(self._scores)
        ]
        return markup.table_html(("", *self._scores), rows) + markup.note(
            "In brackets: the 95% interval, in per cent."
        )

    def _show_matrix(self, _: Any = None) -> None:
        if self.matrix_of.value:
            name = self.matrix_of.value
            self.matrix.value = plots.png(score_plots.confusion(self._scores[name], name))

    def _show_rows(self, _: Any = None) -> None:
        if not self.pair.value:
            self.rows.value = markup.note(
                "Two scores of the same rows are needed: run the cells above."
            )
            return
        before, after = (self._scores[name] for name in self.pair.value)
        words = self.search.value.casefold().split()
        passing = [
            (old, new)
            for old, new in zip(before["rows"], after["rows"], strict=True)
            if self._passes(old, new)
            and all(word in new["user_content"].casefold() for word in words)
        ]
        header = ("line", "request", "expected", *self.pair.value)
        cells = [
            (
                new["line"],
                new["user_content"],
                _calls(new["expected"]),
                *(f"{'✓' if row['exact'] else '✗'} {row['text']}" for row in (old, new)),
            )
            for old, new in passing[:SHOWN_ROWS]
        ]
        more = "" if len(passing) <= SHOWN_ROWS else f"; the first {SHOWN_ROWS} are shown"
        self.rows.value = markup.note(
            f"{len(passing)} of {len(after['rows'])} rows{more}. ✓: every call and argument right."
        ) + (markup.table_html(header, cells) if cells else "")

    def _passes(self, old: ScoredRow, new: ScoredRow) -> bool:
        """Return whether a row passes the filters for change and tool."""
        tools = [call["name"] for call in new["expected"]] or [NO_CALL]
        if self.tool.value not in ("all", *tools):
            return False
        before, after = ((row["exact"], row["tool_ok"]) for row in (old, new))
        worse, better = after < before, after > before
        return {
            "changed": worse or better,
            "lost": worse,
            "gained": better,
            "wrong after": not new["exact"],
            "wrong before": not old["exact"],
            "all": True,
        }[self.filter.value]


def _calls(expected: list[CallRecord]) -> str:
    return show(Call(call["name"], call["arguments"]) for call in expected)
