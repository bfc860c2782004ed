"""The gate: limits, the one row that never fails, and what it says when rows are few."""

from __future__ import annotations

import pytest

from fgkit.calls import Call
from fgkit.dataset.records import request
from fgkit.errors import CheckFailed, FgkitError
from fgkit.evaluation.gate import Verdict, gate
from fgkit.evaluation.scores import score
from fgkit.prompts import completion


def scored(n: int, *, inexact: int = 0, wrong_tool: int = 0, start: int = 0) -> dict:
    """A score of n rows; from row `start` on, `wrong_tool` call another tool and `inexact` more are wrong inside."""
    records = [request(line, f"row {line}", (Call("f", {"x": "a"}),)) for line in range(1, n + 1)]
    texts = [completion([Call("f", {"x": "a"})])] * n
    for row in range(start, start + wrong_tool):
        texts[row] = completion([Call("g", {"x": "a"})])
    for row in range(start + wrong_tool, start + wrong_tool + inexact):
        texts[row] = completion([Call("f", {"x": "b"})])
    return score(records, texts)


@pytest.mark.parametrize(
    ("n", "lost", "passed"),
    [
        (100, {}, True),
        (100, {"inexact": 3}, True),  # exactly 3 points
        (100, {"inexact": 4}, False),
        (200, {"inexact": 6}, True),
        (200, {"inexact": 7}, False),
        (100, {"wrong_tool": 2}, True),  # exactly 2 points of tool accuracy
        (100, {"wrong_tool": 3}, False),  # within exact match, beyond tool accuracy
        (1, {"wrong_tool": 1}, True),  # one row never fails
        (10, {"inexact": 1}, True),
        (10, {"wrong_tool": 1}, True),
        (10, {"inexact": 2}, False),
        (10, {"wrong_tool": 1, "inexact": 1}, False),
    ],
)
def test_limits(n: int, lost: dict, passed: bool) -> None:
    verdict = gate(scored(n), scored(n, **lost))
    assert verdict.passed is passed
    assert verdict.lines[0] == f"gate {'passed' if passed else 'FAILED'} on {n} rows"


def test_only_the_net_loss_counts_and_gains_pass() -> None:
    assert gate(scored(100, inexact=5), scored(100, inexact=8, start=50)).passed
    assert not gate(scored(100, inexact=5), scored(100, inexact=9, start=50)).passed
    verdict = gate(scored(100, inexact=5), scored(100))
    assert (
        verdict.passed
        and "exact match: model 95/100, bundle 100/100: 5.0 points gained" in verdict.lines[1]
    )


def test_own_limits() -> None:
    model, bundle = scored(100), scored(100, wrong_tool=3)
    assert gate(model, bundle, max_tool_accuracy_loss=3.0).passed
    assert not gate(model, bundle, max_tool_accuracy_loss=3.0, max_exact_match_loss=2.9).passed
    assert not gate(model, scored(100, inexact=2), max_exact_match_loss=0).passed


def test_a_bundle_as_good_as_a_bad_model_is_told_so() -> None:
    bad, fair = (scored(100, wrong_tool=wrong) for wrong in (51, 50))
    assert gate(bad, bad).passed and "the model calls the right tool for 49% of the rows" in str(
        gate(bad, bad)
    )
    assert "not good enough here" not in str(gate(fair, fair))


def test_lines_give_numbers_and_changed_rows() -> None:
    verdict = gate(scored(100, inexact=1, start=90), scored(100, wrong_tool=3))
    assert verdict.lines[1] == (
        "exact match: model 99/100, bundle 97/100: 2.0 points lost (95% interval: 6.0 points lost to "
        "2.0 points gained), at most 3 may be lost: ok"
    )
    assert verdict.lines[2] == (
        "tool accuracy: model 100/100, bundle 97/100: 3.0 points lost (95% interval: 7.0 points "
        "lost to 1.0 points gained), at most 2 may be lost: FAIL"
    )
    assert verdict.differences["tool_accuracy"] == {
        "difference": pytest.approx(-0.03),
        "interval": [-0.07, 0.01],
    }
    assert [line.strip().split(" 'row")[0] for line in verdict.lines[3:]] == [
        "tool lost: line 1",
        "tool lost: line 2",
        "tool lost: line 3",
        "match gained: line 91",
    ]
    assert str(verdict) == "\n".join(verdict.lines)
    many = gate(scored(200), scored(200, inexact=30)).lines
    assert many[-1].strip() == "... and 10 more rows changed (30 in all)." and len(many) == 24


def test_few_rows_are_called_few() -> None:
    few = [
        line
        for line in gate(scored(40, inexact=4), scored(40, inexact=4)).lines
        if "prove little" in line
    ]
    # of 40 rows no end is nearer to 90% than 4/40
    assert (
        len(few) == 1
        and "one row is 2.5 points" in few[0]
        and "from 80% to 100% (95% interval)" in few[0]
    )
    assert "from 0% to 100%" in str(gate(scored(1), scored(1))) and "prove little" in str(
        gate(scored(99), scored(99))
    )
    assert "prove little" not in str(gate(scored(100), scored(100)))


def test_a_single_row_beyond_the_limit_is_explained() -> None:
    verdict = gate(scored(10), scored(10, wrong_tool=1))
    assert "10.0 points lost (" in str(
        verdict
    ) and "at most 2 may be lost: ok, a single row never fails" in str(verdict)


def test_require_raises_only_when_failed() -> None:
    gate(scored(100), scored(100)).require()
    with pytest.raises(
        CheckFailed, match=r"(?s)gate FAILED on 100 rows.*4\.0 points lost.*quantize"
    ):
        gate(scored(100), scored(100, inexact=4)).require()
    with pytest.raises(CheckFailed):
        Verdict(False, ("no",)).require()


def test_different_rows_are_refused() -> None:
    for other in (scored(9), {"n": 10}):
        with pytest.raises(FgkitError, match="rows"):
            gate(scored(10), other)
