"""Golden vectors: what the app sends, what the model should answer and what the app's function then gets.

In: rows, tools, how the model is prompted. Out: JSON values that an app's own tests replay.

>>> vectors(rows, PromptSetup(tools))[0]
{'line': 1, 'user': 'make it red', 'single': True, 'prompt': '<bos><start_of_turn>developer\\n...',
 'answer': '<start_function_call>call:...', 'calls': [{'name': 'change_background_color',
 'arguments': {'color': 'red'}, 'received': {'color': 'red'}}], 'text': ''}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fgkit import prompts
from fgkit.calls import Call
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record, request
from fgkit.prompts import PromptSetup
from fgkit.prompts.litert_lm import SPACES
from fgkit.tools.coercion import coerce
from fgkit.tools.validation import without_nulls

from .types import DART, plan

_TEXT = "\ue000"  # stands for what the user says; no tool or developer text is likely to hold it
_TRIMMABLE = sorted({*SPACES, *(chr(code) for code in range(0x3001) if chr(code).isspace())})


@dataclass(frozen=True)
class PromptText:
    """What stands around what the user says, and the characters that are trimmed off its ends."""

    prefix: str
    suffix: str
    trimmed: str

    def of(self, text: str) -> str:
        """The whole prompt of a single request."""
        return f"{self.prefix}{text.strip(self.trimmed) if self.trimmed else text}{self.suffix}"


def prompt_text(setup: PromptSetup) -> PromptText:
    """Find what a style writes around a request.

    Args:
        setup: how the model is prompted; its first style is the one.
    Raises:
        DataError, ToolError: the style cannot say the developer text or the tools.
    """

    def rendered(text: str) -> str:
        return tokenize.prompt_texts([request(1, text)], setup)[0]

    bare = rendered(_TEXT)
    prefix, suffix = bare.rsplit(_TEXT, 1)
    every = "".join(_TRIMMABLE)
    if rendered(every + _TEXT + every) == bare:
        return PromptText(prefix, suffix, every)
    return PromptText(
        prefix,
        suffix,
        "".join(char for char in _TRIMMABLE if rendered(char + _TEXT + char) == bare),
    )


def vectors(rows: Sequence[Record], setup: PromptSetup) -> list[dict[str, Any]]:
    """Give one vector for each row, in order.

    Args:
        rows: with tools of their own or without.
        setup: how the model is prompted, in its first style; the app's code knows its tools.
    Returns:
        `prompt` is the text up to the model's turn; `single` says that it is the text around `user` and nothing else;
        `received` are the arguments with the declared types and with the defaults that the app fills in.
    Raises:
        DataError, PromptError: the style cannot say a row.
    """
    texts = tokenize.prompt_texts(rows, setup)
    around = prompt_text(setup) if setup.tools else None
    return [
        {
            "line": row.line,
            "user": row.user_content,
            "single": row.tools is None
            and around is not None
            and around.of(row.user_content) == text,
            "prompt": text,
            "answer": prompts.answer(row.calls, row.text, style=setup.style),
            "calls": [_call(call, setup.tools) for call in row.calls],
            "text": row.text.strip(),
        }
        for row, text in zip(rows, texts, strict=True)
    ]


def _call(call: Call, tools: list[dict]) -> dict[str, Any]:
    got = received(call, tools)
    return {"name": call.name, "arguments": call.arguments} | (
        {} if got is None else {"received": got}
    )


def choose(rows: Sequence[Record], count: int) -> list[Record]:
    """Choose rows so that every kind of answer is there, given back in file order.

    Args:
        rows: all there are.
        count: how many at most. They are taken in turn from those with plain text and, for each tool, from those that
            call it alone and those that call it first of several.
    """
    kinds: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        kinds.setdefault((row.kind, row.calls[0].name if row.calls else ""), []).append(row)
    turns = [row for turn in zip_longest(*kinds.values()) for row in turn if row is not None]
    chosen = {id(row) for row in turns[:count]}
    return [row for row in rows if id(row) in chosen]


def received(call: Call, tools: list[dict]) -> dict[str, Any] | None:
    """What the app's function gets: declared types, defaults filled in, nulls of optional arguments left out.

    Args:
        call: as the model wrote it.
        tools: what the app's code knows.
    Returns:
        the arguments by their names on the wire; None for a tool that is none of these.
    Raises:
        ArgumentError: the arguments do not fit the tool.
    """
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    if call.name not in schemas:
        return None
    arguments, _ = without_nulls(coerce(call, tools).arguments, schemas[call.name])
    members = next(
        function for function in plan(tools, DART).functions if function.wire == call.name
    ).members
    return {
        member.wire: arguments.get(member.wire, member.default)
        for member in members
        if member.wire in arguments or member.default is not None
    }
