"""Conversations as OpenAI and Hugging Face write them go in, messages as `prompts.render` takes them come out.

    {"role": "assistant", "tool_calls": [
        {"id": "c1", "function": {"name": "paint", "arguments": "{\\"color\\": \\"red\\"}"}}]}
    {"role": "tool", "tool_call_id": "c1", "content": "done"}

becomes

    {"role": "assistant", "tool_calls": [
        {"type": "function", "function": {"name": "paint", "arguments": {"color": "red"}}}]}
    {"role": "tool", "name": "paint", "content": "done"}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fgkit import prompts
from fgkit.errors import PromptError
from fgkit.text import nearest, shown
from fgkit.tools import strict_json

_ANSWER = ("role", "content", "tool_calls", "weight")
_KEYS = {
    "tool": ("role", "content", "name", "tool_call_id"),
    "assistant": _ANSWER,
    "model": _ANSWER,
}
JSON_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def content_text(content: Any) -> str:
    """Text of a message's content as `prompts.render` writes it: a string, parts of text, or nothing."""
    if isinstance(content, (list, tuple)):
        return "".join(part["text"].strip() for part in content)
    return content or ""


def call_message(calls: Iterable[tuple[str, dict]], text: str = "") -> dict:
    """An assistant message that makes calls, given as (name, arguments), and perhaps says something first."""
    message = {
        "role": "assistant",
        "tool_calls": [
            {"type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments in calls
        ],
    }
    return message | {"content": text} if text else message


def read(row: dict) -> tuple[dict | None, list[str]]:
    """The fields of a `formats.Row`, or what is wrong with the row."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return None, [] if "messages" not in row else [
            f"messages: found {JSON_KINDS[type(messages)]}, expected a list "
            'of {"role": ..., "content": ...}. Write one.'
        ]
    problems: list[str] = []
    # A null in a message says nothing: Arrow and OpenAI's clients write one for every key a message lacks.
    messages = [
        {key: value for key, value in message.items() if value is not None}
        if isinstance(message, dict)
        else message
        for message in messages
    ]
    names: dict[str, str] = {}
    pending: list[str] = []
    untrained: set[int] = set()
    clean = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            clean.append(message)
            continue
        role = message.get("role")
        known = _KEYS.get(role if isinstance(role, str) else "", ("role", "content"))
        problems += [
            f"{where}: has the key {shown(key)}, which would not reach the model, expected only "
            f"{', '.join(known)}{nearest(key, known)} Rename or remove it."
            for key in message
            if key not in known
        ]
        parts = message.get("content")
        if isinstance(parts, list) and any(
            isinstance(part, dict) and part.get("type") == "image" for part in parts
        ):
            problems.append(
                f"{where}: holds an image, which FunctionGemma does not see. Describe it in words."
            )
        if isinstance(calls := message.get("tool_calls"), list) and calls:
            calls, more = _calls(calls, where, names)
            problems += more
            pending = [
                name
                for call in calls
                if isinstance(call, dict)
                and isinstance(call.get("function"), dict)
                and isinstance(name := call["function"].get("name"), str)
            ]
            message = message | {"tool_calls": calls}
        elif role == "tool":
            message, more = _response(message, where, names, pending)
            problems += more
        if (weight := message.get("weight", 1)) not in (0, 1):
            problems.append(
                f"{where}: weight is {shown(weight)}, expected 0 (not trained) or 1. Correct it."
            )
        elif not weight:
            untrained.add(index)
        clean.append(
            {
                key: value
                for key, value in message.items()
                if key in ("role", "content", "name") or key == "tool_calls" and value
            }
        )
    if not problems:
        try:
            prompts.render(clean, None)
        except PromptError as error:
            problems = str(error).splitlines()
    if problems:
        return None, problems
    return {
        "messages": clean,
        "tools": row.get("tools"),
        "untrained": frozenset(untrained),
        "lenient": True,
    }, []


def _calls(calls: list, where: str, names: dict[str, str]) -> tuple[list, list[str]]:
    """Calls with their arguments as objects; `names` learns which id belongs to which function."""
    problems, clean = [], []
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            clean.append(call)
            problems.append(
                f"{where}.tool_calls[{index}]: has no 'function' object, expected "
                '{"function": {"name": ..., "arguments": {...}}}. Write it so.'
            )
            continue
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            arguments, more = json_text(
                arguments,
                dict,
                f"{where}.tool_calls[{index}].function.arguments",
                'an object such as "{}". Name each argument.',
            )
            problems += more
        if isinstance(call.get("id"), str):
            names[call["id"]] = function.get("name")
        clean.append(
            {
                "type": "function",
                "function": {
                    "name": function.get("name"),
                    "arguments": {} if arguments is None else arguments,
                },
            }
        )
    return clean, problems


def _response(
    message: dict, where: str, names: dict[str, str], pending: Sequence[str]
) -> tuple[dict, list[str]]:
    """A tool message with the name of the function it answers, which OpenAI gives by the call's id."""
    identity, problems = message.get("tool_call_id"), []
    if identity is not None and not isinstance(identity, str):
        return message, [
            f"{where}: tool_call_id: found {JSON_KINDS[type(identity)]}, expected a text. "
            "Put it in quotes."
        ]
    if identity in names and "name" not in message:
        message = message | {"name": names[identity]}
    elif identity is not None and identity not in names and names:
        problems.append(
            f"{where}: tool_call_id {shown(identity)} is the id of no call before it, expected one of "
            f"{', '.join(list(names)[:5])}. Correct it."
        )
    content = message.get("content")
    if not content:
        problems.append(
            f"{where}: a response without content leaves no trace in the prompt, which then differs from "
            'what was trained. Write {"name": ..., "response": {}}, or what the function returned.'
        )
    answered = [
        item["name"]
        if isinstance(item, dict) and {"name", "response"} <= set(item)
        else message.get("name")
        for item in (content if isinstance(content, list) else [content])
    ]
    problems += [
        f"{where}: answers {shown(name)}, which was not called, expected one of {', '.join(map(shown, pending))}"
        f"{nearest(name, pending)} Correct the name."
        for name in answered
        if pending and isinstance(name, str) and name.strip() not in pending
    ]
    return message, problems


def read_mobile_actions(row: dict) -> tuple[dict | None, list[str]]:
    """As `read`; the row says whether it is for evaluation."""
    found, problems = read(row)
    side = row.get("metadata")
    if side not in ("train", "eval"):
        problems = [
            *problems,
            f'metadata: found {shown(side)}, expected "train" or "eval". Correct it.',
        ]
    return found and found | {"held_out": side == "eval"}, problems


def json_text(text: str, kind: type, where: str, expected: str) -> tuple[Any, list[str]]:
    """What a JSON text holds, if it is of that kind; else None and what is wrong."""
    try:
        value = strict_json(text)
    except ValueError as error:
        return None, [
            f"{where}: {error}: found {shown(text)}, expected {JSON_KINDS[kind]} as JSON. Correct it."
        ]
    if not isinstance(value, kind):
        return None, [
            f"{where}: found {JSON_KINDS[type(value)]}, {shown(text)}, expected {expected}"
        ]
    return value, []
