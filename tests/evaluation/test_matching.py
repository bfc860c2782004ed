"""Calls against expected calls: which argument is right, which tool was taken for which."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from scored import asked

from fgkit.evaluation.matching import argument_table, arguments, confusion
from fgkit.evaluation.scores import score


def call(name: str, **values: object) -> dict:
    return {"name": name, "arguments": values}


def row(expected: list[dict], calls: list[dict] | None) -> dict:
    return {"expected": expected, "calls": calls}


def test_the_calls_of_a_tool_are_matched_in_their_order() -> None:
    found = list(
        arguments(
            [call("f", x=1), call("g", y=1), call("f", x=2)], [call("f", x=2), call("f", x=2, z=0)]
        )
    )
    assert found == [
        ("f", "x", True, True, False),
        ("g", "y", True, False, False),
        ("f", "x", True, True, True),
        ("f", "z", False, True, False),
    ]


def test_a_call_of_another_tool_gives_nothing() -> None:
    assert list(arguments([call("f", x=1)], [call("g", x=1)])) == [
        ("f", "x", True, False, False),
        ("g", "x", False, True, False),
    ]


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        (1, "1", False),
        (None, "None", False),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("Red", "red", False),
    ],
)
def test_values_are_equal_with_their_types(one: object, other: object, right: bool) -> None:
    assert list(arguments([call("f", x=one)], [call("f", x=other)])) == [
        ("f", "x", True, True, right)
    ]


def test_the_table_counts_every_fate_of_an_argument() -> None:
    rows = [
        row([call("f", x=1)], [call("f", x=1)]),
        row([call("f", x=1)], [call("f", x=2)]),
        row([call("f", x=1)], []),
        row([call("f", x=1)], None),
        row([], [call("f", y=1)]),
    ]
    assert argument_table(rows) == {
        "f": {
            "x": {
                "expected": 4,
                "given": 2,
                "right": 1,
                "wrong": 1,
                "precision": 0.5,
                "recall": 0.25,
            },
            "y": {
                "expected": 0,
                "given": 1,
                "right": 0,
                "wrong": 0,
                "precision": 0.0,
                "recall": None,
            },
        }
    }
    assert argument_table([row([call("f")], [call("f")])]) == {}


@pytest.mark.parametrize(
    ("expected", "called", "cells"),
    [
        (["f"], ["f"], {("f", "f"): 1}),
        (["f"], ["g"], {("f", "g"): 1}),
        (["f"], [], {("f", "(no call)"): 1}),
        (["f"], None, {("f", "(does not parse)"): 1}),
        ([], [], {("(no call)", "(no call)"): 1}),
        ([], ["f"], {("(no call)", "f"): 1}),
        ([], None, {("(no call)", "(does not parse)"): 1}),
        (["f", "g"], ["g", "f"], {("f", "f"): 1, ("g", "g"): 1}),
        (["f", "g"], ["g", "h"], {("f", "h"): 1, ("g", "g"): 1}),
        (["f", "f"], ["f", "g", "h"], {("f", "f"): 1, ("f", "g"): 1, ("(no call)", "h"): 1}),
        (["f", "g"], None, {("f", "(does not parse)"): 1, ("g", "(does not parse)"): 1}),
    ],
)
def test_confusion_by_hand(expected: list[str], called: list[str] | None, cells: dict) -> None:
    expected_calls, calls = ([call(name) for name in names or ()] for names in (expected, called))
    found = confusion([row(expected_calls, None if called is None else calls)])
    assert {
        (name, other): count for name, line in found.items() for other, count in line.items()
    } == cells


@settings(max_examples=25, deadline=None)
@given(asked)
def test_the_sums_of_the_confusion_are_the_calls(pair: tuple) -> None:
    result = score(*pair)
    cells = {
        (name, other): count
        for name, line in result["confusion"].items()
        for other, count in line.items()
    }
    for side, key in enumerate(("expected", "calls")):
        wanted = Counter(each["name"] for one in result["rows"] for each in one[key] or ())
        found = Counter()
        for tools, count in cells.items():
            found[tools[side]] += count
        assert {tool: count for tool, count in found.items() if not tool.startswith("(")} == wanted
    for tool, names in result["per_argument"].items():
        for one in names.values():
            assert one["right"] + one["wrong"] <= min(one["expected"], one["given"]), tool
