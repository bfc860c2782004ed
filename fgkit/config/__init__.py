"""Settings of the three notebooks: frozen, explained field by field, all problems raised together.

A notebook's parameters cell has one literal for each field, with the field's name; the next cell
builds the settings with `from_notebook`.

Example:

    config = FinetuneConfig(output="run", base="offline")
    config.recipe(base_named("offline").recipe).learning_rate    # 5e-05
"""

from .finetune import SCHEDULERS, FinetuneConfig
from .notebooks import from_notebook, unknown_parameter
from .task import TaskConfig
from .tflite import TfliteConfig

__all__ = [
    "SCHEDULERS",
    "FinetuneConfig",
    "TaskConfig",
    "TfliteConfig",
    "from_notebook",
    "unknown_parameter",
]
