"""Read `fgkit.json` in a model folder: how the model was tuned and how to prompt it."""

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
    """Read `fgkit.json` of a model folder; without that file, return an empty record.

    Args:
        folder: a model folder, which need not be made by fgkit.
    Raises:
        ModelError: fields have wrong types; the message names them.
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
    """Return the developer text that a model was tuned with.

    It is "" if that was the official sentence, or if none is recorded.
    """
    return model_facts(folder).get("system_message") or ""


def prompt_setup(
    folder: Path, tools: list[ToolDeclaration], style: str | None = None
) -> PromptSetup:
    """Return how to prompt a tuned model: with the developer text and the styles of its training.

    Args:
        folder: the model folder.
        tools: the tools that the prompts declare.
        style: the styles that the user asks for; None or "" for all that it was trained in.
    Raises:
        ModelError: the model was not trained in one of these styles.
        ConfigError: a style is unknown.
    """
    stored = model_facts(folder).get("style")
    return PromptSetup(
        tools, system_message_of(folder), styles.resolve(folder, stored, style, tools)
    )


def require_same_tools(folder: Path, rows: RunData) -> None:
    """Refuse to prompt a model with other tools than it was tuned with.

    Args:
        folder: the model folder; if it records no tools, any are accepted.
        rows: the rows to prompt it with; if each row has its own tools, they are accepted.
    Raises:
        ModelError: the tools differ.
    """
    trained = model_facts(folder).get("tools_hash")
    if trained is not None and rows.tools and trained != tools_hash(rows.tools):
        raise ModelError(
            f"{folder}: was trained with other tools than these, so its prompts would not be the "
            "ones it knows. Give the tools file it was trained with (--tools), or tune it again."
        )
