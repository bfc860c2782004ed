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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from . import prompts
from .arguments import short
from .errors import PromptError
from .tools import nearest, strict_json
from .wire import shown, text_problems

# The keys by which a row's format is told, then those it may have besides.
_KEYS = {"guide": (("user_content", "tool_name", "tool_arguments"), ("answer", "group")),
         "messages": (("messages",), ("tools", "group")),
         "mobile-actions": (("messages", "metadata"), ("tools", "group")),
         "xlam": (("query", "answers", "tools"), ("id", "group")),
         "csv": (("prompt", "tool", "arguments"), ("answer", "group"))}
FORMATS = ("auto", *_KEYS)
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number",
          type(None): "null"}


@dataclass(frozen=True)
class Row:
    """A row of any format.

    Args:
        messages: the whole conversation, which `prompts.render` accepts.
        tools: the row's own tools as written; None where it has none.
        group: name of its paraphrase group, or "".
        held_out: whether the row says that it is for evaluation only.
        lenient: whether nulls may have been filled in by Arrow, see `arguments.without_filled`.
    """

    messages: list[dict]
    tools: Any = None
    group: str = ""
    held_out: bool = False
    lenient: bool = False


def detect(row: dict, before: str = "guide") -> str:
    """The format whose keys a row has most of; in doubt that of the row before."""
    found = {name: [key in row for key in keys] for name, (keys, _) in _KEYS.items()}
    return max(found, key=lambda name: (sum(found[name]) / len(found[name]), sum(found[name]), name == before))


def read_row(row: Any, kind: str) -> tuple[Row | None, list[str]]:
    """The conversation of one row and what is wrong with it; both where the rest of it can still be checked.

    Args:
        row: what its line of the file holds.
        kind: one of FORMATS but "auto".
    """
    needed, optional = _KEYS[kind]
    if not isinstance(row, dict):
        return None, [f"found {_KINDS[type(row)]}, {shown(json.dumps(row))}, expected a JSON object with the keys "
                      f"{', '.join(needed)}. Write one object a line, without a list around them."]
    if "answer" in optional and "answer" in row and not (kind == "csv" and not row["answer"]):
        needed, optional = (needed[0], "answer"), ("group", *(needed[1:] if kind == "csv" else ()))
    missing = [key for key in needed if key not in row]
    problems = [f"has no {key!r}, expected the keys {', '.join(needed)}. Add it." for key in missing]
    problems += [f"has the key {shown(key)}, expected only {', '.join(needed)}{nearest(key, missing)} Rename or remove it."
                 for key in row if key not in needed + optional]
    group = row.get("group") or ""
    if not isinstance(group, str):
        problems.append(f"group: found {_KINDS[type(group)]}, expected a text. Put it in quotes.")
    found, more = _READERS[kind](row)
    problems += more
    return (None if found is None else Row(**found, group=str(group))), problems


def content_text(content: Any) -> str:
    """Text of a message's content as `prompts.render` writes it: a string, parts of text, or nothing."""
    if isinstance(content, (list, tuple)):
        return "".join(part["text"].strip() for part in content)
    return content or ""


def call_message(calls: Iterable[tuple[str, dict]], text: str = "") -> dict:
    """An assistant message that makes calls, given as (name, arguments), and perhaps says something first."""
    message = {"role": "assistant", "tool_calls": [
        {"type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in calls]}
    return message | {"content": text} if text else message


def _guide(row: dict) -> tuple[dict | None, list[str]]:
    return _single(row, "user_content", "tool_name", "tool_arguments")


def _csv(row: dict) -> tuple[dict | None, list[str]]:
    if row.get("answer") and row.get("tool"):
        return None, ["has both a tool and an answer, expected one of them. Empty one cell; a call after a text needs "
                      "the format messages."]
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
            problems.append(f"{key}: found {_KINDS[type(row[key])]}, expected a text. {remedy}")
    for key in {prompt, "answer"} & set(keys):
        if isinstance(text := row.get(key), str):
            problems += text_problems(text, key)
            if not text.strip():
                what = "a request" if key == prompt else "what the model should say"
                problems.append(f"{key}: found an empty text, expected {what}. Fill it in or delete the line.")
    value = None
    if arguments in keys and isinstance(row.get(arguments), str):
        value, more = json_text(row[arguments], dict, arguments, 'an object such as "{}". Name each argument.')
        problems += more
    if any(not isinstance(row.get(key), str) for key in keys[:2]):
        return None, problems
    user = {"role": "user", "content": row[prompt]}
    answer = {"role": "assistant", "content": row["answer"]} if "answer" in keys else call_message([(row[tool], value)])
    return {"messages": [user, answer]}, problems


def _messages(row: dict) -> tuple[dict | None, list[str]]:
    messages = row.get("messages")
    if not isinstance(messages, list):
        return None, [] if "messages" not in row else [f"messages: found {_KINDS[type(messages)]}, expected a list of "
                                                       "{\"role\": ..., \"content\": ...}. Write one."]
    problems: list[str] = []
    # A null in a message says nothing: Arrow and OpenAI's clients write one for every key a message lacks.
    messages = [{key: value for key, value in message.items() if value is not None} if isinstance(message, dict)
                else message for message in messages]
    names: dict[str, str] = {}
    pending: list[str] = []
    clean = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            clean.append(message)
            continue
        parts = message.get("content")
        if isinstance(parts, list) and any(isinstance(part, dict) and part.get("type") == "image" for part in parts):
            problems.append(f"{where}: holds an image, which FunctionGemma does not see. Describe it in words.")
        if isinstance(calls := message.get("tool_calls"), list) and calls:
            calls, more = _calls(calls, where, names)
            problems += more
            pending = [call["function"].get("name") for call in calls
                       if isinstance(call, dict) and isinstance(call.get("function"), dict)]
            message = message | {"tool_calls": calls}
        elif message.get("role") == "tool":
            message, more = _response(message, where, names, pending)
            problems += more
        kept = ("role", "content", "tool_calls", "name") if message.get("role") == "tool" else ("role", "content", "tool_calls")
        clean.append({key: value for key, value in message.items() if key in kept and not (key == "tool_calls" and not value)})
    if not problems:
        try:
            prompts.render(clean, None)
        except PromptError as error:
            problems = str(error).splitlines()
    if problems:
        return None, problems
    return {"messages": clean, "tools": row.get("tools"), "lenient": True}, []


def _calls(calls: list, where: str, names: dict[str, str]) -> tuple[list, list[str]]:
    """Calls with their arguments as objects; `names` learns which id belongs to which function."""
    problems, clean = [], []
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            clean.append(call)
            problems.append(f"{where}.tool_calls[{index}]: has no 'function' object, expected "
                            '{"function": {"name": ..., "arguments": {...}}}. Write it so.')
            continue
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            arguments, more = json_text(arguments, dict, f"{where}.tool_calls[{index}].function.arguments",
                                        'an object such as "{}". Name each argument.')
            problems += more
        if isinstance(call.get("id"), str):
            names[call["id"]] = function.get("name")
        clean.append({"type": "function", "function": {"name": function.get("name"),
                                                       "arguments": {} if arguments is None else arguments}})
    return clean, problems


def _response(message: dict, where: str, names: dict[str, str], pending: Sequence[str]) -> tuple[dict, list[str]]:
    """A tool message with the name of the function it answers, which OpenAI gives by the call's id."""
    identity, problems = message.get("tool_call_id"), []
    if identity in names and "name" not in message:
        message = message | {"name": names[identity]}
    elif identity is not None and identity not in names and names:
        problems.append(f"{where}: tool_call_id {shown(identity)} is the id of no call before it, expected one of "
                        f"{', '.join(list(names)[:5])}. Correct it.")
    content = message.get("content")
    if not content:
        problems.append(f"{where}: a response without content leaves no trace in the prompt, which then differs from what "
                        'was trained. Write {"name": ..., "response": {}}, or what the function returned.')
    answered = [item["name"] if isinstance(item, dict) and {"name", "response"} <= set(item) else message.get("name")
                for item in (content if isinstance(content, list) else [content])]
    problems += [f"{where}: answers {shown(name)}, which was not called, expected one of {', '.join(map(str, pending))}"
                 f"{nearest(name, pending)} Correct the name."
                 for name in answered if pending and isinstance(name, str) and name.strip() not in pending]
    return message, problems


def _mobile_actions(row: dict) -> tuple[dict | None, list[str]]:
    found, problems = _messages(row)
    side = row.get("metadata")
    if side not in ("train", "eval"):
        problems = [*problems, f"metadata: found {shown(side)}, expected \"train\" or \"eval\". Correct it."]
    return found and found | {"held_out": side == "eval"}, problems


def _xlam(row: dict) -> tuple[dict | None, list[str]]:
    from .xlam import tools_of

    problems = []
    query, answers, tools = row.get("query"), row.get("answers"), row.get("tools")
    if "query" in row:
        problems += text_problems(query, "query")
        if isinstance(query, str) and not query.strip():
            problems.append("query: found an empty text, expected a request. Fill it in or delete the line.")
    if isinstance(answers, str):
        answers, more = json_text(answers, list, "answers", "a list of calls. Write one.")
        problems += more
    if isinstance(tools, str):
        tools, more = json_text(tools, list, "tools", "a list of tools. Write one.")
        problems += more
    tools, more = tools_of(tools) if isinstance(tools, list) else (None, [])
    problems += more
    calls = []
    for index, call in enumerate(answers if isinstance(answers, list) else []):
        name, arguments = (call.get("name"), call.get("arguments")) if isinstance(call, dict) else (None, None)
        if isinstance(name, str) and isinstance(arguments, dict):
            calls.append((name, arguments))
        else:
            problems.append(f"answers[{index}]: found {shown(json.dumps(call))}, expected "
                            '{"name": ..., "arguments": {...}}. Write it so.')
    if answers == []:
        problems.append("answers: found no call, and the format has no place for a text. Delete the row, or write it in "
                        "the format messages with what the model should say.")
    if problems or any(key not in row for key in ("query", "answers", "tools")):
        return None, problems
    return {"messages": [{"role": "user", "content": query}, call_message(calls)], "tools": tools}, []


def json_text(text: str, kind: type, where: str, expected: str) -> tuple[Any, list[str]]:
    """What a JSON text holds, if it is of that kind; else None and what is wrong."""
    try:
        value = strict_json(text)
    except ValueError as error:
        return None, [f"{where}: {error}: found {shown(text)}, expected {_KINDS[kind]} as JSON. Correct it."]
    if not isinstance(value, kind):
        return None, [f"{where}: found {_KINDS[type(value)]}, {shown(text)}, expected {expected}"]
    return value, []


_READERS: dict[str, Callable[[dict], tuple[dict | None, list[str]]]] = {
    "guide": _guide, "messages": _messages, "mobile-actions": _mobile_actions, "xlam": _xlam, "csv": _csv}
