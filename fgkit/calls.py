"""Generated text as typed calls: the strict inverse of `prompts.completion`.

In: what the model generated after `<start_of_turn>model\\n`, with its control tokens. Out: the
calls; none for a plain answer.

>>> parse("<start_function_call>call:alarm{hour:7,label:<escape>gym<escape>}<end_function_call>")
[Call(name='alarm', arguments={'hour': 7, 'label': 'gym'})]

Strict means: no spaces, no bare words, no duplicate keys, no text between or after calls. An answer
that passes can be read by every runtime. An escaped value is always a string; converting "42" to 42
is left to `fgkit.tools.coercion`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from fgkit.errors import CallSyntaxError
from fgkit.prompts.format import (
    CONTROL,
    ESCAPE,
    MAX_DEPTH,
    NAME,
    STOP_TOKENS,
    SURROGATE,
)

_START, _END = "<start_function_call>", "<end_function_call>"
_STOP = re.compile("|".join(map(re.escape, STOP_TOKENS)))
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BARE = re.compile(r"[^,{}\[\]<]*")
_WORDS = {"true": True, "false": False, "None": None, "null": None}


@dataclass(frozen=True)
class Call:
    """One function call.

    Args:
        name: the function's name.
        arguments: its arguments by name: str, int, float, bool, None, list or dict.
    """

    name: str
    arguments: dict[str, Any]


def parse(text: str, *, end_tag_cut: bool = False) -> list[Call]:
    """Read the calls in generated text.

    Args:
        text: the model's answer, which is read up to the first stop token. Plain text may come
            before the first call.
        end_tag_cut: accept a last call without <end_function_call>, for runtimes that stop at this
            token and cut it off; left out, it is refused.
    Raises:
        CallSyntaxError: the text is not a sequence of calls; the message says what was expected,
            what was found and at which character.
    """
    stop = _STOP.search(text)
    return _Parser(text[: stop.start()] if stop else text).calls(end_tag_cut)


class _Parser:
    """A recursive descent parser: reads `text` from left to right; `at` is the next character.

    The format cannot escape anything, so a string ends at the next control token, whatever else it
    contains, and no look-ahead is needed anywhere.
    """

    def __init__(self, text: str):
        self.text = text
        self.at = 0

    def calls(self, end_tag_cut: bool) -> list[Call]:
        first = CONTROL.search(self.text)
        if first is None:
            return []
        self.at = first.start()
        calls = []
        while self.at < len(self.text):
            self.expect(_START)
            self.expect("call:")
            name = self.name("a function name")
            calls.append(Call(name, self.dict(0)))
            if not (end_tag_cut and self.at == len(self.text)):
                self.expect(_END)
        return calls

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CallSyntaxError(
                f"expected at most {MAX_DEPTH} nested levels, found more", self.at
            )
        if self.text.startswith("{", self.at):
            return self.dict(depth)
        if self.text.startswith("[", self.at):
            return self.list(depth)
        if self.accept(ESCAPE):
            return self.string()
        return self.bare()

    def dict(self, depth: int) -> dict[str, Any]:
        self.expect("{")
        items: dict[str, Any] = {}
        if self.accept("}"):
            return items
        while True:
            start = self.at
            key = self.name("an argument name")
            if key in items:
                raise CallSyntaxError(f"expected each name once, found {key!r} again", start)
            self.expect(":")
            items[key] = self.value(depth + 1)
            if self.accept("}"):
                return items
            self.expect(",", "',' or '}'")

    def list(self, depth: int) -> list[Any]:
        self.expect("[")
        items: list[Any] = []
        if self.accept("]"):
            return items
        while True:
            items.append(self.value(depth + 1))
            if self.accept("]"):
                return items
            self.expect(",", "',' or ']'")

    def string(self) -> str:
        token = CONTROL.search(self.text, self.at)
        if token is None:
            self.fail(f"{ESCAPE} at the end of the string")
        if token.group() != ESCAPE:
            self.at = token.start()
            self.fail(f"{ESCAPE} before any other control token")
        half = SURROGATE.search(self.text, self.at, token.start())
        if half is not None:
            self.at = half.start()
            self.fail("Unicode text without halves of surrogate pairs")
        text, self.at = self.text[self.at : token.start()], token.end()
        return text

    def bare(self) -> bool | int | float | None:
        bare = _BARE.match(self.text, self.at)
        word = bare.group() if bare else ""
        if word in _WORDS:
            self.at += len(word)
            return _WORDS[word]
        number = _NUMBER.fullmatch(word)
        if number is None:
            self.fail(
                "a value: a number, true, false, None, {...}, [...] or a string between two "
                "<escape>"
            )
        try:
            parsed = float(word) if any(number.groups()) else int(word)
        except ValueError:
            # Python refuses to read integers of more than some thousand digits.
            self.fail("a shorter integer")
        if isinstance(parsed, float) and math.isinf(parsed):
            self.fail("a number that a float can hold")
        self.at += len(word)
        return parsed

    def name(self, what: str) -> str:
        match = NAME.match(self.text, self.at)
        if match is None:
            self.fail(what)
        self.at = match.end()
        return match.group()

    def accept(self, literal: str) -> bool:
        present = self.text.startswith(literal, self.at)
        if present:
            self.at += len(literal)
        return present

    def expect(self, literal: str, what: str = "") -> None:
        if not self.accept(literal):
            self.fail(what or repr(literal))

    def fail(self, expected: str) -> NoReturn:
        rest = self.text[self.at : self.at + 30]
        raise CallSyntaxError(
            f"expected {expected}, found {repr(rest) if rest else 'the end of the text'}", self.at
        )
