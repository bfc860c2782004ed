"""Checked rows of a data file: one prompt each, and the answer expected.

`reading.read_records` makes them from a file of any format.

Example:
    read_records("data/training_data.jsonl", tools)[0]
    # Record(line=1, messages=({'role': 'user', 'content': 'make it red'},),
    #        calls=(Call(name='set_color', arguments={'color': 'red'}),), text='', tools=None,
    #        group='')
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from fgkit.calls import Call
from fgkit.chat_types import Message, ToolDeclaration
from fgkit.text import short

from .formats.messages import call_message, content_text

KINDS = ("call", "parallel", "no_call")
KIND_LABELS = {"call": "one call", "parallel": "several calls", "no_call": "no call"}
# Takes the place of a tool's name for rows whose answer is plain text.
NO_CALL = "(no call)"


@dataclass(frozen=True)
class Record:
    """One prompt and the answer expected: a conversation up to the model's turn, then its answer.

    Args:
        line: 1-based line in its file. A conversation gives one record for each answer in it.
        messages: the prompt in the form of `prompts.render`. There is a developer message only if
            the row has its own, and the last message is a user's or a tool's.
        calls: the expected calls in order; none for plain text.
        text: the expected plain text; text before calls is trained, too.
        tools: the row's own declarations; None for the run's.
        group: the name of its paraphrase group, which stays on one side of a split; "" to derive
            one.
    """

    line: int
    messages: tuple[Message, ...]
    calls: tuple[Call, ...]
    text: str = ""
    tools: tuple[ToolDeclaration, ...] | None = None
    group: str = ""

    @property
    def user_content(self) -> str:
        """What the user said last, as error messages and reports show it."""
        for message in reversed(self.messages):
            if message["role"] == "user":
                return content_text(message.get("content"))
        return ""

    @property
    def kind(self) -> str:
        """One of KINDS: "call" (one call), "parallel" (several) or "no_call" (plain text)."""
        return KINDS[min(len(self.calls), 2) - 1]

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The prompt's messages and the answer's."""
        answer: Message = {"role": "assistant", "content": self.text}
        if self.calls:
            answer = call_message(((call.name, call.arguments) for call in self.calls), self.text)
        return *self.messages, answer


def request(line: int, text: str, calls: Iterable[Call] = ()) -> Record:
    """Return the record of a single request.

    Args:
        line: its line in the file.
        text: what the user says.
        calls: the calls expected; left out, none.
    """
    return Record(line, ({"role": "user", "content": text},), tuple(calls))


def canonical(calls: Iterable[Call]) -> str:
    """Return a text that is the same for equal calls.

    The order of keys does not count, types do: 1, 1.0 and true differ.

    Args:
        calls: in order.
    """
    return json.dumps([[call.name, call.arguments] for call in calls], sort_keys=True)


def same_text(text: str) -> str:
    """Return a text that is the same for requests that differ only in case and spacing."""
    return " ".join(text.casefold().split())


def asked(record: Record) -> str:
    """Return a text that is the same for equal prompts."""
    if len(record.messages) == 1 and isinstance(content := record.messages[0].get("content"), str):
        return content
    return json.dumps(record.messages, ensure_ascii=False)


def prompt_key(record: Record) -> bytes:
    """Return a digest that is the same for prompts that differ only in case and spacing.

    A row's own tools count, the run's do not.

    Args:
        record: the row.
    """
    return digest(same_text(asked(record)) + json.dumps(record.tools))


def digest(text: str) -> bytes:
    """Return 16 bytes that identify a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def show(calls: Iterable[Call]) -> str:
    """Return calls as messages show them: `show_alert({"title": "Hi"})`."""
    texts = (
        f"{call.name}({short(json.dumps(call.arguments, ensure_ascii=False))})" for call in calls
    )
    return " ".join(texts) or "no call"
