"""docs/scores.md says what the code does: its metrics, its six rows, its intervals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fgkit.calls import Call
from fgkit.cli import main as command_line
from fgkit.dataset.records import request
from fgkit.evaluation.intervals import OPEN_GROUPS, RESAMPLES, rate_intervals
from fgkit.evaluation.paired import CHANGES
from fgkit.evaluation.scores import METRICS, count, score
from fgkit.evaluation.tables import rate
from fgkit.prompts import completion

PAGE = (Path(__file__).parents[1] / "docs" / "scores.md").read_text(encoding="utf-8")
UNREADABLE = "<start_function_call>call:alarm{hour:8"


def calls_of(cell: str) -> list[Call]:
    found = []
    for name, inside in re.findall(r"`(\w+)\(([^`]*)\)`", cell):
        pairs = (pair.split("=") for pair in inside.split(", ") if pair)
        found.append(Call(name, {key: json.loads(value) for key, value in pairs}))
    return found


ROWS = re.findall(r"^\| (\d) \| (.+?) \| (.+?) \|$", PAGE, re.M)
METRIC_LINES = re.findall(r"^\| `(\w+)` \| .+? \| (\d) of (\d)\b.*\|$", PAGE, re.M)


@pytest.fixture(scope="module")
def result() -> dict:
    texts = [
        UNREADABLE
        if "does not parse" in answered
        else completion(calls_of(answered))
        if calls_of(answered)
        else answered
        for *_, answered in ROWS
    ]
    return score(
        [request(int(line), f"row {line}", calls_of(expected)) for line, expected, _ in ROWS], texts
    )


def test_the_page_has_six_rows_and_every_metric(result):
    assert [int(line) for line, *_ in ROWS] == [1, 2, 3, 4, 5, 6]
    assert [metric for metric, *_ in METRIC_LINES] == list(METRICS)
    assert [len(row["expected"]) for row in result["rows"]] == [1, 1, 1, 2, 1, 0]


@pytest.mark.parametrize(("metric", "hits", "total"), METRIC_LINES)
def test_a_metric_is_what_the_page_works_out(result, metric, hits, total):
    place = list(METRICS).index(metric)
    counted = [count(row) for row in result["rows"]]
    assert (sum(row[0][place] for row in counted), sum(row[1][place] for row in counted)) == (
        int(hits),
        int(total),
    )
    assert result[metric] == int(hits) / int(total)


def test_the_rows_that_the_page_names(result):
    parts = {
        metric: {int(number) for number in re.findall(r"\d", text)}
        for metric, text in re.findall(
            r"^\| `(tool_accuracy|exact_match)` .*\| \d of 6: rows ([\d, and]+) \|$", PAGE, re.M
        )
    }
    assert parts == {
        metric: {row["line"] for row in result["rows"] if row[key]}
        for metric, key in (("tool_accuracy", "tool_ok"), ("exact_match", "exact"))
    }


def test_the_argument_and_the_confusion_of_the_page(result):
    expected, given, right, wrong, missing = map(
        int,
        re.search(
            r"`hour` of `alarm`: (\d) expected, (\d) given, (\d) right, (\d) wrong, so (\d) missing",
            PAGE,
        ).groups(),
    )
    hour = result["per_argument"]["alarm"]["hour"]
    assert (hour["expected"], hour["given"], hour["right"], hour["wrong"]) == (
        expected,
        given,
        right,
        wrong,
    )
    assert missing == expected - right - wrong
    assert result["confusion"] == {
        "alarm": {"alarm": 2, "(no call)": 1},
        "light": {"light": 2, "(does not parse)": 1},
        "(no call)": {"(no call)": 1},
    }
    assert (
        "`alarm` was expected 3 times: called twice, once not called; `light` 3 times: called twice, once"
        in PAGE
    )


def test_the_parts_of_a_score_are_on_the_page(result):
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {key for key in result if key not in ("n", "rows", "intervals")} <= named
    assert f"{RESAMPLES:,} times" in PAGE and f"than {OPEN_GROUPS} groups weigh" in PAGE
    assert all(f"*{change}*" in PAGE for change in CHANGES)


def test_the_interval_of_a_perfect_score():
    (interval,) = rate_intervals([[1]] * 156, [[1]] * 156, range(156))
    assert rate({"x": 1.0, "intervals": {"x": list(interval)}}, "x") == "100.0% (97–100)"
    assert "156 of 156 right is 100% (97–100)" in PAGE


def test_the_commands_are_accepted():
    commands = re.findall(r"^python -m fgkit (.+)$", PAGE, re.M)
    assert len(commands) == 2
    for command in commands:
        assert callable(command_line.build_parser().parse_args(command.split()).execute)


def test_the_python_runs(result):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    records = [request(1, "hi")]
    exec(block, {"records": records, "texts": ["Hello."], "base": score(records, ["Hello."])})
