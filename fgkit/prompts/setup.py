"""How a model is prompted: the tools it is given, its developer text and its prompt styles.

These three travel together from the settings of a run, or from the record beside a model, to every
function that writes prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fgkit.chat_types import ToolDeclaration

from .format import DEFAULT_SYSTEM_MSG
from .style import PromptStyle
from .styles import DEFAULT, get


@dataclass(frozen=True)
class PromptSetup:
    """How a model is prompted.

    Args:
        tools: the declarations in the prompts of all rows without tools of their own.
        system_message: developer text of conversations without one of their own; empty for the
            official trigger sentence.
        styles: names of prompt styles, at least one. The first is the one to prompt with; training
            mixes them, and a score is taken in each.
    Raises:
        PromptError: a style is unknown.
    """

    tools: list[ToolDeclaration]
    system_message: str = ""
    styles: tuple[str, ...] = (DEFAULT,)

    def __post_init__(self) -> None:
        for name in self.styles:
            get(name)

    @property
    def style(self) -> str:
        """The name of the first style, which prompts are written in unless one is named."""
        return self.styles[0]

    @property
    def developer_text(self) -> str:
        """The developer text as it is written, the official sentence where none is set."""
        return self.system_message or DEFAULT_SYSTEM_MSG

    def same_texts(self, other: PromptSetup) -> bool:
        """Whether another setup gives every row the same texts in the same styles.

        A run's settings leave the developer text empty where the record of its model spells the
        official sentence out.
        """
        return (self.tools, self.developer_text, self.styles) == (
            other.tools,
            other.developer_text,
            other.styles,
        )

    def each_style(self) -> Iterator[PromptStyle]:
        """Give the styles as objects, in order."""
        return map(get, self.styles)

    def only(self, name: str | None = None) -> PromptSetup:
        """Give the same setup with one style: the named one, or the first."""
        return replace(self, styles=(name or self.style,))
