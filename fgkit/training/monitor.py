"""What a training tells while it runs, and how it is asked to stop: the wire between the trainer and whoever looks on.

>>> watch = Watch(show=lambda watch: print(watch.step, watch.steps))
>>> training.train(folder, rows, held_out, recipe=recipe, config=config, checkpoints=checkpoints, watch=watch)
>>> watch.stopped_after        # None: it ran to its end
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Watch:
    """One training, seen from outside; the trainer writes into it and reads `stop` after each step.

    Args:
        show: called after each step and each look at the held-out rows, with this object.
        stop: set it, and the training ends after the step it is in; what was trained is kept.
        stopped_after: the step it was stopped after; None while it runs and where it ran to its end.
        step, steps: steps done and steps in all.
        log: the entries so far, see `training.train`.
        started: `time.monotonic()` at `first_step`, the step it began with, which is not 0 where it goes on.
    """

    show: Callable[[Watch], None]
    stop: bool = False
    stopped_after: int | None = None
    step: int = 0
    steps: int = 0
    log: list[dict[str, float]] = field(default_factory=list)
    started: float = 0.0
    first_step: int = 0

    def begin(self, step: int, steps: int, log: list[dict[str, float]]) -> None:
        """The trainer starts, at `step` of `steps`, with what an earlier part logged."""
        self.step, self.first_step, self.steps, self.log = step, step, steps, list(log)
        self.started, self.stopped_after = time.monotonic(), None
        self.show(self)

    def after_step(self, step: int) -> bool:
        """A step is done; the answer says whether to stop here."""
        self.step = step
        if self.stop and step < self.steps:
            self.stopped_after = step
        return self.stop

    def entry(self, entry: dict[str, float]) -> None:
        """The trainer logged something."""
        self.log.append(entry)
        self.show(self)

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the pace so far; None before the first step is done."""
        done = self.step - self.first_step
        return (time.monotonic() - self.started) / done * (self.steps - self.step) if done else None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this block the first interrupt (Jupyter's ■, Ctrl-C) sets `stop`; a second one interrupts as ever.

        Only the main thread can be interrupted; in another one the block changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: Any) -> None:
            self.stop = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
