"""Splitting: every row on one side, paraphrases together, the same on every machine, few moved by added rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.calls import Call
from fgkit.dataset.reading import read_records
from fgkit.dataset.records import Record, request
from fgkit.dataset.splits import group_of, load_data, split, template
from fgkit.errors import DataError, FgkitError


def numbered(count: int) -> list[Record]:
    return [request(line, f"text {line}", (Call("ping", {}),)) for line in range(1, count + 1)]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.integers(), st.floats(0.01, 0.99))
def test_split_divides_in_order(count: int, seed: int, fraction: float) -> None:
    records = numbered(count)
    train, held_out = split(records, seed=seed, eval_fraction=fraction)
    assert (
        train
        and held_out
        and sorted([*train, *held_out], key=lambda record: record.line) == records
    )
    assert [train, held_out] == [
        sorted(side, key=lambda record: record.line) for side in (train, held_out)
    ]
    assert len(held_out) == min(max(1, round(count * fraction)), count - 1)


def test_split_is_fixed_by_the_seed_and_keeps_variants_together() -> None:
    records = numbered(40)
    assert split(records, seed=1) == split(records, seed=1) != split(records, seed=2)
    assert [record.line for record in split(records, seed=1)[1]] == [
        4,
        7,
        17,
        40,
    ]  # on every machine and version
    both = records + [
        request(record.line, record.user_content.upper() + "!", record.calls) for record in records
    ]
    train, held_out = split(both, seed=3)
    trained, asked = (
        {record.user_content.lower().strip("!") for record in side} for side in (train, held_out)
    )
    assert len(held_out) == 8 and len(asked) == 4 and not trained & asked


def test_split_refuses_too_little_and_odd_fractions() -> None:
    for records, found in (
        ([], "found no rows"),
        (numbered(1), r"all 1 rows are one group \('text1'\)"),
        ([request(1, "a"), request(2, "A")], r"all 2 rows are one group \(.a.\)"),
    ):
        with pytest.raises(DataError, match=f"{found}, expected at least 2"):
            split(records, seed=0)
    for fraction in (0, 1, -0.1, float("nan")):
        with pytest.raises(FgkitError, match="eval_fraction"):
            split(numbered(5), seed=0, eval_fraction=fraction)


def test_values_taken_from_the_text_do_not_make_another_template() -> None:
    def alarm(text: str, **arguments: object) -> str:
        return template(request(1, text, [Call("set_alarm", arguments)]))

    assert (
        alarm("Wake me at 7, please!", hour=7)
        == alarm("wake me at  22 please", hour=22)
        == "wakemeat*please"
    )
    assert (
        alarm("Set it to 21.5 degrees", level=21.5)
        == alarm("set it to 3 degrees", level=3.0)
        == "setitto*degrees"
    )
    assert alarm("call Ann and Bob", who=["Bob", {"n": "Ann"}]) == "call*and*"
    assert alarm("call Anna", who="Ann") == "callanna"  # only whole words
    assert alarm("make it true", on=True) == "makeittrue"  # a word of the sentence, no value
    assert alarm("New York New", a="New York", b="New") == "**"  # the longer first
    assert (
        alarm("\u8bbe\u4e3a\u7ea2\u8272", color="\u7ea2\u8272") == "\u8bbe\u4e3a*"
    )  # scripts without spaces
    assert alarm("?!") == "?!" != alarm("!!")


def test_a_named_group_stays_together_and_is_no_template() -> None:
    records = [replace(record, group=f"g{record.line % 5}") for record in numbered(30)]
    train, held_out = split(records, seed=3, eval_fraction=0.3)
    assert (
        not {record.group for record in train} & {record.group for record in held_out}
        and len(held_out) == 6
    )
    assert group_of(replace(request(1, "x"), group="text")) != group_of(request(1, "text"))


def test_all_answers_of_a_conversation_stay_together() -> None:
    records = []
    for line in range(1, 21):
        first = request(line, f"city {'x' * line}", [Call("f", {"q": line})])
        told = {"role": "tool", "name": "f", "content": "ok"}
        records += [first, Record(line, (*first.conversation, told), (), text="Done.")]
    train, held_out = split(records, seed=0, eval_fraction=0.3)
    assert len(held_out) == 12 and not {record.line for record in train} & {
        record.line for record in held_out
    }


def test_large_groups_are_passed_over_but_no_side_is_empty() -> None:
    same, others = [request(line, "same") for line in range(90)], numbered(10)
    for seed in range(5):
        assert {record.user_content for record in split(same + others, seed=seed)[0]} >= {"same"}
        assert len(split(same + others, seed=seed)[1]) == 10
        assert (
            len(split(same + [request(1, "SAME b")] * 80, seed=seed)[1]) == 80
        )  # none fits: the smaller one


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 80))
def test_adding_rows_moves_few(seed: int, count: int) -> None:
    before = {record.line for record in split(numbered(count), seed=seed, eval_fraction=0.2)[1]}
    after = {record.line for record in split(numbered(count + 5), seed=seed, eval_fraction=0.2)[1]}
    assert len(before - after) <= 5 and len(before & after) >= len(before) - 5


TOOLS = [{"type": "function", "function": {"name": "ping", "description": "Pings."}}]


def row(text: str, name: str = "ping") -> str:
    return json.dumps({"user_content": text, "tool_name": name, "tool_arguments": "{}"})


def write(tmp_path: Path, *lines: str, name: str = "data.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_load_data_splits_or_reads_both(tmp_path: Path) -> None:
    rows = [row(f"red {n}") for n in range(20)]
    one, two = write(tmp_path, *rows), write(tmp_path, row("new"), row("RED  3"), name="eval.jsonl")
    data = load_data(one, "", TOOLS, seed=7)
    assert (data.train, data.held_out) == tuple(map(tuple, split(read_records(one, TOOLS), seed=7)))
    assert len(data.held_out) == 2 and data.warnings == ()
    data = load_data(one, two, TOOLS, seed=7)
    assert (len(data.train), len(data.held_out)) == (20, 2)
    (leak,) = data.warnings
    assert "1 of 2 texts are also trained on" in leak and "lines 2 (= 4) of" in leak
    (duplicates,) = load_data(write(tmp_path, *rows, rows[0], rows[1]), "", TOOLS, seed=7).warnings
    assert "2 exact duplicates are left out, the first on line 21" in duplicates


def test_load_data_reports_both_files_together(tmp_path: Path) -> None:
    one, two = write(tmp_path, "x", row("y", "nope")), write(tmp_path, "", name="eval.jsonl")
    with pytest.raises(DataError) as caught:
        load_data(one, two, TOOLS, seed=0)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        f"{one}:1:",
        f"{one}:2:",
        f"{two}:1:",
    ]
    with pytest.raises(DataError) as caught:
        load_data(tmp_path / "no.jsonl", two, TOOLS, seed=0)
    assert "no.jsonl: cannot be read" in str(caught.value) and f"{two}:1: the file is empty" in str(
        caught.value
    )
    with pytest.raises(DataError, match=r"data\.jsonl: all 1 rows are one group \('makered'\)"):
        load_data(write(tmp_path, row("make red")), "", TOOLS, seed=0)
