"""A conversation in the form of `apply_chat_template`: its texts and its problems.

In: messages, dicts with "role", "content" and perhaps "tool_calls". Out: their texts and responses,
or one line for each problem.

>>> conversation_problems([{"role": "tool", "content": "15"}], False)[0]
"messages[0] (tool): answers no call. Put the assistant message with its 'tool_calls' before it."
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fgkit.text import shown

from .format import PLAIN_NAME, name_problems, text_problems, value_problems

# A message's role and the turn that it is written in. Only the first turn can be the developer's; a
# response is written into the model's turn that made the call.
ROLES = {
    "system": "developer",
    "developer": "developer",
    "user": "user",
    "assistant": "model",
    "model": "model",
    "tool": "model",
}

Message = Mapping[str, Any]


def text_of(
    content: str | Sequence[Message] | None,
    strip: Callable[[str], str] = str.strip,
    image: str = "<start_of_image>",
) -> str:
    """Give the text of a message's content: parts trimmed one by one, joined without a separator.

    Args:
        content: a string, a list of text and image parts, or None.
        strip: trims one text.
        image: what is written for an image.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return strip(content)
    return "".join(image if part["type"] == "image" else strip(part["text"]) for part in content)


def responses_of(message: Message) -> list[tuple[Any, Any]]:
    """Give the (name, response) pairs of a tool message; one without content has none."""
    content = message.get("content")
    if not content:
        return []
    if isinstance(content, str):
        return [(message.get("name"), {"value": content})]
    items = [content] if isinstance(content, Mapping) else content
    return [
        (item["name"], item["response"])
        if "name" in item and "response" in item
        else (message.get("name"), item)
        for item in items
    ]


def conversation_problems(messages: Any, add_generation_prompt: bool) -> list[str]:
    """List everything in a conversation that the format cannot express, one line a problem.

    Args:
        messages: any object.
        add_generation_prompt: whether the model's turn is to be opened at the end.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        return [
            f"messages: is {shown(messages)}, expected a list of one or more {{'role': ..., "
            "'content': ...}. `conversation(text)` makes one."
        ]
    problems = []
    # What the message before this one was: nothing, call, response or text.
    last = "nothing"
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or role not in ROLES:
            wrong = (
                f"role is {shown(role)}"
                if isinstance(message, Mapping)
                else f"is of type {type(message).__name__}"
            )
            problems.append(
                f"{where}: {wrong}, expected a dict whose 'role' is one of {', '.join(ROLES)}. "
                "Give it one of these roles."
            )
            last = "nothing"
            continue
        where += f" ({role})"
        problems += _order_problems(role, last, index, where)
        calls = message.get("tool_calls")
        if role == "tool":
            problems += _response_problems(message, where)
        else:
            problems += _content_problems(
                message.get("content"), where, images=ROLES[role] != "developer"
            )
        if calls:
            problems += _calls_problems(calls, role, where)
        last = "call" if calls else "response" if role == "tool" else "text"
    if add_generation_prompt and last == "call":
        problems.append(
            f"{where}: a generation prompt after a call would open a second model turn. Add the "
            "tool's response, or leave add_generation_prompt out."
        )
    return problems


def _order_problems(role: str, last: str, index: int, where: str) -> list[str]:
    problems = []
    if last == "call" and role != "tool":
        problems.append(
            f"{where}: follows a call that has no response, so the model's turn would never close. "
            "Put the tool's response in between."
        )
    if last == "response" and ROLES[role] != "model":
        problems.append(
            f"{where}: follows a tool response and would be written into the model's turn. Put the "
            "assistant's answer in between; an empty one will do."
        )
    if role == "tool" and last not in ("call", "response"):
        problems.append(
            f"{where}: answers no call. Put the assistant message with its 'tool_calls' before it."
        )
    if ROLES[role] == "developer" and index > 0:
        problems.append(f"{where}: a {role} message can only be the first. Move its text there.")
    return problems


def _content_problems(content: Any, where: str, *, images: bool) -> list[str]:
    where += ": content"
    if content is None or isinstance(content, str):
        return text_problems(content or "", where)
    if not isinstance(content, (list, tuple)):
        return [
            f"{where} is of type {type(content).__name__}, expected a string, a list of text parts "
            "or None. Make it a string."
        ]
    problems = []
    for index, part in enumerate(content):
        part_type = part.get("type") if isinstance(part, Mapping) else None
        if not (part_type == "text" and isinstance(part.get("text"), str)) and not (
            part_type == "image" and images
        ):
            problems.append(
                f"{where}[{index}]: is {shown(part)}, expected {{'type': 'text', 'text': ...}}. "
                "Write it as text or leave it out."
            )
    # Parts are joined without a separator, so a control token may hide across two of them.
    return problems or text_problems(text_of(content, image="\n"), where)


def _calls_problems(calls: Any, role: str, where: str) -> list[str]:
    if ROLES[role] != "model" or role == "tool" or not isinstance(calls, (list, tuple)):
        return [
            f"{where}: 'tool_calls' is {shown(calls)}, expected a list, and only in an assistant "
            "message. Move it there or wrap it in a list."
        ]
    problems = []
    for index, call in enumerate(calls):
        path = f"{where}: tool_calls[{index}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            problems.append(
                f"{path}: has no 'function' mapping. Write it as {{'type': 'function', "
                "'function': {'name': ..., 'arguments': {...}}}."
            )
        else:
            problems += call_problems(
                function.get("name"), function.get("arguments"), path, PLAIN_NAME
            )
    return problems


def call_problems(name: Any, arguments: Any, where: str, names: re.Pattern[str]) -> list[str]:
    """List what keeps one call from being written.

    Args:
        name, arguments: the call.
        where: how messages refer to it.
        names: the rule for names and keys, `NAME` or `PLAIN_NAME`.
    """
    problems = name_problems(name, f"{where}: name", names)
    if isinstance(arguments, str):
        return [
            *problems,
            f"{where}: arguments is JSON text, expected a mapping. Pass json.loads(arguments).",
        ]
    if arguments is not None and not isinstance(arguments, Mapping):
        return [
            *problems,
            f"{where}: arguments is {shown(arguments)}, expected a mapping. Name the arguments.",
        ]
    return problems + value_problems(arguments or {}, f"{where}: arguments", keys=names)


def _response_problems(message: Message, where: str) -> list[str]:
    content = message.get("content")
    if content is not None and not isinstance(content, (str, Mapping, list, tuple)):
        return [
            f"{where}: content is of type {type(content).__name__}, expected {{'name': ..., "
            "'response': {...}}. Wrap it so."
        ]
    items = content if isinstance(content, (list, tuple)) else []
    bad = [
        index
        for index, item in enumerate(items)
        if not isinstance(item, Mapping)
        or not item
        or (item.get("type") == "text" and "response" not in item)
    ]
    if bad:
        return [
            f"{where}: content[{index}] is {shown(items[index])}, expected {{'name': ..., "
            "'response': {...}}. Give text as a plain string with the message's 'name'."
            for index in bad
        ]
    problems = []
    for name, response in responses_of(message):
        name = name.strip() if isinstance(name, str) else name
        if name is None:
            problems.append(
                f"{where}: a response without a name. Set the message's 'name' to the function's "
                "name, or write {'name': ..., 'response': {...}}."
            )
        else:
            problems += name_problems(name, f"{where}: response name", PLAIN_NAME)
        if not isinstance(response, Mapping):
            problems.append(
                f"{where}: response is {shown(response)}, expected a mapping. Wrap it as "
                f"{{'value': ...}}."
            )
        else:
            problems += value_problems(response, f"{where}: response")
    return problems
