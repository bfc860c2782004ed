"""The hyperparameter panel: a form that checks itself, an estimate, Start, Stop, a live chart.

In: `Choices`. Out: the settings to train with. Example:

    panel = TrainingPanel(Choices(settings, base, rows))
    display(panel.box)
    settings = panel.settings()

The form holds no values of its own: every change builds the same frozen settings anew, and the
message of a refused value is shown. A training that Start begins is the same stage as that of the
cell below, so that the cell finds it done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from fgkit import devices, plots, progress
from fgkit.config.finetune import FinetuneConfig
from fgkit.errors import FgkitError
from fgkit.training.monitor import TrainingMonitor
from fgkit.training.plots import loss_figure
from fgkit.workflow import stages

from . import markup
from .estimate import Estimate, duration
from .training_choices import FIELDS, Choices

DRAW_SECONDS = 1.0  # the least time between two drawings of the chart


class TrainingPanel:
    """A form for the hyperparameters; `box` is the widget to display.

    Args:
        choices: the values that the form starts with, and that Reset restores.
    """

    def __init__(self, choices: Choices):
        import ipywidgets as w

        self._choices, self._initial, self._current = choices, choices.initial, choices.initial
        self._thread: threading.Thread | None = None
        self._monitor: TrainingMonitor | None = None
        self._drawn = 0.0
        self.inputs = {name: self._input(name) for name in FIELDS}
        self.start = w.Button(description="Start", button_style="primary", icon="play")
        self.stop = w.Button(description="Stop", icon="stop", disabled=True)
        self.reset = w.Button(description="Reset", icon="undo")
        self.expected, self.state, self.line = w.HTML(), w.HTML(), w.HTML()
        self.bar = w.IntProgress(min=0, max=1, layout=w.Layout(width="100%", display="none"))
        self.chart = w.Image(
            format="png", layout=w.Layout(max_width="640px", width="100%", display="none")
        )
        self.box = self._layout()
        self.box.add_class("fgkit-panel")
        for widget in self.inputs.values():
            widget.observe(self._changed, "value")
        self.start.on_click(self._start)
        self.stop.on_click(lambda _: self._ask_to_stop())
        self.reset.on_click(self._reset)
        self._check()

    def _layout(self) -> Any:
        """Arrange the widgets: form and estimate side by side, below them buttons and chart."""
        import ipywidgets as w

        helps = {item.name: item.metadata["help"] for item in fields(FinetuneConfig)}
        narrow = w.Layout(width="240px")
        form = [
            w.HBox([w.HTML(markup.label(name, helps[name]), layout=narrow), self.inputs[name]])
            for name in FIELDS
        ]
        expected = w.VBox([self.expected], layout=w.Layout(padding="0 0 0 24px", max_width="430px"))
        return w.VBox(
            [
                w.HTML(markup.STYLE),
                w.HTML(markup.note("Point at a name for its explanation.")),
                w.HBox([w.VBox(form), expected], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.start, self.stop, self.reset]),
                self.state,
                self.bar,
                self.line,
                self.chart,
            ]
        )

    @property
    def monitor(self) -> TrainingMonitor:
        """A monitor for a training that a cell runs: this panel draws its chart.

        ■ in the notebook's toolbar stops such a training and keeps what was trained.
        """
        return TrainingMonitor(self._show)

    def settings(self) -> FinetuneConfig:
        """Return the settings of the form, after a training that Start began has ended.

        Raises:
            ConfigError: a value of the form is refused.
        """
        thread = self._thread
        while thread is not None and thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt:  # ■ was pressed while this waited
                self._ask_to_stop()
        return self._read()

    def _input(self, name: str) -> Any:
        """Build the widget of one field."""
        import ipywidgets as w

        value, wide = self._choices.value(name, self._initial), w.Layout(width="180px")
        if name == "precision":
            return w.Dropdown(options=list(devices.PRECISIONS), value=value, layout=wide)
        if name == "lr_scheduler_type":
            return w.Dropdown(
                options=["cosine", "linear", "constant_with_warmup"], value=value, layout=wide
            )
        if isinstance(value, float):
            return w.FloatText(
                value=value, step=value / 10 if name == "learning_rate" else 0.05, layout=wide
            )
        return w.IntText(value=value, layout=wide)

    def _read(self) -> FinetuneConfig:
        """Build the settings of the form; an unchanged field stays None if it was None."""
        changed = {
            name: widget.value
            for name, widget in self.inputs.items()
            if widget.value != self._choices.value(name, self._initial)
        }
        return replace(self._initial, **changed)

    def _changed(self, _: Any) -> None:
        self._check()

    def _check(self) -> None:
        """Rebuild the settings, and show what training will take or why they are refused."""
        try:
            self._current = self._read()
            recipe = self._current.recipe(self._choices.base.recipe)
            devices.require_precision(recipe.precision)
            estimate = self._choices.estimate(self._current)
        except FgkitError as error:
            self.expected.value, self.start.disabled = markup.bad(str(error)), True
            return
        self.expected.value = _estimate_html(estimate)
        self.start.disabled = False

    def _reset(self, _: Any) -> None:
        for name, widget in self.inputs.items():
            widget.value = self._choices.value(name, self._initial)

    def _start(self, _: Any) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._monitor = TrainingMonitor(self._show)
        self._running(True)
        self.state.value = markup.note("Starting: the model is loaded.")
        self._thread = threading.Thread(
            target=self._train, args=(self._current, self._monitor), daemon=True
        )
        self._thread.start()

    def _train(self, settings: FinetuneConfig, monitor: TrainingMonitor) -> None:
        """Run the training stage in a thread, and show how it ended."""
        outcome = markup.bad("The training failed; the notebook's log shows why.")
        try:
            with progress.shown_in(self._say):
                folder = stages.finetune(settings, self._choices.base, self._choices.rows, monitor)
            if monitor.stopped_after is None:
                outcome = markup.good(f"Trained: {folder}. The cell below uses it as it is.")
            else:
                outcome = markup.good(
                    f"Stopped after step {monitor.stopped_after} of {monitor.steps}: "
                    f"{folder} holds the model as it is now. Score it with the cells further down. "
                    "Start, or the cell below, continues the training."
                )
        except FgkitError as error:
            outcome = markup.bad(str(error))
        finally:
            self.state.value, self.line.value = outcome, ""
            self._running(False)

    def _ask_to_stop(self) -> None:
        if self._monitor is not None:
            self._monitor.stop, self.stop.disabled = True, True
            self.state.value = markup.note("Stopping after this step, then the model is saved.")

    def _running(self, running: bool) -> None:
        """Lock or unlock the form, and show the widgets of a training that has started."""
        for widget in (*self.inputs.values(), self.start, self.reset):
            widget.disabled = running
        self.stop.disabled = not running
        for widget in (self.bar, self.chart):
            widget.layout.display = (
                None
                if (self._monitor and self._monitor.log) or (running and widget is self.bar)
                else "none"
            )

    def _say(self, text: str) -> None:
        self.line.value = markup.note(text)

    def _show(self, monitor: TrainingMonitor) -> None:
        """Update bar, text and chart from a training, whether Start or a cell began it."""
        done = monitor.step == monitor.steps
        self.bar.layout.display = None
        self.bar.max, self.bar.value = max(1, monitor.steps), monitor.step
        seconds = None if done else monitor.seconds_left
        left = "" if seconds is None else f", {duration(seconds)} left"
        stop = (
            ""
            if monitor is self._monitor
            else " To stop and keep what was trained: ■ in the notebook's toolbar."
        )
        if not monitor.stop:
            self.state.value = markup.note(
                f"Step {monitor.step} of {monitor.steps}{left}{_latest(monitor.log)}.{stop}"
            )
        if monitor.log and (done or time.monotonic() - self._drawn > DRAW_SECONDS):
            self.chart.value = plots.png(loss_figure(monitor.log))
            self.chart.layout.display = None
            self._drawn = time.monotonic()


def _latest(log: Iterable[dict[str, float]]) -> str:
    """Describe the latest loss and the latest held-out score in a training log."""
    newest: dict[str, float] = {}
    for entry in log:
        newest.update(entry)
    loss = f", loss {newest['loss']:.3f}" if "loss" in newest else ""
    if "eval_exact" not in newest:
        return loss
    return f"{loss}, {100 * newest['eval_exact']:.0f}% of held-out answers right"


def _estimate_html(estimate: Estimate) -> str:
    """Format an estimate as a table, with a warning when the memory is not enough."""
    available = f" of {estimate.available_gb:.0f} GB" if estimate.available_gb else ""
    rows = [
        ("steps", f"{estimate.steps}, {estimate.rows} rows each"),
        ("time", duration(estimate.seconds)),
        ("memory", f"about {estimate.memory_gb:.1f} GB{available}"),
        ("on", estimate.device),
    ]
    table = markup.table_html(("expected", ""), rows)
    if estimate.fits:
        return table
    return table + markup.bad(
        "More memory than there is: choose precision bf16_weights or fewer rows per step."
    )
