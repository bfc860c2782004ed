"""The record in a model folder, `fgkit.json`: how the model was tuned and how it is prompted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fgkit import schema
from fgkit.dataset.rows import Rows
from fgkit.errors import ModelError
from fgkit.prompts import styles
from fgkit.record_types import ModelRecord
from fgkit.tools import tools_hash

if TYPE_CHECKING:
    from fgkit.config import FinetuneConfig, TaskConfig, TfliteConfig


NAME = "fgkit.json"


def model_facts(folder: Path) -> ModelRecord:
    """Read `fgkit.json` of a model folder; an empty record where there is none.

    Args:
        folder: a model folder, of fgkit or not.
    Raises:
        ModelError: the file has fields of wrong types; every one is named.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    return schema.read(
        path,
        ModelRecord,
        remedy="Restore the file, or tune the model again.",
        error=ModelError,
    )


def system_message_of(folder: Path) -> str:
    """Read the developer text that a model was tuned with; "" for the official sentence or where none is recorded."""
    return model_facts(folder).get("system_message") or ""


def prompt_styles(
    settings: FinetuneConfig | TfliteConfig | TaskConfig, rows: Rows
) -> tuple[str, ...]:
    """Give the styles to prompt a run's model in: those asked for, or else all that it was trained in.

    Raises:
        ModelError: the model was not trained in a style that is asked for.
    """
    folder = settings.model_folder
    return styles.chosen(folder, model_facts(folder).get("style"), settings.style, rows.tools)


def require_same_tools(folder: Path, rows: Rows) -> None:
    """Refuse to prompt a model with other tools than it was tuned with (ModelError)."""
    trained = model_facts(folder).get("tools_hash")
    if trained is not None and rows.tools and trained != tools_hash(rows.tools):
        raise ModelError(
            f"{folder}: was trained with other tools than these, so its prompts would not be the ones it "
            "knows. Give the tools file it was trained with (--tools), or tune it again."
        )
