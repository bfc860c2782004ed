"""What rows teach by their numbers: rows a tool, kinds of answer, values of an argument, values copied from the text.

In: the rows of one file and the run's tools. Out: findings, and the counts that the report shows.

>>> count(records)["per_tool"]["show_alert"]
{'call': 95, 'parallel': 0, 'no_call': 0}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fgkit.dataset.records import KINDS, NO_CALL, Record
from fgkit.text import short, shown

from .rules import Findings, quoted
from .similarity import key

FEW_ROWS = 10  # rows a tool below which a model has little to learn from
ENOUGH = 20  # rows of an argument from which shares of them mean something
DOMINATES = 0.8  # share of one value above which an argument is said to be learned by heart
SELDOM = 2  # rows up to which a value is one of its own; what comes more often is a choice or a default, not a copy
COPIED = 0.8  # share of copied values from which the others are worth a look
OPEN = 20  # different values from which an argument is open (names, texts) and not a choice
ROWS_A_PHRASING = 20


@dataclass
class Argument:
    """The values of one argument of one tool.

    Args:
        values: how often each occurs, by its `key`.
        first: text and line of each value of an argument that is not open.
        copied: texts that stand in the request, but for case.
        texts: values that are texts.
        others: (rule, digest, line, what was found) of the texts that do not stand in the request as they are.
    """

    values: Counter[int] = field(default_factory=Counter)
    first: dict[int, tuple[str, int]] = field(default_factory=dict)
    copied: int = 0
    texts: int = 0
    others: list[tuple[str, int, int, str]] = field(default_factory=list)

    def add(self, value: Any, record: Record) -> None:
        """Count one value of a row."""
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        digest = key(text)
        self.values[digest] += 1
        if len(self.values) <= OPEN:
            self.first.setdefault(digest, (short(text), record.line))
        if not isinstance(value, str) or not value:
            return
        self.texts += 1
        said = record.user_content
        if value in said:
            self.copied += 1
            return
        alike = value.casefold() in said.casefold()
        self.copied += alike
        if self.values[digest] <= SELDOM:
            self.others.append(
                (
                    "D262" if alike else "D261",
                    digest,
                    record.line,
                    f"{quoted(value)} in {quoted(said)}",
                )
            )


def values_of(records: Sequence[Record]) -> dict[tuple[str, str], Argument]:
    """The values of each argument by (tool, argument)."""
    found: dict[tuple[str, str], Argument] = {}
    for record in records:
        for call in record.calls:
            for name, value in call.arguments.items():
                found.setdefault((call.name, name), Argument()).add(value, record)
    return found


def count(records: Sequence[Record], tools: Sequence[dict] = ()) -> dict[str, Any]:
    """Rows of each kind, in all and for each tool (a row counts for each tool it calls), also where there are none."""
    kinds: Counter[str] = Counter()
    per_tool: dict[str, Counter[str]] = {tool["function"]["name"]: Counter() for tool in tools}
    for record in records:
        kinds[record.kind] += 1
        for name in {call.name for call in record.calls} or {NO_CALL}:
            per_tool.setdefault(name, Counter())[record.kind] += 1
    return {
        "rows": len(records),
        **{kind: kinds[kind] for kind in KINDS},
        "per_tool": {
            name: {kind: counts[kind] for kind in KINDS} for name, counts in per_tool.items()
        },
    }


def check_kinds(
    findings: Findings, path: str, records: Sequence[Record], counts: dict[str, Any], groups: int
) -> None:
    """Note plain answers that are missing or too many, several calls in one answer, few phrasings.

    Args:
        findings: collects.
        path, records: the training file.
        counts: from `count`.
        groups: how many phrasings the rows have.
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
    if rows > 2 * ROWS_A_PHRASING and rows > ROWS_A_PHRASING * groups:
        findings.add("D205", path, 1, f"{groups} in {rows} rows", limit=ROWS_A_PHRASING)


def check_tools(
    findings: Findings,
    path: str,
    tools: Sequence[dict],
    counts: dict[str, Any],
    arguments: dict[tuple[str, str], Argument],
) -> None:
    """Note tools and enum values with few rows or none.

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
        for argument, schema in (
            (tool["function"].get("parameters") or {}).get("properties") or {}
        ).items():
            wanted = schema.get("enum") if isinstance(schema, dict) else None
            if isinstance(wanted, list) and (name, argument) in arguments:
                seen = arguments[name, argument].values
                missing = [
                    value
                    for value in wanted
                    if key(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
                    not in seen
                ]
                if missing:
                    findings.add(
                        "D224",
                        path,
                        1,
                        f"none for {short(', '.join(map(shown, missing)), 200)} of "
                        f"{name}.{argument}",
                    )


def check_values(findings: Findings, path: str, arguments: dict[tuple[str, str], Argument]) -> None:
    """Note arguments with one value nearly always, and values that are not copied where nearly all others are."""
    for (tool, name), argument in arguments.items():
        rows = argument.values.total()
        value, most = argument.values.most_common(1)[0]
        if rows >= ENOUGH and most > DOMINATES * rows and value in argument.first:
            text, line = argument.first[value]
            findings.add(
                "D223",
                path,
                line,
                f"{shown(text)} in {most} of {rows} values of {tool}.{name}",
                limit=round(100 * DOMINATES),
            )
        if argument.texts >= ENOUGH and argument.copied >= COPIED * argument.texts:
            share = 100 * argument.copied // argument.texts
            for rule, digest, line, found in argument.others:
                if argument.values[digest] <= SELDOM:
                    findings.add(rule, path, line, f"{tool}.{name} is {found}", share=share)


def check_shared_values(
    findings: Findings,
    path: str,
    held_out: dict[tuple[str, str], Argument],
    trained: dict[tuple[str, str], Argument],
) -> None:
    """Note open arguments (texts, not numbers or lists of choices) of which most held-out values are trained on."""
    for place, argument in held_out.items():
        known = trained.get(place, Argument())
        if not argument.texts or len(known.values) <= OPEN or len(argument.values) < 2:
            continue
        shared = sum(value in known.values for value in argument.values)
        if 2 * shared > len(argument.values):
            findings.add(
                "D215",
                path,
                1,
                f"{shared} of {len(argument.values)} different values of {'.'.join(place)}",
            )
