"""Tables of scores: what stands in them, with intervals and without."""

from __future__ import annotations

import re

import pytest
from scored import RECORDS, UNPARSED, answer, perfect

from fgkit.calls import Call
from fgkit.dataset.records import request
from fgkit.evaluation.scores import score
from fgkit.evaluation.tables import (
    compare,
    compare_arguments,
    compare_pairs,
    mistakes,
    points,
    rate,
)
from fgkit.tables import markdown


def plain(table: str) -> list[str]:
    """The lines of a table without its alignment, whose lines must be equally long."""
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    return [re.sub(" +", " ", re.sub("-{3,}", "---", line)) for line in lines]


def without_intervals(found: dict) -> dict:
    return {
        key: without_intervals(value) if isinstance(value, dict) else value
        for key, value in found.items()
        if key not in ("intervals", "argument_precision", "argument_recall")
    }


def test_compare_is_a_markdown_table_side_by_side() -> None:
    base, tuned = (
        without_intervals(score(RECORDS, ["no"] * 4)),
        score(RECORDS, [*perfect()[:3], "no"]),
    )
    only = without_intervals(score(RECORDS[:1], perfect()[:1]))
    assert plain(compare({"base": base, "tuned": tuned, "task": only})) == [
        "| | base | tuned | task |",
        "| --- | ---: | ---: | ---: |",
        "| rows | 4 | 4 | 1 |",
        "| parse rate | 0.0% | 75.0% (0–100) | 100.0% |",
        "| tool accuracy | 0.0% | 75.0% (0–100) | 100.0% |",
        "| exact match | 0.0% | 75.0% (0–100) | 100.0% |",
        "| argument precision | – | 100.0% (0–100) | – |",
        "| argument recall | – | 80.0% (0–100) | – |",
        "| one call (3 rows): tool accuracy | 0.0% | 66.7% (0–100) | 100.0% |",
        "| one call (3 rows): exact match | 0.0% | 66.7% (0–100) | 100.0% |",
        "| several calls (1 rows): tool accuracy | 0.0% | 100.0% (0–100) | – |",
        "| several calls (1 rows): exact match | 0.0% | 100.0% (0–100) | – |",
        "| `alert` (2 rows): tool accuracy | 0.0% | 50.0% (0–100) | – |",
        "| `alert` (2 rows): exact match | 0.0% | 50.0% (0–100) | – |",
        "| `paint` (2 rows): tool accuracy | 0.0% | 100.0% (0–100) | 100.0% |",
        "| `paint` (2 rows): exact match | 0.0% | 100.0% (0–100) | 100.0% |",
    ]


def test_rows_without_a_call_have_one_line() -> None:
    result = score(
        [*RECORDS, request(10, "hi"), request(11, "bye")], [*perfect(), "Hello.", UNPARSED]
    )
    table = "\n".join(plain(compare({"tuned": result})))
    assert "| no call (2 rows): accuracy | 50.0% (0–100) |" in table and table.count("no call") == 1
    old = without_intervals(
        {key: value for key, value in result.items() if key != "per_kind"}
    )  # written by fgkit 0.1
    assert "| `(no call)` (2 rows): exact match | 50.0% |" in plain(compare({"old": old}))
    assert "one call" not in compare({"one": score(RECORDS[:1], perfect()[:1])})


def test_only_the_tools_with_most_rows_are_shown() -> None:
    records = [request(n, "x", [Call(f"f{n % 30}", {})]) for n in range(45)]
    result = score(records, [answer(*record.calls) for record in records])
    lines = compare({"one": result}).splitlines()
    assert len(result["per_tool"]) == 30 and len(lines) == 8 + 2 * 20
    assert all(f"`f{n}` (2 rows)" in "\n".join(lines) for n in range(15))


@pytest.mark.parametrize(
    ("share", "interval", "shown"),
    [
        (0.8654, [0.7962, 0.923], "86.5% (79–93)"),
        (1.0, [0.96, 1.0], "100.0% (96–100)"),
        (0.5, [0.29, 0.57], "50.0% (29–57)"),
        (0.0, [0.0, 0.04], "0.0% (0–4)"),
        (None, None, "–"),
        (0.25, None, "25.0%"),
    ],
)
def test_ends_are_rounded_outwards(share: float | None, interval: list | None, shown: str) -> None:
    assert rate({"x": share, "intervals": {"x": interval}}, "x") == shown


def test_points_have_a_sign() -> None:
    assert [points(share) for share in (0.0126, -0.3, 0.0, -0.0001)] == [
        "+1.3",
        "-30.0",
        "+0.0",
        "+0.0",
    ]


def test_pairs_show_what_each_step_gains() -> None:
    base, tuned, other = (
        score(RECORDS, ["no"] * 4),
        score(RECORDS, perfect()),
        score(RECORDS[:1], perfect()[:1]),
    )
    task = score(RECORDS, [*perfect()[:3], "no"])
    assert plain(compare_pairs({"base": base, "tuned": tuned, "task": task})) == [
        "| points gained | tuned - base | task - tuned |",
        "| --- | ---: | ---: |",
        "| parse rate | +100.0 (+0.0 to +100.0) | -25.0 (-100.0 to +75.0) |",
        "| tool accuracy | +100.0 (+0.0 to +100.0) | -25.0 (-100.0 to +75.0) |",
        "| exact match | +100.0 (+0.0 to +100.0) | -25.0 (-100.0 to +75.0) |",
        "| argument precision | – | +0.0 (-100.0 to +100.0) |",
        "| argument recall | +100.0 (+0.0 to +100.0) | -20.0 (-100.0 to +80.0) |",
        "| rows lost | 0 | 1 |",
        "| rows gained | 4 | 0 |",
    ]
    assert compare_pairs({"tuned": tuned}) == compare_pairs({"tuned": tuned, "other": other}) == ""


def test_arguments_side_by_side() -> None:
    base, tuned = (
        score(RECORDS, ["no"] * 4),
        score(RECORDS, [*perfect()[:3], answer(Call("alert", {"n": 3, "z": 1}))]),
    )
    assert plain(compare_arguments({"base": base, "tuned": tuned})) == [
        "| tool | argument | expected | base: recall / precision | tuned: recall / precision |",
        "| --- | --- | ---: | ---: | ---: |",
        "| `alert` | `n` | 2 | 0.0% / – | 50.0% / 50.0% |",
        "| `alert` | `title` | 1 | 0.0% / – | 100.0% / 100.0% |",
        "| `alert` | `z` | 0 | – / – | – / 0.0% |",
        "| `paint` | `color` | 2 | 0.0% / – | 100.0% / 100.0% |",
    ]
    assert compare_arguments({"old": {"n": 1}}) == ""


def test_mistakes_most_frequent_first() -> None:
    texts = [answer(Call("alert", {})), "no", UNPARSED, "no"]
    assert plain(mistakes(score(RECORDS, texts))) == [
        "| expected | called | times |",
        "| --- | --- | ---: |",
        "| `alert` | (no call) | 2 |",
        "| `alert` | (does not parse) | 1 |",
        "| `paint` | `alert` | 1 |",
        "| `paint` | (does not parse) | 1 |",
    ]
    assert mistakes(score(RECORDS, perfect())) == mistakes({"n": 4}) == ""
    many = {"confusion": {"f": {f"g{n}": 1 + (n < 20) for n in range(25)}}}
    assert plain(mistakes(many))[-1] == "| and 5 more pairs | | 5 |"


def test_a_table_of_any_cells() -> None:
    assert (
        markdown([["a", "bcdef"], ["xyzw", "1"]])
        == "| a    | bcdef |\n| ---- | ----: |\n| xyzw |     1 |"
    )
