"""The hyperparameter panel: settings in, a form that checks them, what training will take, Start, Stop and a live chart.

>>> panel = TrainingPanel(Choices(settings, base, rows))
>>> settings = panel.settled()

The form holds no values of its own: every change builds the same frozen settings anew, and what they refuse is shown. A
training that Start begins is the stage of the cell below it, so that the cell finds it done.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

from fgkit import devices, plots as plot_look, progress
from fgkit.config import FinetuneConfig
from fgkit.dataset.rows import Rows
from fgkit.errors import FgkitError
from fgkit.models.base import Base, load_tokenizer
from fgkit.prompts import styles
from fgkit.training.monitor import TrainingMonitor
from fgkit.training.plots import loss_figure
from fgkit.workflow import stages

from . import markup
from .estimate import Estimate, duration, estimate

FIELDS = (
    "num_train_epochs",
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "lr_scheduler_type",
    "warmup_ratio",
    "precision",
)
DRAW_SECONDS = 1.0  # least time between two pictures of the curve


class Choices:
    """The settings of a training and what it will take; headless it is all there is of the panel.

    Args:
        settings: what the parameters cell says.
        base: where training starts.
        rows: training and held-out rows.
    """

    monitor: TrainingMonitor | None = None

    def __init__(self, settings: FinetuneConfig, base: Base, rows: Rows):
        self.settings, self.base, self.rows = settings, base, rows

    def settled(self) -> FinetuneConfig:
        """The settings to train with."""
        return self.settings

    @cached_property
    def _token_rows(self) -> list[list[Any]]:
        tokenizer = load_tokenizer(self.base.folder)
        setup = self.rows.setup(self.settings.system_message, styles.split(self.settings.style))
        rendered = self.rows.rendered(setup)
        return [
            part.tokenized(tokenizer, max_length=sys.maxsize, seed=self.settings.seed)
            for part in (rendered.train, rendered.held_out)
        ]

    def estimate(self, settings: FinetuneConfig) -> Estimate:
        """What training with these settings will take on this machine."""
        return estimate(
            *self._token_rows,
            settings.recipe(self.base.recipe),
            self.base.folder,
            seed=settings.seed,
        )

    def value(self, name: str, settings: FinetuneConfig) -> Any:
        """A setting as training will use it: the recipe's value where the setting leaves it to that."""
        value = getattr(settings, name)
        return getattr(settings.recipe(self.base.recipe), name) if value is None else value

    def text(self) -> str:
        """One line of settings and one of what they will take."""
        shown = ", ".join(f"{name} {self.value(name, self.settings)}" for name in FIELDS)
        return f"{shown}\nexpected: {self.estimate(self.settings)}"


class TrainingPanel:
    """Choices as a form; `box` is what to display.

    Args:
        choices: what it begins with, and what Reset goes back to.
    """

    def __init__(self, choices: Choices):
        import ipywidgets as w

        self._choices, self._first, self.settings = choices, choices.settings, choices.settings
        self._thread: threading.Thread | None = None
        self._monitor: TrainingMonitor | None = None
        self._drawn = 0.0
        helps = {item.name: item.metadata["help"] for item in fields(FinetuneConfig)}
        self.inputs = {name: self._input(name) for name in FIELDS}
        self.start = w.Button(description="Start", button_style="primary", icon="play")
        self.stop = w.Button(description="Stop", icon="stop", disabled=True)
        self.reset = w.Button(description="Reset", icon="undo")
        self.expected, self.state, self.line = w.HTML(), w.HTML(), w.HTML()
        self.bar = w.IntProgress(min=0, max=1, layout=w.Layout(width="100%", display="none"))
        self.chart = w.Image(
            format="png", layout=w.Layout(max_width="640px", width="100%", display="none")
        )
        narrow = w.Layout(width="240px")
        form = [
            w.HBox([w.HTML(markup.label(name, helps[name]), layout=narrow), self.inputs[name]])
            for name in FIELDS
        ]
        self.box = w.VBox(
            [
                w.HTML(markup.STYLE),
                w.HTML(markup.note("Point at a name for its explanation.")),
                w.HBox(
                    [
                        w.VBox(form),
                        w.VBox(
                            [self.expected],
                            layout=w.Layout(padding="0 0 0 24px", max_width="430px"),
                        ),
                    ],
                    layout=w.Layout(flex_flow="row wrap"),
                ),
                w.HBox([self.start, self.stop, self.reset]),
                self.state,
                self.bar,
                self.line,
                self.chart,
            ]
        )
        self.box.add_class("fgkit-panel")
        for widget in self.inputs.values():
            widget.observe(self._changed, "value")
        self.start.on_click(self._start)
        self.stop.on_click(lambda _: self._ask_to_stop())
        self.reset.on_click(self._reset)
        self._check()

    @property
    def monitor(self) -> TrainingMonitor:
        """A monitor for a training that a cell runs: the chart is drawn here, ■ stops it and keeps what was trained."""
        return TrainingMonitor(self._show)

    def settled(self) -> FinetuneConfig:
        """The settings as the form has them; where Start began a training, it is waited for first.

        Raises:
            ConfigError: the form holds something that is refused.
        """
        thread = self._thread
        while thread is not None and thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt:  # ■ while this waits
                self._ask_to_stop()
        return self._read()

    def _input(self, name: str) -> Any:
        import ipywidgets as w

        value, wide = self._choices.value(name, self._first), w.Layout(width="180px")
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
        """The settings that the form means; a field that has the recipe's value stays the recipe's."""
        found = {
            name: widget.value
            for name, widget in self.inputs.items()
            if widget.value != self._choices.value(name, self._first)
        }
        return replace(self._first, **found)

    def _changed(self, _: Any) -> None:
        self._check()

    def _check(self) -> None:
        """Build the settings, show what they will take or what is wrong with them."""
        try:
            self.settings = self._read()
            devices.require_precision(self.settings.recipe(self._choices.base.recipe).precision)
            found = self._choices.estimate(self.settings)
        except FgkitError as error:
            self.expected.value, self.start.disabled = markup.bad(str(error)), True
            return
        rows = [
            ("steps", f"{found.steps}, {found.rows} rows each"),
            ("time", duration(found.seconds)),
            (
                "memory",
                f"about {found.memory_gb:.1f} GB"
                + (f" of {found.available_gb:.0f} GB" if found.available_gb else ""),
            ),
            ("on", found.device),
        ]
        self.expected.value = markup.table_html(("expected", ""), rows) + (
            ""
            if found.fits
            else markup.bad(
                "More memory than there is: choose precision bf16_weights or fewer rows a step."
            )
        )
        self.start.disabled = False

    def _reset(self, _: Any) -> None:
        for name, widget in self.inputs.items():
            widget.value = self._choices.value(name, self._first)

    def _start(self, _: Any) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        self._monitor = TrainingMonitor(self._show)
        self._running(True)
        self.state.value = markup.note("Starting: the model is loaded.")
        self._thread = threading.Thread(
            target=self._train, args=(self.settings, self._monitor), daemon=True
        )
        self._thread.start()

    def _train(self, settings: FinetuneConfig, monitor: TrainingMonitor) -> None:
        ended = markup.bad("The training failed; the notebook's log shows why.")
        try:
            with progress.shown_in(self._say):
                folder = stages.finetune(settings, self._choices.base, self._choices.rows, monitor)
            ended = markup.good(
                f"Trained: {folder}. The cell below takes it as it is."
                if monitor.stopped_after is None
                else f"Stopped after step {monitor.stopped_after} of {monitor.steps}: {folder} holds the model as it is now. Score it "
                "with the cells further down. Start, or the cell below, goes on with the training."
            )
        except FgkitError as error:
            ended = markup.bad(str(error))
        finally:
            self.state.value, self.line.value = ended, ""
            self._running(False)

    def _ask_to_stop(self) -> None:
        if self._monitor is not None:
            self._monitor.stop, self.stop.disabled = True, True
            self.state.value = markup.note("Stopping after this step, then the model is saved.")

    def _running(self, running: bool) -> None:
        for widget in (*self.inputs.values(), self.start, self.reset):
            widget.disabled = running
        self.stop.disabled = not running
        for widget in (self.bar, self.chart):
            widget.layout.display = (
                None
                if self._monitor and self._monitor.log or running and widget is self.bar
                else "none"
            )

    def _say(self, text: str) -> None:
        self.line.value = markup.note(text)

    def _show(self, monitor: TrainingMonitor) -> None:
        """Bar, words and curve of a training, whoever began it."""
        self.bar.layout.display = None
        self.bar.max, self.bar.value = max(1, monitor.steps), monitor.step
        loss = next(
            (f", loss {entry['loss']:.3f}" for entry in reversed(monitor.log) if "loss" in entry),
            "",
        )
        right = next(
            (
                f", {100 * entry['eval_exact']:.0f}% of held-out answers right"
                for entry in reversed(monitor.log)
                if "eval_exact" in entry
            ),
            "",
        )
        left = "" if monitor.seconds_left is None else f", {duration(monitor.seconds_left)} left"
        if monitor.step == monitor.steps:
            left = ""
        stop = (
            ""
            if monitor is self._monitor
            else " To stop and keep what was trained: ■ in the notebook's toolbar."
        )
        if not monitor.stop:
            self.state.value = markup.note(
                f"Step {monitor.step} of {monitor.steps}{left}{loss}{right}.{stop}"
            )
        done = monitor.step == monitor.steps
        if monitor.log and (done or time.monotonic() - self._drawn > DRAW_SECONDS):
            self.chart.value = plot_look.png(loss_figure(monitor.log))
            self.chart.layout.display = None
            self._drawn = time.monotonic()
