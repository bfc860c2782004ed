"""Scores: each rate is worked out by hand here, and what holds for any rows and answers is tried on many."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from scored import RECORDS, UNPARSED, answer, asked, perfect

from fgkit.calls import Call
from fgkit.dataset.records import Record, request
from fgkit.errors import FgkitError
from fgkit.evaluation.scores import METRICS, completed, count, read_score, score
from fgkit.files import write_json


def rates(found: dict) -> tuple:
    return tuple(found[metric] for metric in METRICS)


def test_rates_by_hand() -> None:
    texts = [
        answer(Call("paint", {"color": "red"})),
        answer(Call("alert", {"n": 1, "title": "B"})),
        answer(Call("paint", {"color": "red"})),
        UNPARSED,
    ]
    result = score(RECORDS, texts)
    # five arguments expected, four given, three of them right: the two colours and n
    assert (result["n"], *rates(result)) == (4, 0.75, 0.5, 0.25, 0.75, 0.6)
    assert {tool: (each["n"], *rates(each)) for tool, each in result["per_tool"].items()} == {
        "alert": (2, 0.5, 0.5, 0.0, 0.5, 1 / 3),
        "paint": (2, 1.0, 0.5, 0.5, 1.0, 1.0),
    }
    assert result["per_argument"]["alert"] == {
        "n": {"expected": 2, "given": 1, "right": 1, "wrong": 0, "precision": 1.0, "recall": 0.5},
        "title": {
            "expected": 1,
            "given": 1,
            "right": 0,
            "wrong": 1,
            "precision": 0.0,
            "recall": 0.0,
        },
    }
    assert result["confusion"] == {
        "alert": {"alert": 1, "(does not parse)": 1, "(no call)": 1},
        "paint": {"paint": 2},
    }
    assert [(row["tool_ok"], row["exact"]) for row in result["rows"]] == [
        (True, True),
        (True, False),
        (False, False),
        (False, False),
    ]
    first, last = result["rows"][0], result["rows"][3]
    expected = [{"name": "paint", "arguments": {"color": "red"}}]
    assert first == {
        "line": 1,
        "group": 0,
        "user_content": "red",
        "expected": expected,
        "text": texts[0],
        "calls": expected,
        "error": None,
        "tool_ok": True,
        "exact": True,
    }
    assert last["calls"] is None and "offset" in last["error"] and last["text"] == texts[3]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_intervals_stand_beside_every_rate() -> None:
    result = score(RECORDS, perfect())
    for found in (result, *result["per_tool"].values(), *result["per_kind"].values()):
        assert list(found["intervals"]) == list(METRICS)
        assert found["groups"] == found["n"] <= 4 and found["intervals"]["exact_match"] == [
            0.0,
            1.0,
        ]


def test_perfect_answers_and_key_order() -> None:
    texts = perfect()
    texts[1] = answer(Call("alert", {"n": 1, "title": "A"}))
    result = score(RECORDS, texts)
    assert rates(result) == (1.0,) * 5
    assert {tool: each["n"] for tool, each in result["per_tool"].items()} == {
        "paint": 2,
        "alert": 2,
    }


def test_plain_text_counts_as_parsed_only_where_no_call_is_expected() -> None:
    result = score(RECORDS[:1], ["I am sorry."])
    assert rates(result) == (0.0, 0.0, 0.0, None, 0.0) and result["rows"][0]["calls"] == []
    assert result["intervals"]["argument_precision"] is None
    quiet = score([request(1, "hi", ())], ["Hello."])
    assert rates(quiet) == rates(quiet["per_tool"]["(no call)"]) == (1.0, 1.0, 1.0, None, None)


def test_kinds_are_scored_on_their_own() -> None:
    records = [*RECORDS, request(10, "hi"), request(11, "bye"), request(12, "why")]
    texts = [
        *perfect(),
        "Any text.",
        answer(Call("paint", {"color": "red"})),
        "<start_function_call>call:",
    ]
    result = score(records, texts)
    assert {
        kind: (each["n"], each["exact_match"]) for kind, each in result["per_kind"].items()
    } == {"call": (3, 1.0), "parallel": (1, 1.0), "no_call": (3, 1 / 3)}
    assert (result["argument_precision"], result["argument_recall"]) == (
        5 / 6,
        1.0,
    )  # one was given where none belongs


def test_every_expected_call_counts_in_its_order() -> None:
    one, two = RECORDS[2].calls
    for calls in ([two, one], [one], [one, two, two], [one, one, two]):
        assert score([RECORDS[2]], [answer(*calls)])["tool_accuracy"] == 0.0
    assert score([RECORDS[2]], [answer(one, two)])["exact_match"] == 1.0


@pytest.mark.parametrize("value", [1.0, True, "1", None, [1]])
def test_arguments_are_compared_with_their_types(value: object) -> None:
    result = score([request(1, "go", (Call("f", {"x": 1}),))], [answer(Call("f", {"x": value}))])
    assert rates(result) == (1.0, 1.0, 0.0, 0.0, 0.0)


def test_a_cut_end_tag_is_accepted_only_when_asked() -> None:
    text = "<start_function_call>call:paint{color:<escape>red<escape>}"
    assert score(RECORDS[:1], [text], end_tag_cut=True)["exact_match"] == 1.0
    assert score(RECORDS[:1], [text])["parse_rate"] == 0.0


@pytest.mark.parametrize(
    ("records", "texts"), [([], []), (RECORDS, ["a"]), (RECORDS[:1], ["a", "b"])]
)
def test_nothing_or_uneven_input_is_refused(records: list[Record], texts: list[str]) -> None:
    with pytest.raises(FgkitError, match=f"found {len(records)} rows and {len(texts)} answers"):
        score(records, texts)


def test_paraphrases_are_one_group() -> None:
    """Thirty values in one sentence, or one named group, say less than thirty sentences do."""
    same = [request(n, f"make it c{n}", (Call("paint", {"color": f"c{n}"}),)) for n in range(30)]
    others = [replace(record, group=f"sentence {record.line}") for record in same]
    texts = [answer(*record.calls) for record in same]
    one, many = score(same, texts), score(others, texts)
    assert (one["n"], one["groups"], many["groups"]) == (30, 1, 30)
    assert one["intervals"]["exact_match"] == [0.0, 1.0] and many["intervals"]["exact_match"] == [
        0.866667,
        1.0,
    ]
    assert [row["group"] for row in many["rows"]] == list(range(30))


@settings(max_examples=25, deadline=None)
@given(asked)
def test_what_holds_for_any_rows(pair: tuple[list[Record], list[str]]) -> None:
    records, texts = pair
    result = score(records, texts)
    for metric in METRICS:
        rate, interval = result[metric], result["intervals"][metric]
        assert (rate is None) == (interval is None)
        assert rate is None or 0 <= interval[0] <= rate <= interval[1] <= 1
    assert result["exact_match"] <= result["tool_accuracy"] <= result["parse_rate"]
    for row in result["rows"]:  # exact means right tools and no argument wrong, missing or too many
        hits, totals = count(row)
        assert row["exact"] == (row["tool_ok"] and hits[3:] == totals[3:])
    assert (result["exact_match"] == 1) == all(result[metric] in (None, 1) for metric in METRICS)
    assert sum(each["n"] for each in result["per_tool"].values()) == len(records)


@settings(max_examples=10, deadline=None)
@given(asked)
def test_the_order_of_the_rows_does_not_count(pair: tuple[list[Record], list[str]]) -> None:
    records, texts = pair
    there, back = score(records, texts), score(records[::-1], texts[::-1])
    assert all(there[key] == back[key] for key in there if key != "rows")


def test_scores_of_fgkit_01_get_what_they_lack() -> None:
    new = score(RECORDS, [*perfect()[:3], "no"])
    rows = [{key: value for key, value in row.items() if key != "group"} for row in new["rows"]]
    old = {
        "n": 4,
        "parse_rate": 0.75,
        "tool_accuracy": 0.75,
        "exact_match": 0.75,
        "per_tool": {},
        "rows": rows,
        "sha256": "kept",
    }
    filled = completed(old)
    assert filled["sha256"] == "kept" and filled["rows"] == rows
    assert all(filled[key] == new[key] for key in new if key != "rows")
    assert completed(new) is new
    stripped = {key: value for key, value in old.items() if key != "rows"}
    assert completed(stripped) is stripped


def test_a_score_is_read_back(tmp_path) -> None:
    result = score(RECORDS, perfect())
    assert read_score(write_json(tmp_path / "score.json", result)) == result


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"n": 4},
        {"rows": []},
        {"rows": [1]},
        {"rows": [{"line": 1}]},
        {"base": None, "tuned": {"n": 1}},
        {"rows": [score(RECORDS, perfect())["rows"][0] | {"expected": ["paint"]}]},
    ],
)
def test_what_is_no_score_is_refused(tmp_path, value) -> None:
    path = write_json(tmp_path / "x.json", value)
    message = r"(?s)x\.json: (found no scored rows|rows\[0\][. ]).*evaluate"
    with pytest.raises(FgkitError, match=message) as refused:
        read_score(path)
    assert ("run's summary" in str(refused.value)) == (isinstance(value, dict) and "tuned" in value)
