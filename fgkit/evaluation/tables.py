"""Markdown tables of named scores: rates with their intervals, differences, arguments, mistakes.

For example:

    print(compare({"tuned": tuned, "task": task}))
    # |               |          tuned |           task |
    # | ------------- | -------------: | -------------: |
    # | exact match   | 86.5% (80–92)  | 85.3% (79–91)  |

A rate is followed by its 95% interval, whose ends are rounded outwards to full percentages; `–`
marks what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import ceil, floor
from typing import Any, Literal

from fgkit.dataset.records import KIND_LABELS, KINDS, NO_CALL
from fgkit.markdown_text import code, plain
from fgkit.record_types import Rates, Score
from fgkit.tables import markdown

from .matching import NOT_PARSED
from .paired import changed_rows, comparable, differences
from .scores import METRICS

Part = Literal["per_kind", "per_style", "per_tool"]
PARTS: tuple[Part, ...] = ("per_kind", "per_style", "per_tool")
NamedScores = Mapping[str, Score]
SHOWN_TOOLS = 20
SHOWN_ARGUMENTS = 40
SHOWN_MISTAKES = 20


def compare(named_scores: NamedScores) -> str:
    """Tabulate scores side by side, with the rates of each row type and each tool.

    Args:
        named_scores: the results of `score`, by the name to show, such as base, tuned and task.
    """
    table = [["", *named_scores], ["rows", *(str(score["n"]) for score in named_scores.values())]]
    for metric, label in METRICS.items():
        table.append([label, *(rate(score, metric) for score in named_scores.values())])
    for part, name, n in parts(named_scores):
        label = {
            "per_kind": KIND_LABELS.get(name) or plain(name),
            "per_style": f"style {code(name)}",
        }.get(part) or code(name)
        columns = [part_of(score, part, name) for score in named_scores.values()]
        if (part, name) == ("per_kind", "no_call"):
            # Where no call is expected, both metrics are equal: the rate of rows without a call.
            table.append(
                [
                    f"{label} ({n} rows): accuracy",
                    *(rate(column, "exact_match") for column in columns),
                ]
            )
            continue
        table += [
            [
                f"{label} ({n} rows): {METRICS[metric]}",
                *(rate(column, metric) for column in columns),
            ]
            for metric in ("tool_accuracy", "exact_match")
        ]
    return markdown(table)


def compare_pairs(named_scores: NamedScores) -> str:
    """Tabulate the gain of each score over the previous one, with intervals of the differences.

    Args:
        named_scores: as for `compare`, from the first model to the last. Two neighbours that were
            scored on different rows are left out, as are scores that were stored without rows.
    Returns:
        the table, in percentage points; "" where no two neighbours can be compared.
    """
    columns = {
        f"{later} - {name}": (differences(before, after), changed_rows(before, after))
        for (name, before), (later, after) in pairwise(named_scores.items())
        if comparable(before, after)
    }
    if not columns:
        return ""
    table = [["points gained", *columns]]
    for metric, label in METRICS.items():
        table.append([label, *(_gain(difference[metric]) for difference, _ in columns.values())])
    for change in ("lost", "gained"):
        table.append(
            [
                f"rows {change}",
                *(
                    str(sum(row["change"].endswith(change) for row in rows))
                    for _, rows in columns.values()
                ),
            ]
        )
    return markdown(table)


def compare_arguments(named_scores: NamedScores) -> str:
    """Tabulate recall and precision of each argument of each tool under each score.

    Args:
        named_scores: as for `compare`; only the SHOWN_ARGUMENTS arguments that are expected most
            often are shown.
    Returns:
        the table; "" where no score has counts of its arguments.
    """
    sizes: dict[tuple[str, str], int] = {}
    for score in named_scores.values():
        for tool, arguments in score.get("per_argument", {}).items():
            for name, counts in arguments.items():
                sizes[tool, name] = max(counts["expected"], sizes.get((tool, name), 0))
    kept = sorted(sorted(sizes, key=lambda key: -sizes[key])[:SHOWN_ARGUMENTS])
    table = [
        ["tool", "argument", "expected", *(f"{name}: recall / precision" for name in named_scores)]
    ]
    for tool, name in kept:
        columns = [
            score.get("per_argument", {}).get(tool, {}).get(name) for score in named_scores.values()
        ]
        table.append(
            [
                code(tool),
                code(name),
                str(sizes[tool, name]),
                *(
                    f"{_percent(counts['recall'] if counts else None)} / "
                    f"{_percent(counts['precision'] if counts else None)}"
                    for counts in columns
                ),
            ]
        )
    return markdown(table, left=2) if kept else ""


def mistakes(score: Score) -> str:
    """Tabulate which wrong tools were called for which expected tools, most frequent first.

    Args:
        score: what `score` returned.
    Returns:
        the table; "" where every call was of the expected tool.
    """
    wrong = [
        (count, expected, called)
        for expected, row in score.get("confusion", {}).items()
        for called, count in row.items()
        if called != expected
    ]
    wrong.sort(key=lambda mistake: -mistake[0])
    table = [["expected", "called", "times"]]
    for count, *pair in wrong[:SHOWN_MISTAKES]:
        table.append(
            [*(tool if tool in (NO_CALL, NOT_PARSED) else code(tool) for tool in pair), str(count)]
        )
    if len(wrong) > SHOWN_MISTAKES:
        rest = wrong[SHOWN_MISTAKES:]
        table.append([f"and {len(rest)} more pairs", "", str(sum(count for count, *_ in rest))])
    return markdown(table, left=2) if wrong else ""


def parts(named_scores: NamedScores) -> list[tuple[Part, str, int]]:
    """List the row types, styles and tools whose rates are shown in lines of their own.

    Row types are listed where there are several; of the tools, the SHOWN_TOOLS with most rows.

    Returns:
        (part of a score, name in that part, number of rows) for each line.
    """
    sizes: dict[tuple[Part, str], int] = {}
    for part in PARTS:
        for score in named_scores.values():
            # Scores of fgkit 0.1 have no kinds.
            for name, rates in score.get(part, {}).items():
                sizes[part, name] = max(rates["n"], sizes.get((part, name), 0))
    several = sum(part == "per_kind" for part, _ in sizes) > 1
    hidden: set[tuple[Part, str]]
    hidden = {("per_tool", NO_CALL)} if several else {("per_kind", kind) for kind in KINDS}
    tools = sorted((key for key in sizes if key[0] == "per_tool"), key=lambda key: -sizes[key])
    hidden |= {*tools[SHOWN_TOOLS:]}
    return [(part, name, n) for (part, name), n in sizes.items() if (part, name) not in hidden]


def part_of(score: Score, part: Part, name: str) -> Rates | None:
    """Return the rates of one tool, row type or style; None where the score has none."""
    return score.get(part, {}).get(name)


def rate(rates: Rates | None, metric: str) -> str:
    """Format the rate of a metric with its interval, as in `86.5% (80–92)`.

    Args:
        rates: a score, or a part of one; None gives `–`.
        metric: a name in METRICS.
    """
    share = share_of(rates, metric)
    interval = rates.get("intervals", {}).get(metric) if rates else None
    if share is None or interval is None:
        return _percent(share)
    low, high = floor(round(100 * interval[0], 4)), ceil(round(100 * interval[1], 4))
    return f"{_percent(share)} ({low}–{high})"


def share_of(rates: Rates | None, metric: str) -> float | None:
    """Return the rate of a metric, a name in METRICS; None where it was not measured."""
    share = rates.get(metric) if rates else None
    return share if isinstance(share, (int, float)) else None


def points(share: float) -> str:
    """Format a difference of two rates in percentage points, as in `+1.3`."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def _gain(difference: dict[str, Any]) -> str:
    if difference["difference"] is None:
        return "–"
    low, high = map(points, difference["interval"])
    return f"{points(difference['difference'])} ({low} to {high})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"
