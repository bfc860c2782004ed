"""What stands before the model, made visible: the text of a style, its tokens, and where another style's text differs.

In: one request or one row, tools, a style. Out: text for the terminal, or a dict for scripts.

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
from typing import Any

from fgkit.dataset import tokenize
from fgkit.dataset.records import Record, read_records, request
from fgkit.errors import DataError, FgkitError
from fgkit.prompts import styles
from fgkit.prompts.format import CONTROL

# What a difference is counted in where there are no tokens: control tokens, words, single other characters.
_UNIT = re.compile(f"{CONTROL.pattern}|\\w+|.", re.DOTALL)
_COLOURS = {"<start": "\033[1;36m", "<end": "\033[36m", "<escape>": "\033[33m"}
_PLAIN = "\033[0m"


def view(
    record: Record, tools: list[dict], style: str, *, other: str = "", tokenizer: Any = None
) -> dict[str, Any]:
    """Everything to show of one prompt.

    Args:
        record: the request.
        tools: declarations; the row's own go before them.
        style: whose text.
        other: a second style to compare with; "" for none.
        tokenizer: a base model's, to count tokens; None leaves them out.
    Returns:
        {"style", "text", "characters", "bytes"}, "tokens": [{"id", "piece"}] with a tokenizer, and with `other`
        "diff": {"style", "text", "bytes", "tokens" (their number), "places": [{"byte", "after", "here", "there"}]}.
    Raises:
        ConfigError: no such style; DataError, ToolError: a style cannot say it.
    """
    found = _text(record, tools, style)
    if tokenizer is not None:
        found["tokens"] = tokens(tokenizer, found["text"])
    if other:
        second = _text(record, tools, other)
        there = None if tokenizer is None else tokens(tokenizer, second["text"])
        found["diff"] = (
            second
            | ({} if there is None else {"tokens": len(there)})
            | {"places": places(found["text"], second["text"])}
        )
    return found


def _text(record: Record, tools: list[dict], style: str) -> dict[str, Any]:
    names = styles.split(style)
    if len(names) > 1:
        raise FgkitError(
            f"style is {style!r}, expected one style: a prompt has one text. Name one, and "
            "--diff another."
        )
    text = tokenize.prompt_texts([record], tools, style=names[0])[0]
    return {"style": names[0], "text": text, "characters": len(text), "bytes": len(text.encode())}


def tokens(tokenizer: Any, text: str) -> list[dict[str, Any]]:
    """The tokens of a rendered text, as the model gets them: ids and pieces."""
    ids = tokenize.encode(tokenizer, text)
    return [
        {"id": number, "piece": piece}
        for number, piece in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)
    ]


def places(text: str, other: str) -> list[dict[str, Any]]:
    """Where two texts differ, in units of control tokens, words and single characters; none where they are equal.

    Args:
        text, other: rendered prompts.
    Returns:
        {"byte": offset in `text`, "after": what both have before it, "here", "there"} each.
    """
    one, two = _UNIT.findall(text), _UNIT.findall(other)
    found = []
    matcher = difflib.SequenceMatcher(None, one, two, autojunk=False)
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        before = "".join(one[:start])
        found.append(
            {
                "byte": len(before.encode()),
                "after": before[-30:],
                "here": "".join(one[start:end]),
                "there": "".join(two[other_start:other_end]),
            }
        )
    return found


def difference(
    text: str, other: str, name: str, other_name: str, *, counts: tuple[int, int] | None = None
) -> str:
    """The places of `places`, one a line, under a line that says how many and how long both texts are.

    Args:
        text, other: rendered prompts.
        name, other_name: what to call them.
        counts: how many tokens each has.
    """
    found = places(text, other)
    many = f"{len(found)} place{'s' * (len(found) != 1)}" if found else "the same text"
    lengths = f"{len(text.encode()):,} -> {len(other.encode()):,} bytes"
    if counts:
        lengths += f", {counts[0]:,} -> {counts[1]:,} tokens"
    return "\n".join(
        [
            f"{name} -> {other_name}: {many}, {lengths}",
            *(
                f"  byte {each['byte']:,}, after {each['after']!r}: {each['here']!r} -> {each['there']!r}"
                for each in found
            ),
        ]
    )


def show(found: dict[str, Any], *, colour: bool) -> str:
    """What `view` found as text for a terminal.

    Args:
        found: the dict.
        colour: set control tokens off with colours.
    """
    text = found["text"]
    parts = [
        CONTROL.sub(lambda token: _coloured(token.group()), text) if colour else text,
        "" if text.endswith("\n") else "\n",
        f"\n{found['style']}: {found['characters']:,} characters, {found['bytes']:,} bytes",
    ]
    if "tokens" in found:
        parts += [f", {len(found['tokens']):,} tokens\n", _token_lines(found["tokens"])]
    if "diff" in found:
        second = found["diff"]
        counts = (len(found["tokens"]), second["tokens"]) if "tokens" in found else None
        parts += [
            "\n\n",
            difference(text, second["text"], found["style"], second["style"], counts=counts),
        ]
    return "".join(parts)


def _coloured(token: str) -> str:
    start = next((code for mark, code in _COLOURS.items() if token.startswith(mark)), "\033[35m")
    return f"{start}{token}{_PLAIN}"


def _token_lines(found: Sequence[dict[str, Any]], width: int = 110) -> str:
    """Ids and pieces in lines of at most `width` characters, each with the number of its first token."""
    lines, line, first = [], "", 0
    for index, token in enumerate(found):
        entry = f" {token['id']}:{token['piece']!r}"
        if line and len(line) + len(entry) > width:
            lines.append(f"{first:>6} {line}")
            line, first = "", index
        line += entry
    return "\n".join([*lines, f"{first:>6} {line}"])


def record_of(
    text: str, row: int | None, data: str | Path, tools: list[dict], *, format: str = "auto"
) -> Record:
    """The request to show: a text of one's own, or a row of a file.

    Args:
        text: what the user says; "" where a row is asked for.
        row: line of the file, from 1; None where a text is given. Of a conversation's answers the last one is taken.
        data: rows.
        tools: declarations of rows without their own.
        format: of the rows, as for `records.read_records`.
    Raises:
        FgkitError: not exactly one of text and row; DataError: the file is wrong or has no such row.
    """
    if bool(text) == (row is not None):
        raise FgkitError("give a text, or --row N for a row of --data, and not both.")
    if row is None:
        return request(1, text)
    found = read_records(data, tools, format=format)
    of_line = [record for record in found if record.line == row]
    if not of_line:
        raise DataError(
            f"{data}: has no row in line {row}, expected one of its {len(found)} rows, lines "
            f"{found[0].line} to {found[-1].line}. Exact duplicates of earlier rows are left out."
        )
    return of_line[-1]
