"""A prompt made visible: the text of a style, its tokens, and where another style's text differs.

Example: the difference of two texts, counted in bytes.

>>> print(difference("a{b}", "a\\n{b,c}", "one", "other"))
one -> other: 2 places, 4 -> 7 bytes
  byte 1, after 'a': '' -> '\\n'
  byte 3, after 'a{b': '' -> ',c'
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from fgkit.chat_types import ToolDeclaration
from fgkit.dataset import tokenize
from fgkit.dataset.reading import read_records
from fgkit.dataset.records import Record, request
from fgkit.errors import DataError, FgkitError
from fgkit.prompts import PromptSetup, styles
from fgkit.prompts.format import CONTROL

# Without a tokenizer, differences are counted in control tokens, words and single other characters.
_UNIT = re.compile(f"{CONTROL.pattern}|\\w+|.", re.DOTALL)
_COLOURS = {"<start": "\033[1;36m", "<end": "\033[36m", "<escape>": "\033[33m"}
_OTHER_COLOUR, _PLAIN = "\033[35m", "\033[0m"


class Token(TypedDict):
    """One token of a prompt."""

    id: int
    piece: str


class Difference(TypedDict):
    """One place where two texts differ: offset in the first, the text before, and both versions."""

    byte: int
    after: str
    here: str
    there: str


class OtherPrompt(TypedDict):
    """The same request in another style, and where it differs."""

    style: str
    text: str
    characters: int
    bytes: int
    tokens: NotRequired[int]
    places: list[Difference]


class PromptView(TypedDict):
    """Everything to show of one prompt; `--json` prints it as it is."""

    style: str
    text: str
    characters: int
    bytes: int
    tokens: NotRequired[list[Token]]
    diff: NotRequired[OtherPrompt]


def view(
    record: Record,
    tools: list[ToolDeclaration],
    style: str,
    *,
    other: str = "",
    tokenizer: Any = None,
) -> PromptView:
    """Collect everything to show of one prompt.

    Args:
        record: the request.
        tools: declarations; the row's own take precedence.
        style: name of the prompt style.
        other: name of a second style to compare with; "" for none.
        tokenizer: a base model's tokenizer; None leaves the tokens out.
    Raises:
        ConfigError: there is no such style.
        DataError, ToolError: a style cannot express the request or the tools.
    """
    name, text = _render(record, tools, style)
    result: PromptView = {
        "style": name,
        "text": text,
        "characters": len(text),
        "bytes": len(text.encode()),
    }
    if tokenizer is not None:
        result["tokens"] = tokens(tokenizer, text)
    if other:
        other_name, other_text = _render(record, tools, other)
        compared: OtherPrompt = {
            "style": other_name,
            "text": other_text,
            "characters": len(other_text),
            "bytes": len(other_text.encode()),
            "places": places(text, other_text),
        }
        if tokenizer is not None:
            compared["tokens"] = len(tokens(tokenizer, other_text))
        result["diff"] = compared
    return result


def _render(record: Record, tools: list[ToolDeclaration], style: str) -> tuple[str, str]:
    """Render the request in exactly one style; return the style's name and the text."""
    names = styles.split(style)
    if len(names) > 1:
        raise FgkitError(
            f"style is {style!r}, expected one style: a prompt has one text. Name one, and "
            "--diff another."
        )
    return names[0], tokenize.prompt_texts([record], PromptSetup(tools), names[0])[0]


def tokens(tokenizer: Any, text: str) -> list[Token]:
    """Split a rendered text into the ids and pieces that the model gets."""
    ids = tokenize.encode(tokenizer, text)
    pieces = tokenizer.convert_ids_to_tokens(ids)
    return [{"id": token_id, "piece": piece} for token_id, piece in zip(ids, pieces, strict=True)]


def places(text: str, other: str) -> list[Difference]:
    """Find where two rendered texts differ, in control tokens, words and single characters.

    Args:
        text: the first text; offsets count its UTF-8 bytes.
        other: the second text.
    """
    units, other_units = _UNIT.findall(text), _UNIT.findall(other)
    matcher = difflib.SequenceMatcher(None, units, other_units, autojunk=False)
    differences: list[Difference] = []
    for operation, start, end, other_start, other_end in matcher.get_opcodes():
        if operation == "equal":
            continue
        before = "".join(units[:start])
        differences.append(
            {
                "byte": len(before.encode()),
                "after": before[-30:],
                "here": "".join(units[start:end]),
                "there": "".join(other_units[other_start:other_end]),
            }
        )
    return differences


def difference(
    text: str, other: str, name: str, other_name: str, *, counts: tuple[int, int] | None = None
) -> str:
    """Write the places of `places`, one a line, below a line with their number and both lengths.

    Args:
        text: the first text.
        other: the second text.
        name: what to call the first text.
        other_name: what to call the second text.
        counts: number of tokens of each text; None leaves them out.
    """
    differences = places(text, other)
    number = len(differences)
    summary = f"{number} place{'s' * (number != 1)}" if number else "the same text"
    lengths = f"{len(text.encode()):,} -> {len(other.encode()):,} bytes"
    if counts:
        lengths += f", {counts[0]:,} -> {counts[1]:,} tokens"
    lines = [f"{name} -> {other_name}: {summary}, {lengths}"]
    for item in differences:
        lines.append(
            f"  byte {item['byte']:,}, after {item['after']!r}: "
            f"{item['here']!r} -> {item['there']!r}"
        )
    return "\n".join(lines)


def show(prompt: PromptView, *, colour: bool) -> str:
    """Format a view for the terminal.

    Args:
        prompt: what `view` returned.
        colour: whether control tokens are coloured.
    """
    text = prompt["text"]
    parts = [
        CONTROL.sub(lambda token: _coloured(token.group()), text) if colour else text,
        "" if text.endswith("\n") else "\n",
        f"\n{prompt['style']}: {prompt['characters']:,} characters, {prompt['bytes']:,} bytes",
    ]
    if "tokens" in prompt:
        parts += [f", {len(prompt['tokens']):,} tokens\n", _token_lines(prompt["tokens"])]
    if "diff" in prompt:
        other = prompt["diff"]
        counts = (len(prompt["tokens"]), other["tokens"]) if "tokens" in prompt else None
        compared = difference(text, other["text"], prompt["style"], other["style"], counts=counts)
        parts += ["\n\n", compared]
    return "".join(parts)


def _coloured(token: str) -> str:
    colour = next((code for start, code in _COLOURS.items() if token.startswith(start)), None)
    return f"{colour or _OTHER_COLOUR}{token}{_PLAIN}"


def _token_lines(tokens: Sequence[Token], width: int = 110) -> str:
    """Lines of ids and pieces, at most `width` long, each behind its first token's number."""
    lines, line, first = [], "", 0
    for index, token in enumerate(tokens):
        entry = f" {token['id']}:{token['piece']!r}"
        if line and len(line) + len(entry) > width:
            lines.append(f"{first:>6} {line}")
            line, first = "", index
        line += entry
    return "\n".join([*lines, f"{first:>6} {line}"])


def record_of(
    text: str,
    row: int | None,
    data: str | Path,
    tools: list[ToolDeclaration],
    *,
    format: str = "auto",
) -> Record:
    """Choose the request to show: a typed text, or a row of a file.

    Args:
        text: what the user says; "" if a row is wanted.
        row: line of the file, counted from 1; None if a text is given. Of a conversation with
            several answers the last one is taken.
        data: the file.
        tools: declarations for rows that bring none.
        format: format of the rows, as for `read_records`.
    Raises:
        FgkitError: both or neither of text and row are given.
        DataError: the file is wrong or has no such row.
    """
    if bool(text) == (row is not None):
        raise FgkitError("give a text, or --row N for a row of --data, and not both.")
    if row is None:
        return request(1, text)
    records = read_records(data, tools, format=format)
    of_line = [record for record in records if record.line == row]
    if not of_line:
        raise DataError(
            f"{data}: has no row in line {row}, expected one of its {len(records)} rows, lines "
            f"{records[0].line} to {records[-1].line}. Exact duplicates of earlier rows are left "
            "out."
        )
    return of_line[-1]
