"""Scores by name go in; Markdown tables come out: rates with their intervals, differences, arguments, mistakes.

>>> print(compare({"tuned": tuned, "task": task}))
|               |          tuned |           task |
| ------------- | -------------: | -------------: |
| exact match   | 86.5% (80–92)  | 85.3% (79–91)  |

A rate's 95% interval stands behind it, its ends rounded outwards to whole per cent; `–` is what was not measured.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, floor
from typing import Any

from fgkit.dataset.records import KIND_LABELS, KINDS, NO_CALL
from fgkit.tables import markdown

from .matching import NOT_PARSED
from .paired import changed_rows, comparable, differences
from .scores import METRICS

SHOWN_TOOLS = 20
SHOWN_ARGUMENTS = 40
SHOWN_MISTAKES = 20


def compare(named_scores: dict[str, dict]) -> str:
    """One column for each score and one line for each metric, two for each kind of row and each tool.

    Args:
        named_scores: what `score` returned by the name to show, such as base, tuned and task.
    """
    table = [["", *named_scores], ["rows", *(str(one["n"]) for one in named_scores.values())]]
    for metric, label in METRICS.items():
        table.append([label, *(rate(one, metric) for one in named_scores.values())])
    for part, name, n in parts(named_scores):
        label = {"per_kind": KIND_LABELS.get(name, name), "per_style": f"style `{name}`"}.get(
            part, f"`{name}`"
        )
        every = [one.get(part, {}).get(name, {}) for one in named_scores.values()]
        if (part, name) == ("per_kind", "no_call"):  # nothing to match but that none is made
            table.append(
                [f"{label} ({n} rows): accuracy", *(rate(one, "exact_match") for one in every)]
            )
            continue
        table += [
            [f"{label} ({n} rows): {METRICS[metric]}", *(rate(one, metric) for one in every)]
            for metric in ("tool_accuracy", "exact_match")
        ]
    return markdown(table)


def compare_pairs(named_scores: dict[str, dict]) -> str:
    """What each score gains over the one before it, in points with the interval of the paired difference.

    Args:
        named_scores: as for `compare`, from the first model to the last; pairs of other rows than each other's are left
            out, and so are scores that were stored without their rows.
    Returns:
        the table; "" where no two neighbours can be compared.
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
        table.append([label, *(_gain(found[metric]) for found, _ in columns.values())])
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


def compare_arguments(named_scores: dict[str, dict]) -> str:
    """A line for each argument of each tool: recall and precision under each score.

    Args:
        named_scores: as for `compare`; of many arguments those expected most often are shown.
    Returns:
        the table; "" where no score knows its arguments.
    """
    sizes: dict[tuple[str, str], int] = {}
    for one in named_scores.values():
        for tool, names in one.get("per_argument", {}).items():
            for name, found in names.items():
                sizes[tool, name] = max(found["expected"], sizes.get((tool, name), 0))
    kept = sorted(sorted(sizes, key=lambda key: -sizes[key])[:SHOWN_ARGUMENTS])
    table = [
        ["tool", "argument", "expected", *(f"{name}: recall / precision" for name in named_scores)]
    ]
    for tool, name in kept:
        found = [
            one.get("per_argument", {}).get(tool, {}).get(name, {}) for one in named_scores.values()
        ]
        table.append(
            [
                f"`{tool}`",
                f"`{name}`",
                str(sizes[tool, name]),
                *(
                    f"{_percent(one.get('recall'))} / {_percent(one.get('precision'))}"
                    for one in found
                ),
            ]
        )
    return markdown(table, left=2) if kept else ""


def mistakes(score: dict) -> str:
    """What was called for what, most frequent first; "" where every call went to its tool.

    Args:
        score: what `score` returned.
    """
    wrong = [
        (count, expected, called)
        for expected, row in score.get("confusion", {}).items()
        for called, count in row.items()
        if called != expected
    ]
    wrong.sort(key=lambda one: -one[0])
    table = [["expected", "called", "times"]]
    for count, *pair in wrong[:SHOWN_MISTAKES]:
        table.append(
            [*(tool if tool in (NO_CALL, NOT_PARSED) else f"`{tool}`" for tool in pair), str(count)]
        )
    if len(wrong) > SHOWN_MISTAKES:
        rest = wrong[SHOWN_MISTAKES:]
        table.append([f"and {len(rest)} more pairs", "", str(sum(count for count, *_ in rest))])
    return markdown(table, left=2) if wrong else ""


def parts(named_scores: dict[str, dict]) -> list[tuple[str, str, int]]:
    """What is shown on its own: (part of a score, name, most rows) of kinds and styles, where several, and of the tools
    with most rows.
    """
    sizes: dict[tuple[str, str], int] = {}
    for part in ("per_kind", "per_style", "per_tool"):
        for one in named_scores.values():
            for name, each in one.get(part, {}).items():  # scores of fgkit 0.1 have no kinds
                sizes[part, name] = max(each["n"], sizes.get((part, name), 0))
    several = sum(part == "per_kind" for part, _ in sizes) > 1
    hidden = {("per_tool", NO_CALL)} if several else {("per_kind", kind) for kind in KINDS}
    tools = sorted((key for key in sizes if key[0] == "per_tool"), key=lambda key: -sizes[key])
    hidden |= {*tools[SHOWN_TOOLS:]}
    return [(part, name, n) for (part, name), n in sizes.items() if (part, name) not in hidden]


def rate(one: dict, metric: str) -> str:
    """A rate of a score, or of a part of one, with its interval: `86.5% (80–92)`."""
    interval = one.get("intervals", {}).get(metric)
    if one.get(metric) is None or interval is None:
        return _percent(one.get(metric))
    low, high = floor(round(100 * interval[0], 4)), ceil(round(100 * interval[1], 4))
    return f"{_percent(one[metric])} ({low}–{high})"


def points(share: float) -> str:
    """A difference of two rates in points: `+1.3`."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def _gain(found: dict[str, Any]) -> str:
    if found["difference"] is None:
        return "–"
    low, high = map(points, found["interval"])
    return f"{points(found['difference'])} ({low} to {high})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"
