"""The base models that fgkit knows: names, limits and the training recipe of each."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CONTEXT = 32_768

OFFLINE = "offline"

FUNCTIONGEMMA = "google/functiongemma-270m-it"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training hyperparameters that depend on where the model starts."""

    num_train_epochs: int
    learning_rate: float
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    precision: str


OFFLINE_RECIPE = Recipe(
    num_train_epochs=3,
    learning_rate=5e-5,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=4,
    precision="auto",
)

# The table of Google's FunctionGemma cookbook; and what a model that has never seen a function call needs.
GUIDE_RECIPE = Recipe(
    num_train_epochs=3,
    learning_rate=1e-5,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=8,
    precision="auto",
)
