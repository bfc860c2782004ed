"""Counts rows by tool and by kind of answer, and argument values, and reports what is unbalanced.

Example:
    count(records)["per_tool"]["show_alert"]
    # {'call': 95, 'parallel': 0, 'no_call': 0}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from fgkit.chat_types import JsonValue, ToolDeclaration
from fgkit.dataset.records import KINDS, NO_CALL, Record
from fgkit.text import short, shown

from .findings import Findings, quoted
from .similarity import key

# With fewer rows a tool a model has little to learn from.
FEW_ROWS = 10
# Shares of an argument's values mean something from this many values on.
ENOUGH_VALUES = 20
# Above this share of one value a model may learn the value instead of reading the request.
DOMINANT_SHARE = 0.8
# A value that occurs more often is a choice or a default, and need not be in the request.
RARE_VALUE_ROWS = 2
# From this share of values that are copied from the request on, the others are worth a look.
COPIED_SHARE = 0.8
# An argument with more different values is open (names, texts), not a choice.
CHOICE_VALUES = 20
# With more rows a phrasing a file has few phrasings.
ROWS_A_PHRASING = 20


class RowCounts(TypedDict):
    """How many rows there are in all, of each kind, and of each kind for each tool."""

    rows: int
    call: int
    parallel: int
    no_call: int
    per_tool: dict[str, dict[str, int]]


@dataclass
class ArgumentValues:
    """The values of one argument of one tool.

    Args:
        values: how often each occurs, by its `key`.
        first: text and line of the first `CHOICE_VALUES` different values.
        copied: how many texts are in the request, in any case.
        texts: how many values are texts.
        not_copied: (rule, digest, line, value and request) of the texts that are not in the
            request, or in another case.
    """

    values: Counter[int] = field(default_factory=Counter)
    first: dict[int, tuple[str, int]] = field(default_factory=dict)
    copied: int = 0
    texts: int = 0
    not_copied: list[tuple[str, int, int, str]] = field(default_factory=list)

    def add(self, value: JsonValue, record: Record) -> None:
        """Count one value.

        Args:
            value: what the row's call gives for the argument.
            record: the row.
        """
        text = _text_of(value)
        digest = key(text)
        self.values[digest] += 1
        if len(self.values) <= CHOICE_VALUES:
            self.first.setdefault(digest, (short(text), record.line))
        if not isinstance(value, str) or not value:
            return
        self.texts += 1
        request = record.user_content
        if value in request:
            self.copied += 1
            return
        in_other_case = value.casefold() in request.casefold()
        self.copied += in_other_case
        if self.values[digest] <= RARE_VALUE_ROWS:
            rule = "D262" if in_other_case else "D261"
            pair = f"{quoted(value)} in {quoted(request)}"
            self.not_copied.append((rule, digest, record.line, pair))


def values_of(records: Sequence[Record]) -> dict[tuple[str, str], ArgumentValues]:
    """Return the values of each argument by (tool, argument).

    Args:
        records: the rows of one side.
    """
    arguments: dict[tuple[str, str], ArgumentValues] = {}
    for record in records:
        for call in record.calls:
            for name, value in call.arguments.items():
                arguments.setdefault((call.name, name), ArgumentValues()).add(value, record)
    return arguments


def count(records: Sequence[Record], tools: Sequence[ToolDeclaration] = ()) -> RowCounts:
    """Count rows of each kind, in all and for each tool; a row counts for each tool it calls.

    Args:
        records: the rows of one side.
        tools: tools that have a count even if no row calls them.
    """
    kinds: Counter[str] = Counter()
    per_tool: dict[str, Counter[str]] = {tool["function"]["name"]: Counter() for tool in tools}
    for record in records:
        kinds[record.kind] += 1
        for name in {call.name for call in record.calls} or {NO_CALL}:
            per_tool.setdefault(name, Counter())[record.kind] += 1
    return {
        "rows": len(records),
        "call": kinds["call"],
        "parallel": kinds["parallel"],
        "no_call": kinds["no_call"],
        "per_tool": {
            name: {kind: counts[kind] for kind in KINDS} for name, counts in per_tool.items()
        },
    }


def check_kinds(
    findings: Findings, path: str, records: Sequence[Record], counts: RowCounts, phrasings: int
) -> None:
    """Report plain answers that are missing or too many, parallel calls, and few phrasings.

    Args:
        findings: collects.
        path, records: the training file.
        counts: from `count`.
        phrasings: how many phrasings the rows have.
    """
    rows = counts["rows"]
    if not rows:
        return
    if not counts["no_call"]:
        findings.add("D225", path, 1, f"calls in all {rows} rows")
    elif counts["no_call"] > rows / 2:
        findings.add("D226", path, 1, f"{counts['no_call']} of {rows} rows without one")
    if counts["parallel"]:
        line = next(record.line for record in records if record.kind == "parallel")
        findings.add(
            "D227",
            path,
            line,
            f"several in {counts['parallel']} of {rows} rows, the first on this line",
        )
    if rows > 2 * ROWS_A_PHRASING and rows > ROWS_A_PHRASING * phrasings:
        findings.add("D205", path, 1, f"{phrasings} in {rows} rows", limit=ROWS_A_PHRASING)


def check_tools(
    findings: Findings,
    path: str,
    tools: Sequence[ToolDeclaration],
    counts: RowCounts,
    arguments: dict[tuple[str, str], ArgumentValues],
) -> None:
    """Report tools with few rows or none, and enum values without rows.

    Args:
        findings: collects.
        path: the training file.
        tools: the run's tools.
        counts: from `count`.
        arguments: from `values_of`.
    """
    for tool in tools:
        name = tool["function"]["name"]
        rows = sum(counts["per_tool"].get(name, {}).values())
        if not rows:
            findings.add("D221", path, 1, f"none for {shown(name)}", limit=FEW_ROWS)
            continue
        if rows < FEW_ROWS:
            findings.add("D222", path, 1, f"{rows} for {shown(name)}", limit=FEW_ROWS)
        _check_enums(findings, path, tool, arguments)


def _check_enums(
    findings: Findings,
    path: str,
    tool: ToolDeclaration,
    arguments: dict[tuple[str, str], ArgumentValues],
) -> None:
    """Report the enum values of a tool that no row has, for arguments that rows have."""
    name = tool["function"]["name"]
    properties = (tool["function"].get("parameters") or {}).get("properties") or {}
    for argument, schema in properties.items():
        enum = schema.get("enum") if isinstance(schema, dict) else None
        if not isinstance(enum, list) or (name, argument) not in arguments:
            continue
        seen = arguments[name, argument].values
        missing = [value for value in enum if key(_text_of(value)) not in seen]
        if missing:
            values = short(", ".join(map(shown, missing)), 200)
            findings.add("D224", path, 1, f"none for {values} of {name}.{argument}")


def _text_of(value: JsonValue) -> str:
    """The text by which values are compared: the value itself, or its JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def check_values(
    findings: Findings, path: str, arguments: dict[tuple[str, str], ArgumentValues]
) -> None:
    """Report values that dominate an argument, and rare ones that are not copied as others are.

    Args:
        findings: collects.
        path: the file.
        arguments: from `values_of`.
    """
    for (tool, name), argument in arguments.items():
        rows = argument.values.total()
        value, most = argument.values.most_common(1)[0]
        if rows >= ENOUGH_VALUES and most > DOMINANT_SHARE * rows and value in argument.first:
            text, line = argument.first[value]
            findings.add(
                "D223",
                path,
                line,
                f"{shown(text)} in {most} of {rows} values of {tool}.{name}",
                limit=round(100 * DOMINANT_SHARE),
            )
        if argument.texts >= ENOUGH_VALUES and argument.copied >= COPIED_SHARE * argument.texts:
            share = 100 * argument.copied // argument.texts
            for rule, digest, line, pair in argument.not_copied:
                if argument.values[digest] <= RARE_VALUE_ROWS:
                    findings.add(rule, path, line, f"{tool}.{name} is {pair}", share=share)


def check_shared_values(
    findings: Findings,
    path: str,
    held_out: dict[tuple[str, str], ArgumentValues],
    trained: dict[tuple[str, str], ArgumentValues],
) -> None:
    """Report open text arguments most of whose held-out values are also trained on.

    Args:
        findings: collects.
        path: the held-out file.
        held_out, trained: from `values_of`.
    """
    for tool_and_name, argument in held_out.items():
        known = trained.get(tool_and_name, ArgumentValues())
        is_choice = len(known.values) <= CHOICE_VALUES
        if not argument.texts or is_choice or len(argument.values) < 2:
            continue
        shared = sum(value in known.values for value in argument.values)
        if 2 * shared > len(argument.values):
            findings.add(
                "D215",
                path,
                1,
                f"{shared} of {len(argument.values)} different values of {'.'.join(tool_and_name)}",
            )
