"""Ask a `.litertlm` as an app does: LiteRT-LM writes the prompt and parses the calls.

For example:

    with Runtime("run/functiongemma-flutter.litertlm") as runtime:
        ask(runtime, prompts.conversation("make it red"), tools, max_new_tokens=64)
    # Reply(prompt='<bos><start_of_turn>developer...',
    #       calls=(Call('change_background_color', {'color': 'red'}),), text='')

`prompt` is the text that the runtime gave the model. For a bundle that fgkit made, it is the
prompt of the training, byte for byte.
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

_UNPARSED = re.compile(r"[Ff]ailed to parse tool calls from code block: (.*)")


@dataclass(frozen=True)
class Reply:
    """One answer of a conversation.

    Args:
        prompt: as the runtime wrote it.
        calls: as the runtime parsed them.
        text: the rest of the answer. Calls that LiteRT-LM could not parse are in it, as the model
            wrote them.
    """

    prompt: str
    calls: tuple[Call, ...]
    text: str

    def as_model_text(self) -> str:
        """Write the answer in the model's own format, so that it is scored like any other."""
        try:
            return prompts.answer(self.calls, self.text)
        except PromptError:
            # The format cannot express these calls, so they are wrong in any case.
            return f"{self.calls!r}{self.text}" if self.calls else self.text


def ask(
    runtime: Runtime,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    max_new_tokens: int,
    constrained: bool = False,
) -> Reply:
    """Open a conversation with its history and tools, and send its last message.

    Args:
        runtime: an open `.litertlm`.
        messages: as for `prompts.render`; the last one is from the user or a tool.
        tools: the tools that the conversation declares.
        max_new_tokens: longest answer, in tokens.
        constrained: let the runtime decode nothing but text or calls of these tools, see `grammar`.
    Raises:
        BundleError: the prompt does not fit into the KV cache, or no piece of the vocabulary
            continues the answer as the grammar demands.
    """
    config, response_format = _constraint(tools) if constrained else (None, None)
    prompt = ""
    with quiet_stderr() as said:
        try:
            with runtime._engine.create_conversation(
                messages=list(messages[:-1]),
                tools=_declared_tools(tools),
                automatic_tool_calling=False,
                sampler_config=runtime._sampler,
                max_output_tokens=max_new_tokens,
                constrained_decoding_config=config,
            ) as conversation:
                prompt = conversation.render_message_to_string(messages[-1])
                if config:
                    # LiteRT-LM's Python refuses a response format unless this is set.
                    config.enable = True
                answer = conversation.send_message(
                    messages[-1], response_format=response_format
                ).to_json()
        except RuntimeError as error:
            # The model answered, but its calls do not parse. An app gets this error as well, so it
            # counts as a wrong answer and not as a failure of the runtime.
            if prompt and (unparsed := _UNPARSED.search(said())):
                text = f"<start_function_call>{unparsed[1].strip()}"
                return Reply(runtime._start_token + prompt, (), text)
            raise BundleError(
                f"{runtime.path}: LiteRT-LM's conversation failed ({reason(said(), error)}). "
                "Shorten the tool declarations or convert with a larger kv_cache_max_len"
                + (", or leave constrained decoding off." if constrained else ".")
            ) from error
    return Reply(runtime._start_token + prompt, *_calls_and_text(answer))


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
        trained: the prompt of each row in the training. If the runtime writes another one, the
            first difference is shown.
        max_new_tokens, constrained: as for `ask`.
        progress: show a progress bar.
    Returns:
        the answers in the model's own format, and the number of prompts that were those of the
        training.
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
    different = [
        (reply.prompt, text) for reply, text in zip(replies, trained) if reply.prompt != text
    ]
    if different:
        written, expected = different[0]
        note(
            f"LiteRT-LM wrote {len(different)} of {len(replies)} prompts otherwise than they are "
            "trained. " + styles.first_difference("LiteRT-LM", written, "training", expected)
        )
    return [reply.as_model_text() for reply in replies], len(replies) - len(different)


def _declared_tools(tools: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Tools for a conversation that only declares them: calls are returned instead of executed."""
    # Here and not at the top, because this module has to import without LiteRT-LM.
    import litert_lm

    class DeclaredTool(litert_lm.Tool):
        def __init__(self, description: Mapping[str, Any]):
            self.description = dict(description)

        def get_tool_description(self) -> dict[str, Any]:
            return self.description

        def execute(self, param: Any) -> None:
            raise NotImplementedError

    return [DeclaredTool(tool) for tool in tools]


def _constraint(tools: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """The configuration and the response format that allow only text or calls of these tools."""
    import litert_lm

    # Not enabled yet: a conversation that is created with it enabled asks a grammar of LiteRT-LM's
    # own as well, which refuses every reduced vocabulary. `ask` enables it after that.
    config = litert_lm.ConstrainedDecodingConfig(
        enable=False, provider=litert_lm.LiteRtLmConstraintProviderType.LL_GUIDANCE
    )
    return config, litert_lm.ResponseFormat.regex(grammar.pattern(tools))


def _calls_and_text(answer: Mapping[str, Any]) -> tuple[tuple[Call, ...], str]:
    """The parsed calls and the text of a response of LiteRT-LM."""
    parsed = tuple(
        Call(call["function"]["name"], call["function"].get("arguments") or {})
        for call in answer.get("tool_calls", ())
    )
    content = answer.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return parsed, content.strip()
