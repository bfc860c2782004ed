"""Read from the JSON beside a finished bundle how it has to be prompted.

The result is a `PromptSetup`; tools or a style that the model was not trained with are an error.
"""

from __future__ import annotations

from pathlib import Path

from fgkit.chat_types import ToolDeclaration
from fgkit.errors import ModelError
from fgkit.prompts import PromptSetup, styles
from fgkit.tools import tools_hash

from . import read as bundle_files


def bundle_setup(path: Path, tools: list[ToolDeclaration], style: str | None = None) -> PromptSetup:
    """Return the prompt setup of a bundle, in one style, if it was trained with these tools.

    Args:
        path: a `.task` or `.litertlm`, with or without the JSON beside it.
        tools: the tools that the prompts declare.
        style: one of the styles that it was trained in; None for the first. Without the JSON, None
            means the default style, and a note about that is printed.
    Raises:
        ModelError: it was trained with other tools or in another style.
    """
    facts = bundle_files.read_bundle(path).sidecar
    if facts is None:
        if style is None:
            print(
                f"{path.name}.json is not there: the prompt style is assumed to be "
                f"{styles.DEFAULT!r}."
            )
        return PromptSetup(tools, "", styles.resolve(path, None, style, tools)[:1])
    names = styles.resolve(path, facts.get("style"), style, tools)
    if tools and facts.get("tools_hash") not in (None, tools_hash(tools)):
        raise ModelError(
            f"{path}: was trained with other tools than these, so the scores would mean nothing. "
            "Give the tools file it was trained with (--tools)."
        )
    return PromptSetup(tools, facts.get("system_message") or "", names[:1])
