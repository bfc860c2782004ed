"""The hyperparameters of a training, and what training with them will take.

In: the settings of the parameters cell, the base and the rows. Out: each value that training would
use, and an `Estimate`. In a headless notebook this is all that there is of the panel.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any

from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset.rows import RunData
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.models.base import Base, load_tokenizer
from fgkit.prompts import styles
from fgkit.training.monitor import TrainingMonitor

from .estimate import Estimate, estimate

# The fields of the form, in the order in which they are shown.
FIELDS = (
    "num_train_epochs",
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "lr_scheduler_type",
    "warmup_ratio",
    "precision",
)


class Choices:
    """The settings that a training starts with, and estimates for others.

    Args:
        settings: the settings of the parameters cell.
        base: the base model that training starts from.
        rows: training and held-out rows.
    """

    # Nothing follows the training in a headless notebook; `TrainingPanel` has a real one.
    monitor: TrainingMonitor | None = None

    def __init__(self, settings: FinetuneConfig, base: Base, rows: RunData):
        self.initial, self.base, self.rows = settings, base, rows

    def settings(self) -> FinetuneConfig:
        """Return the settings to train with: those of the parameters cell."""
        return self.initial

    @cached_property
    def _token_rows(self) -> tuple[list[TokenizedExample], list[TokenizedExample]]:
        """Tokenize training and held-out rows, once: no field of the form changes the tokens."""
        tokenizer = load_tokenizer(self.base.folder)
        setup = self.rows.setup(self.initial.system_message, styles.split(self.initial.style))
        rendered = self.rows.rendered(setup)
        train, held_out = (
            part.tokenized(tokenizer, max_length=sys.maxsize, seed=self.initial.seed)
            for part in (rendered.train, rendered.held_out)
        )
        return train, held_out

    def estimate(self, settings: FinetuneConfig) -> Estimate:
        """Estimate steps, time and memory of a training on this machine.

        Args:
            settings: the settings to train with.
        """
        train, held_out = self._token_rows
        return estimate(
            train,
            held_out,
            settings.recipe(self.base.recipe),
            self.base.folder,
            seed=settings.seed,
        )

    def value(self, name: str, settings: FinetuneConfig) -> Any:
        """Return a setting as training will use it: the recipe's value where the setting is None.

        Args:
            name: one of `FIELDS`.
            settings: the settings to read.
        """
        value = getattr(settings, name)
        return getattr(settings.recipe(self.base.recipe), name) if value is None else value

    def text(self) -> str:
        """Describe the settings in one line and the estimate in a second one."""
        values = ", ".join(f"{name} {self.value(name, self.initial)}" for name in FIELDS)
        return f"{values}\nexpected: {self.estimate(self.initial)}"
