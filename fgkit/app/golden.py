r"""Golden vectors: what the app sends, what the model should answer, what the app then gets.

In: rows, tools, and how the model is prompted. Out: JSON objects that an app's own tests replay.

For example:

    vectors(rows, PromptSetup(tools))[0]
    # {"line": 1, "user": "make it red", "single": True,
    #  "prompt": "<bos><start_of_turn>developer\n...", "answer": "<start_function_call>call:...",
    #  "calls": [{"name": "change_background_color", "arguments": {"color": "red"},
    #             "received": {"color": "red"}}], "text": ""}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NotRequired, TypedDict

from fgkit import prompts
from fgkit.calls import Call
from fgkit.chat_types import ToolDeclaration
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record, request
from fgkit.prompts import PromptSetup
from fgkit.prompts.litert_lm import SPACES
from fgkit.tools.coercion import coerce
from fgkit.tools.validation import without_nulls

from .languages import DART
from .planning import plan

# Marks where the user's text goes. It is a character of private use, which no tool and no developer
# text is likely to contain.
_MARKER = "\ue000"
# Every character that some style may trim: those that a runtime or Python calls white space.
_TRIMMABLE = sorted({*SPACES, *(chr(code) for code in range(0x3001) if chr(code).isspace())})


class GoldenCall(TypedDict):
    """One call of an answer.

    `arguments` are as the model writes them; `received` is what the app's function then gets, and
    is missing where the function is not one of the app's.
    """

    name: str
    arguments: dict[str, Any]
    received: NotRequired[dict[str, Any]]


class GoldenVector(TypedDict):
    """One row for the app's tests.

    `line` is the row's line in its file and `user` its last request. `prompt` is the text up to the
    model's turn; `single` says whether it is the app's prompt prefix, `user` and the suffix, and
    nothing else. `answer` is the model's text, `calls` are the calls in it, and `text` is its plain
    text.
    """

    line: int
    user: str
    single: bool
    prompt: str
    answer: str
    calls: list[GoldenCall]
    text: str


@dataclass(frozen=True)
class PromptText:
    """The text around a request.

    Args:
        prefix, suffix: the text before the request and after it.
        trimmed: the characters that the style removes from both ends of the request.
    """

    prefix: str
    suffix: str
    trimmed: str

    def prompt_for(self, text: str) -> str:
        """Write the prompt of a single request."""
        return f"{self.prefix}{text.strip(self.trimmed) if self.trimmed else text}{self.suffix}"


def prompt_text(setup: PromptSetup) -> PromptText:
    """Find out what a style writes around a request.

    Args:
        setup: how the model is prompted; its first style is used.
    Raises:
        DataError, ToolError: the style cannot express the developer text or the tools.
    """

    def rendered(text: str) -> str:
        return tokenize.prompt_texts([request(1, text)], setup)[0]

    bare = rendered(_MARKER)
    prefix, suffix = bare.rsplit(_MARKER, 1)
    # The styles are asked, so that no second list of what each of them trims can go stale. Most
    # trim all of these characters, which one rendering shows.
    every = "".join(_TRIMMABLE)
    if rendered(every + _MARKER + every) == bare:
        return PromptText(prefix, suffix, every)
    trimmed = "".join(char for char in _TRIMMABLE if rendered(char + _MARKER + char) == bare)
    return PromptText(prefix, suffix, trimmed)


def vectors(rows: Sequence[Record], setup: PromptSetup) -> list[GoldenVector]:
    """Make one vector for each row, in order.

    Args:
        rows: the rows, with tools of their own or without.
        setup: how the model is prompted, in its first style. Its tools are those that the
            app's code knows.
    Raises:
        DataError, PromptError: the style cannot express a row.
    """
    texts = tokenize.prompt_texts(rows, setup)
    around = prompt_text(setup) if setup.tools else None
    return [
        {
            "line": row.line,
            "user": row.user_content,
            "single": row.tools is None
            and around is not None
            and around.prompt_for(row.user_content) == text,
            "prompt": text,
            "answer": prompts.answer(row.calls, row.text, style=setup.style),
            "calls": [_golden_call(call, setup.tools) for call in row.calls],
            "text": row.text.strip(),
        }
        for row, text in zip(rows, texts, strict=True)
    ]


def choose(rows: Sequence[Record], count: int) -> list[Record]:
    """Choose rows so that every kind of answer is among them.

    Args:
        rows: all rows.
        count: the largest number of rows to choose. They are taken in turn from the rows with plain
            text and, for each tool, from those that call it alone and those that call it first of
            several.
    Returns:
        the chosen rows in the order of `rows`.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.calls[0].name if row.calls else ""), []).append(row)
    in_turn = [row for turn in zip_longest(*groups.values()) for row in turn if row is not None]
    # By identity: rows that are equal may be there several times.
    chosen = {id(row) for row in in_turn[:count]}
    return [row for row in rows if id(row) in chosen]


def received(call: Call, tools: list[ToolDeclaration]) -> dict[str, Any] | None:
    """Compute what the app's function gets for a call of the model.

    Args:
        call: as the model wrote it.
        tools: the tools that the app's code knows.
    Returns:
        the arguments by their declared names: converted to the declared types, defaults filled in,
        nulls of optional arguments left out. None for a function that is none of the tools.
    Raises:
        ArgumentError: the arguments do not fit the tool.
    """
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    if call.name not in schemas:
        return None
    arguments, _ = without_nulls(coerce(call, tools).arguments, schemas[call.name])
    # Either language would do: which defaults are usable does not depend on it.
    functions = plan(tools, DART).functions
    members = next(function.members for function in functions if function.wire == call.name)
    return {
        member.wire: arguments.get(member.wire, member.default)
        for member in members
        if member.wire in arguments or member.default is not None
    }


def _golden_call(call: Call, tools: list[ToolDeclaration]) -> GoldenCall:
    golden: GoldenCall = {"name": call.name, "arguments": call.arguments}
    arguments = received(call, tools)
    if arguments is not None:
        golden["received"] = arguments
    return golden
