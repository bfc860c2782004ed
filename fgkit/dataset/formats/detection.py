"""One row as a file holds it goes in, a conversation as `prompts.render` takes it comes out: no value added or changed.

    guide           {"user_content": ..., "tool_name": ..., "tool_arguments": JSON text}, or "answer" for plain text
    messages        {"messages": [...], "tools": [...]} as OpenAI and Hugging Face write it
    mobile-actions  google/mobile-actions: the same with "metadata", whose rows marked "eval" are held out
    xlam            Salesforce xLAM: {"query": ..., "answers": JSON text, "tools": JSON text}
    csv             the columns prompt, tool and arguments, or answer for plain text

>>> read_row({"user_content": "make it red", "tool_name": "paint", "tool_arguments": '{"color": "red"}'}, "guide")[0]
Row(messages=[{'role': 'user', 'content': 'make it red'}, {'role': 'assistant', 'tool_calls': [...]}], ...)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fgkit.prompts.format import text_problems
from fgkit.text import nearest, short, shown

from . import messages, xlam
from .messages import JSON_KINDS, call_message, json_text

# The keys by which a row's format is told, then those it may have besides.
_KEYS = {
    "guide": (("user_content", "tool_name", "tool_arguments"), ("answer", "group")),
    "messages": (("messages",), ("tools", "parallel_tool_calls", "group")),
    "mobile-actions": (("messages", "metadata"), ("tools", "group")),
    "xlam": (("query", "answers", "tools"), ("id", "group")),
    "csv": (("prompt", "tool", "arguments"), ("answer", "group")),
}
FORMATS = ("auto", *_KEYS)


@dataclass(frozen=True)
class Row:
    """A row of any format.

    Args:
        messages: the whole conversation, which `prompts.render` accepts.
        tools: the row's own tools as written; None where it has none.
        group: name of its paraphrase group, or "".
        held_out: whether the row says that it is for evaluation only.
        untrained: places of answers that are part of the prompt only.
        lenient: whether nulls may have been filled in by Arrow, see `arguments.without_filled`.
    """

    messages: list[dict]
    tools: Any = None
    group: str = ""
    held_out: bool = False
    untrained: frozenset[int] = frozenset()
    lenient: bool = False


def detect(row: dict, before: str = "guide") -> str:
    """The format whose keys a row has most of; in doubt that of the row before."""
    found = {name: [key in row for key in keys] for name, (keys, _) in _KEYS.items()}
    return max(
        found,
        key=lambda name: (sum(found[name]) / len(found[name]), sum(found[name]), name == before),
    )


def read_row(row: Any, kind: str) -> tuple[Row | None, list[str]]:
    """The conversation of one row and what is wrong with it; both where the rest of it can still be checked.

    Args:
        row: what its line of the file holds.
        kind: one of FORMATS but "auto".
    """
    needed, optional = _KEYS[kind]
    if not isinstance(row, dict):
        return None, [
            f"found {JSON_KINDS[type(row)]}, {shown(json.dumps(row))}, expected a JSON object with the keys "
            f"{', '.join(needed)}. Write one object a line, without a list around them."
        ]
    if "answer" in optional and "answer" in row and not (kind == "csv" and not row["answer"]):
        needed, optional = (needed[0], "answer"), ("group", *(needed[1:] if kind == "csv" else ()))
    missing = [key for key in needed if key not in row]
    problems = [
        f"has no {key!r}, expected the keys {', '.join(needed)}. Add it." for key in missing
    ]
    problems += [
        f"has the key {shown(key)}, expected only {', '.join(needed)}{nearest(key, missing)} Rename or "
        "remove it."
        for key in row
        if key not in needed + optional
    ]
    group = row.get("group") or ""
    if not isinstance(group, str):
        problems.append(
            f"group: found {JSON_KINDS[type(group)]}, expected a text. Put it in quotes."
        )
    found, more = _READERS[kind](row)
    problems += more
    return (None if found is None else Row(**found, group=str(group))), problems


def _guide(row: dict) -> tuple[dict | None, list[str]]:
    return _single(row, "user_content", "tool_name", "tool_arguments")


def _csv(row: dict) -> tuple[dict | None, list[str]]:
    if row.get("answer") and row.get("tool"):
        return None, [
            "has both a tool and an answer, expected one of them. Empty one cell; a call after a text needs "
            "the format messages."
        ]
    row = {key: cell for key, cell in row.items() if cell or key not in ("answer", "arguments")}
    if "answer" not in row:
        row.setdefault("arguments", "{}")  # an empty cell
    return _single(row, "prompt", "tool", "arguments")


def _single(row: dict, prompt: str, tool: str, arguments: str) -> tuple[dict | None, list[str]]:
    """One request with one call, or with an "answer" in plain text."""
    keys = (prompt, "answer") if "answer" in row else (prompt, tool, arguments)
    problems = []
    for key in keys:
        if key in row and not isinstance(row[key], str):
            remedy = "Put it in quotes."
            if key == arguments and isinstance(row[key], dict):
                remedy = f"Write it as a JSON text: {short(json.dumps(json.dumps(row[key])), 120)}"
            problems.append(f"{key}: found {JSON_KINDS[type(row[key])]}, expected a text. {remedy}")
    for key in {prompt, "answer"} & set(keys):
        if isinstance(text := row.get(key), str):
            problems += text_problems(text, key)
            if not text.strip():
                what = "a request" if key == prompt else "what the model should say"
                problems.append(
                    f"{key}: found an empty text, expected {what}. Fill it in or delete the line."
                )
    value = None
    if arguments in keys and isinstance(row.get(arguments), str):
        value, more = json_text(
            row[arguments], dict, arguments, 'an object such as "{}". Name each argument.'
        )
        problems += more
    if any(not isinstance(row.get(key), str) for key in keys[:2]):
        return None, problems
    user = {"role": "user", "content": row[prompt]}
    answer = (
        {"role": "assistant", "content": row["answer"]}
        if "answer" in keys
        else call_message([(row[tool], value)])
    )
    return {"messages": [user, answer]}, problems


_READERS: dict[str, Callable[[dict], tuple[dict | None, list[str]]]] = {
    "guide": _guide,
    "messages": messages.read,
    "mobile-actions": messages.read_mobile_actions,
    "xlam": xlam.read,
    "csv": _csv,
}
