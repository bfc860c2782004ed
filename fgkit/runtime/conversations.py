"""A `.litertlm` asked the way an app asks it: LiteRT-LM's conversations write the prompt and read the calls.

>>> with Runtime("run/functiongemma-flutter.litertlm") as runtime:
...     ask(runtime, prompts.conversation("make it red"), tools, max_new_tokens=64)
Reply(prompt='<bos><start_of_turn>developer...', calls=(Call('change_background_color', {'color': 'red'}),), text='')

`prompt` is what the runtime put before the model: for a bundle of ours it is the trained text, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgkit import prompts
from fgkit.calls import Call
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record
from fgkit.errors import BundleError, PromptError
from fgkit.progress import bar, note
from fgkit.prompts import PromptSetup, styles
from fgkit.subprocesses import quiet_stderr

from . import grammar
from .session import reason

if TYPE_CHECKING:
    from .session import Runtime

_UNREAD = re.compile(r"[Ff]ailed to parse tool calls from code block: (.*)")


@dataclass(frozen=True)
class Reply:
    """One answer of a conversation: the prompt as the runtime wrote it, the calls and the text that it read.

    Of an answer whose calls LiteRT-LM could not read, `text` holds them as the model wrote them.
    """

    prompt: str
    calls: tuple[Call, ...]
    text: str

    def as_model_text(self) -> str:
        """The answer as the model wrote it, up to spelling: what `calls.parse` gives these calls for."""
        try:
            return prompts.answer(self.calls, self.text)
        except PromptError:  # nothing the format can say, so certainly no right answer
            return f"{self.calls!r}{self.text}" if self.calls else self.text


def ask(
    runtime: Runtime,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    max_new_tokens: int,
    constrained: bool = False,
) -> Reply:
    """Hold one conversation: its history and tools are declared, its last message is sent.

    Args:
        runtime: an open `.litertlm`.
        messages: as `prompts.render` takes them; the last one is the user's or a tool's.
        tools: what the conversation declares.
        max_new_tokens: longest answer.
        constrained: have the runtime allow only text or calls of these tools, see `call_grammar`.
    Raises:
        BundleError: the prompt does not fit, or the vocabulary has no piece for what must come next.
    """
    import litert_lm

    class Declared(litert_lm.Tool):
        """A tool that is only shown: calls come back instead of being made."""

        def __init__(self, description: Mapping[str, Any]):
            self.description = dict(description)

        def get_tool_description(self) -> dict[str, Any]:
            return self.description

        def execute(self, param: Any) -> None:
            raise NotImplementedError

    config = allowed = None
    if constrained:  # enabled from the start, LiteRT-LM asks a grammar of its own as well, which refuses every cut vocabulary
        config = litert_lm.ConstrainedDecodingConfig(
            enable=False, provider=litert_lm.LiteRtLmConstraintProviderType.LL_GUIDANCE
        )
        allowed = litert_lm.ResponseFormat.regex(grammar.pattern(tools))
    prompt = ""
    with quiet_stderr() as said:
        try:
            with runtime._engine.create_conversation(
                messages=list(messages[:-1]),
                tools=[Declared(tool) for tool in tools],
                automatic_tool_calling=False,
                sampler_config=runtime._sampler,
                max_output_tokens=max_new_tokens,
                constrained_decoding_config=config,
            ) as conversation:
                prompt = conversation.render_message_to_string(messages[-1])
                if config:
                    config.enable = (
                        True  # LiteRT-LM's Python asks for it where a response has a format
                    )
                answer = conversation.send_message(messages[-1], response_format=allowed).to_json()
        except RuntimeError as error:
            if prompt and (
                unread := _UNREAD.search(said())
            ):  # an app gets this error, too: the answer is wrong
                return Reply(
                    runtime._start_token + prompt, (), f"<start_function_call>{unread[1].strip()}"
                )
            raise BundleError(
                f"{runtime.path}: LiteRT-LM's conversation failed ({reason(said(), error)}). "
                "Shorten the tool declarations or convert with a larger kv_cache_max_len"
                + (", or leave constrained decoding off." if constrained else ".")
            ) from error
    made = tuple(
        Call(call["function"]["name"], call["function"].get("arguments") or {})
        for call in answer.get("tool_calls", ())
    )
    content = answer.get("content") or ""
    text = (
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    )
    return Reply(runtime._start_token + prompt, made, text.strip())


def ask_all(
    runtime: Runtime,
    rows: Sequence[Record],
    setup: PromptSetup,
    trained: Sequence[str],
    *,
    max_new_tokens: int,
    constrained: bool = False,
    progress: bool = True,
) -> tuple[list[str], int]:
    """Ask every row in a conversation of its own.

    Args:
        runtime: an open `.litertlm`.
        rows: the rows.
        setup: the tools and the developer text of conversations without their own.
        trained: the prompt of each row as it is trained; where the runtime's is another, the first difference is shown.
        max_new_tokens, constrained: as for `ask`.
        progress: show a bar.
    Returns:
        the answers as model text, and how many prompts were the trained ones.
    """
    replies = [
        ask(
            runtime,
            *tokenize.conversation_of(row, setup),
            max_new_tokens=max_new_tokens,
            constrained=constrained,
        )
        for row in bar(
            rows, desc=f"{runtime.path.name}, conversations", unit="row", disable=not progress
        )
    ]
    other = [(reply.prompt, text) for reply, text in zip(replies, trained) if reply.prompt != text]
    if other:
        note(
            f"LiteRT-LM wrote {len(other)} of {len(replies)} prompts otherwise than they are trained. "
            + styles.first_difference("LiteRT-LM", other[0][0], "training", other[0][1])
        )
    return [reply.as_model_text() for reply in replies], len(replies) - len(other)
