"""Score a model's answers: rates with 95% intervals, overall and by tool, argument and row type.

The metrics are fractions from 0 to 1; docs/scores.md explains each of them with an example:

- parse_rate: answers that `calls.parse` accepts and that hold calls exactly where calls are
  expected;
- tool_accuracy: answers that call the expected tools in the expected order;
- exact_match: answers whose tools and arguments are all as expected. Types count (1, 1.0 and true
  all differ), the order of an object's keys does not;
- argument_precision, argument_recall: arguments that are right, out of the given and out of the
  expected arguments.

Where plain text is expected, tool_accuracy and exact_match only measure that no call was made; the
text itself is not compared.

A score also holds the same rates by tool. For example:

    score(records, answers)["per_tool"]["show_alert"]
    # {'n': 50, 'parse_rate': 1.0, 'tool_accuracy': 1.0, 'exact_match': 0.86, ...}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from fgkit import schema
from fgkit.calls import Call, parse
from fgkit.dataset.records import KINDS, NO_CALL, Record, canonical
from fgkit.dataset.splits import group_of
from fgkit.errors import CallSyntaxError, FgkitError
from fgkit.files import read_json
from fgkit.record_types import CallRecord, Rates, Score, ScoredRow, ScoredRows

from .intervals import rate_intervals
from .matching import argument_table, arguments, confusion

METRICS = {
    "parse_rate": "parse rate",
    "tool_accuracy": "tool accuracy",
    "exact_match": "exact match",
    "argument_precision": "argument precision",
    "argument_recall": "argument recall",
}


def score(records: Sequence[Record], texts: Sequence[str], *, end_tag_cut: bool = False) -> Score:
    """Compare answers with what the records expect.

    Args:
        records: the rows that the model was asked.
        texts: the raw answer to each row, in the same order, with control tokens.
        end_tag_cut: accept one missing final `<end_function_call>`, for runtimes that stop at it.
    Returns:
        what `measure` returns, and "rows": a list of {"line", "group", "user_content", "expected",
        "text", "calls", "error", "tool_ok", "exact"}. `group` is the number of the row's paraphrase
        group. Where the answer does not parse, `calls` is None and `error` is the reason. Plain
        text where a call is expected does not count in `parse_rate`, because it does not show
        whether the model knows the format.
    Raises:
        FgkitError: there are no rows, or the number of answers differs from the number of rows.
    """
    if not records or len(records) != len(texts):
        raise FgkitError(
            f"nothing to score: found {len(records)} rows and {len(texts)} answers, expected one "
            "answer for each row and at least one row. Check the data file and the generator."
        )
    groups: dict[str, int] = {}
    rows = [
        _row(record, groups.setdefault(group_of(record), len(groups)), text, end_tag_cut)
        for record, text in zip(records, texts, strict=True)
    ]
    return {**measure(rows), "rows": rows}


def measure(rows: Sequence[ScoredRow]) -> Score:
    """Compute all metrics of scored rows.

    Args:
        rows: the rows of a score; rows of fgkit 0.1 have no group, so each is a group of its own.
    Returns:
        {"n", "groups", each of METRICS, "intervals": {metric: [low, high]}, "per_tool": {tool: the
        same keys}, "per_kind": {"call" | "parallel" | "no_call": the same keys}, "per_argument",
        "confusion"}; for the last two see `matching`. A row counts for the first tool that it
        expects. A rate with a denominator of 0, such as the precision of arguments where none was
        given, is None, and so is its interval.
    """
    tools: defaultdict[str, list[ScoredRow]] = defaultdict(list)
    kinds: defaultdict[str, list[ScoredRow]] = defaultdict(list)
    for row in rows:
        tools[row["expected"][0]["name"] if row["expected"] else NO_CALL].append(row)
        kinds[KINDS[min(len(row["expected"]), 2) - 1]].append(row)
    return {
        **_rates(rows),
        "per_tool": {tool: _rates(tools[tool]) for tool in sorted(tools)},
        "per_kind": {kind: _rates(kinds[kind]) for kind in KINDS if kind in kinds},
        "per_argument": argument_table(rows),
        "confusion": confusion(rows),
    }


def count(row: ScoredRow) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return numerator and denominator of each of METRICS for one row, in their order."""
    compared = list(arguments(row["expected"], row["calls"] or ()))
    parsed = row["calls"] is not None and bool(row["calls"]) == bool(row["expected"])
    wanted = sum(argument.expected for argument in compared)
    given = sum(argument.given for argument in compared)
    right = sum(argument.right for argument in compared)
    return (parsed, row["tool_ok"], row["exact"], right, right), (1, 1, 1, given, wanted)


def groups_of(rows: Sequence[ScoredRow]) -> list[int]:
    """Return the paraphrase group of each row; a row of fgkit 0.1 is a group of its own."""
    return [row.get("group", -1 - index) for index, row in enumerate(rows)]


def completed(score: Score) -> Score:
    """Add the metrics that a score of fgkit 0.1 lacks, if the score has its rows."""
    rows = score.get("rows")
    return score if "intervals" in score or not rows else {**score, **measure(rows)}


def without_rows(score: Score) -> Score:
    """Copy a score without its rows, which are large and contain what users said."""
    return cast(Score, {key: value for key, value in score.items() if key != "rows"})


def read_score(path: str | Path) -> Score:
    """Read a score that `evaluate --json` of this or an older fgkit wrote.

    Args:
        path: the JSON file.
    Raises:
        FgkitError: the file is not readable, has no scored rows, or has fields of wrong types,
            which are all listed.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content.get("rows"):
        remedy = "Score it again."
        if isinstance(content, dict) and "tuned" in content:
            remedy = "It is a run's summary: score the model by itself."
        raise FgkitError(
            f"{path}: found no scored rows, expected what `python -m fgkit evaluate ... --json` "
            f"wrote. {remedy}"
        )
    remedy = "Expected what `python -m fgkit evaluate ... --json` wrote. Score the model again."
    if "intervals" not in content:
        # fgkit 0.1 wrote fewer metrics; all of them can be computed from the rows.
        scored = schema.check(content, ScoredRows, path, remedy=remedy)
        content = content | measure(scored["rows"])
    return schema.check(content, Score, path, remedy=remedy)


def _row(record: Record, group: int, text: str, end_tag_cut: bool) -> ScoredRow:
    calls, error = None, None
    try:
        calls = parse(text, end_tag_cut=end_tag_cut)
    except CallSyntaxError as problem:
        error = str(problem)
    return {
        "line": record.line,
        "group": group,
        "user_content": record.user_content,
        "expected": plain(record.calls),
        "text": text,
        "calls": None if calls is None else plain(calls),
        "error": error,
        "tool_ok": calls is not None
        and [call.name for call in calls] == [call.name for call in record.calls],
        "exact": calls is not None and canonical(calls) == canonical(record.calls),
    }


def _rates(rows: Sequence[ScoredRow]) -> Rates:
    hits, totals = zip(*map(count, rows), strict=True)
    groups = groups_of(rows)
    rates = [
        sum(right) / sum(possible) if sum(possible) else None
        for right, possible in zip(zip(*hits, strict=True), zip(*totals, strict=True), strict=True)
    ]
    ends = rate_intervals(hits, totals, groups)
    # The keys are those of METRICS, which mypy cannot see.
    return cast(
        Rates,
        {
            "n": len(rows),
            "groups": len(set(groups)),
            **dict(zip(METRICS, rates, strict=True)),
            "intervals": {
                metric: interval and list(interval)
                for metric, interval in zip(METRICS, ends, strict=True)
            },
        },
    )


def plain(calls: Iterable[Call]) -> list[CallRecord]:
    """Convert calls to dictionaries that can be written as JSON."""
    return [{"name": call.name, "arguments": call.arguments} for call in calls]
