"""Conversations and answers as the text that FunctionGemma reads and writes, in any style by name.

In: messages as `apply_chat_template` takes them and tools as JSON schemas. Out: the prompt, with
`<bos>`, so tokenize it with `add_special_tokens=False`.

>>> print(render([{"role": "user", "content": "hi"}], [], add_generation_prompt=True), end="")
<bos><start_of_turn>user
hi<end_of_turn>
<start_of_turn>model
>>> from fgkit.calls import Call
>>> completion([Call("torch", {})])
'<start_function_call>call:torch{}<end_function_call><start_function_response>'

What the format cannot express without changing its meaning is refused, with all problems in one
error: text that holds a control token (there is no way to escape one, and passing it on would let a
user write turns and calls), calls without a response before the next message, messages after a
response that are not the model's, arguments given as JSON text, a system message that is not the
first. `render` writes every unambiguous name, as the model's template does; `completion`, which is
trained on, writes only names that `calls.parse` reads. The format has no default developer turn:
`conversation` adds one with Google's sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import styles
from .messages import Message

if TYPE_CHECKING:
    from fgkit.calls import Call


def render(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    *,
    add_generation_prompt: bool = False,
    style: str = styles.DEFAULT,
) -> str:
    """Write a conversation as the model reads it.

    Args:
        messages: dicts with "role" (system or developer first, then user, assistant and tool),
            "content" (a string, a list of {"type": "text", "text": ...} parts or None), and for
            calls "tool_calls". A call that ends the conversation is followed by
            <start_function_response>, as in training.
        tools: dicts {"type": "function", "function": {...}} in the order in which the model reads
            them; None or [] for none.
        add_generation_prompt: open the model's turn at the end. After a response it is open
            already; flutter_gemma always opens it.
        style: whose text to write, one of `prompts.STYLES` (docs/prompts.md shows each).
    Raises:
        PromptError: the style is unknown, or messages (and perhaps tools) hold something that the
            format, or the runtime, cannot express.
        ToolError: only tools do.
    """
    return styles.get(style).render(messages, tools, add_generation_prompt)


def completion(calls: Iterable[Call], *, style: str = styles.DEFAULT) -> str:
    """Write the answer that the model is trained to give: calls, then the token at which it stops.

    Args:
        calls: one or more, in the order in which they are to be made.
        style: whose parser will read it. The text is the same in every style, but what that parser
            cannot read is refused.
    Raises:
        PromptError: there are no calls, or a name or argument cannot be written; the message lists
            every problem.
    """
    return styles.get(style).completion(calls)


def answer(calls: Iterable[Call], text: str = "", *, style: str = styles.DEFAULT) -> str:
    """Write what the model is trained to say after a prompt: text, calls, or text before calls.

    Args:
        calls: in the order in which they are to be made; none for a plain answer.
        text: plain text; its outer white space is dropped, as `render` drops it.
        style: whose parser will read it, as for `completion`.
    Raises:
        PromptError: there is neither, or something cannot be written; the message lists every
            problem.
    """
    return styles.get(style).answer(calls, text)
