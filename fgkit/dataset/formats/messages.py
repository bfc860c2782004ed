"""Reads conversations as OpenAI and Hugging Face write them, for `prompts.render`.

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

from fgkit import prompts
from fgkit.chat_types import JsonObject, JsonValue, Message
from fgkit.errors import PromptError
from fgkit.text import nearest, shown
from fgkit.tools import strict_json

from .parsed import RowFields

_ANSWER = ("role", "content", "tool_calls", "weight")
_KEYS = {
    "tool": ("role", "content", "name", "tool_call_id"),
    "assistant": _ANSWER,
    "model": _ANSWER,
}
JSON_TYPE_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def content_text(content: JsonValue) -> str:
    """Return the text of a message's content as `prompts.render` writes it.

    Args:
        content: a string, a list of text parts, or None.
    """
    if isinstance(content, (list, tuple)):
        return "".join(part["text"].strip() for part in content)
    return content or ""


def call_message(calls: Iterable[tuple[str, JsonObject]], text: str = "") -> Message:
    """Return an assistant message with calls.

    Args:
        calls: (name, arguments) of each, in order.
        text: what the model says before the calls; "" for nothing.
    """
    message: Message = {
        "role": "assistant",
        "tool_calls": [
            {"type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments in calls
        ],
    }
    if text:
        message["content"] = text
    return message


def read(row: JsonObject) -> tuple[RowFields | None, list[str]]:
    """Return the fields of a `detection.ParsedRow`, or what is wrong with the row.

    Args:
        row: what its line of the file holds.
    """
    messages = row.get("messages")
    if "messages" not in row:
        return None, []  # the missing key has been reported
    if not isinstance(messages, list):
        return None, [
            f"messages: found {JSON_TYPE_NAMES[type(messages)]}, expected a list "
            'of {"role": ..., "content": ...}. Write one.'
        ]
    reader = _Reader()
    clean = [reader.message(index, message) for index, message in enumerate(messages)]
    problems = reader.problems
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
        "untrained": frozenset(reader.untrained),
        "lenient": True,
    }, []


class _Reader:
    """Reads the messages of one conversation in order and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        # Indices of answers with weight 0.
        self.untrained: set[int] = set()
        # The function that each call id belongs to.
        self.names: dict[str, JsonValue] = {}
        # The functions that the last message with calls has called.
        self.called: list[str] = []

    def message(self, index: int, message: JsonValue) -> JsonValue:
        """Return a message in the form of `prompts.render`; what is no object stays as it is."""
        if not isinstance(message, dict):
            return message
        where = f"messages[{index}]"
        # A null says nothing: Arrow and OpenAI's clients write one for every key a message lacks.
        message = {key: value for key, value in message.items() if value is not None}
        self.check_keys(message, where)
        if isinstance(calls := message.get("tool_calls"), list) and calls:
            calls, problems = _calls(calls, where, self.names)
            self.problems += problems
            self.called = [name for call in calls if isinstance(name := _name_of(call), str)]
            message = message | {"tool_calls": calls}
        elif message.get("role") == "tool":
            message, problems = _response(message, where, self.names, self.called)
            self.problems += problems
        weight = message.get("weight", 1)
        if weight not in (0, 1):
            self.problems.append(
                f"{where}: weight is {shown(weight)}, expected 0 (not trained) or 1. Correct it."
            )
        elif not weight:
            self.untrained.add(index)
        return {
            key: value
            for key, value in message.items()
            if key in ("role", "content", "name") or key == "tool_calls" and value
        }

    def check_keys(self, message: JsonObject, where: str) -> None:
        """Report keys and images that would not reach the model."""
        role = message.get("role")
        known = _KEYS.get(role if isinstance(role, str) else "", ("role", "content"))
        self.problems += [
            f"{where}: has the key {shown(key)}, which would not reach the model, expected only "
            f"{', '.join(known)}{nearest(key, known)} Rename or remove it."
            for key in message
            if key not in known
        ]
        parts = message.get("content")
        if isinstance(parts, list) and any(
            isinstance(part, dict) and part.get("type") == "image" for part in parts
        ):
            self.problems.append(
                f"{where}: holds an image, which FunctionGemma does not see. Describe it in words."
            )


def _name_of(call: JsonValue) -> JsonValue:
    """The name of the function that a call names, or None."""
    function = call.get("function") if isinstance(call, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _calls(
    calls: list[JsonValue], where: str, names: dict[str, JsonValue]
) -> tuple[list[JsonValue], list[str]]:
    """Calls with their arguments as objects; the function of each id is added to `names`."""
    problems: list[str] = []
    clean: list[JsonValue] = []
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
    message: JsonObject, where: str, names: dict[str, JsonValue], called: Sequence[str]
) -> tuple[JsonObject, list[str]]:
    """A tool message with the name of its function, which OpenAI gives by the call's id."""
    identity = message.get("tool_call_id")
    problems: list[str] = []
    if identity is not None and not isinstance(identity, str):
        return message, [
            f"{where}: tool_call_id: found {JSON_TYPE_NAMES[type(identity)]}, expected a text. "
            "Put it in quotes."
        ]
    if identity in names and "name" not in message:
        message = message | {"name": names[identity]}
    elif identity is not None and identity not in names and names:
        problems.append(
            f"{where}: tool_call_id {shown(identity)} is the id of no call before it, expected one "
            f"of {', '.join(list(names)[:5])}. Correct it."
        )
    content = message.get("content")
    if not content:
        problems.append(
            f"{where}: a response without content leaves no trace in the prompt, which then "
            "differs "
            'from what was trained. Write {"name": ..., "response": {}}, or what the function '
            "returned."
        )
    answered = [
        item["name"]
        if isinstance(item, dict) and {"name", "response"} <= set(item)
        else message.get("name")
        for item in (content if isinstance(content, list) else [content])
    ]
    problems += [
        f"{where}: answers {shown(name)}, which was not called, expected one of "
        f"{', '.join(map(shown, called))}{nearest(name, called)} Correct the name."
        for name in answered
        if called and isinstance(name, str) and name.strip() not in called
    ]
    return message, problems


def read_mobile_actions(row: JsonObject) -> tuple[RowFields | None, list[str]]:
    """Return the same as `read`, for a row that says whether it is for evaluation.

    Args:
        row: what its line of the file holds.
    """
    fields, problems = read(row)
    side = row.get("metadata")
    if side not in ("train", "eval"):
        problems = [
            *problems,
            f'metadata: found {shown(side)}, expected "train" or "eval". Correct it.',
        ]
    if fields is not None:
        fields["held_out"] = side == "eval"
    return fields, problems


def json_text(text: str, wanted: type, where: str, expected: str) -> tuple[JsonValue, list[str]]:
    """Return what a JSON text holds if it has the wanted type, else None and what is wrong.

    Args:
        text: JSON.
        wanted: dict or list.
        where: how messages name the text's source.
        expected: what messages say is expected, and the remedy.
    """
    try:
        value = strict_json(text)
    except ValueError as error:
        return None, [
            f"{where}: {error}: found {shown(text)}, expected {JSON_TYPE_NAMES[wanted]} as JSON. "
            "Correct it."
        ]
    if not isinstance(value, wanted):
        return None, [
            f"{where}: found {JSON_TYPE_NAMES[type(value)]}, {shown(text)}, expected {expected}"
        ]
    return value, []
