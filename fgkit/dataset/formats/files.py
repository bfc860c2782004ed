"""A data file row by row, in bounded memory: JSON Lines, one JSON list of rows, or CSV.

>>> next(read("data/training_data.jsonl"))
(1, {'user_content': 'make it red', 'tool_name': 'change_background_color', ...}, [])
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fgkit.errors import DataError
from fgkit.progress import bar
from fgkit.text import nearest, shown
from fgkit.tools import strict_json

MAX_LINE = 1_000_000  # bytes; the model reads 32,768 tokens at most
_SHOW_BAR_FROM = 5_000_000  # bytes
_PIECE = 1 << 16  # bytes read of a list at a time
_BETWEEN = " \t\r\n,"
_BOM = b"\xef\xbb\xbf"
_COLUMNS = ("prompt", "tool", "arguments", "answer", "group")


def is_csv(path: str | Path) -> bool:
    """Whether a file's name says that it holds columns."""
    return Path(path).suffix.lower() in (".csv", ".tsv")


def read(path: str | Path, *, columns: bool | None = None) -> Iterator[tuple[int, Any, list[str]]]:
    """Give (1-based line, what it holds, complaints) for each line that is not blank; complaints leave None in between.

    Args:
        path: UTF-8. A byte-order mark and Windows line ends are fine. A file that begins with `[` is one JSON list,
            and its rows may go over several lines.
        columns: read CSV with a header; left out, the file's name decides.
    Raises:
        DataError: the file cannot be read at all.
    """
    try:
        with open(path, "rb") as handle, _progress(path) as progress:
            if columns if columns is not None else is_csv(path):
                yield from _csv_rows(_lines(handle, progress))
            elif _is_list(handle):
                yield from _list_rows(handle, progress)
            else:
                yield from _json_rows(_lines(handle, progress))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}. Give the path of your data file."
        ) from error


def _progress(path: str | Path) -> Any:
    size = os.path.getsize(path)
    return bar(
        total=size, desc=Path(path).name, unit="B", unit_scale=True, disable=size < _SHOW_BAR_FROM
    )


def _lines(handle: BinaryIO, progress: Any) -> Iterator[tuple[int, str, list[str]]]:
    """Number, text and complaints of each line, blank ones too."""
    number = 0
    while raw := handle.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
                yield 1, "", ["is UTF-16, expected UTF-8. Save the file again as UTF-8."]
                return
            raw = raw.removeprefix(_BOM)
        length = len(raw)
        while not raw.endswith(b"\n") and length > MAX_LINE and (more := handle.readline(MAX_LINE)):
            raw, length = more, length + len(more)
        progress.update(length)
        if length > MAX_LINE + 1:
            yield (
                number,
                "",
                [f"has {length:,} bytes, expected at most {MAX_LINE:,}. Is it one row a line?"],
            )
            continue
        try:
            yield number, raw.decode(), []
        except UnicodeDecodeError as error:
            yield (
                number,
                "",
                [
                    f"byte {error.start + 1} is {raw[error.start]:#04x}, expected UTF-8. Save the file "
                    "as UTF-8."
                ],
            )


def _json_rows(lines: Iterator[tuple[int, str, list[str]]]) -> Iterator[tuple[int, Any, list[str]]]:
    for number, text, complaints in lines:
        if complaints:
            yield number, None, complaints
        elif text := text.strip():
            yield number, *_value(text, "one complete JSON object on the line")


def _value(text: str, expected: str) -> tuple[Any, list[str]]:
    try:
        return strict_json(text), []
    except ValueError as error:
        return None, [f"{error}: found {shown(text)}, expected {expected}. Correct it."]


def _is_list(handle: BinaryIO) -> bool:
    """Whether a file is one JSON list; what was looked at is read again."""
    start = handle.read(1000).removeprefix(_BOM).lstrip()
    handle.seek(0)
    return start.startswith(b"[")


def _list_rows(handle: BinaryIO, progress: Any) -> Iterator[tuple[int, Any, list[str]]]:
    """The items of one JSON list, read piece by piece; after a broken one nothing more can be told apart."""
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    text, line, opened = "", 1, False
    while True:
        rest = text.lstrip(_BETWEEN if opened else _BETWEEN + "[")
        line += text.count("\n", 0, len(text) - len(rest))
        text, opened = rest, opened or bool(rest)
        if text.startswith("]"):
            if text[1:].strip() or handle.read(1000).strip():
                yield (
                    line,
                    None,
                    [
                        "something stands after the list's end, expected one list, or one row a line. "
                        "Remove it."
                    ],
                )
            return
        try:
            end = json.JSONDecoder().raw_decode(text)[1] if text else 0
            fault = "the list has no end, expected ']'"
        except json.JSONDecodeError as error:
            end, fault = 0, f"not JSON ({error.msg}, line {line + error.lineno - 1})"
        except (ValueError, RecursionError) as error:  # a number of thousands of digits
            deep = isinstance(error, RecursionError)
            end, fault = 0, "nested too deeply" if deep else "not JSON (a number is too long)"
        if end:
            yield line, *_value(text[:end], "a row")
            line += text.count("\n", 0, end)
            text = text[end:]
            continue
        piece = handle.read(_PIECE)
        progress.update(len(piece))
        if not piece or len(text) > MAX_LINE:
            yield (
                line,
                None,
                [
                    f"{fault}: found {shown(text)}, expected rows of at most {MAX_LINE:,} characters between "
                    "[ and ]. Correct it; the rest of the file was not read."
                ],
            )
            return
        try:
            text += decode(piece)
        except UnicodeDecodeError as error:
            yield (
                line + text.count("\n") + piece.count(b"\n", 0, error.start),
                None,
                [
                    f"holds the byte {error.object[error.start]:#04x}, expected UTF-8. Save the file as UTF-8."
                ],
            )
            return


def _csv_rows(lines: Iterator[tuple[int, str, list[str]]]) -> Iterator[tuple[int, Any, list[str]]]:
    """Rows by the names in the header; a row's line is its first, for quoted cells may go over several."""
    wrong: list[tuple[int, list[str]]] = []

    def texts() -> Iterator[str]:
        for number, text, complaints in lines:
            if complaints:
                wrong.append((number, complaints))
            yield text

    source = texts()
    header, skipped = "", 0
    for skipped, header in enumerate(source):
        if header.strip():
            break
    delimiter = max(",;\t", key=header.count)
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error as error:  # a carriage return alone
        reason = str(error).split(" - ")[0]
        yield (
            skipped + 1,
            None,
            [f"is no CSV header: {reason}. Save the file with Unix or Windows line ends."],
        )
        return
    if header.strip():
        unknown = [name for name in names if name not in _COLUMNS]
        faults = [
            f"has no column {name!r}, expected the header prompt,tool,arguments. Add it."
            for name in _COLUMNS[:3]
            if name not in names
        ]
        faults += [
            f"has the column {shown(name)}, expected only {', '.join(_COLUMNS)}{nearest(name, _COLUMNS)} Rename "
            "or remove it."
            for name in unknown
        ]
        faults += [
            f"has the column {name!r} twice. Remove one."
            for name in sorted(set(names))
            if names.count(name) > 1
        ]
        if faults:
            yield skipped + 1, None, faults
            return
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        start = skipped + reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield (
                start,
                None,
                [
                    f"is no CSV: {error}. Put quotes around cells that hold commas, and write "
                    '"" for a quote.'
                ],
            )
            continue
        for number, complaints in wrong:
            yield number, None, complaints
        wrong.clear()
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            yield (
                start,
                None,
                [
                    f"has {len(cells)} cells, expected {len(names)}: {', '.join(names)}. Put quotes around "
                    "cells that hold commas."
                ],
            )
        else:
            yield start, dict(zip(names, cells, strict=True)), []
