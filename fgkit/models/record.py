"""The record in a model folder, `fgkit.json`: how the model was tuned and how it is prompted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgkit.dataset.rows import Rows
from fgkit.errors import ModelError
from fgkit.files import read_json
from fgkit.prompts import PromptSetup, styles
from fgkit.tools import tools_hash


def model_facts(folder: Path) -> dict[str, Any]:
    """What `fgkit.json` in a model folder tells, or nothing where there is none."""
    record = folder / "fgkit.json"
    return read_json(record) if record.is_file() else {}


def system_message_of(folder: Path) -> str:
    """Developer text a model was tuned with; empty for the official sentence or where it is not known."""
    return model_facts(folder).get("system_message", "")


def prompt_setup(folder: Path, tools: list[dict], style: str | None = None) -> PromptSetup:
    """How a tuned model is prompted: with the developer text and in the styles of its training.

    Args:
        folder: the model.
        tools: what its prompts declare.
        style: the styles that the user asks for; None or "" for all that it was trained in.
    Raises:
        ModelError: it was not trained in a style that is asked for.
        ConfigError: an asked style is unknown.
    """
    stored = model_facts(folder).get("style")
    return PromptSetup(
        tools, system_message_of(folder), styles.resolve(folder, stored, style, tools)
    )


def require_same_tools(folder: Path, rows: Rows) -> None:
    """Refuse to prompt a model with other tools than it was tuned with (ModelError)."""
    trained = model_facts(folder).get("tools_hash")
    if trained is not None and rows.tools and trained != tools_hash(rows.tools):
        raise ModelError(
            f"{folder}: was trained with other tools than these, so its prompts would not be the "
            f"ones it "
            "knows. Give the tools file it was trained with (--tools), or tune it again."
        )
