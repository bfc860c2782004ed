"""The first step of each notebook: read the rows and tools that the settings name."""

from __future__ import annotations

from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset.rows import RunData, read_run_data


def load_rows(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> RunData:
    """Read the tools and rows of a run; without file names, those of the example.

    Args:
        settings: `data`, `eval_data`, `data_format`, `tools` and `seed` are used.
    Raises:
        ToolError, DataError: files have problems; the message lists all, one per line.
    """
    return read_run_data(
        settings.data,
        settings.eval_data,
        settings.tools,
        seed=settings.seed,
        format=settings.data_format,
    )
