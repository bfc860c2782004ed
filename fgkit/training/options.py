"""The settings of a training run, apart from its model, its rows and where it writes.

`training` takes these plain values and never the whole configuration of a notebook, so that a
script can train without one. The names of the fields are those of the notebook's parameters and,
where it has them, of TRL's `SFTConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgkit.models.spec import Recipe


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How to train.

    There are no defaults here: they live in `FinetuneConfig` and in the base model's recipe.

    Args:
        recipe: the hyperparameters that depend on the base model, with a precision other than
            `auto`.
        lr_scheduler_type: how the learning rate falls, `cosine`, `linear` or
            `constant_with_warmup`.
        warmup_ratio: share of all steps, from 0 to 1, in which the learning rate rises from 0 to
            its peak.
        seed: seed of the order of the rows and of everything else that is random.
    """

    recipe: Recipe
    lr_scheduler_type: str
    warmup_ratio: float
    seed: int

    @property
    def rows_per_step(self) -> int:
        """Rows of one optimizer step, over all processes together."""
        return self.recipe.per_device_train_batch_size * self.recipe.gradient_accumulation_steps
