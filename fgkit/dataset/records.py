"""A data file goes in, in any of `formats.FORMATS`; checked records come out, or every bad line at once.

In the guide's format one line is one request and the call that answers it; `tool_arguments` is a JSON text:

    {"user_content": "make it red", "tool_name": "set_color", "tool_arguments": "{\\"color\\": \\"red\\"}"}

>>> read_records("data/training_data.jsonl", tools)[0]
Record(line=1, messages=({'role': 'user', 'content': 'make it red'},),
       calls=(Call(name='set_color', arguments={'color': 'red'}),), text='', tools=None, group='')
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgkit.calls import Call
from fgkit.errors import DataError, FgkitError
from fgkit.text import nearest, short, shown
from fgkit.tools.row_tools import ToolSet, ToolSets
from fgkit.tools.validation import name_complaint

from .formats import files as row_files
from .formats.detection import FORMATS, Row, detect, read_row
from .formats.messages import call_message, content_text

KIND_LABELS = {"call": "one call", "parallel": "several calls", "no_call": "no call"}

KINDS = ("call", "parallel", "no_call")
NO_CALL = "(no call)"  # what stands for a tool where none is called
SHOWN_PROBLEMS = 50


@dataclass(frozen=True)
class Record:
    """One prompt and the answer expected: a conversation up to the model's turn, then calls or plain text.

    Args:
        line: 1-based line in its file; a conversation gives a record for every answer in it.
        messages: the prompt in `prompts.render` form; a developer message is there only where the row has its own, and
            the last one is a user's or a tool's.
        calls: the expected calls in order; none for plain text.
        text: the expected plain text; before calls, too, it is kept and trained.
        tools: the row's own declarations; None for the run's.
        group: name of its paraphrase group, which stays on one side of a split; "" to derive it.
    """

    line: int
    messages: tuple[dict, ...]
    calls: tuple[Call, ...]
    text: str = ""
    tools: tuple[dict, ...] | None = None
    group: str = ""

    @property
    def user_content(self) -> str:
        """What the user said last: what error messages and reports show."""
        return next(
            (
                content_text(message.get("content"))
                for message in reversed(self.messages)
                if message["role"] == "user"
            ),
            "",
        )

    @property
    def kind(self) -> str:
        """One of KINDS: "call" (one call), "parallel" (several) or "no_call" (plain text)."""
        return KINDS[min(len(self.calls), 2) - 1]

    @property
    def conversation(self) -> tuple[dict, ...]:
        """The prompt's messages and the answer's."""
        answer = (
            call_message(((call.name, call.arguments) for call in self.calls), self.text)
            if self.calls
            else {"role": "assistant", "content": self.text}
        )
        return *self.messages, answer


def request(line: int, text: str, calls: Iterable[Call] = ()) -> Record:
    """The record of a single request: its line, what the user says and the calls expected."""
    return Record(line, ({"role": "user", "content": text},), tuple(calls))


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line (found, expected, remedy) and its rule; an empty file is wrong in line 1."""

    path: str
    line: int
    message: str
    rule: str = "D101"

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
        per_tool: rows kept for each tool, the run's tools without rows included.
        held_out_lines: lines that the file itself marks for evaluation.
    """

    path: str
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    per_tool: dict[str, int]
    held_out_lines: frozenset[int] = frozenset()


def inspect_records(path: str | Path, tools: list[dict], *, format: str = "auto") -> Inspection:
    """Read a data file line by line and note every problem instead of stopping at the first.

    Args:
        path: JSON Lines or CSV in UTF-8. A byte-order mark, Windows line ends and blank lines are fine.
        tools: declarations from `load_tools`, for the rows that bring none along; arguments are checked against their
            schemas, where a name that a schema does not list counts as wrong.
        format: one of `formats.FORMATS`; "auto" looks at each row's keys, so a file may mix formats.
    Raises:
        DataError: the file cannot be read at all.
        FgkitError: no such format.
    """
    path = str(path)
    if format not in FORMATS:
        raise FgkitError(
            f"format is {format!r}, expected one of {', '.join(FORMATS)}{nearest(format, FORMATS)}"
        )
    sets = ToolSets(tools)
    records: list[Record] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    first: dict[bytes, Record] = {}
    exact: dict[bytes, int] = {}
    held_out: set[int] = set()
    filled: list[int] = []
    uses_run_tools, number, kind = False, 0, "guide"
    columns = row_files.is_csv(path) if format == "auto" else format == "csv"
    for number, raw, complaints in row_files.read(path, columns=columns):
        row, own = None, None
        if not complaints:
            if format != "auto":
                kind = format
            elif isinstance(raw, dict):
                kind = "csv" if columns else detect(raw, kind)
            row, complaints = read_row(raw, kind)
        if row is not None:
            own, more = sets.of(row.tools)
            complaints = complaints + more
        found: list[Record] = []
        if own is not None:
            uses_run_tools |= own.tools is None
            found, more, healed = _records(number, row, own)
            complaints = complaints + more
            if healed:
                filled.append(number)
        problems += [Problem(path, number, complaint) for complaint in complaints]
        if complaints or not found:
            continue
        if row.held_out:
            held_out.add(number)
        for record in found:
            prompt = asked(record) + f"\0{own.key}"
            answer = canonical(record.calls)
            twin = first.setdefault(_digest(same_text(prompt)), record)
            copied = exact.setdefault(
                _digest("\0".join((prompt.strip(), answer, record.text))), number
            )
            if twin is not record and _contradicts(record, twin):
                problems.append(
                    Problem(
                        path,
                        number,
                        (
                            f"contradicts line {twin.line}: {shown(record.user_content)} asks for {show(record.calls)} here "
                            f"and for {show(twin.calls)} there. Keep one of them, or say the difference in the text."
                        ),
                        "D103",
                    )
                )
            elif copied != number:
                warnings.append(
                    Problem(
                        path,
                        number,
                        f"is an exact duplicate of line {copied}, which is used. Delete it.",
                        "D102",
                    )
                )
            else:
                records.append(record)
    if not number:
        problems.append(
            Problem(path, 1, "the file is empty, expected one JSON object a line. Add rows.")
        )
    if filled:
        warnings.append(
            Problem(
                path,
                filled[0],
                (
                    f"holds nulls that its tool does not take, as Arrow fills them in: {len(filled)} rows with such calls are "
                    "read without the nulls of optional arguments. Export the data as text, one json.dumps a row, to silence "
                    "this."
                ),
                "D104",
            )
        )
    counts = {
        tool["function"]["name"]: 0 for tool in (tools if uses_run_tools or not records else ())
    }
    counts |= Counter(name for record in records for name in {call.name for call in record.calls})
    return Inspection(
        path, tuple(records), tuple(problems), tuple(warnings), counts, frozenset(held_out)
    )


def read_records(path: str | Path, tools: list[dict], *, format: str = "auto") -> list[Record]:
    """The records of a data file, exact duplicates left out.

    Args:
        path: JSON Lines or CSV.
        tools: declarations from `load_tools`.
        format: one of `formats.FORMATS`.
    Raises:
        DataError: one line for each problem of each line, `file:line: what, found, expected, remedy`.
    """
    inspection = inspect_records(path, tools, format=format)
    require(inspection.problems)
    return list(inspection.records)


def by_mark(inspection: Inspection) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The records to train on and those that their file marks for evaluation."""
    marked = inspection.held_out_lines
    return (
        tuple(record for record in inspection.records if record.line not in marked),
        tuple(record for record in inspection.records if record.line in marked),
    )


def canonical(calls: Iterable[Call]) -> str:
    """One text for calls that are equal: key order does not count, types do (1, 1.0 and true all differ)."""
    return json.dumps([[call.name, call.arguments] for call in calls], sort_keys=True)


def same_text(text: str) -> str:
    """What two requests have in common when only case and spacing differ."""
    return " ".join(text.casefold().split())


def prompt_key(record: Record) -> bytes:
    """A digest that prompts share when only case and spacing differ; tools of rows count, the run's do not."""
    return _digest(same_text(asked(record)) + json.dumps(record.tools))


def show(calls: Iterable[Call]) -> str:
    """Calls as a reader of messages wants them: `show_alert({"title": "Hi"})`."""
    texts = (
        f"{call.name}({short(json.dumps(call.arguments, ensure_ascii=False))})" for call in calls
    )
    return " ".join(texts) or "no call"


def _records(line: int, row: Row, own: ToolSet) -> tuple[list[Record], list[str], bool]:
    """A record for every answer in a conversation, what is wrong with its calls, and whether Arrow's nulls went."""
    found, problems, healed = [], [], False
    single = len(row.messages) == 2
    for index, message in enumerate(row.messages):
        if message["role"] not in ("assistant", "model"):
            continue
        calls = []
        for place, call in enumerate(message.get("tool_calls") or ()):
            function, check = call["function"], own.checkers.get(call["function"]["name"])
            if row.lenient and check and isinstance(arguments := function["arguments"], dict):
                function["arguments"] = check.without_filled(arguments)
                healed |= function["arguments"] is not arguments
            where = (
                ""
                if single and len(message["tool_calls"]) == 1
                else f"messages[{index}].tool_calls[{place}]: "
            )
            problems += [where + complaint for complaint in _complaints(function, own)]
            calls.append(Call(function["name"], function["arguments"]))
        text = content_text(message.get("content"))
        before = row.messages[index - 1]["role"] if index else "nothing"
        if before not in ("user", "tool"):
            problems.append(
                f"messages[{index}]: an answer after {before}, expected one after what the user says or a "
                "tool responds. Join the two, or put the message in between."
            )
        elif (
            calls or text.strip()
        ) and index not in row.untrained:  # an empty one only closes the turn
            found.append(
                Record(line, tuple(row.messages[:index]), tuple(calls), text, own.tools, row.group)
            )
    if row.messages[-1]["role"] not in ("assistant", "model"):
        problems.append(
            f"messages: ends with a {row.messages[-1]['role']} message, expected the model's answer. Add it, "
            "or take the message out."
        )
    elif not found and not problems:
        problems.append(
            "messages: holds no answer to learn, expected at least one call or text. Add it."
        )
    return found, problems, healed


def _contradicts(record: Record, twin: Record) -> bool:
    """Whether texts that differ at most in case and spacing have different answers; a copied value keeps its case."""
    answer, other = canonical(record.calls), canonical(twin.calls)
    return answer != other and (
        answer.casefold() != other.casefold() or asked(record).split() == asked(twin).split()
    )


def _complaints(function: dict, own: ToolSet) -> Iterator[str]:
    check = own.checkers.get(function["name"])
    if check is None:
        yield f"tool_name: {name_complaint(function['name'], own.checkers)}"
    elif isinstance(function["arguments"], dict):  # the others are named already
        yield from check(function["arguments"])


def asked(record: Record) -> str:
    """One text for prompts that are equal."""
    if len(record.messages) == 1 and isinstance(content := record.messages[0].get("content"), str):
        return content
    return json.dumps(record.messages, ensure_ascii=False)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _capped(items: Sequence[object]) -> list[str]:
    lines = [str(item) for item in items[:SHOWN_PROBLEMS]]
    more = len(items) - len(lines)
    return [*lines, f"... and {more} more ({len(items)} in all)."] if more else lines


def require(problems: Sequence[object]) -> None:
    """Raise a DataError with one line a problem, the first SHOWN_PROBLEMS of them, if there are any."""
    if problems:
        raise DataError("\n".join(_capped(problems)))
