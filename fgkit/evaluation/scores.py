"""Records and any model's answers go in; rates with 95% intervals come out, overall, per tool, argument and kind.

parse_rate: share of answers that `calls.parse` accepts (a plain text without calls is accepted, but has the wrong
tool); tool_accuracy: share whose called names are the expected ones, in order; exact_match: names and typed arguments,
where key order does not count and 1, 1.0 and true all differ. Where plain text is expected both say whether no call was
made, whatever the text. argument_precision and argument_recall: share of the given and of the expected arguments that
are right. Rates run from 0 to 1; docs/scores.md works each one out.

>>> score(records, answers)["per_tool"]["show_alert"]
{'n': 50, 'parse_rate': 1.0, 'tool_accuracy': 1.0, 'exact_match': 0.86, 'argument_precision': 0.93, ...}
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
        records: the rows asked.
        texts: the raw answer to each row, same order, control tokens kept.
        end_tag_cut: accept one missing final `<end_function_call>`, for runtimes that stop at it.
    Returns:
        what `measure` gives and "rows": [{"line", "group", "user_content", "expected", "text", "calls", "error",
        "tool_ok", "exact"}]; `group` numbers the paraphrase groups; `calls` is None, and `error` says why, where the
        answer does not parse. An answer without a call is parsed only where none is expected: plain text says nothing
        about the format.
    Raises:
        FgkitError: there is nothing to score, or not one answer for each row.
    """
    if not records or len(records) != len(texts):
        raise FgkitError(
            f"nothing to score: found {len(records)} rows and {len(texts)} answers, expected one answer "
            "for each row and at least one row. Check the data file and the generator."
        )
    groups: dict[str, int] = {}
    rows = [
        _row(record, groups.setdefault(group_of(record), len(groups)), text, end_tag_cut)
        for record, text in zip(records, texts, strict=True)
    ]
    return {**measure(rows), "rows": rows}


def measure(rows: Sequence[ScoredRow]) -> Score:
    """All figures of scored rows.

    Args:
        rows: as in a score; those of fgkit 0.1 will do, each is a group of its own then.
    Returns:
        {"n", "groups", each of METRICS, "intervals": {metric: [low, high]}, "per_tool": {tool: {"n", "groups", METRICS,
        "intervals"}}, "per_kind": {"call" | "parallel" | "no_call": the same}, "per_argument": see
        `matching.argument_table`, "confusion": see `matching.confusion`}; a row counts for the first tool it expects. A
        rate of nothing, such as the precision of arguments where none was given, and its interval are None.
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
    """Count one row: numerators and denominators of the METRICS, in their order."""
    compared = list(arguments(row["expected"], row["calls"] or ()))
    parsed = row["calls"] is not None and bool(row["calls"]) == bool(row["expected"])
    wanted = sum(argument.expected for argument in compared)
    given = sum(argument.given for argument in compared)
    right = sum(argument.right for argument in compared)
    return (parsed, row["tool_ok"], row["exact"], right, right), (1, 1, 1, given, wanted)


def groups_of(rows: Sequence[ScoredRow]) -> list[int]:
    """Give the paraphrase group of each row; a row without one, from fgkit 0.1, is a group of its own."""
    return [row.get("group", -1 - index) for index, row in enumerate(rows)]


def completed(score: Score) -> Score:
    """Add the figures of `measure` that a score of fgkit 0.1 lacks, if it has its rows."""
    rows = score.get("rows")
    return score if "intervals" in score or not rows else {**score, **measure(rows)}


def without_rows(score: Score) -> Score:
    """Copy a score without its rows, which are large and hold what users said."""
    return cast(Score, {key: value for key, value in score.items() if key != "rows"})


def read_score(path: str | Path) -> Score:
    """Read the score that `evaluate --json` wrote, of this fgkit or an older one.

    Args:
        path: the file.
    Raises:
        FgkitError: it is no such file, holds no scored rows, or has fields of wrong types; every one is named.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content.get("rows"):
        remedy = "Score it again."
        if isinstance(content, dict) and "tuned" in content:
            remedy = "It is a run's summary: score the model by itself."
        raise FgkitError(
            f"{path}: found no scored rows, expected what `python -m fgkit evaluate ... --json` wrote. "
            f"{remedy}"
        )
    remedy = "Expected what `python -m fgkit evaluate ... --json` wrote. Score the model again."
    if "intervals" not in content:
        # fgkit 0.1 wrote fewer figures; all of them follow from the rows.
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
    """Convert calls to what JSON takes."""
    return [{"name": call.name, "arguments": call.arguments} for call in calls]
