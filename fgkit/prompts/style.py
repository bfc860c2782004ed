"""What a prompt style is: how one runtime writes prompts, and everything that depends on it.

In: messages, tools and calls. Out: the text of that runtime, or every problem in one error.

The rest of fgkit asks a style for its attributes and never compares its name. The styles that fgkit
knows are listed in `styles.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgkit.errors import PromptError, ToolError

from .format import NAME, text_problems
from .messages import Message, call_problems, conversation_problems
from .template import call_text

if TYPE_CHECKING:
    from fgkit.calls import Call

Tools = Sequence[Mapping[str, Any]]


def _no_message_problems(messages: Sequence[Message]) -> list[str]:
    return []


def _no_call_problems(name: str, arguments: Any, where: str) -> list[str]:
    return []


@dataclass(frozen=True)
class PromptStyle:
    """How one runtime writes prompts, what it cannot write, and what else depends on the choice.

    Args:
        name: what users call it, in settings and in the records beside models and bundles.
        summary: whose text it is, in one line; help texts and docs/prompts.md show it.
        layout: writes checked messages and tools; the flag asks for an open model turn at the end.
        tool_problems: lists what keeps tools from being written, one line a problem.
        message_problems: lists what this runtime cannot send of messages that the format allows.
        call_problems: lists what this runtime's parser cannot read in a call (name, arguments and
            how messages refer to the call).
        is_model_template: whether it is the text of the model's own chat template, with which every
            training row is then compared.
        has_conversation: whether LiteRT-LM's conversations can write this text, so that a
            `.litertlm` can be used without sending it whole prompts.
        template_writes_tools: whether the chat template in a `.litertlm` writes the declarations;
            otherwise LiteRT-LM writes them itself.
        runtime: the app runtime that always writes this text; "" where no runtime is bound to it.
        app_language: the language of generated app code ("dart" or "kotlin") whose runtime writes
            this text; "" for none.
        profile: the bundle profile that only suits this style; "" for none.
        fixed_system_message: the developer text that the runtime always sends; "" where the app
            chooses it.
    """

    name: str
    summary: str
    layout: Callable[[Sequence[Message], Tools, bool], str]
    tool_problems: Callable[[Any], list[str]]
    message_problems: Callable[[Sequence[Message]], list[str]] = _no_message_problems
    call_problems: Callable[[str, Any, str], list[str]] = _no_call_problems
    is_model_template: bool = False
    has_conversation: bool = False
    template_writes_tools: bool = True
    runtime: str = ""
    app_language: str = ""
    profile: str = ""
    fixed_system_message: str = ""

    def render(
        self, messages: Sequence[Message], tools: Tools | None, add_generation_prompt: bool = False
    ) -> str:
        """Write a conversation; arguments and errors as for `prompts.render`."""
        tools = [] if tools is None else tools
        in_messages = conversation_problems(
            messages, add_generation_prompt
        ) or self.message_problems(messages)
        in_tools = self.tool_problems(tools)
        if in_messages or in_tools:
            raise (PromptError if in_messages else ToolError)("\n".join(in_messages + in_tools))
        return self.layout(messages, tools, add_generation_prompt)

    def completion(self, calls: Iterable[Call]) -> str:
        """Write a trained answer of calls; arguments and errors as for `prompts.completion`."""
        calls, problems = list(calls), []
        if not calls:
            problems.append(
                "calls: is empty, expected at least one call. Train plain answers as assistant "
                "text."
            )
        for index, call in enumerate(calls):
            where = f"calls[{index}]"
            problems += call_problems(call.name, call.arguments, where, NAME) or self.call_problems(
                call.name, call.arguments, where
            )
        if problems:
            raise PromptError("\n".join(problems))
        texts = [call_text(call.name, call.arguments) for call in calls]
        return "".join(texts) + "<start_function_response>"

    def answer(self, calls: Iterable[Call], text: str = "") -> str:
        """Write a trained answer of any kind; arguments and errors as for `prompts.answer`."""
        calls, text = list(calls), text.strip()
        problems = text_problems(text, "text")
        if not calls and not text:
            problems.append(
                "text: is empty and there are no calls, expected either. Write what the model "
                "should say."
            )
        if problems:
            raise PromptError("\n".join(problems))
        return text + (self.completion(calls) if calls else "<end_of_turn>")
