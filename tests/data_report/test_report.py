"""The data report on a deliberately broken file: every planted fault at its line, and nothing on a clean one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from fgkit import data_report, files, locations
from fgkit.data_report import Report, TokenLimits, report
from fgkit.data_report.findings import KEPT, Findings
from fgkit.data_report.rules import RULES, rules_table
from fgkit.errors import DataError
from fgkit.models.base import load_tokenizer
from fgkit.prompts import PromptSetup
from fgkit.tools import lint_tools, load_tools

ROOT = Path(__file__).resolve().parents[2]
LIGHTS = ("kitchen", "hall", "office", "attic")
ANIMALS = (
    "Otter",
    "Badger",
    "Heron",
    "Lynx",
    "Marten",
    "Puffin",
    "Raven",
    "Stork",
    "Tapir",
    "Weasel",
    "Yak",
    "Zebu",
)


def inspect(
    data: Path,
    tools: list[dict],
    eval_data: Path | str = "",
    *,
    max_length: int = 1024,
    prefill_seq_len: int = 256,
    kv_cache_max_len: int = 1024,
    **options: object,
) -> Report:
    limits = TokenLimits(max_length, prefill_seq_len, kv_cache_max_len)
    return data_report.inspect(data, tools, eval_data, limits=limits, **options)


def tool(name: str, required: list[str] | None = None, **properties: dict) -> dict:
    described = {key: {"description": f"The {key}."} | schema for key, schema in properties.items()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Does {name} for you.",
            "parameters": {
                "type": "object",
                "properties": described,
                "required": list(properties) if required is None else required,
            },
        },
    }


TEXT = {"type": "string"}
TOOLS = [
    tool("light", room=TEXT | {"enum": [*LIGHTS, "cellar"]}, on={"type": "boolean"}),
    tool("note", title=TEXT),
    tool(
        "timer",
        [],
        minutes={"type": "integer"},
        factor={"type": "number", "minimum": 0},
        label=TEXT,
        tags={"type": "array", "items": TEXT},
        place={"type": "object", "properties": {"city": TEXT}, "required": ["city"]},
        extra={"type": "object"},
    ),
    tool("radio", station=TEXT),
    tool("unused", thing=TEXT),
]
OWN = tool("book", seats={"type": "integer"})


def row(text: object, name: object = "note", **arguments: object) -> str:
    return json.dumps(
        {"user_content": text, "tool_name": name, "tool_arguments": json.dumps(arguments)},
        ensure_ascii=False,
    )


def note(title: str, text: str = "") -> str:
    return row(text or f"remember {title} for me", title=title)


def raw(**columns: object) -> str:
    return json.dumps(
        {"user_content": "go", "tool_name": "note", "tool_arguments": '{"title": "go"}'} | columns
    )


def chat(*messages: dict, **more: object) -> str:
    return json.dumps({"messages": list(messages), **more})


def call(name: str, arguments: object, **more: object) -> dict:
    return {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
        **more,
    }


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def clean(count: int = 46) -> list[str]:
    """Rows of four tools and some plain answers, of which no two are alike."""
    forms = [
        "switch the {} lamp {}",
        "{1}, the light of the {0}",
        "I want it {1} in the {0}",
        "could the {} be turned {}",
    ]
    lines = [
        row(form.format(room, "on" if on else "off"), "light", room=room, on=on)
        for form, room in zip(forms, LIGHTS, strict=True)
        for on in (True, False)
    ]
    lines += [
        row("a brighter cellar would be lovely", "light", room="cellar", on=True),
        row("no lamps in the cellar tonight", "light", room="cellar", on=False),
    ]
    starts = ["jot down", "new memo about the", "please do not let me forget the", "write up our"]
    lines += [
        row(f"{starts[at % 4]} {animal} {'trip report draft'.split()[at % 3]}", title=animal)
        for at, animal in enumerate(ANIMALS)
    ]
    lines += [
        row(text, "timer", minutes=minutes)
        for text, minutes in (
            ("ring in 3 minutes", 3),
            ("egg timer, 7", 7),
            ("wake me after 25 minutes", 25),
            ("count 90 minutes down", 90),
            ("tea needs 4", 4),
            ("pizza: 12 minutes from now", 12),
            ("nap of 20 minutes", 20),
            ("laundry is done in 45", 45),
            ("half time after 15", 15),
            ("beep when 6 minutes are over", 6),
        )
    ]
    lines += [
        row(text.format(station), "radio", station=station)
        for text, station in (
            ("put on {}", "Jazz FM"),
            ("I'd like to hear {}", "Radio Nova"),
            ("tune in to {}", "Bayern 2"),
            ("{}!", "KEXP"),
            ("what about some {}?", "BBC 6"),
            ("is {} on air? play it", "FIP"),
            ("the usual: {}", "Klassik Radio"),
            ("switch over to {}", "NTS"),
            ("news from {}", "Cope"),
            ("let's listen to {}", "Ostseewelle"),
        )
    ]
    lines += [
        json.dumps({"user_content": text, "answer": answer})
        for text, answer in (
            ("how are you today?", "Very well, thank you."),
            ("what is the capital of Peru?", "I can only help at home."),
            ("tell me a joke", "I know none."),
            ("who wrote Faust?", "I cannot look that up."),
        )
    ]
    return lines[:count]


# One kind of fault each: (line of the file, rule, what the message has to say). A bytes line is written as it is.
BROKEN: list[tuple[str | bytes, str, str]] = [
    # encoding and JSON
    (b'{"user_content": "caf\xe9"}', "D101", "byte 22 is 0xe9, expected UTF-8"),
    ("make a note", "D101", "not JSON"),
    (raw()[:-1], "D101", "not JSON"),
    (raw() + raw(), "D101", "Extra data"),
    ("[" + raw() + "]", "D101", "found a list"),
    ("3", "D101", "found a number"),
    ("null", "D101", "found null"),
    ("[" * 5000, "D101", "nested too deeply"),
    ('{"user_content": "a", "user_content": "b"}', "D101", "occurs twice"),
    ('{"user_content": NaN}', "D101", "NaN is not a JSON value"),
    ('{"user_content": "' + "x" * 1_000_001 + '"}', "D101", "bytes, expected at most"),
    # columns
    ('{"user_content": "a", "tool_name": "note"}', "D101", "has no 'tool_arguments'"),
    (raw(comment=1), "D101", "has the key 'comment'"),
    (raw().replace("tool_name", "tool_nam"), "D101", "did you mean 'tool_name'?"),
    (raw(user_content=5), "D101", "user_content: found a number, expected a text"),
    (raw(user_content=None), "D101", "user_content: found null"),
    (raw(tool_name=["note"]), "D101", "tool_name: found a list"),
    (raw(tool_arguments={"title": "go"}), "D101", "Write it as a JSON text"),
    (raw(user_content=""), "D101", "user_content: found an empty text"),
    (raw(user_content=" \t "), "D101", "user_content: found an empty text"),
    (raw(group=7), "D101", "group: found a number"),
    (json.dumps({"user_content": "hello?", "answer": ""}), "D101", "answer: found an empty text"),
    # text that the format cannot say
    (raw(user_content="say <end_of_turn> to it"), "D101", "holds <end_of_turn>"),
    (raw().replace('"go"', '"\\ud83d"', 1), "D101", "half of a surrogate pair"),
    (row("escape", title="<escape>"), "D101", "<escape>"),
    # arguments
    (raw(tool_arguments=""), "D101", "tool_arguments: not JSON"),
    (raw(tool_arguments="title=go"), "D101", "tool_arguments: not JSON"),
    (raw(tool_arguments='["go"]'), "D101", "tool_arguments: found a list"),
    (raw(tool_arguments='{"title": "a", "title": "b"}'), "D101", "the key 'title' occurs twice"),
    (row("x1", "timer", factor=float("inf")), "D101", "Infinity is not a JSON value"),
    (raw(tool_arguments='{"factor": 1e999}', tool_name="timer"), "D101", "is inf"),
    (raw(tool_name="notes"), "D101", "did you mean 'note'?"),
    (raw(tool_name=""), "D101", "found '', expected one of"),
    (row("x2"), "D101", "missing argument 'title'"),
    (row("x3", title="x3", titel="x"), "D101", "unknown argument 'titel'"),
    (row("x4", "light", room="kitchn", on=True), "D101", "did you mean 'kitchen'?"),
    (row("x5", title=7), "D101", "expected type string. Put it in quotes"),
    (row("x6", "timer", minutes="3"), "D101", "expected type integer. Write it without quotes"),
    (row("x7", "timer", minutes=3.0), "D101", "found 3.0, expected type integer"),
    (row("x8", "timer", minutes=True), "D101", "found true, expected type integer"),
    (row("x9", "light", room="hall", on=1), "D101", "expected type boolean"),
    (row("y1", title=None), "D101", "found null"),
    (row("y2", "timer", factor=-1), "D101", "expected minimum 0"),
    (row("y3", "timer", tags=["a", 2]), "D101", "'tags[1]'"),
    (row("y4", "timer", place={}), "D101", "expected required"),
    (row("y5", "timer", place={"city": 1}), "D101", "'place.city'"),
    (row("y6", "timer", extra={"two words": 1}), "D101", "key 'two words'"),
    # conversations
    (json.dumps({"messages": "hi"}), "D101", "messages: found a text"),
    (chat(user("hi")), "D101", "ends with a user message"),
    (chat(user("hi"), {"role": "robot", "content": "x"}), "D101", "role"),
    (chat(user("hi"), call("nothing", {})), "D101", "found 'nothing'"),
    (
        chat(
            user("hi"),
            call("note", {"title": "a"}),
            user("and?"),
            {"role": "assistant", "content": "x"},
        ),
        "D101",
        "messages[2]",
    ),
    (
        chat(
            user("a"), {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "c"}
        ),
        "D101",
        "an answer after assistant",
    ),
    (
        chat(user("two seats"), call("book", {"seats": "2"}), tools=[OWN]),
        "D101",
        "expected type integer",
    ),
    (
        chat(user("three seats"), call("book", {"seats": 3}), tools=[{"type": "function"}]),
        "D101",
        "tools[0]",
    ),
    # rows beside each other; {line} is where the twin stands
    (row("jot down Otter trip", title="Badger"), "D103", "contradicts line {otter}"),
    (row("jot down Otter trip", title="Otter"), "D102", "exact duplicate of line {otter}"),
    (
        chat(user("a timer, 77 minutes"), call("timer", {"minutes": 77, "label": None})),
        "D104",
        "1 rows with such calls",
    ),
    (row("jot down: OTTER trip!", title="Otter"), "D201", "line {otter} has 'jot down Otter trip'"),
    (row("new memo about the Badger reports", title="Badger"), "D202", "line {badger} has"),
    (
        row("jot down, Otter trip", title="trip"),
        "D203",
        "line {otter} has 'jot down Otter trip' -> note",
    ),
    (
        row("jot down Gecko trip", "radio", station="Gecko"),
        "D204",
        "line {otter} has 'jot down Otter trip' -> note",
    ),
    # characters and spaces
    (note("the bells", "ring\x07 the bells"), "D241", "U+0007 in the text"),
    (note("zero", "nothing\u200b but zero"), "D242", "U+200B ZERO WIDTH SPACE"),
    (note("kcab", "this goes \u202ekcab"), "D243", "RIGHT-TO-LEFT OVERRIDE"),
    (note("gift", "buy a gіft now, gift"), "D244", "CYRILLIC"),
    (note("wide", "a\u00a0wide gap"), "D245", "NO-BREAK SPACE"),
    (note("caf", "the caf\ufffd on the corner"), "D246", "REPLACEMENT"),
    (note("Zoo", "le zoo fermÃ©: Zoo"), "D247", "expected 'é'"),
    (note("badge", "a \ue123 badge"), "D248", "U+E123"),
    (note("resume", "re\u0301sume, resume"), "D249", "U+0065 U+0301"),
    (note("margin", "  what a margin "), "D251", "'  what a margin '"),
    (note("tail ", "the tail of it: tail "), "D252", "note.title is 'tail '"),
    (json.dumps({"user_content": "an \u0430nswer", "answer": "w\u0430ter"}), "D244", "in the text"),
    # values that should be copied
    (row("remember that other thing, will you", title="Quagga"), "D261", "note.title is 'Quagga'"),
    (row("do not lose my notes on the OKAPI", title="Okapi"), "D262", "note.title is 'Okapi'"),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer_files(folder)
    files.write_json(folder / "config.json", {"model_type": "gemma3_text"})
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> tuple[Path, report.Report, dict[str, int], int]:
    """The broken file, its report, the lines of the rows that faults refer to and the line of the first fault."""
    path = tmp_path_factory.mktemp("data") / "broken.jsonl"
    good = clean()
    lines = [
        line if isinstance(line, bytes) else line.encode()
        for line in [*good, *(fault for fault, _, _ in BROKEN)]
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    places = {
        name.lower(): next(at for at, line in enumerate(good, 1) if f"{name} " in line)
        for name in ANIMALS
    }
    return path, inspect(path, TOOLS), places, len(good) + 1


def test_there_are_forty_kinds_of_faults_and_more() -> None:
    kinds = {(rule, expected if rule == "D101" else "") for _, rule, expected in BROKEN}
    assert len(kinds) >= 70 and len(BROKEN) >= 75


@pytest.mark.parametrize(
    "number", range(len(BROKEN)), ids=lambda number: f"{BROKEN[number][1]}-{number}"
)
def test_every_planted_fault_is_listed_at_its_line(broken, number: int) -> None:
    path, found, places, first = broken
    _, rule, expected = BROKEN[number]
    start = f"{path}:{first + number}: {rule} {RULES[rule].severity}: "
    mine = [line for line in found.lines() if line.startswith(start)]
    assert mine, [line for line in found.lines() if line.startswith(f"{path}:{first + number}: ")]
    expected = expected.format_map(places)
    assert any(expected in line for line in mine), mine
    assert all(len(line) < len(str(path)) + 700 and line.isprintable() for line in mine)


def test_faults_of_the_whole_file_are_listed(broken) -> None:
    path, found, _, _ = broken
    assert {rule for rule in ("D221", "D225", "D226") if found.counts.get(rule)} == {"D221"}
    (line,) = [line for line in found.lines() if "D221" in line]
    assert line.startswith(
        f"{path}:1: D221 warning: tool without rows: found none for 'unused', expected at least"
    )


def test_no_error_at_a_line_without_one(broken) -> None:
    _, found, _, first = broken
    planted = {first + number: rule for number, (_, rule, _) in enumerate(BROKEN)}
    for finding in found.findings:
        if finding.severity == "error":
            assert RULES[planted[finding.line]].severity == "error", finding


def test_errors_come_first_and_are_raised_together(broken) -> None:
    path, found, _, _ = broken
    order = [("error", "warning", "note").index(finding.severity) for finding in found.findings]
    assert order == sorted(order) and not found.passed
    with pytest.raises(DataError) as caught:
        found.raise_errors()
    lines = str(caught.value).splitlines()
    assert len(lines) == found.total("error")
    assert len({line.split(":")[1] for line in lines}) == sum(
        RULES[rule].severity == "error" for _, rule, _ in BROKEN
    )
    assert all(line.startswith(f"{path}:") and " error: " in line for line in lines)


def write(folder: Path, *lines: str, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rules(found: report.Report) -> dict[str, int]:
    return {rule: count for rule, count in found.counts.items() if count}


def test_a_clean_file_gives_nothing(tmp_path) -> None:
    found = inspect(write(tmp_path, *clean()), TOOLS[:4])
    assert rules(found) == {} and list(found.lines()) == [] and found.passed
    found.raise_errors()


def test_the_example_data_give_no_error_and_only_warnings_that_are_true() -> None:
    data, held_out, tools_file = (
        locations.shipped("data", name)
        for name in ("training_data.jsonl", "eval_data.jsonl", "tools.py")
    )
    found = inspect(data, load_tools(tools_file), held_out, tool_report=lint_tools(tools_file))
    # No plain answers; one held-out and one training row ask for purple alike; "rename (the) app to Hello" is the guide's.
    assert rules(found) == {"D225": 1, "D213": 1, "D202": 1}
    assert [finding.line for finding in found.findings] == [1, 154, 146]
    assert found.as_dict()["files"]["training"]["rows"] == 284 and found.passed


# ---- between two files


def test_leaks_between_training_and_held_out_rows(tmp_path) -> None:
    trained = write(tmp_path, *clean())
    held_out = write(
        tmp_path,
        row("jot down Otter trip", title="Otter"),
        row("jot down Gecko trip", title="Gecko"),
        row("Jot down: Otter trip", title="Otter"),
        row("new memo about the Badger reports", title="Badger"),
        row("jot down Lynx draft", title="Lynx"),
        row("jot down Heron trip", title="Jot"),
        row("entirely different words about a Quoll", title="Quoll"),
        name="eval.jsonl",
    )
    found = inspect(trained, TOOLS[:4], held_out)
    at = {
        (finding.rule_id, finding.line): finding
        for finding in found.findings
        if finding.path == str(held_out)
    }
    assert set(at) == {("D211", 1), ("D201", 3), ("D212", 3), ("D213", 4), ("D214", 2)}
    assert "'Jot down: Otter trip' where line 1 has 'jot down" in str(at["D201", 3])
    assert f"'Jot down: Otter trip' where line 11 of {trained} has 'jot down" in str(at["D212", 3])
    assert "found 2 of 7 rows" in str(at["D214", 2]) and "lines 2 (= 11), 5 (= 19)" in str(
        at["D214", 2]
    )
    assert found.as_dict()["files"]["held_out"]["shared_phrasings"] == 2


def test_files_that_contradict_each_other_do_not_pass(tmp_path) -> None:
    trained = write(tmp_path, *clean())
    held_out = write(tmp_path, row("jot down Otter trip", title="trip"), name="eval.jsonl")
    found = inspect(trained, TOOLS[:4], held_out)
    assert not found.passed
    (finding,) = [finding for finding in found.findings if finding.severity == "error"]
    assert (finding.rule_id, finding.line) == (
        "D216",
        1,
    ) and "'jot down Otter trip' -> note" in finding.found


def test_values_that_are_trained_on(tmp_path) -> None:
    names = [f"Item {number}" for number in range(40)]
    trained = write(
        tmp_path,
        *(row(f"remember {name} number {at * 7919}", title=name) for at, name in enumerate(names)),
    )
    held_out = write(
        tmp_path,
        *(row(f"what was it, oh yes, {name}", title=name) for name in names[:10]),
        name="e.jsonl",
    )
    found = inspect(trained, TOOLS[1:2], held_out)
    assert "10 of 10 different values of note.title" in next(
        f.found for f in found.findings if f.rule_id == "D215"
    )
    fresh = write(
        tmp_path,
        *(row(f"what was it, oh yes, {name}", title=name) for name in ANIMALS),
        name="f.jsonl",
    )
    assert "D215" not in rules(inspect(trained, TOOLS[1:2], fresh))


def test_rows_that_their_file_marks_for_evaluation_are_held_out(tmp_path) -> None:
    def marked(text: str, mark: str) -> str:
        return chat(user(text), call("note", {"title": "Otter"}), metadata=mark)

    path = write(
        tmp_path, marked("jot down Otter trip", "train"), marked("jot down: Otter trip", "eval")
    )
    found = inspect(path, TOOLS[1:2], format="mobile-actions")
    assert [side.counts["rows"] for side in found.sides] == [1, 1]
    assert [finding.line for finding in found.findings if finding.rule_id == "D212"] == [2]


# ---- balance


def numbered(count: int, tool_name: str = "note", **arguments: object) -> Iterator[str]:
    words = "amber birch cedar delta ember fjord grove haven inlet jetty knoll larch maple north ocean plain".split()
    for number in range(count):
        yield row(
            " ".join(words[(number * step + step) % 16] for step in (1, 3, 5, 7, 11))
            + f" {number}",
            tool_name,
            **arguments,
        )


@pytest.mark.parametrize(
    ("lines", "tools", "rule", "expected"),
    [
        ([], TOOLS[:1], "D221", "none for 'light'"),
        (
            [row("lamp on in the hall", "light", room="hall", on=True)],
            TOOLS[:1],
            "D222",
            "1 for 'light'",
        ),
        (
            [row("lamp on in the hall", "light", room="hall", on=True)],
            TOOLS[:1],
            "D224",
            "none for 'kitchen', 'office', 'attic', 'cellar' of light.room",
        ),
        (
            list(numbered(30, title="same")),
            TOOLS[1:2],
            "D223",
            "'same' in 30 of 30 values of note.title",
        ),
        (clean(40), TOOLS[:4], "D225", "calls in all 40 rows"),
        (
            [json.dumps({"user_content": f"{line} what?", "answer": "No."}) for line in range(30)]
            + clean(10),
            TOOLS[:4],
            "D226",
            "30 of 40 rows without one",
        ),
        (
            [
                chat(
                    user("both"),
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {"function": {"name": "note", "arguments": {"title": title}}}
                            for title in ("a", "b")
                        ],
                    },
                )
            ],
            TOOLS[1:2],
            "D227",
            "several in 1 of 2 rows",
        ),
        (
            [row(f"remember {number} now", title=str(number)) for number in range(50)],
            TOOLS[1:2],
            "D205",
            "1 in 50 rows",
        ),
    ],
)
def test_balance(tmp_path, lines, tools, rule, expected) -> None:
    clean_rows = (
        []
        if rule in ("D223", "D225", "D226", "D205")
        else [json.dumps({"user_content": "hm", "answer": "Yes?"})]
    )
    found = inspect(write(tmp_path, *lines, *clean_rows), tools)
    assert expected in " ".join(
        finding.found for finding in found.findings if finding.rule_id == rule
    )


# ---- length


def test_rows_that_do_not_fit_are_named_with_the_setting_that_takes_them(
    tmp_path, tokenizer
) -> None:
    path = write(tmp_path, *clean(), row("x" * 600, title="x"))
    found = inspect(
        path,
        TOOLS[:4],
        tokenizer=tokenizer,
        max_length=1500,
        kv_cache_max_len=1600,
        prefill_seq_len=256,
    )
    total = found.sides[0].lengths.total
    longest = int(total.max())
    assert longest == total[-1] > 1600, "the fixture's tools are long in bytes"
    at = {
        finding.rule_id: finding for finding in found.findings if finding.rule_id.startswith("D23")
    }
    assert set(at) == {"D231", "D232", "D233"} and at["D231"].line == at["D232"].line == 47
    assert (
        f"found {longest} tokens, {longest - 1500} too many, expected at most 1500 tokens"
        in str(at["D231"])
    )
    assert (
        "-p max_length 2048" in at["D231"].remedy
        and "-p kv_cache_max_len 2048" in at["D232"].remedy
    )
    assert at["D233"].found.startswith("47 of 47 prompts, this one the longest")
    assert not found.passed and found.as_dict()["files"]["training"]["tokens"]["longest"] == longest


def test_lengths_are_those_of_training(tmp_path, tokenizer) -> None:
    from fgkit.dataset.tokenize import tokenize_records

    path = write(
        tmp_path,
        *clean(),
        chat(
            {"role": "developer", "content": "Be quick."}, user("go"), call("note", {"title": "a"})
        ),
        chat(user("two"), call("book", {"seats": 2}), tools=[OWN]),
    )
    (side,) = inspect(path, TOOLS, tokenizer=tokenizer).sides
    rows = tokenize_records(side.records, PromptSetup(TOOLS), tokenizer, max_length=10**9)
    assert side.lengths.total.tolist() == [len(row.tokens) for row in rows]
    assert side.lengths.prompt.tolist() == [row.prompt_length for row in rows]


def test_without_a_tokenizer_it_says_so(tmp_path) -> None:
    found = inspect(write(tmp_path, *clean()), TOOLS[:4], without_lengths="nobody gave one.")
    assert "Lengths are not checked: nobody gave one." in found.table()
    assert found.as_dict()["files"]["training"]["tokens"] is None


# ---- what comes out


def test_the_table_json_and_picture(tmp_path, tokenizer) -> None:
    found = inspect(
        write(tmp_path, *clean()),
        TOOLS[:4],
        write(tmp_path, *clean(4), name="e.jsonl"),
        tokenizer=tokenizer,
    )
    table = found.table().splitlines()
    assert len({len(line) for line in table if line.startswith("|")}) == 1 and table[0].split() == [
        "|",
        "|",
        "training",
        "|",
        "held",
        "out",
        "|",
    ]
    assert any(line.split()[1:-1] == ["rows", "|", "46", "|", "4"] for line in table)
    picture = data_report.save(found, tmp_path / "out")
    assert (
        picture.read_bytes().startswith(b"\x89PNG") and picture == tmp_path / "out" / "report.png"
    )
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == found.as_dict() and written["rules"] == rules(found)
    assert written["findings"][0].keys() == {
        "rule",
        "severity",
        "path",
        "line",
        "what",
        "found",
        "expected",
        "remedy",
        "message",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.json",
        "report.png",
    ]


def test_a_picture_of_nothing_and_of_many_tools(tmp_path) -> None:
    many = [tool(f"tool_{number}", title=TEXT) for number in range(60)]
    for lines in ([], [row(f"do {number}", f"tool_{number}", title="x") for number in range(60)]):
        found = inspect(write(tmp_path, *lines), many)
        assert data_report.plot(found, tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_many_findings_are_counted_and_the_rest_is_summed_up(tmp_path) -> None:
    found = inspect(
        write(
            tmp_path,
            *(row(f"it is {number}\u200b", title=str(number)) for number in range(1100)),
            *["x"] * 1100,
        ),
        TOOLS[1:2],
    )
    lines = list(found.lines())
    assert found.counts["D242"] == found.counts["D101"] == 1100
    assert sum("D242 warning" in line for line in lines) == report.SHOWN
    assert sum("D101 error" in line for line in lines) == KEPT
    assert any(line.startswith(f"... and {1100 - report.SHOWN} more of D242") for line in lines)
    assert any(line.startswith(f"... and {1100 - KEPT} more of D101") for line in lines)
    assert Counter(finding["rule"] for finding in found.as_dict()["findings"])["D242"] == KEPT


def test_nothing_hides_in_a_message() -> None:
    findings = Findings()
    findings.add_message("D101", "a\nb.jsonl", 1, "\x1b[31m \u202e \ud800 é 😀")
    line = str(findings.kept[0])
    assert (
        line == "a\\nb.jsonl:1: D101 error: \\x1b[31m \\u202e \\ud800 é 😀" and line.isprintable()
    )


def test_the_same_seed_finds_the_same(tmp_path) -> None:
    path = write(tmp_path, *clean(), row("new memo about the Badger reports", title="Badger"))
    one, two = (inspect(path, TOOLS[:4], seed=5) for _ in range(2))
    assert one.findings == two.findings and rules(one) == {"D202": 1}


def test_text_that_is_mostly_bytes_is_named_on_both_sides(tmp_path) -> None:
    tiny.tokenizer_files(tmp_path)  # it has pieces for ASCII only
    trained = write(
        tmp_path,
        *clean()[:5],
        row("note caf\u00e9 down for us please", title="caf\u00e9"),
        row("\U0001f525\U0001f525 now", title="now"),
    )
    held_out = write(tmp_path, row("\u6ce8\u610f", title="\u6ce8\u610f"), name="held_out.jsonl")
    found = inspect(
        trained, TOOLS[:4], held_out, tokenizer=load_tokenizer(tmp_path), max_length=20_000
    )
    at = {
        (finding.path, finding.line): finding.found
        for finding in found.findings
        if finding.rule_id == "D234"
    }
    assert at == {
        (str(trained), 7): "8 of 12 in '\U0001f525\U0001f525 now'",
        (str(held_out), 1): "6 of 6 in '\u6ce8\u610f'",
    }
    without = inspect(trained, TOOLS[:4], held_out)
    assert found.passed and "D234" not in without.counts


def test_the_page_shows_the_rules() -> None:
    page = (ROOT / "docs" / "data-report.md").read_text(encoding="utf-8")
    assert rules_table() in page and len(RULES) >= 35
    planted = {rule for _, rule, _ in BROKEN} | {
        f"D{number}"
        for number in (205, 211, 212, 213, 214, 215, 216, *range(221, 228), 231, 232, 233, 234)
    }
    assert planted == set(RULES), "every rule is broken by some test on this page"
