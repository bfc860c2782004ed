"""Progress reporting and early stopping of a training run.

The trainer writes into a `TrainingMonitor` and asks it after each step whether to stop; a panel or
a script reads from it and sets `stop`. Neither knows the other.

Example:
    monitor = TrainingMonitor(show=lambda monitor: print(monitor.step, monitor.steps))
    train(folder, rows, held_out, options, checkpoints=checkpoints, monitor=monitor)
    monitor.stopped_after        # None: the training ran to its end
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

# One point of the training curve: `step`, `epoch`, and either `loss` or `eval_loss` with
# `eval_exact`. The trainer adds other numbers, such as the learning rate.
LogEntry = dict[str, float]


@dataclass
class TrainingMonitor:
    """The state of one training run, as seen from outside.

    Args:
        show: called with this object at the start, and after each step and each evaluation of the
            held-out rows.
        stop: set it to end the training after the current step; what has been learned is kept.
        stopped_after: the step after which the training was stopped; None while it runs, and if it
            ran to its end.
        step: number of steps done.
        steps: number of steps in all.
        log: the entries so far, see `tuning.train`.
        started: `time.monotonic()` when the trainer began.
        first_step: the number of steps that were already done then; above 0 if training resumed
            from a checkpoint.
    """

    show: Callable[[TrainingMonitor], None]
    stop: bool = False
    stopped_after: int | None = None
    step: int = 0
    steps: int = 0
    log: list[LogEntry] = field(default_factory=list)
    started: float = 0.0
    first_step: int = 0

    def begin(self, step: int, steps: int, log: Sequence[LogEntry]) -> None:
        """Record that the trainer starts.

        Args:
            step: number of steps that an earlier, interrupted part of this training has done.
            steps: number of steps in all.
            log: what the earlier part logged.
        """
        self.step, self.first_step, self.steps, self.log = step, step, steps, list(log)
        self.started, self.stopped_after = time.monotonic(), None
        self.show(self)

    def after_step(self, step: int) -> bool:
        """Record that a step is done and return whether to stop here."""
        self.step = step
        # A request that comes during the last step stops nothing: the training is complete.
        if self.stop and step < self.steps:
            self.stopped_after = step
        return self.stop

    def add_entry(self, entry: LogEntry) -> None:
        """Append what the trainer logged."""
        self.log.append(entry)
        self.show(self)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the pace so far; None before the first step is done."""
        done = self.step - self.first_step
        return (time.monotonic() - self.started) / done * (self.steps - self.step) if done else None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Turn the first interrupt within the block (Jupyter's ■, Ctrl-C) into `stop`.

        A second one interrupts as usual. Python delivers signals to the main thread only; in any
        other thread the block changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request_stop(number: int, frame: FrameType | None) -> None:
            self.stop = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, request_stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
