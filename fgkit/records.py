"""A JSONL file in the guide's format goes in; checked records come out, or every bad line at once.

One line is one request and the call that answers it; `tool_arguments` is a JSON text that holds an object:

    {"user_content": "make it red", "tool_name": "set_color", "tool_arguments": "{\\"color\\": \\"red\\"}"}

>>> read_records("data/training_data.jsonl", tools)[0]
Record(line=1, user_content='make it red', calls=(Call(name='set_color', arguments={'color': 'red'}),))
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arguments import argument_checker, short
from .calls import Call
from .errors import DataError, FgkitError
from .tools import nearest, strict_json
from .wire import shown, text_problems

KEYS = ("user_content", "tool_name", "tool_arguments")
SHOWN_PROBLEMS = 50
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number",
          type(None): "null"}


@dataclass(frozen=True)
class Record:
    """One request and the calls that answer it.

    Args:
        line: 1-based line of the file it came from.
        user_content: what the user says, as written.
        calls: the expected calls in order; the guide's format holds exactly one.
    """

    line: int
    user_content: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line (found, expected, remedy); an empty file is wrong in line 1."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Inspection:
    """All that one pass over a data file found.

    Args:
        path: the file.
        records: the good rows in file order, without exact duplicates.
        problems: what makes the file unusable.
        warnings: what is dropped or odd, one a line.
        per_tool: rows kept for each tool, tools without rows included.
    """

    path: str
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    per_tool: dict[str, int]


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it is scored on, with the warnings a user should see."""

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    warnings: tuple[str, ...]


def inspect_records(path: str | Path, tools: list[dict]) -> Inspection:
    """Read a data file line by line and note every problem instead of stopping at the first.

    Args:
        path: JSON Lines in UTF-8. A byte-order mark, Windows line ends and blank lines are fine.
        tools: declarations from `load_tools`; arguments are checked against their schemas, where a name that a
            schema does not list counts as wrong.
    Raises:
        DataError: the file cannot be read at all.
    """
    path = str(path)
    check = argument_checker(tools)
    records: list[Record] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    first: dict[bytes, Record] = {}
    exact: dict[bytes, int] = {}
    number = 0
    for number, raw in _lines(path):
        row, complaints = _row(number, raw, check)
        problems += [Problem(path, number, complaint) for complaint in complaints]
        if row is None:
            continue
        answer = canonical(row.calls)
        twin = first.setdefault(_digest(same_text(row.user_content)), row)
        copied = exact.setdefault(_digest(f"{row.user_content.strip()}\0{answer}"), number)
        if canonical(twin.calls) != answer:
            problems.append(Problem(path, number, (
                f"contradicts line {twin.line}: {shown(row.user_content)} asks for {show(row.calls)} here and for "
                f"{show(twin.calls)} there. Keep one of them, or say the difference in the text.")))
        elif copied != number:
            warnings.append(Problem(path, number, f"is an exact duplicate of line {copied}, which is used. Delete it."))
        else:
            records.append(row)
    if not number:
        problems.append(Problem(path, 1, "the file is empty, expected one JSON object a line. Add rows."))
    counts = Counter(call.name for record in records for call in record.calls)
    per_tool = {tool["function"]["name"]: counts[tool["function"]["name"]] for tool in tools}
    return Inspection(path, tuple(records), tuple(problems), tuple(warnings), per_tool)


def read_records(path: str | Path, tools: list[dict]) -> list[Record]:
    """The records of a data file, exact duplicates left out.

    Args:
        path: JSON Lines in the guide's format.
        tools: declarations from `load_tools`.
    Raises:
        DataError: one line for each problem of each line, `file:line: what, found, expected, remedy`.
    """
    inspection = inspect_records(path, tools)
    _raise(inspection.problems)
    return list(inspection.records)


def split(records: Sequence[Record], *, seed: int, eval_fraction: float = 0.1) -> tuple[list[Record], list[Record]]:
    """Divide records into training and held-out rows.

    A row's side depends on its text and the seed alone, so adding rows moves few others, and texts that differ only in
    case or spacing stay together.

    Args:
        records: at least two with different texts.
        seed: another seed gives another split.
        eval_fraction: the share that is held out, above 0 and below 1; each side gets at least one row.
    Returns:
        (training, held out), each in file order.
    Raises:
        DataError: there is nothing to divide.
        FgkitError: `eval_fraction` is out of range.
    """
    if not 0 < eval_fraction < 1:
        raise FgkitError(f"eval_fraction is {eval_fraction}, expected more than 0, less than 1. Write 0.1 for a tenth.")
    texts = [same_text(record.user_content) for record in records]
    sizes = Counter(texts)
    if len(sizes) < 2:
        raise DataError(f"found {len(sizes)} different user_content in {len(records)} rows, expected at least 2 to "
                        "split into training and held-out rows. Add rows, or give an eval file.")
    chosen: set[str] = set()
    wanted = round(len(records) * eval_fraction)
    for text in sorted(sizes, key=lambda text: _digest(f"{seed}\0{text}"))[:-1]:
        if chosen and wanted < sizes[text]:
            break
        chosen.add(text)
        wanted -= sizes[text]
    return ([record for record, text in zip(records, texts, strict=True) if text not in chosen],
            [record for record, text in zip(records, texts, strict=True) if text in chosen])


def load_data(data: str | Path, eval_data: str | Path, tools: list[dict], *, seed: int) -> Data:
    """Read the training file and the eval file, or split the one file where there is no other.

    Args:
        data: JSON Lines to train on.
        eval_data: JSON Lines to score on; "" holds out a tenth of `data`.
        tools: declarations from `load_tools`.
        seed: decides the split.
    Returns:
        both sides; `warnings` counts duplicates and names eval texts that are trained on.
    Raises:
        DataError: the problems of both files together.
    """
    inspections, problems = [], []
    for path in (data, eval_data) if str(eval_data) else (data,):
        try:
            inspections.append(inspect_records(path, tools))
            problems += inspections[-1].problems
        except DataError as error:
            problems.append(error)
    _raise(problems)
    warnings = [f"{inspection.path}: {len(inspection.warnings)} exact duplicates are left out, the first on line "
                f"{inspection.warnings[0].line}. Delete them to silence this."
                for inspection in inspections if inspection.warnings]
    if not str(eval_data):
        try:
            train, held_out = split(inspections[0].records, seed=seed)
        except DataError as error:
            raise DataError(f"{data}: {error}") from error
        return Data(tuple(train), tuple(held_out), tuple(warnings))
    train, held_out = (inspection.records for inspection in inspections)
    trained = {_digest(same_text(record.user_content)): record.line for record in train}
    leaks = [f"{record.line} (= {trained[text]})" for record in held_out
             if (text := _digest(same_text(record.user_content))) in trained]
    if leaks:
        lines = ", ".join(leaks[:10]) + (", ..." if leaks[10:] else "")
        warnings.append(f"{eval_data}: {len(leaks)} of {len(held_out)} texts are also trained on, so the score "
                        f"flatters: lines {lines} of {data}. Reword or remove them in one of the files.")
    return Data(train, held_out, tuple(warnings))


def format_report(inspection: Inspection) -> str:
    """A table of what a data file holds, then its problems and warnings, for people to read."""
    counts = {"rows used": len(inspection.records), "exact duplicates": len(inspection.warnings),
              "problems": len(inspection.problems)}
    counts |= {f"rows for {name}": n for name, n in inspection.per_tool.items()}
    width = max(map(len, counts))
    lines = [inspection.path, *(f"  {name:<{width}}  {count:>6}" for name, count in counts.items())]
    return "\n".join([*lines, *_capped(inspection.problems), *_capped(inspection.warnings)])


def canonical(calls: Iterable[Call]) -> str:
    """One text for calls that are equal: key order does not count, types do (1, 1.0 and true all differ)."""
    return json.dumps([[call.name, call.arguments] for call in calls], sort_keys=True)


def same_text(text: str) -> str:
    """What two requests have in common when only case and spacing differ."""
    return " ".join(text.casefold().split())


def show(calls: Iterable[Call]) -> str:
    """Calls as a reader of messages wants them: `show_alert({"title": "Hi"})`."""
    texts = (f"{call.name}({short(json.dumps(call.arguments, ensure_ascii=False))})" for call in calls)
    return " ".join(texts) or "no call"


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank."""
    try:
        with open(path, "rb") as lines:
            for number, raw in enumerate(lines, 1):
                if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise DataError(f"{path}:1: is UTF-16, expected UTF-8. Save the file again as UTF-8.")
                if raw.strip(b"\xef\xbb\xbf \t\r\n"):
                    yield number, raw
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Give the path of your JSONL file.") from error


def _row(number: int, raw: bytes, check: Callable[[str, Any], Iterable[str]]) -> tuple[Record | None, list[str]]:
    try:
        line = raw.decode("utf-8-sig").strip()
        row = strict_json(line)
    except UnicodeDecodeError as error:
        return None, [f"byte {error.start + 1} is {raw[error.start]:#04x}, expected UTF-8. Save the file as UTF-8."]
    except ValueError as error:
        return None, [f"{error}: found {shown(line)}, expected one complete JSON object on the line. Correct it."]
    if not isinstance(row, dict):
        return None, [f"found {_KINDS[type(row)]}, {shown(line)}, expected a JSON object with the keys "
                      f"{', '.join(KEYS)}. Write one object a line, without a list around them."]
    missing = [key for key in KEYS if key not in row]
    found = [f"has no {key!r}, expected the keys {', '.join(KEYS)}. Add it." for key in missing]
    found += [f"has the key {shown(key)}, expected only {', '.join(KEYS)}{nearest(key, missing)} Rename or remove it."
              for key in row if key not in KEYS]
    for key in KEYS:
        if key in row and not isinstance(row[key], str):
            remedy = "Put it in quotes."
            if key == "tool_arguments" and isinstance(row[key], dict):
                remedy = f"Write it as a JSON text: {short(json.dumps(json.dumps(row[key])), 120)}"
            found.append(f"{key}: found {_KINDS[type(row[key])]}, expected a text. {remedy}")
    text, name, source = (row[key] if isinstance(row.get(key), str) else None for key in KEYS)
    if text is not None:
        found += text_problems(text, "user_content")
        if not text.strip():
            found.append("user_content: found an empty text, expected a request. Fill it in or delete the line.")
    arguments = None
    if source is not None:
        try:
            arguments = strict_json(source)
        except ValueError as error:
            found.append(f"tool_arguments: {error}: found {shown(source)}, expected an object as JSON. Correct it.")
        else:
            if not isinstance(arguments, dict):
                found.append(f"tool_arguments: found {_KINDS[type(arguments)]}, {shown(source)}, expected an object "
                             'such as "{}". Name each argument.')
    if name is not None:
        found += check(name, arguments)
    return (None if found else Record(number, text, (Call(name, arguments),))), found


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _capped(items: Sequence[object]) -> list[str]:
    lines = [str(item) for item in items[:SHOWN_PROBLEMS]]
    more = len(items) - len(lines)
    return [*lines, f"... and {more} more ({len(items)} in all)."] if more else lines


def _raise(problems: Sequence[object]) -> None:
    if problems:
        raise DataError("\n".join(_capped(problems)))
