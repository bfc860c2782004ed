"""Reads one row of any format as a conversation for `prompts.render`; no value is changed.

    guide           {"user_content": ..., "tool_name": ..., "tool_arguments": JSON text}, or
                    "answer" for plain text
    messages        {"messages": [...], "tools": [...]} as OpenAI and Hugging Face write it
    mobile-actions  google/mobile-actions: the same with "metadata", whose rows marked "eval" are
                    held out
    xlam            Salesforce xLAM: {"query": ..., "answers": JSON text, "tools": JSON text}
    csv             the columns prompt, tool and arguments, or answer for plain text

Example:
    row = {"user_content": "red", "tool_name": "paint", "tool_arguments": '{"color": "red"}'}
    read_row(row, "guide")[0]
    # ParsedRow(messages=[{'role': 'user', 'content': 'red'},
    #                     {'role': 'assistant', 'tool_calls': [...]}], ...)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from fgkit.chat_types import JsonObject, JsonValue, Message
from fgkit.prompts.format import text_problems
from fgkit.text import nearest, short, shown

from . import messages, xlam
from .messages import JSON_TYPE_NAMES, call_message, json_text
from .parsed import RowFields

# The keys by which a row's format is detected, then the other keys it may have.
_KEYS = {
    "guide": (("user_content", "tool_name", "tool_arguments"), ("answer", "group")),
    "messages": (("messages",), ("tools", "parallel_tool_calls", "group")),
    "mobile-actions": (("messages", "metadata"), ("tools", "group")),
    "xlam": (("query", "answers", "tools"), ("id", "group")),
    "csv": (("prompt", "tool", "arguments"), ("answer", "group")),
}
FORMATS = ("auto", *_KEYS)


@dataclass(frozen=True)
class ParsedRow:
    """A row of any format.

    Args:
        messages: the complete conversation, which `prompts.render` accepts.
        tools: the row's own tools as written; None if it has none.
        group: the name of its paraphrase group, or "".
        held_out: whether the row says that it is for evaluation only.
        untrained: indices of answers that are part of prompts but are not trained.
        lenient: whether Arrow may have filled in nulls, see `validation.Checker.without_filled`.
    """

    messages: list[Message]
    tools: JsonValue = None
    group: str = ""
    held_out: bool = False
    untrained: frozenset[int] = frozenset()
    lenient: bool = False


def detect(row: JsonObject, before: str = "guide") -> str:
    """Return the format whose keys a row has most of; in doubt the format of the row before.

    Args:
        row: what its line holds.
        before: the format of the row before.
    """

    def score(name: str) -> tuple[float, int, bool]:
        keys, _ = _KEYS[name]
        present = sum(key in row for key in keys)
        return present / len(keys), present, name == before

    return max(_KEYS, key=score)


def read_row(row: JsonValue, format: str) -> tuple[ParsedRow | None, list[str]]:
    """Return the conversation of one row and what is wrong with it.

    Both are returned for a row with problems whose conversation can still be checked.

    Args:
        row: what its line of the file holds.
        format: one of FORMATS but "auto".
    """
    needed, optional = _KEYS[format]
    if not isinstance(row, dict):
        return None, [
            f"found {JSON_TYPE_NAMES[type(row)]}, {shown(json.dumps(row))}, expected a JSON object "
            f"with the keys {', '.join(needed)}. Write one object a line, without a list around "
            "them."
        ]
    if "answer" in optional and "answer" in row and not (format == "csv" and not row["answer"]):
        needed, optional = (
            (needed[0], "answer"),
            ("group", *(needed[1:] if format == "csv" else ())),
        )
    missing = [key for key in needed if key not in row]
    problems = [
        f"has no {key!r}, expected the keys {', '.join(needed)}. Add it." for key in missing
    ]
    problems += [
        f"has the key {shown(key)}, expected only {', '.join(needed)}{nearest(key, missing)} "
        "Rename or remove it."
        for key in row
        if key not in needed + optional
    ]
    group = row.get("group") or ""
    if not isinstance(group, str):
        problems.append(
            f"group: found {JSON_TYPE_NAMES[type(group)]}, expected a text. Put it in quotes."
        )
    fields, more = _READERS[format](row)
    problems += more
    return (None if fields is None else ParsedRow(**fields, group=str(group))), problems


def _guide(row: JsonObject) -> tuple[RowFields | None, list[str]]:
    return _single(row, "user_content", "tool_name", "tool_arguments")


def _csv(row: JsonObject) -> tuple[RowFields | None, list[str]]:
    if row.get("answer") and row.get("tool"):
        return None, [
            "has both a tool and an answer, expected one of them. Empty one cell; a call after a "
            "text needs the format messages."
        ]
    row = {key: cell for key, cell in row.items() if cell or key not in ("answer", "arguments")}
    if "answer" not in row:
        # An empty cell means a call without arguments.
        row.setdefault("arguments", "{}")
    return _single(row, "prompt", "tool", "arguments")


def _single(
    row: JsonObject, prompt: str, tool: str, arguments: str
) -> tuple[RowFields | None, list[str]]:
    """One request with one call or an "answer" in plain text; the arguments name the keys."""
    keys = (prompt, "answer") if "answer" in row else (prompt, tool, arguments)
    problems = []
    for key in keys:
        if key in row and not isinstance(row[key], str):
            remedy = "Put it in quotes."
            if key == arguments and isinstance(row[key], dict):
                remedy = f"Write it as a JSON text: {short(json.dumps(json.dumps(row[key])), 120)}"
            type_name = JSON_TYPE_NAMES[type(row[key])]
            problems.append(f"{key}: found {type_name}, expected a text. {remedy}")
    for key in {prompt, "answer"} & set(keys):
        if isinstance(text := row.get(key), str):
            problems += text_problems(text, key)
            if not text.strip():
                what = "a request" if key == prompt else "what the model should say"
                problems.append(
                    f"{key}: found an empty text, expected {what}. Fill it in or delete the line."
                )
    value: JsonValue = None
    if arguments in keys and isinstance(row.get(arguments), str):
        value, more = json_text(
            row[arguments], dict, arguments, 'an object such as "{}". Name each argument.'
        )
        problems += more
    if any(not isinstance(row.get(key), str) for key in keys[:2]):
        return None, problems
    user: Message = {"role": "user", "content": row[prompt]}
    answer: Message = {"role": "assistant", "content": row.get("answer")}
    if "answer" not in keys:
        answer = call_message([(row[tool], value)])
    return {"messages": [user, answer]}, problems


_READERS: dict[str, Callable[[JsonObject], tuple[RowFields | None, list[str]]]] = {
    "guide": _guide,
    "messages": messages.read,
    "mobile-actions": messages.read_mobile_actions,
    "xlam": xlam.read,
    "csv": _csv,
}
