"""Reads a data file of any of `formats.FORMATS` into checked records, or reports every bad line.

In the guide's format one line is one request and the call that answers it; `tool_arguments` is a
JSON text:

    {"user_content": "make it red", "tool_name": "set_color",
     "tool_arguments": "{\\"color\\": \\"red\\"}"}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fgkit.chat_types import ToolDeclaration
from fgkit.errors import DataError, FgkitError
from fgkit.text import nearest, shown
from fgkit.tools.row_tools import ToolSet, ToolSets

from .extraction import extract_records
from .formats import files as row_files
from .formats.detection import FORMATS, ParsedRow, detect, read_row
from .records import Record, asked, canonical, digest, same_text, show

SHOWN_PROBLEMS = 50


@dataclass(frozen=True)
class Problem:
    """What is wrong with one line.

    Args:
        path: the file.
        line: 1-based; an empty file is wrong in line 1.
        message: what was found, what was expected and what to do.
        rule_id: the rule of `data_report.rules` that the line breaks.
    """

    path: str
    line: int
    message: str
    rule_id: str = "D101"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Inspection:
    """Everything that one pass over a data file finds.

    Args:
        path: the file.
        records: the good rows in file order, without exact duplicates.
        problems: what makes the file unusable.
        warnings: what is dropped or odd, one a line.
        per_tool: how many rows are kept for each tool; tools of the run without rows have 0.
        held_out_lines: lines that the file itself marks for evaluation.
    """

    path: str
    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    per_tool: dict[str, int]
    held_out_lines: frozenset[int] = frozenset()


def inspect_records(
    path: str | Path, tools: list[ToolDeclaration], *, format: str = "auto"
) -> Inspection:
    """Read a data file line by line and collect every problem instead of stopping at the first.

    Args:
        path: JSON Lines or CSV in UTF-8. A byte-order mark, Windows line ends and blank lines are
            fine.
        tools: declarations from `load_tools`, for rows without tools of their own. Arguments are
            checked against their schemas; a name that a schema does not list is wrong.
        format: one of `formats.FORMATS`; "auto" looks at each row's keys, so a file may mix
            formats.
    Raises:
        DataError: the file cannot be read at all.
        FgkitError: no such format.
    """
    path = str(path)
    if format not in FORMATS:
        raise FgkitError(
            f"format is {format!r}, expected one of {', '.join(FORMATS)}{nearest(format, FORMATS)}"
        )
    inspector = _Inspector(path, tools)
    columns = row_files.is_csv(path) if format == "auto" else format == "csv"
    row_format = "guide"
    for line, value, complaints in row_files.read(path, columns=columns):
        row = None
        if not complaints:
            if format != "auto":
                row_format = format
            elif isinstance(value, dict):
                row_format = "csv" if columns else detect(value, row_format)
            row, complaints = read_row(value, row_format)
        inspector.add(line, row, complaints)
    return inspector.finish()


def read_records(
    path: str | Path, tools: list[ToolDeclaration], *, format: str = "auto"
) -> list[Record]:
    """Return the records of a data file without exact duplicates.

    Args:
        path: JSON Lines or CSV.
        tools: declarations from `load_tools`.
        format: one of `formats.FORMATS`.
    Raises:
        DataError: one line for each problem of each line, `file:line: what, found, expected,
            remedy`.
    """
    inspection = inspect_records(path, tools, format=format)
    require(inspection.problems)
    return list(inspection.records)


def split_by_marker(inspection: Inspection) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return the records to train on and those that their file marks for evaluation.

    Args:
        inspection: of the file.
    """
    marked = inspection.held_out_lines
    return (
        tuple(record for record in inspection.records if record.line not in marked),
        tuple(record for record in inspection.records if record.line in marked),
    )


def require(problems: Sequence[object]) -> None:
    """Raise a DataError with one line a problem if there are any.

    Args:
        problems: the first SHOWN_PROBLEMS of them are shown, the others are counted.
    """
    if not problems:
        return
    lines = [str(problem) for problem in problems[:SHOWN_PROBLEMS]]
    if more := len(problems) - len(lines):
        lines.append(f"... and {more} more ({len(problems)} in all).")
    raise DataError("\n".join(lines))


class _Inspector:
    """Collects the records and problems of one file, row by row."""

    def __init__(self, path: str, tools: list[ToolDeclaration]):
        self.path = path
        self.tools = tools
        self.tool_sets = ToolSets(tools)
        self.records: list[Record] = []
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        # The first record with a prompt, and the first line with a prompt and its answer.
        self.first_by_prompt: dict[bytes, Record] = {}
        self.line_by_row: dict[bytes, int] = {}
        self.held_out_lines: set[int] = set()
        # Lines from whose calls nulls were taken out.
        self.healed_lines: list[int] = []
        self.uses_run_tools = False
        self.is_empty = True

    def add(self, line: int, row: ParsedRow | None, complaints: list[str]) -> None:
        """Add one row, or what is wrong with its line."""
        self.is_empty = False
        records: list[Record] = []
        if row is not None:
            tool_set, more = self.tool_sets.of(row.tools)
            complaints = complaints + more
            if tool_set is not None:
                self.uses_run_tools |= tool_set.tools is None
                records, more, healed = extract_records(line, row, tool_set)
                complaints = complaints + more
                if healed:
                    self.healed_lines.append(line)
        self.problems += [Problem(self.path, line, complaint) for complaint in complaints]
        if row is None or tool_set is None or complaints or not records:
            return
        if row.held_out:
            self.held_out_lines.add(line)
        for record in records:
            self._keep(record, tool_set)

    def _keep(self, record: Record, tool_set: ToolSet) -> None:
        """Keep a record unless it contradicts or repeats an earlier one."""
        prompt = asked(record) + f"\0{tool_set.key}"
        row = "\0".join((prompt.strip(), canonical(record.calls), record.text))
        twin = self.first_by_prompt.setdefault(digest(same_text(prompt)), record)
        first_line = self.line_by_row.setdefault(digest(row), record.line)
        if twin is not record and _contradicts(record, twin):
            message = (
                f"contradicts line {twin.line}: {shown(record.user_content)} asks for "
                f"{show(record.calls)} here and for {show(twin.calls)} there. Keep one of them, or "
                "say the difference in the text."
            )
            self.problems.append(Problem(self.path, record.line, message, "D103"))
        elif first_line != record.line:
            message = f"is an exact duplicate of line {first_line}, which is used. Delete it."
            self.warnings.append(Problem(self.path, record.line, message, "D102"))
        else:
            self.records.append(record)

    def finish(self) -> Inspection:
        """Return what was collected."""
        if self.is_empty:
            message = "the file is empty, expected one JSON object a line. Add rows."
            self.problems.append(Problem(self.path, 1, message))
        if self.healed_lines:
            message = (
                "holds nulls that its tool does not take, as Arrow fills them in: "
                f"{len(self.healed_lines)} rows with such calls are read without the nulls of "
                "optional arguments. Export the data as text, one json.dumps a row, to silence "
                "this."
            )
            self.warnings.append(Problem(self.path, self.healed_lines[0], message, "D104"))
        per_tool: dict[str, int] = {}
        if self.uses_run_tools or not self.records:
            per_tool = {tool["function"]["name"]: 0 for tool in self.tools}
        per_tool |= Counter(
            name for record in self.records for name in {call.name for call in record.calls}
        )
        return Inspection(
            self.path,
            tuple(self.records),
            tuple(self.problems),
            tuple(self.warnings),
            per_tool,
            frozenset(self.held_out_lines),
        )


def _contradicts(record: Record, twin: Record) -> bool:
    """Whether two prompts that differ at most in case and spacing have different answers.

    Answers may differ in case if the prompts do, because a value copied from the text keeps its
    case.
    """
    answer, other = canonical(record.calls), canonical(twin.calls)
    return answer != other and (
        answer.casefold() != other.casefold() or asked(record).split() == asked(twin).split()
    )
