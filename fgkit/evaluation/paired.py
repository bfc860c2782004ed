"""Two scores of the same rows go in; what one model gains or loses against the other comes out, and in which rows.

>>> differences(tuned, task)["exact_match"]
{'difference': -0.0128, 'interval': [-0.0449, 0.0256]}
>>> changed_rows(tuned, task)[0]["change"]
'tool lost'
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from typing import Any

from fgkit.dataset.records import Record
from fgkit.errors import FgkitError
from fgkit.text import short

from .intervals import difference_intervals
from .scores import METRICS, count, groups_of, plain

CHANGES = ("tool lost", "match lost", "tool gained", "match gained")
SHOWN_CHANGES = 20
KEPT_ALIKE = 40  # characters shown of what two answers begin with


def differences(before: dict, after: dict) -> dict[str, Any]:
    """How much higher each rate of `after` is than that of `before`, with a 95% interval of the paired bootstrap.

    Args:
        before, after: what `score` returned for the same records in the same order; scores of fgkit 0.1 will do.
    Returns:
        {"n", "groups", each of METRICS: {"difference", "interval": [low, high]}}, as shares: 0.02 is two points. Both
        are None where one of the two rates is of nothing.
    Raises:
        FgkitError: the rows are missing or not the same.
    """
    old, new = same_rows(before, after)
    groups = groups_of(new if "group" in new[0] else old)
    (hits, totals), (later_hits, later_totals) = (
        tuple(zip(*map(count, rows), strict=True)) for rows in (old, new)
    )
    found = difference_intervals((hits, totals), (later_hits, later_totals), groups)
    result: dict[str, Any] = {"n": len(new), "groups": len(set(groups))}
    for place, (metric, interval) in enumerate(zip(METRICS, found, strict=True)):
        rates = [
            _share(part, whole, place)
            for part, whole in ((hits, totals), (later_hits, later_totals))
        ]
        result[metric] = {
            "difference": None if None in rates else rates[1] - rates[0],
            "interval": interval and list(interval),
        }
    return result


def changed_rows(before: dict, after: dict) -> list[dict[str, Any]]:
    """The rows that two models of the same data do not get equally right, newly wrong ones first.

    Args:
        before, after: what `score` returned for the same records in the same order.
    Returns:
        {"line", "user_content", "expected", "before", "after", "change"} each; `before` and `after` are the raw
        answers, `change` is one of CHANGES, the worst first.
    Raises:
        FgkitError: the rows are missing or not the same.
    """
    changes = []
    for one, other in zip(*same_rows(before, after), strict=True):
        tool, match = other["tool_ok"] - one["tool_ok"], other["exact"] - one["exact"]
        if tool or match:
            change = f"{'tool' if tool else 'match'} {'lost' if (tool or match) < 0 else 'gained'}"
            changes.append(
                {
                    "line": one["line"],
                    "user_content": one["user_content"],
                    "expected": one["expected"],
                    "before": one["text"],
                    "after": other["text"],
                    "change": change,
                }
            )
    return sorted(changes, key=lambda row: CHANGES.index(row["change"]))


def change_lines(changes: Sequence[dict], before: str, after: str) -> Iterator[str]:
    """One line a changed row, the first SHOWN_CHANGES of them, then how many more there are.

    Long answers that begin alike are shown from shortly before the place where they part.

    Args:
        changes: from `changed_rows`.
        before, after: what to call the two models.
    """
    for row in changes[:SHOWN_CHANGES]:
        alike = max(0, len(commonprefix([row["before"], row["after"]])) - KEPT_ALIKE)
        old, new = (
            short("..." * bool(alike) + row[side][alike:], 120) for side in ("before", "after")
        )
        yield (
            f"  {row['change']}: line {row['line']} {short(row['user_content'])!r}: {before} {old!r}, "
            f"{after} {new!r}"
        )
    if len(changes) > SHOWN_CHANGES:
        yield f"  ... and {len(changes) - SHOWN_CHANGES} more rows changed ({len(changes)} in all)."


def same_rows(before: dict, after: dict) -> tuple[list[dict], list[dict]]:
    """The rows of two scores, refused (FgkitError) where they are missing or not the same in the same order."""
    old, new = before.get("rows"), after.get("rows")
    if not old or not new:
        raise FgkitError(
            "a score has no rows, expected what evaluation.score returned. Score the model again."
        )
    if _asked(old) != _asked(new):
        raise FgkitError(
            f"the two scores are of different rows ({len(old)} and {len(new)}), expected the same rows in "
            "the same order. Score both models on one data file."
        )
    return old, new


def comparable(before: dict, after: dict) -> bool:
    """Whether two scores have their rows, and the same ones in the same order."""
    return bool(before.get("rows") and after.get("rows")) and _asked(before["rows"]) == _asked(
        after["rows"]
    )


def require_rows(score: dict, records: Sequence[Record]) -> None:
    """Refuse (FgkitError) a score that is not of these records, before an hour is spent on the other one."""
    same_rows(
        score,
        {
            "rows": [
                {"user_content": record.user_content, "expected": plain(record.calls)}
                for record in records
            ]
        },
    )


def _asked(rows: Sequence[dict]) -> list[str]:
    return [json.dumps([row["user_content"], row["expected"]], sort_keys=True) for row in rows]


def _share(
    hits: Sequence[Sequence[int]], totals: Sequence[Sequence[int]], place: int
) -> float | None:
    whole = sum(row[place] for row in totals)
    return sum(row[place] for row in hits) / whole if whole else None
