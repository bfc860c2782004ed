"""Reads rows of CSV by the names in the header.

The delimiter (comma, semicolon or tab) is detected in the header. Quoted cells may go over several
lines; the line of a row is its first.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from fgkit.text import nearest, shown

from .lines import Line, Row

_COLUMNS = ("prompt", "tool", "arguments", "answer", "group")
_REQUIRED = _COLUMNS[:3]


def csv_rows(lines: Iterator[Line]) -> Iterator[Row]:
    """Yield the rows as dictionaries, with what is wrong with the header or with a line.

    Args:
        lines: all lines of the file, blank ones included.
    """
    # Broken lines are kept here until the CSV reader, which takes texts only, has read past them.
    broken: list[tuple[int, list[str]]] = []

    def texts() -> Iterator[str]:
        for number, text, complaints in lines:
            if complaints:
                broken.append((number, complaints))
            yield text

    source = texts()
    header, blank_lines = "", 0
    for header in source:
        if header.strip():
            break
        blank_lines += 1
    delimiter = max(",;\t", key=header.count)
    try:
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error as error:  # a carriage return alone
        reason = str(error).split(" - ")[0]
        fault = f"is no CSV header: {reason}. Save the file with Unix or Windows line ends."
        yield blank_lines + 1, None, [fault]
        return
    if header.strip() and (faults := _header_faults(names)):
        yield blank_lines + 1, None, faults
        return
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        start = blank_lines + reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as error:
            fault = (
                f"is no CSV: {error}. Put quotes around cells that hold commas, and write "
                '"" for a quote.'
            )
            yield start, None, [fault]
            continue
        for number, complaints in broken:
            yield number, None, complaints
        broken.clear()
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield _row(start, cells, names)


def _header_faults(names: Sequence[str]) -> list[str]:
    """What is wrong with the names of the columns."""
    faults = [
        f"has no column {name!r}, expected the header {','.join(_REQUIRED)}. Add it."
        for name in _REQUIRED
        if name not in names
    ]
    faults += [
        f"has the column {shown(name)}, expected only {', '.join(_COLUMNS)}"
        f"{nearest(name, _COLUMNS)} Rename or remove it."
        for name in names
        if name not in _COLUMNS
    ]
    faults += [
        f"has the column {name!r} twice. Remove one."
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    return faults


def _row(line: int, cells: list[str], names: Sequence[str]) -> Row:
    if len(cells) == len(names):
        return line, dict(zip(names, cells, strict=True)), []
    fault = (
        f"has {len(cells)} cells, expected {len(names)}: {', '.join(names)}. Put quotes around "
        "cells that hold commas."
    )
    return line, None, [fault]
