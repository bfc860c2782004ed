"""The record in a model folder, `fgkit.json`: how the model was tuned and how it is prompted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit.dataset.rows import Rows
from fgkit.errors import ModelError
from fgkit.files import read_json
from fgkit.prompts import styles
from fgkit.tools import tools_hash

if TYPE_CHECKING:
    from fgkit.config import FinetuneConfig, TaskConfig, TfliteConfig


def model_facts(folder: Path) -> dict[str, Any]:
    """What `fgkit.json` in a model folder tells, or nothing where there is none."""
    record = folder / "fgkit.json"
    return read_json(record) if record.is_file() else {}


def system_message_of(folder: Path) -> str:
    """Developer text a model was tuned with; empty for the official sentence or where it is not known."""
    return model_facts(folder).get("system_message", "")


def prompt_styles(
    settings: FinetuneConfig | TfliteConfig | TaskConfig, rows: Rows
) -> tuple[str, ...]:
    """The prompt styles of a run's model: those asked for, refused where it was not trained in them, else its own."""
    folder = settings.model_folder
    return styles.chosen(folder, model_facts(folder).get("style"), settings.style, rows.tools)


def require_same_tools(folder: Path, rows: Rows) -> None:
    """Refuse to prompt a model with other tools than it was tuned with (ModelError)."""
    trained = model_facts(folder).get("tools_hash")
    if trained is not None and rows.tools and trained != tools_hash(rows.tools):
        raise ModelError(
            f"{folder}: was trained with other tools than these, so its prompts would not be the "
            f"ones it "
            "knows. Give the tools file it was trained with (--tools), or tune it again."
        )
