"""A conversation and its tools as the text FunctionGemma reads.

In: messages as `apply_chat_template` takes them and tools as JSON schemas. Out: the prompt, <bos> included, so tokenize
it with `add_special_tokens=False`.

>>> print(render(conversation("make it red"), tools=[], add_generation_prompt=True), end="")
<bos><start_of_turn>developer
You are a model that can do function calling with the following functions<end_of_turn>
<start_of_turn>user
make it red<end_of_turn>
<start_of_turn>model
>>> from fgkit.calls import Call
>>> completion([Call("change_color", {"color": "red"})])
'<start_function_call>call:change_color{color:<escape>red<escape>}<end_function_call><start_function_response>'

What the format cannot say without changing its meaning is refused, all problems at once: text that holds a control
token (there is no way to escape one, and passing it on would let a user write turns and calls), calls with no response
before the next message, messages after a response that are not the model's, arguments as JSON text, late system turns.
`render` writes any unambiguous name, as the model's template does; `completion`, which is trained on, only names that
`calls.parse` reads. The format has no default developer turn: `conversation` adds the one with Google's sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .declarations import declaration, tool_problems
from .errors import PromptError, ToolError
from .wire import (
    CONTROL_TOKENS,
    NAME,
    PLAIN_NAME,
    STOP_IDS,
    STOP_TOKENS,
    name_problems,
    shown,
    text_problems,
    value,
    value_problems,
)

if TYPE_CHECKING:
    from .calls import Call

__all__ = ["CONTROL_TOKENS", "DEFAULT_SYSTEM_MSG", "ROLES", "STOP_IDS", "STOP_TOKENS", "STYLES", "answer",
           "chat_template", "completion", "conversation", "render"]

# Google calls this sentence essential: it is what makes the model answer with calls. No full stop, no newline.
DEFAULT_SYSTEM_MSG = "You are a model that can do function calling with the following functions"

# A message's role and the turn it is written in. Only the first turn can be the developer's; a response stands in the
# model's turn that called.
ROLES = {"system": "developer", "developer": "developer", "user": "user", "assistant": "model", "model": "model",
         "tool": "model"}

_Message = Mapping[str, Any]


def conversation(user_content: str, system_message: str = DEFAULT_SYSTEM_MSG) -> list[dict[str, str]]:
    """Give the two messages of a single request.

    Args:
        user_content: what the user says.
        system_message: the developer turn's text; the default is the sentence the model was trained with.
    """
    return [{"role": "developer", "content": system_message}, {"role": "user", "content": user_content}]


def render(messages: Sequence[_Message], tools: Sequence[Mapping[str, Any]] | None, *,
           add_generation_prompt: bool = False, style: str = "template") -> str:
    """Write a conversation as the model reads it.

    Args:
        messages: dicts with "role" (system or developer first, then user, assistant and tool), "content" (a string, a
            list of {"type": "text", "text": ...} parts or None), and for calls "tool_calls". A call that ends the
            conversation is followed by <start_function_response>, as in training.
        tools: dicts {"type": "function", "function": {...}} in the order the model sees them; None or [] for none.
        add_generation_prompt: open the model's turn at the end. After a response it is open already.
        style: which runtime's text to write, one of `STYLES`; "template" is the text of the model's own chat template.
    Raises:
        PromptError: the style is unknown, or messages (and perhaps tools) hold something the format cannot say.
        ToolError: only tools do.
    """
    if style not in STYLES:
        raise PromptError(f"style: is {style!r}, expected one of {', '.join(STYLES)}. Choose one of these.")
    tools = [] if tools is None else tools
    in_messages = _message_problems(messages, add_generation_prompt)
    in_tools = tool_problems(tools)
    if in_messages or in_tools:
        raise (PromptError if in_messages else ToolError)("\n".join(in_messages + in_tools))
    return _LAYOUTS[style](messages, tools, add_generation_prompt)


def completion(calls: Iterable[Call]) -> str:
    """Write the answer the model is trained to give: the calls, then the token at which it stops.

    Args:
        calls: one or more, in the order in which they are to be made.
    Raises:
        PromptError: there are none, or a name or argument cannot be written; the message lists every problem.
    """
    calls = list(calls)
    problems = [] if calls else ["calls: is empty, expected at least one call. Train plain answers as assistant text."]
    for index, call in enumerate(calls):
        problems += _call_problems(call.name, call.arguments, f"calls[{index}]", NAME)
    if problems:
        raise PromptError("\n".join(problems))
    return "".join(_call(call.name, call.arguments) for call in calls) + "<start_function_response>"


def answer(calls: Iterable[Call], text: str = "") -> str:
    """Write what the model is trained to say after a prompt: text, calls or text before calls, then where it stops.

    Args:
        calls: in the order in which they are to be made; none for plain text.
        text: plain text, whose outer white space is dropped as `render` drops it.
    Raises:
        PromptError: there is neither, or something cannot be written; the message lists every problem.
    """
    calls, text = list(calls), text.strip()
    problems = text_problems(text, "text")
    if not calls and not text:
        problems.append("text: is empty and there are no calls, expected either. Write what the model should say.")
    if problems:
        raise PromptError("\n".join(problems))
    return text + (completion(calls) if calls else "<end_of_turn>")


def chat_template() -> str:
    """Give fgkit's Jinja template, which writes what `render` writes for everything that `render` accepts."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def _template_layout(messages: Sequence[_Message], tools: Sequence[Mapping[str, Any]],
                     add_generation_prompt: bool) -> str:
    """The text of the model's own chat template."""
    out = ["<bos>"]
    has_developer = ROLES[messages[0]["role"]] == "developer"
    if has_developer or tools:
        text = _text(messages[0].get("content")) if has_developer else ""
        out += ["<start_of_turn>developer\n", text, *map(declaration, tools), "<end_of_turn>\n"]
    in_model_turn = False
    for message in messages[1:] if has_developer else messages:
        if message["role"] == "tool":
            out += [f"<start_function_response>response:{name.strip()}{value(content)}<end_function_response>"
                    for name, content in _responses(message)]
            continue
        if not in_model_turn:
            out.append(f"<start_of_turn>{ROLES[message['role']]}\n")
        out.append(_text(message.get("content")))
        in_model_turn = bool(message.get("tool_calls"))
        if in_model_turn:
            functions = [call["function"] for call in message["tool_calls"]]
            out += [_call(function["name"], function.get("arguments")) for function in functions]
        else:
            out.append("<end_of_turn>\n")
    if messages[-1].get("tool_calls"):
        out.append("<start_function_response>")
    elif add_generation_prompt and messages[-1]["role"] != "tool":
        out.append("<start_of_turn>model\n")
    return "".join(out)


_LAYOUTS = {"template": _template_layout}
STYLES = tuple(_LAYOUTS)


def _text(content: str | Sequence[_Message] | None, image: str = "<start_of_image>") -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content.strip()
    return "".join(image if part["type"] == "image" else part["text"].strip() for part in content)


def _call(name: str, arguments: Mapping[str, Any] | None) -> str:
    return f"<start_function_call>call:{name}{value(arguments or {})}<end_function_call>"


def _responses(message: _Message) -> list[tuple[Any, Any]]:
    """The (name, response) pairs of a tool message; no content is an answer that says nothing."""
    content = message.get("content")
    if not content:
        return []
    if isinstance(content, str):
        return [(message.get("name"), {"value": content})]
    items = [content] if isinstance(content, Mapping) else content
    return [(item["name"], item["response"]) if "name" in item and "response" in item else (message.get("name"), item)
            for item in items]


def _message_problems(messages: Any, add_generation_prompt: bool) -> list[str]:
    if not isinstance(messages, (list, tuple)) or not messages:
        return [f"messages: is {shown(messages)}, expected a list of one or more {{'role': ..., 'content': ...}}. "
                "`conversation(text)` makes one."]
    problems = []
    last = "nothing"  # nothing, call, response or text: what the message before this one was
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or role not in ROLES:
            found = f"role is {shown(role)}" if isinstance(message, Mapping) else f"is of type {type(message).__name__}"
            problems.append(f"{where}: {found}, expected a dict whose 'role' is one of {', '.join(ROLES)}. "
                            "Give it one of these roles.")
            last = "nothing"
            continue
        where += f" ({role})"
        problems += _order_problems(role, last, index, where)
        calls = message.get("tool_calls")
        if role == "tool":
            problems += _response_problems(message, where)
        else:
            problems += _content_problems(message.get("content"), where, images=ROLES[role] != "developer")
        if calls:
            problems += _calls_problems(calls, role, where)
        last = "call" if calls else "response" if role == "tool" else "text"
    if add_generation_prompt and last == "call":
        problems.append(f"{where}: a generation prompt after a call would open a second model turn. Add the tool's "
                        "response, or leave add_generation_prompt out.")
    return problems


def _order_problems(role: str, last: str, index: int, where: str) -> list[str]:
    problems = []
    if last == "call" and role != "tool":
        problems.append(f"{where}: follows a call that has no response, so the model's turn would never close. Put the "
                        "tool's response in between.")
    if last == "response" and ROLES[role] != "model":
        problems.append(f"{where}: follows a tool response and would be written into the model's turn. Put the "
                        "assistant's answer in between; an empty one will do.")
    if role == "tool" and last not in ("call", "response"):
        problems.append(f"{where}: answers no call. Put the assistant message with its 'tool_calls' before it.")
    if ROLES[role] == "developer" and index > 0:
        problems.append(f"{where}: a {role} message can only be the first. Move its text there.")
    return problems


def _content_problems(content: Any, where: str, *, images: bool) -> list[str]:
    where += ": content"
    if content is None or isinstance(content, str):
        return text_problems(content or "", where)
    if not isinstance(content, (list, tuple)):
        return [f"{where} is of type {type(content).__name__}, expected a string, a list of text parts or None. "
                "Make it a string."]
    problems = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not (kind == "text" and isinstance(part.get("text"), str)) and not (kind == "image" and images):
            problems.append(f"{where}[{index}]: is {shown(part)}, expected {{'type': 'text', 'text': ...}}. "
                            "Write it as text or leave it out.")
    # Parts are joined without a separator, so a control token may hide across two of them.
    return problems or text_problems(_text(content, image="\n"), where)


def _calls_problems(calls: Any, role: str, where: str) -> list[str]:
    if ROLES[role] != "model" or role == "tool" or not isinstance(calls, (list, tuple)):
        return [f"{where}: 'tool_calls' is {shown(calls)}, expected a list, and only in an assistant message. "
                "Move it there or wrap it in a list."]
    problems = []
    for index, call in enumerate(calls):
        place = f"{where}: tool_calls[{index}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            problems.append(f"{place}: has no 'function' mapping. Write it as {{'type': 'function', 'function': "
                            "{'name': ..., 'arguments': {...}}}.")
        else:
            problems += _call_problems(function.get("name"), function.get("arguments"), place, PLAIN_NAME)
    return problems


def _call_problems(name: Any, arguments: Any, where: str, names: re.Pattern[str]) -> list[str]:
    problems = name_problems(name, f"{where}: name", names)
    if isinstance(arguments, str):
        return [*problems, f"{where}: arguments is JSON text, expected a mapping. Pass json.loads(arguments)."]
    if arguments is not None and not isinstance(arguments, Mapping):
        return [*problems, f"{where}: arguments is {shown(arguments)}, expected a mapping. Name the arguments."]
    return problems + value_problems(arguments or {}, f"{where}: arguments", keys=names)


def _response_problems(message: _Message, where: str) -> list[str]:
    content = message.get("content")
    if content is not None and not isinstance(content, (str, Mapping, list, tuple)):
        return [f"{where}: content is of type {type(content).__name__}, expected {{'name': ..., 'response': {{...}}}}. "
                "Wrap it so."]
    items = content if isinstance(content, (list, tuple)) else []
    bad = [index for index, item in enumerate(items)
           if not isinstance(item, Mapping) or not item or (item.get("type") == "text" and "response" not in item)]
    if bad:
        return [f"{where}: content[{index}] is {shown(items[index])}, expected {{'name': ..., 'response': {{...}}}}. "
                "Give text as a plain string with the message's 'name'." for index in bad]
    problems = []
    for name, response in _responses(message):
        found = name.strip() if isinstance(name, str) else name
        if found is None:
            problems.append(f"{where}: a response without a name. Set the message's 'name' to the function's name, or "
                            "write {'name': ..., 'response': {...}}.")
        else:
            problems += name_problems(found, f"{where}: response name", PLAIN_NAME)
        if not isinstance(response, Mapping):
            problems.append(f"{where}: response is {shown(response)}, expected a mapping. Wrap it as {{'value': ...}}.")
        else:
            problems += value_problems(response, f"{where}: response")
    return problems
