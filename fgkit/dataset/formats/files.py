"""Reads a data file row by row, in bounded memory: JSON Lines, one JSON list of rows, or CSV.

Example:
    next(read("data/training_data.jsonl"))
    # (1, {'user_content': 'make it red', 'tool_name': 'change_background_color', ...}, [])
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fgkit.chat_types import JsonValue
from fgkit.errors import DataError
from fgkit.files import require_regular
from fgkit.progress import bar
from fgkit.text import shown
from fgkit.tools import strict_json

from .csv_rows import csv_rows
from .lines import Line, Row

# In bytes; the model reads 32,768 tokens at most.
MAX_LINE = 1_000_000
# In bytes; smaller files are read without a progress bar.
_SHOW_BAR_FROM = 5_000_000
# In bytes; a file with a hole has any size.
_LARGEST_FILE = 8 << 30
# Bytes of a list that are read at a time.
_CHUNK = 1 << 16
_BETWEEN = " \t\r\n,"
_BOM = b"\xef\xbb\xbf"


def is_csv(path: str | Path) -> bool:
    """Return whether the file's name has an ending of CSV or TSV."""
    return Path(path).suffix.lower() in (".csv", ".tsv")


def read(path: str | Path, *, columns: bool | None = None) -> Iterator[Row]:
    """Yield (1-based line, what it holds, complaints) for each line that is not blank.

    A line with complaints has None as its value.

    Args:
        path: UTF-8. A byte-order mark and Windows line ends are fine. A file that begins with `[`
            is one JSON list, and its rows may go over several lines.
        columns: read CSV with a header; left out, the file's name decides.
    Raises:
        DataError: the file cannot be read at all.
    """
    path = require_regular(path, "your data file", error=DataError)
    if path.stat().st_size > _LARGEST_FILE:
        raise DataError(f"{path}: has more than {_LARGEST_FILE:,} bytes. Split the file.")
    try:
        with open(path, "rb") as handle, _progress(path) as progress:
            if columns if columns is not None else is_csv(path):
                yield from csv_rows(_lines(handle, progress))
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


def _lines(handle: BinaryIO, progress: Any) -> Iterator[Line]:
    """Number, text and complaints of each line, blank ones included."""
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
                    f"byte {error.start + 1} is {raw[error.start]:#04x}, expected UTF-8. Save the "
                    "file as UTF-8."
                ],
            )


def _json_rows(lines: Iterator[Line]) -> Iterator[Row]:
    for number, text, complaints in lines:
        if complaints:
            yield number, None, complaints
        elif text := text.strip():
            yield number, *_value(text, "one complete JSON object on the line")


def _value(text: str, expected: str) -> tuple[JsonValue, list[str]]:
    try:
        return strict_json(text), []
    except ValueError as error:
        return None, [f"{error}: found {shown(text)}, expected {expected}. Correct it."]


def _is_list(handle: BinaryIO) -> bool:
    """Whether a file is one JSON list; the position in the file stays at the start."""
    start = handle.read(1000).removeprefix(_BOM).lstrip()
    handle.seek(0)
    return start.startswith(b"[")


def _list_rows(handle: BinaryIO, progress: Any) -> Iterator[Row]:
    """The items of one JSON list, read in chunks; the first broken item ends the reading."""
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
                        "there is text after the list's end, expected one list, or one row a line. "
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
        # A complete row is taken off the text; otherwise more of the file is needed to complete it.
        if end:
            yield line, *_value(text[:end], "a row")
            line += text.count("\n", 0, end)
            text = text[end:]
            continue
        chunk = handle.read(_CHUNK)
        progress.update(len(chunk))
        if not chunk or len(text) > MAX_LINE:
            yield (
                line,
                None,
                [
                    f"{fault}: found {shown(text)}, expected rows of at most {MAX_LINE:,} "
                    "characters between [ and ]. Correct it; the rest of the file was not read."
                ],
            )
            return
        try:
            text += decode(chunk)
        except UnicodeDecodeError as error:
            yield (
                line + text.count("\n") + chunk.count(b"\n", 0, error.start),
                None,
                [
                    f"holds the byte {error.object[error.start]:#04x}, expected UTF-8. Save the "
                    "file as UTF-8."
                ],
            )
            return
