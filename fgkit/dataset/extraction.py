"""Turns the conversation of a parsed row into records: one for each answer that is trained.

The calls are checked against the row's tools on the way.
"""

from __future__ import annotations

from collections.abc import Iterator

from fgkit.calls import Call
from fgkit.chat_types import FunctionCall, Message
from fgkit.tools.row_tools import ToolSet
from fgkit.tools.validation import name_complaint

from .formats.detection import ParsedRow
from .formats.messages import content_text
from .records import Record

_MODEL_ROLES = ("assistant", "model")


def extract_records(
    line: int, row: ParsedRow, tool_set: ToolSet
) -> tuple[list[Record], list[str], bool]:
    """Return the records of one row, what is wrong with it, and whether nulls were taken out.

    Args:
        line: of the row in its file.
        row: its conversation. Nulls that Arrow filled in are taken out of its calls.
        tool_set: the row's tools, or the run's.
    """
    records: list[Record] = []
    problems: list[str] = []
    healed = False
    for index, message in enumerate(row.messages):
        if message["role"] not in _MODEL_ROLES:
            continue
        calls, complaints, had_nulls = _checked_calls(row, index, message, tool_set)
        problems += complaints
        healed |= had_nulls
        text = content_text(message.get("content"))
        before = row.messages[index - 1]["role"] if index else "nothing"
        if before not in ("user", "tool"):
            problems.append(
                f"messages[{index}]: an answer after {before}, expected one after what the user "
                "says or a tool responds. Join the two, or put the message in between."
            )
        # An answer without calls and text only closes the turn, so there is nothing to train.
        elif (calls or text.strip()) and index not in row.untrained:
            prompt = tuple(row.messages[:index])
            records.append(Record(line, prompt, tuple(calls), text, tool_set.tools, row.group))
    last_role = row.messages[-1]["role"]
    if last_role not in _MODEL_ROLES:
        problems.append(
            f"messages: ends with a {last_role} message, expected the model's answer. Add it, or "
            "take the message out."
        )
    elif not records and not problems:
        problems.append(
            "messages: holds no answer to learn, expected at least one call or text. Add it."
        )
    return records, problems, healed


def _checked_calls(
    row: ParsedRow, index: int, message: Message, tool_set: ToolSet
) -> tuple[list[Call], list[str], bool]:
    """The calls of one message, what is wrong with them, and whether nulls were taken out."""
    calls, problems, healed = [], [], False
    tool_calls = message.get("tool_calls") or []
    is_only_call = len(row.messages) == 2 and len(tool_calls) == 1
    for number, tool_call in enumerate(tool_calls):
        function = tool_call["function"]
        arguments = function["arguments"]
        checker = tool_set.checkers.get(function["name"])
        if row.lenient and checker and isinstance(arguments, dict):
            function["arguments"] = checker.without_filled(arguments)
            healed |= function["arguments"] is not arguments
        # The only call of a row needs no index.
        where = "" if is_only_call else f"messages[{index}].tool_calls[{number}]: "
        problems += [where + complaint for complaint in _complaints(function, tool_set)]
        calls.append(Call(function["name"], function["arguments"]))
    return calls, problems, healed


def _complaints(function: FunctionCall, tool_set: ToolSet) -> Iterator[str]:
    checker = tool_set.checkers.get(function["name"])
    if checker is None:
        yield f"tool_name: {name_complaint(function['name'], tool_set.checkers)}"
    # Arguments that are no object have been reported by the reader.
    elif isinstance(function["arguments"], dict):
        yield from checker(function["arguments"])
