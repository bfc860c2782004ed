"""The record in a model folder, `fgkit.json`: how the model was tuned and how it is prompted."""

from __future__ import annotations

from pathlib import Path

from fgkit import schema
from fgkit.chat_types import ToolDeclaration
from fgkit.dataset.rows import RunData
from fgkit.errors import ModelError
from fgkit.prompts import PromptSetup, styles
from fgkit.record_types import ModelRecord
from fgkit.tools import tools_hash

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


def prompt_setup(
    folder: Path, tools: list[ToolDeclaration], style: str | None = None
) -> PromptSetup:
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


def require_same_tools(folder: Path, rows: RunData) -> None:
    """Refuse to prompt a model with other tools than it was tuned with (ModelError)."""
    trained = model_facts(folder).get("tools_hash")
    if trained is not None and rows.tools and trained != tools_hash(rows.tools):
        raise ModelError(
            f"{folder}: was trained with other tools than these, so its prompts would not be the "
            f"ones it "
            "knows. Give the tools file it was trained with (--tools), or tune it again."
        )
