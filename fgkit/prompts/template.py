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
Runtimes put different texts before one model: `style` says whose text is wanted (docs/prompts.md). `neutralise` is for
apps: it breaks the control tokens of a text that a user typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit.errors import PromptError, ToolError

from . import flutter_gemma, litert_lm
from .declarations import declaration, tool_problems
from .format import (
    CONTROL_TOKENS,
    DEFAULT_SYSTEM_MSG,
    NAME,
    STOP_IDS,
    STOP_TOKENS,
    neutralise,
    text_problems,
    value,
)
from .messages import ROLES, call_problems, conversation_problems, responses_of, text_of

if TYPE_CHECKING:
    from fgkit.calls import Call

__all__ = [
    "CONTROL_TOKENS",
    "DEFAULT_SYSTEM_MSG",
    "ROLES",
    "STOP_IDS",
    "STOP_TOKENS",
    "STYLES",
    "answer",
    "chat_template",
    "completion",
    "conversation",
    "neutralise",
    "render",
]

_Message = Mapping[str, Any]


def conversation(
    user_content: str, system_message: str = DEFAULT_SYSTEM_MSG
) -> list[dict[str, str]]:
    """Give the two messages of a single request.

    Args:
        user_content: what the user says.
        system_message: the developer turn's text; the default is the sentence the model was trained with.
    """
    return [
        {"role": "developer", "content": system_message},
        {"role": "user", "content": user_content},
    ]


def render(
    messages: Sequence[_Message],
    tools: Sequence[Mapping[str, Any]] | None,
    *,
    add_generation_prompt: bool = False,
    style: str = "template",
) -> str:
    """Write a conversation as the model reads it.

    Args:
        messages: dicts with "role" (system or developer first, then user, assistant and tool), "content" (a string, a
            list of {"type": "text", "text": ...} parts or None), and for calls "tool_calls". A call that ends the
            conversation is followed by <start_function_response>, as in training.
        tools: dicts {"type": "function", "function": {...}} in the order the model sees them; None or [] for none.
        add_generation_prompt: open the model's turn at the end. After a response it is open already; flutter_gemma
            opens it always.
        style: whose text to write, one of `STYLES`: "template" is the text of the model's own chat template,
            "flutter_gemma" that of the plugin, "litert_lm" that of LiteRT-LM's conversation interface.
    Raises:
        PromptError: the style is unknown, or messages (and perhaps tools) hold something the format, or the runtime,
            cannot say.
        ToolError: only tools do.
    """
    runtime = _runtime(style)
    tools = [] if tools is None else tools
    in_messages = conversation_problems(
        messages, add_generation_prompt
    ) or runtime.message_problems(messages)
    in_tools = runtime.tool_problems(tools)
    if in_messages or in_tools:
        raise (PromptError if in_messages else ToolError)("\n".join(in_messages + in_tools))
    return runtime.layout(messages, tools, add_generation_prompt)


def completion(calls: Iterable[Call], *, style: str = "template") -> str:
    """Write the answer the model is trained to give: the calls, then the token at which it stops.

    Args:
        calls: one or more, in the order in which they are to be made.
        style: whose parser will read it; the text is the same, but what that parser cannot read is refused.
    Raises:
        PromptError: there are none, or a name or argument cannot be written; the message lists every problem.
    """
    runtime, calls = _runtime(style), list(calls)
    problems = (
        []
        if calls
        else ["calls: is empty, expected at least one call. Train plain answers as assistant text."]
    )
    for index, call in enumerate(calls):
        where = f"calls[{index}]"
        problems += call_problems(call.name, call.arguments, where, NAME) or runtime.call_problems(
            call.name, call.arguments, where
        )
    if problems:
        raise PromptError("\n".join(problems))
    return "".join(_call(call.name, call.arguments) for call in calls) + "<start_function_response>"


def answer(calls: Iterable[Call], text: str = "", *, style: str = "template") -> str:
    """Write what the model is trained to say after a prompt: text, calls or text before calls, then where it stops.

    Args:
        calls: in the order in which they are to be made; none for plain text.
        text: plain text, whose outer white space is dropped as `render` drops it.
        style: whose parser will read it, as in `completion`.
    Raises:
        PromptError: there is neither, or something cannot be written; the message lists every problem.
    """
    calls, text = list(calls), text.strip()
    problems = text_problems(text, "text")
    if not calls and not text:
        problems.append(
            "text: is empty and there are no calls, expected either. Write what the model should say."
        )
    if problems:
        raise PromptError("\n".join(problems))
    return text + (completion(calls, style=style) if calls else "<end_of_turn>")


def chat_template() -> str:
    """Give fgkit's Jinja template, which writes what `render` writes for everything that `render` accepts."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Runtime:
    """How one runtime writes prompts, and what it cannot say beyond what the format cannot."""

    layout: Callable[[Sequence[_Message], Sequence[Mapping[str, Any]], bool], str]
    tool_problems: Callable[[Any], list[str]]
    message_problems: Callable[[Sequence[_Message]], list[str]] = lambda messages: []
    call_problems: Callable[[str, Any, str], list[str]] = lambda name, arguments, where: []


def _turns(
    messages: Sequence[_Message],
    tools: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool,
    *,
    declaration: Callable[[Mapping[str, Any]], str] = declaration,
    strip: Callable[[str], str] = str.strip,
    response: Callable[[Mapping[str, Any]], str] = value,
) -> str:
    """The turns of the model's own chat template; LiteRT-LM hands it parts that it has written its own way."""
    out = ["<bos>"]
    has_developer = ROLES[messages[0]["role"]] == "developer"
    if has_developer or tools:
        text = text_of(messages[0].get("content"), strip) if has_developer else ""
        out += ["<start_of_turn>developer\n", text, *map(declaration, tools), "<end_of_turn>\n"]
    in_model_turn = False
    for message in messages[1:] if has_developer else messages:
        if message["role"] == "tool":
            out += [
                f"<start_function_response>response:{name.strip()}{response(content)}<end_function_response>"
                for name, content in responses_of(message)
            ]
            continue
        if not in_model_turn:
            out.append(f"<start_of_turn>{ROLES[message['role']]}\n")
        out.append(text_of(message.get("content"), strip))
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


_RUNTIMES = {
    "template": _Runtime(_turns, tool_problems),
    "flutter_gemma": _Runtime(
        flutter_gemma.layout,
        flutter_gemma.flutter_tool_problems,
        flutter_gemma.message_problems,
        flutter_gemma.call_problems,
    ),
    "litert_lm": _Runtime(
        partial(
            _turns,
            declaration=litert_lm.declaration,
            strip=litert_lm.strip,
            response=litert_lm.response,
        ),
        litert_lm.litert_tool_problems,
        litert_lm.message_problems,
        litert_lm.call_problems,
    ),
}
STYLES = tuple(_RUNTIMES)


def _runtime(style: str) -> _Runtime:
    if not isinstance(style, str) or style not in _RUNTIMES:
        raise PromptError(
            f"style: is {style!r}, expected one of {', '.join(STYLES)}. Choose one of these."
        )
    return _RUNTIMES[style]


def _call(name: str, arguments: Mapping[str, Any] | None) -> str:
    return f"<start_function_call>call:{name}{value(arguments or {})}<end_function_call>"
