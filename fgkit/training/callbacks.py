"""What happens between training steps: checkpoints by the clock, progress bar and monitor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fgkit import devices, progress

from . import checkpoints
from .monitor import TrainingMonitor

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


class CheckpointTimer(TrainerCallback):
    """Requests a checkpoint when enough time has passed.

    Counting time rather than steps bounds what an interruption costs, whatever a step takes on this
    machine. After a checkpoint the timer waits for `SAVE_SECONDS`, or longer if writing it took
    more than its `SAVE_SHARE` of the time.
    """

    def __init__(self) -> None:
        # Whether the last checkpoint could not be written and the user has been told.
        self.failed = False
        self.restart(seconds=0.0)

    def restart(self, seconds: float) -> None:
        """Start to wait for the next checkpoint.

        Args:
            seconds: what writing the last one took.
        """
        self.due = time.monotonic() + max(
            checkpoints.SAVE_SECONDS, seconds / checkpoints.SAVE_SHARE
        )

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: DataLoader[Any] | None = None,
        **_: object,
    ) -> None:
        """Request a checkpoint within an epoch."""
        # The checkpoint of an epoch's last step waits for the evaluation of the held-out rows, or a
        # training that resumes from it would lack their loss.
        if train_dataloader is not None and state.global_step % len(train_dataloader):
            control.should_save = self._is_due(state)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: DataLoader[Any] | None = None,
        **_: object,
    ) -> None:
        """Request a checkpoint after an epoch that is complete."""
        # transformers also calls this when the user stops the training within an epoch, and
        # evaluates then. The resumed training must not have this evaluation in its log, because an
        # uninterrupted one would not have it.
        if train_dataloader is not None and state.global_step % len(train_dataloader) == 0:
            control.should_save = self._is_due(state)

    def _is_due(self, state: TrainerState) -> bool:
        # All processes have to save together, so the main one's clock decides. After the last step
        # the model itself is written.
        due: bool = devices.from_main(time.monotonic() >= self.due)
        return due and state.global_step < state.max_steps


class ProgressBar(TrainerCallback):
    """Shows one progress bar for the training, in place of those of transformers."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Open the bar, at the step that the training resumes from."""
        self.bar = progress.bar(
            total=state.max_steps,
            initial=state.global_step,
            desc="training",
            unit="step",
            disable=not devices.main_process(),
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Move the bar by one step."""
        self.bar.update()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Show the latest loss beside the bar."""
        logs = logs or {}
        self.bar.set_postfix(
            {key: f"{logs[key]:.3f}" for key in ("loss", "eval_loss") if key in logs}
        )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Close the bar."""
        self.bar.close()


class MonitorCallback(TrainerCallback):
    """Reports to a `TrainingMonitor` and stops the training when the monitor asks for it.

    Args:
        monitor: the monitor, of one process.
    """

    def __init__(self, monitor: TrainingMonitor):
        self.monitor = monitor

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Report the start, with the log of the part before the checkpoint."""
        self.monitor.begin(
            state.global_step,
            state.max_steps,
            [entry for entry in state.log_history if is_curve_point(entry)],
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Report a step and pass on the request to stop."""
        control.should_training_stop |= self.monitor.after_step(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Report a point of the training curve."""
        if logs and is_curve_point(logs):
            self.monitor.add_entry({"epoch": state.epoch or 0.0, **logs, "step": state.global_step})


def is_curve_point(entry: Mapping[str, float]) -> bool:
    """Whether an entry of the trainer's history is a point of the curve and no closing summary."""
    return "loss" in entry or "eval_loss" in entry
