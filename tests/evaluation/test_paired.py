"""Two scores of the same rows: differences with their intervals, and the rows that changed."""

from __future__ import annotations

import pytest
from scored import RECORDS, answer, perfect

from fgkit.calls import Call
from fgkit.dataset.records import request
from fgkit.errors import FgkitError
from fgkit.evaluation.paired import (
    change_lines,
    changed_rows,
    comparable,
    differences,
    require_rows,
)
from fgkit.evaluation.scores import METRICS, score


def test_changed_rows_worst_first() -> None:
    texts = perfect()
    before = score(RECORDS, ["no", texts[1], texts[2], texts[3]])
    after = score(
        RECORDS, [texts[0], answer(Call("alert", {"title": "B", "n": 1})), texts[2], "no"]
    )
    changes = changed_rows(before, after)
    order = [(row["line"], row["change"]) for row in changes]
    assert order == [(9, "tool lost"), (3, "match lost"), (1, "tool gained")]
    assert (changes[0]["before"], changes[0]["after"]) == (texts[3], "no")
    assert changed_rows(before, before) == []
    lines = list(change_lines(changes, "tuned", "task"))
    assert (
        len(lines) == 3 and lines[0] == f"  tool lost: line 9 'two': tuned {texts[3]!r}, task 'no'"
    )
    long = [{**changes[0], "before": "x" * 150 + "old", "after": "x" * 150 + "new"}]
    assert list(change_lines(long, "a", "b")) == [
        f"  tool lost: line 9 'two': a '...{'x' * 40}old', b '...{'x' * 40}new'"
    ]
    assert list(change_lines(changes * 7, "a", "b"))[20:] == [
        "  ... and 1 more rows changed (21 in all)."
    ]


def test_different_rows_are_refused() -> None:
    one = score(RECORDS, perfect())
    for other in (score(RECORDS[:2], perfect()[:2]), score(RECORDS[::-1], perfect())):
        assert not comparable(one, other)
        for compared in (changed_rows, differences):
            with pytest.raises(FgkitError, match="different rows"):
                compared(one, other)
    for compared in (changed_rows, differences):
        with pytest.raises(FgkitError, match="has no rows"):
            compared(one, {"n": 4})
    assert comparable(one, one) and not comparable(one, {"n": 4})


def test_rows_are_compared_before_anything_is_scored() -> None:
    one = score(RECORDS, perfect())
    require_rows(one, RECORDS)
    number, truth = ([request(1, "go", (Call("f", {"x": value}),))] for value in (1, True))
    for records in (RECORDS[1:], RECORDS[::-1], []):
        with pytest.raises(FgkitError, match="rows"):
            require_rows(one, records)
    with pytest.raises(FgkitError, match="different rows"):
        require_rows(score(number, ["no"]), truth)


def test_differences_by_hand() -> None:
    records = [
        request(
            n,
            f"say {'abcdefghijklmnopqrstuvwxyz'[n % 26] * (1 + n // 26)}",
            (Call("f", {"x": 1, "y": 2}),),
        )
        for n in range(100)
    ]
    right, half, none = (answer(Call("f", values)) for values in ({"x": 1, "y": 2}, {"x": 1}, {}))
    before = score(records, [none] * 50 + [right] * 50)
    after = score(records, [right] * 30 + [half] * 20 + [right] * 50)
    found = differences(before, after)
    assert (found["n"], found["groups"]) == (100, 100) and list(found)[2:] == list(METRICS)
    assert {metric: found[metric]["difference"] for metric in METRICS} == {
        "parse_rate": 0.0,
        "tool_accuracy": 0.0,
        "exact_match": pytest.approx(0.3),
        "argument_precision": 0.0,
        "argument_recall": pytest.approx(0.4),
    }
    assert found["tool_accuracy"]["interval"] == [-0.04, 0.04]
    low, high = found["exact_match"][
        "interval"
    ]  # 30 of 100 rows: 1.96 * sqrt(0.3 * 0.7 / 100) = 0.09
    assert low == pytest.approx(0.21, abs=0.011) and high == pytest.approx(0.39, abs=0.011)
    back = differences(after, before)["exact_match"]
    assert back["difference"] == pytest.approx(-0.3) and back["interval"][1] == pytest.approx(
        -low, abs=0.011
    )


def test_a_rate_of_nothing_has_no_difference() -> None:
    found = differences(score(RECORDS, ["no"] * 4), score(RECORDS, perfect()))
    assert found["argument_precision"] == {"difference": None, "interval": None}
    assert found["argument_recall"]["difference"] == 1.0


def test_scores_of_fgkit_01_are_compared() -> None:
    new = score(RECORDS, perfect())
    old = {
        "n": 4,
        "rows": [
            {key: value for key, value in row.items() if key != "group"} for row in new["rows"]
        ],
    }
    assert (
        differences(old, new)
        == differences(new, old)
        == differences(new, new)
        == differences(old, old)
    )
