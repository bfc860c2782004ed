"""What the reader of each format returns for a good row."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from fgkit.chat_types import JsonValue, Message


class RowFields(TypedDict):
    """Fields of `detection.ParsedRow` that a format fills in; what is left out has its default."""

    messages: list[Message]
    tools: NotRequired[JsonValue]
    held_out: NotRequired[bool]
    untrained: NotRequired[frozenset[int]]
    lenient: NotRequired[bool]
