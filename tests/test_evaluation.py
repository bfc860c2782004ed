"""Scores, tables and pictures: each rate is worked out by hand here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fgkit.calls import Call
from fgkit.errors import FgkitError
from fgkit.evaluation import changed_rows, compare, plot, score
from fgkit.prompts import completion
from fgkit.records import Record, request

RECORDS = [
    request(1, "red", (Call("paint", {"color": "red"}),)),
    request(3, "alert", (Call("alert", {"title": "A", "n": 1}),)),
    request(4, "both", (Call("paint", {"color": "red"}), Call("alert", {}))),
    request(9, "two", (Call("alert", {"n": 2}),)),
]


def answer(*calls: Call) -> str:
    return completion(list(calls))


def perfect() -> list[str]:
    return [answer(*record.calls) for record in RECORDS]


def test_rates_by_hand() -> None:
    texts = [answer(Call("paint", {"color": "red"})), answer(Call("alert", {"n": 1, "title": "B"})),
             answer(Call("paint", {"color": "red"})), "<start_function_call>call:alert{n:@@}<end_function_call>"]
    result = score(RECORDS, texts)
    assert (result["n"], result["parse_rate"], result["tool_accuracy"], result["exact_match"]) == (4, 0.75, 0.5, 0.25)
    assert result["per_tool"] == {"alert": {"n": 2, "tool_accuracy": 0.5, "exact_match": 0.0},
                                  "paint": {"n": 2, "tool_accuracy": 0.5, "exact_match": 0.5}}
    assert [(row["tool_ok"], row["exact"]) for row in result["rows"]] == [
        (True, True), (True, False), (False, False), (False, False)]
    first, last = result["rows"][0], result["rows"][3]
    expected = [{"name": "paint", "arguments": {"color": "red"}}]
    assert first == {"line": 1, "user_content": "red", "expected": expected, "text": texts[0], "calls": expected,
                     "error": None, "tool_ok": True, "exact": True}
    assert last["calls"] is None and "offset" in last["error"] and last["text"] == texts[3]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_perfect_answers_and_key_order() -> None:
    texts = perfect()
    texts[1] = answer(Call("alert", {"n": 1, "title": "A"}))
    result = score(RECORDS, texts)
    assert (result["parse_rate"], result["tool_accuracy"], result["exact_match"]) == (1.0, 1.0, 1.0)
    assert {tool: each["n"] for tool, each in result["per_tool"].items()} == {"paint": 2, "alert": 2}


def test_plain_text_counts_as_parsed_only_where_no_call_is_expected() -> None:
    result = score(RECORDS[:1], ["I am sorry."])
    assert (result["parse_rate"], result["tool_accuracy"], result["rows"][0]["calls"]) == (0.0, 0.0, [])
    assert score([request(1, "hi", ())], ["Hello."])["parse_rate"] == 1.0
    no_call = {"n": 1, "tool_accuracy": 1.0, "exact_match": 1.0}
    assert score([request(1, "hi", ())], ["Hello."])["per_tool"] == {"(no call)": no_call}


def test_kinds_are_scored_on_their_own() -> None:
    records = [*RECORDS, request(10, "hi"), request(11, "bye"), request(12, "why")]
    texts = [*perfect(), "Any text.", answer(Call("paint", {"color": "red"})), "<start_function_call>call:"]
    result = score(records, texts)
    assert result["per_kind"] == {"call": {"n": 3, "tool_accuracy": 1.0, "exact_match": 1.0},
                                  "parallel": {"n": 1, "tool_accuracy": 1.0, "exact_match": 1.0},
                                  "no_call": {"n": 3, "tool_accuracy": 1 / 3, "exact_match": 1 / 3}}
    table = compare({"tuned": result})
    assert "| no call (3 rows): exact match " in table and "(no call)" not in table
    old = {key: value for key, value in result.items() if key != "per_kind"}  # written by fgkit 0.1
    assert "`(no call)` (3 rows)" in compare({"old": old})
    assert "one call" not in compare({"one": score(RECORDS[:1], perfect()[:1])})


def test_every_expected_call_counts_in_its_order() -> None:
    one, two = RECORDS[2].calls
    for calls in ([two, one], [one], [one, two, two], [one, one, two]):
        assert score([RECORDS[2]], [answer(*calls)])["tool_accuracy"] == 0.0
    assert score([RECORDS[2]], [answer(one, two)])["exact_match"] == 1.0


@pytest.mark.parametrize("value", [1.0, True, "1", None, [1]])
def test_arguments_are_compared_with_their_types(value: object) -> None:
    result = score([request(1, "go", (Call("f", {"x": 1}),))], [answer(Call("f", {"x": value}))])
    assert (result["parse_rate"], result["tool_accuracy"], result["exact_match"]) == (1.0, 1.0, 0.0)


def test_a_cut_end_tag_is_accepted_only_when_asked() -> None:
    text = "<start_function_call>call:paint{color:<escape>red<escape>}"
    assert score(RECORDS[:1], [text], end_tag_cut=True)["exact_match"] == 1.0
    assert score(RECORDS[:1], [text])["parse_rate"] == 0.0


@pytest.mark.parametrize(("records", "texts"), [([], []), (RECORDS, ["a"]), (RECORDS[:1], ["a", "b"])])
def test_nothing_or_uneven_input_is_refused(records: list[Record], texts: list[str]) -> None:
    with pytest.raises(FgkitError, match=f"found {len(records)} rows and {len(texts)} answers"):
        score(records, texts)


def test_compare_is_a_markdown_table_side_by_side() -> None:
    base, tuned = score(RECORDS, ["no"] * 4), score(RECORDS, [*perfect()[:3], "no"])
    only = score(RECORDS[:1], perfect()[:1])
    table = compare({"base": base, "tuned": tuned, "task": only}).splitlines()
    assert len({len(line) for line in table}) == 1
    assert [re.sub(" +", " ", re.sub("-+", "---", line)) for line in table] == [
        "| | base | tuned | task |",
        "| --- | ---: | ---: | ---: |",
        "| rows | 4 | 4 | 1 |",
        "| parse rate | 0.0% | 75.0% | 100.0% |",
        "| tool accuracy | 0.0% | 75.0% | 100.0% |",
        "| exact match | 0.0% | 75.0% | 100.0% |",
        "| one call (3 rows): tool accuracy | 0.0% | 66.7% | 100.0% |",
        "| one call (3 rows): exact match | 0.0% | 66.7% | 100.0% |",
        "| several calls (1 rows): tool accuracy | 0.0% | 100.0% | – |",
        "| several calls (1 rows): exact match | 0.0% | 100.0% | – |",
        "| `alert` (2 rows): tool accuracy | 0.0% | 50.0% | – |",
        "| `alert` (2 rows): exact match | 0.0% | 50.0% | – |",
        "| `paint` (2 rows): tool accuracy | 0.0% | 100.0% | 100.0% |",
        "| `paint` (2 rows): exact match | 0.0% | 100.0% | 100.0% |",
    ]


def test_only_the_tools_with_most_rows_are_shown() -> None:
    records = [request(n, "x", [Call(f"f{n % 30}", {})]) for n in range(45)]
    result = score(records, [answer(*record.calls) for record in records])
    lines = compare({"one": result}).splitlines()
    assert len(result["per_tool"]) == 30 and len(lines) == 6 + 2 * 20
    assert all(f"`f{n}` (2 rows)" in "\n".join(lines) for n in range(15))


def test_plot_writes_a_whole_png(tmp_path: Path) -> None:
    scores = {"base": score(RECORDS, ["no"] * 4), "tuned": score(RECORDS, perfect())}
    path = plot(scores, tmp_path / "scores.png")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82") and len(content) > 5000
    assert [file.name for file in tmp_path.iterdir()] == ["scores.png"]
    from matplotlib.image import imread

    colors = {tuple(round(255 * float(channel)) for channel in pixel[:3]) for pixel in imread(path).reshape(-1, 4)}
    assert (0x00, 0x72, 0xB2) in colors and len(colors) > 10  # the tuned model's bars are there


def test_changed_rows_worst_first() -> None:
    texts = perfect()
    before = score(RECORDS, ["no", texts[1], texts[2], texts[3]])
    after = score(RECORDS, [texts[0], answer(Call("alert", {"title": "B", "n": 1})), texts[2], "no"])
    changes = changed_rows(before, after)
    order = [(row["line"], row["change"]) for row in changes]
    assert order == [(9, "tool lost"), (3, "match lost"), (1, "tool gained")]
    assert (changes[0]["before"], changes[0]["after"]) == (texts[3], "no")
    assert changed_rows(before, before) == []


def test_changed_rows_refuses_different_rows() -> None:
    one = score(RECORDS, perfect())
    for other in (score(RECORDS[:2], perfect()[:2]), score(RECORDS[::-1], perfect())):
        with pytest.raises(FgkitError, match="different rows"):
            changed_rows(one, other)
    with pytest.raises(FgkitError, match="has no rows"):
        changed_rows(one, {"n": 4})
