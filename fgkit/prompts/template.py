"""The turns of FunctionGemma's own chat template, written in Python.

In: messages as `apply_chat_template` takes them and tools as JSON schemas, both already checked.
Out: the prompt, `<bos>` included.

Example:
    print(layout(conversation("make it red"), [], True))
    <bos><start_of_turn>developer
    You are a model that can do function calling with the following functions<end_of_turn>
    <start_of_turn>user
    make it red<end_of_turn>
    <start_of_turn>model

`chat_template.jinja` beside this file writes the same text; it goes into the model folders and
bundles that fgkit makes. Source: the chat template of google/functiongemma-270m-it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .declarations import declaration
from .format import DEFAULT_SYSTEM_MSG, value
from .messages import ROLES, Message, responses_of, text_of


def conversation(
    user_content: str, system_message: str = DEFAULT_SYSTEM_MSG
) -> list[dict[str, str]]:
    """Give the two messages of a single request.

    Args:
        user_content: what the user says.
        system_message: the developer turn's text; the default is the sentence that the model was
            trained with.
    """
    return [
        {"role": "developer", "content": system_message},
        {"role": "user", "content": user_content},
    ]


def chat_template() -> str:
    """Give fgkit's Jinja template, which writes the same text as `render` in style "template"."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def layout(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool,
    *,
    declaration: Callable[[Mapping[str, Any]], str] = declaration,
    strip: Callable[[str], str] = str.strip,
    response: Callable[[Mapping[str, Any]], str] = value,
) -> str:
    """Write a checked conversation in the turns of the model's chat template.

    Args:
        messages: the conversation, at least one message.
        tools: the tools to declare, in the order in which the model reads them.
        add_generation_prompt: whether to open the model's turn at the end.
        declaration: writes one tool. A runtime that uses the model's template but writes tools,
            trims texts or writes responses its own way replaces these three.
        strip: trims one text.
        response: writes what a tool answered.
    """
    out = ["<bos>"]
    has_developer = ROLES[messages[0]["role"]] == "developer"
    if has_developer or tools:
        text = text_of(messages[0].get("content"), strip) if has_developer else ""
        out += ["<start_of_turn>developer\n", text, *map(declaration, tools), "<end_of_turn>\n"]
    # After a call the model's turn stays open: the response and the answer belong to it as well.
    in_model_turn = False
    for message in messages[1:] if has_developer else messages:
        if message["role"] == "tool":
            out += [
                f"<start_function_response>response:{name.strip()}{response(answer)}"
                "<end_function_response>"
                for name, answer in responses_of(message)
            ]
            continue
        if not in_model_turn:
            out.append(f"<start_of_turn>{ROLES[message['role']]}\n")
        out.append(text_of(message.get("content"), strip))
        in_model_turn = bool(message.get("tool_calls"))
        if in_model_turn:
            functions = [call["function"] for call in message["tool_calls"]]
            out += [call_text(item["name"], item.get("arguments")) for item in functions]
        else:
            out.append("<end_of_turn>\n")
    if messages[-1].get("tool_calls"):
        out.append("<start_function_response>")
    elif add_generation_prompt and messages[-1]["role"] != "tool":
        out.append("<start_of_turn>model\n")
    return "".join(out)


def call_text(name: str, arguments: Mapping[str, Any] | None) -> str:
    """Write one call; every style writes calls alike, because the model itself generates them."""
    return f"<start_function_call>call:{name}{value(arguments or {})}<end_function_call>"
