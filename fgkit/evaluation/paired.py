"""Compare two models that were scored on the same rows: differences of their rates, changed rows.

Both functions take the later score second. For example:

    differences(tuned, task)["exact_match"]
    # {'difference': -0.0128, 'interval': [-0.0449, 0.0256]}
    changed_rows(tuned, task)[0]["change"]
    # 'tool lost'
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from typing import Any

from fgkit.dataset.records import Record
from fgkit.errors import FgkitError
from fgkit.record_types import CallRecord, ChangedRow, Score, ScoredRow
from fgkit.text import short

from .intervals import difference_intervals
from .scores import METRICS, count, groups_of, plain

CHANGES = ("tool lost", "match lost", "tool gained", "match gained")
SHOWN_CHANGES = 20
# How many characters of the beginning that two answers share are shown.
KEPT_ALIKE = 40


def differences(before: Score, after: Score) -> dict[str, Any]:
    """Subtract each rate of `before` from that of `after`, with 95% intervals (paired bootstrap).

    Args:
        before, after: what `score` returned for the same records in the same order; scores of
            fgkit 0.1 are accepted.
    Returns:
        {"n", "groups", each of METRICS: {"difference", "interval": [low, high]}}, as fractions:
        0.02 is two percentage points. Both are None where one of the two rates is None.
    Raises:
        FgkitError: the rows are missing or not the same.
    """
    old, new = same_rows(before, after)
    groups = groups_of(new if "group" in new[0] else old)
    (hits, totals), (later_hits, later_totals) = (
        tuple(zip(*map(count, rows), strict=True)) for rows in (old, new)
    )
    ends = difference_intervals((hits, totals), (later_hits, later_totals), groups)
    result: dict[str, Any] = {"n": len(new), "groups": len(set(groups))}
    for index, (metric, interval) in enumerate(zip(METRICS, ends, strict=True)):
        old_rate = _share(hits, totals, index)
        new_rate = _share(later_hits, later_totals, index)
        result[metric] = {
            "difference": None if old_rate is None or new_rate is None else new_rate - old_rate,
            "interval": interval and list(interval),
        }
    return result


def changed_rows(before: Score, after: Score) -> list[ChangedRow]:
    """List the rows that two models do not get equally right, those that were lost first.

    Args:
        before, after: what `score` returned for the same records in the same order.
    Returns:
        a list of {"line", "user_content", "expected", "before", "after", "change"}; `before` and
        `after` are the raw answers, `change` is one of CHANGES, which are sorted worst first.
    Raises:
        FgkitError: the rows are missing or not the same.
    """
    changes: list[ChangedRow] = []
    for old, new in zip(*same_rows(before, after), strict=True):
        tool, match = new["tool_ok"] - old["tool_ok"], new["exact"] - old["exact"]
        if tool or match:
            change = f"{'tool' if tool else 'match'} {'lost' if (tool or match) < 0 else 'gained'}"
            changes.append(
                {
                    "line": old["line"],
                    "user_content": old["user_content"],
                    "expected": old["expected"],
                    "before": old["text"],
                    "after": new["text"],
                    "change": change,
                }
            )
    return sorted(changes, key=lambda row: CHANGES.index(row["change"]))


def change_lines(changes: Sequence[ChangedRow], before: str, after: str) -> Iterator[str]:
    """Yield a line for each of the first SHOWN_CHANGES changed rows, then how many more there are.

    Long answers with a common beginning are shown from shortly before the first difference.

    Args:
        changes: from `changed_rows`.
        before, after: what to call the two models.
    """
    for row in changes[:SHOWN_CHANGES]:
        alike = max(0, len(commonprefix([row["before"], row["after"]])) - KEPT_ALIKE)
        old, new = (
            short("..." * bool(alike) + text[alike:], 120) for text in (row["before"], row["after"])
        )
        yield (
            f"  {row['change']}: line {row['line']} {short(row['user_content'])!r}: "
            f"{before} {old!r}, {after} {new!r}"
        )
    if len(changes) > SHOWN_CHANGES:
        yield f"  ... and {len(changes) - SHOWN_CHANGES} more rows changed ({len(changes)} in all)."


def same_rows(before: Score, after: Score) -> tuple[list[ScoredRow], list[ScoredRow]]:
    """Return the rows of two scores after checking that they are the same rows.

    Raises:
        FgkitError: rows are missing, or they are not the same in the same order.
    """
    old, new = before.get("rows"), after.get("rows")
    _require_same(old or [], _asked(new or []))
    return old or [], new or []


def comparable(before: Score, after: Score) -> bool:
    """Return whether two scores have their rows, and the same rows in the same order."""
    old, new = before.get("rows"), after.get("rows")
    return bool(old and new and _asked(old) == _asked(new))


def require_rows(score: Score, records: Sequence[Record]) -> None:
    """Refuse a score on other rows than these, before an hour is spent on the other score.

    Args:
        score: the score to compare with.
        records: the rows that the other model is about to be scored on.
    Raises:
        FgkitError: the rows are missing or not the same.
    """
    asked = [_question(record.user_content, plain(record.calls)) for record in records]
    _require_same(score.get("rows") or [], asked)


def _require_same(rows: Sequence[ScoredRow], asked: Sequence[str]) -> None:
    if not rows or not asked:
        raise FgkitError(
            "a score has no rows, expected what evaluation.score returned. Score the model again."
        )
    if _asked(rows) != asked:
        raise FgkitError(
            f"the two scores are of different rows ({len(rows)} and {len(asked)}), expected the "
            "same rows in the same order. Score both models on one data file."
        )


def _asked(rows: Sequence[ScoredRow]) -> list[str]:
    return [_question(row["user_content"], row["expected"]) for row in rows]


def _question(user_content: str, expected: Sequence[CallRecord]) -> str:
    return json.dumps([user_content, expected], sort_keys=True)


def _share(
    hits: Sequence[Sequence[int]], totals: Sequence[Sequence[int]], index: int
) -> float | None:
    possible = sum(row[index] for row in totals)
    return sum(row[index] for row in hits) / possible if possible else None
