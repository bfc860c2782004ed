"""The second example keeps what data/home/README.md promises: types, conventions, counts, a clean hold-out.

>>> phrasing(Row("Dim the office light to 35%", (("dim_light", {"room": "office", "percent": 35}),)))
'dim the roomvalue light to percentvalue'
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fgkit import prompts
from fgkit.calls import Call, parse
from fgkit.tools import load_tools
from fgkit.tools.validation import Checker
from fgkit.workflow import run as pipeline
from tests.test_data import normal

ROOT = Path(__file__).parents[1]
HOME = ROOT / "data" / "home"
README = (HOME / "README.md").read_text(encoding="utf-8")
TOOLS = load_tools(HOME / "tools.py")
NAMES = [tool["function"]["name"] for tool in TOOLS]
ROOMS = ("kitchen", "living room", "bedroom", "bathroom", "office")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
REFUSAL = "Sorry, I can't help with that."
SHARED = ("room", "days", "day", "zones")  # closed sets, found in both files
HELD_OUT = ("percent", "celsius", "minutes", "time", "label", "products", "to", "text", "title")
UNITS = r"(?: (?:percent|per cent|degrees|c|minutes?|mins?)\b)?"


class Row(NamedTuple):
    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def kind(self) -> str:
        return ("no call", "one call", "parallel")[min(len(self.calls), 2)]

    @property
    def leaves(self) -> list[tuple[str, Any]]:
        """Every value that stands in the text, with its argument's name; switches stand there as on and off."""
        return [leaf for _, arguments in self.calls for leaf in leaves(arguments)]


def leaves(arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in arguments.items():
        if isinstance(value, dict):
            yield from leaves(value)
        elif isinstance(value, list):
            yield from ((key, item) for item in value)
        elif not isinstance(value, bool):
            yield key, value


def lines(name: str) -> list[str]:
    return (HOME / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()


def read(name: str) -> list[Row]:
    rows = []
    for line in lines(name):
        user, answer = json.loads(line)["messages"]
        functions = [call["function"] for call in answer.get("tool_calls", [])]
        rows.append(
            Row(user["content"], tuple((call["name"], call["arguments"]) for call in functions))
        )
    return rows


TRAIN, EVAL = read("training_data"), read("eval_data")
ROWS = {"training_data": TRAIN, "eval_data": EVAL}
both_files = pytest.mark.parametrize("name", ROWS)


def find(text: str, key: str, value: Any) -> list[tuple[int, int]]:
    """Where a value stands in the text, alone: numbers as digits, closed sets in any case, all else as it is."""
    if isinstance(value, str):
        pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
    else:
        digits = (
            re.escape(str(value))
            if value % 1
            else rf"{value:.0f}" + (r"(?:\.0)?" if type(value) is float else "")
        )
        pattern = rf"(?<![\w.:,]){digits}(?!\d|[.:]\d)"
    return [
        match.span() for match in re.finditer(pattern, text, re.IGNORECASE if key in SHARED else 0)
    ]


def phrasing(row: Row) -> str:
    """The normalised text with its values, their units, lists and switches replaced by placeholders."""
    text = row.text
    for start, end, key in sorted(
        {(*find(text, key, value)[0], key) for key, value in row.leaves}, reverse=True
    ):
        text = f"{text[:start]} {key}value {text[end:]}"
    text = re.sub(rf"\b((?:percent|celsius|minutes)value){UNITS}", r"\1", normal(text))
    text = re.sub(r"\b(\w+value)(?:(?: and)? \1)+\b", r"\1", text)
    text = re.sub(r"\bzones\b", "zone", re.sub(r"\ban\b", "a", text))
    return (
        re.sub(r"\b(on|off)\b", "onvalue", text)
        if any(tool == "switch_light" for tool, _ in row.calls)
        else text
    )


def of(rows: list[Row], tool: str) -> list[tuple[str, dict[str, Any]]]:
    """Text and arguments of the rows that are one call of a tool."""
    found = [
        (row.text, row.calls[0][1])
        for row in rows
        if row.kind == "one call" and row.calls[0][0] == tool
    ]
    assert found
    return found


def test_the_tools_cover_every_type_of_argument() -> None:
    found = set()

    def visit(schema: dict[str, Any]) -> None:
        found.add("enum" if "enum" in schema else schema["type"])
        if schema["type"] == "array":
            found.add(f"array of {schema['items']['type']}")
        for name, inner in schema.get("properties", {}).items():
            if name not in schema.get("required", []):
                found.add("optional")
            visit(inner)

    for tool in TOOLS:
        visit(tool["function"]["parameters"])
    assert len(TOOLS) == 9
    assert found >= {
        "integer",
        "number",
        "boolean",
        "string",
        "enum",
        "object",
        "array of string",
        "array of integer",
        "optional",
    }
    table = re.findall(r"^\| `(\w+)\(", README, re.M)
    assert table == NAMES, "README's tools"


@both_files
def test_every_line_has_the_one_form(name: str) -> None:
    raw = (HOME / f"{name}.jsonl").read_bytes()
    assert raw.endswith(b"}\n") and b"\r" not in raw and not raw.startswith(b"\xef\xbb\xbf")
    for line in lines(name):
        record = json.loads(line)
        assert list(record) == ["messages"], line
        user, answer = record["messages"]
        assert (
            list(user) == ["role", "content"]
            and user["role"] == "user"
            and answer["role"] == "assistant"
        ), line
        assert user["content"] and user["content"] == " ".join(user["content"].split()), line
        if "tool_calls" in answer:
            assert list(answer) == ["role", "tool_calls"] and answer["tool_calls"], line
            for call in answer["tool_calls"]:
                assert list(call) == ["type", "function"] and call["type"] == "function", line
                assert list(call["function"]) == ["name", "arguments"], line
        else:
            assert answer == {"role": "assistant", "content": REFUSAL}, line
    assert f"`{REFUSAL}`" in README
    (example,) = re.findall(r"^```json\n(.+)\n```$", README, re.M)
    assert example in lines("training_data")


@both_files
def test_arguments_fit_the_tools_and_survive_the_wire(name: str) -> None:
    checks, kinds = {tool["function"]["name"]: Checker(tool) for tool in TOOLS}, Counter()
    for row in ROWS[name]:
        calls = [Call(tool, arguments) for tool, arguments in row.calls]
        for call in calls:
            assert not list(checks[call.name](call.arguments)), row
            assert type(call.arguments.get("celsius", 1.0)) is float, row
        if calls:
            assert parse(prompts.completion(calls)) == calls, row
        kinds[row.kind] += 1
    assert min(kinds.values()) >= 30 and len(kinds) == 3


def test_the_counts_of_the_readme() -> None:
    def row(title: str, counts: list[int]) -> str:
        return f"| {title} | " + " | ".join(map(str, counts)) + " |"

    assert len(TRAIN) >= 640 and len(EVAL) >= 220
    for tool in NAMES:
        counts = [
            count
            for rows in (TRAIN, EVAL)
            for count in (
                len(of(rows, tool)),
                sum(
                    name == tool for row in rows if row.kind == "parallel" for name, _ in row.calls
                ),
            )
        ]
        assert row(f"`{tool}`", counts) in README
    kinds = [Counter(row.kind for row in rows) for rows in (TRAIN, EVAL)]
    for kind in ("one call", "parallel", "no call"):
        assert row(kind, [counts[kind] for counts in kinds]) in README
    assert row("rows", [len(TRAIN), len(EVAL)]) in README
    triples = [sum(len(row.calls) == 3 for row in rows) for rows in (TRAIN, EVAL)]
    assert f"{triples[0]} and {triples[1]} of the parallel rows hold three calls" in " ".join(
        README.split()
    )


@both_files
def test_shuffled(name: str) -> None:
    firsts = [row.calls[0][0] if row.calls else "" for row in ROWS[name]]
    assert sum(a != b for a, b in zip(firsts, firsts[1:])) > len(firsts) / 2, (
        "the tools come in blocks"
    )


@both_files
def test_every_value_is_in_the_text_once_and_calls_come_as_said(name: str) -> None:
    seen = 0
    for row in ROWS[name]:
        starts, owners = [], {}
        for _, arguments in row.calls:
            spans = []
            for key, value in leaves(arguments):
                found = find(row.text, key, value)
                assert len(found) == 1, (row, key, value)
                assert owners.setdefault(found[0], (key, value)) == (key, value), row
                spans.append(found[0])
                seen += 1
            starts.append(min(spans))
            for key in ("products", "days", "zones"):
                order = [find(row.text, key, value)[0] for value in arguments.get(key, [])]
                assert order == sorted(set(order)), row
        assert starts == sorted(set(starts)), row
        spans = sorted(owners)
        assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:])), row
    assert seen > 1.5 * len(ROWS[name])


@both_files
def test_free_texts_end_clearly(name: str) -> None:
    for row in ROWS[name]:
        for key, value in row.leaves:
            if key in ("label", "products", "to", "text", "title"):
                ((start, end),) = find(row.text, key, value)
                before, after = row.text[:start], row.text[end:]
                assert value == value.strip(' .,;:?!"') and '"' not in value, row
                assert before.endswith('"') == after.startswith('"'), f"half quoted: {row}"
                assert after != "." or before.endswith('"') or key in ("to",), (
                    f"a full stop after a free text: {row}"
                )


@both_files
def test_conventions(name: str) -> None:
    rows = ROWS[name]
    for text, arguments in of(rows, "switch_light"):
        words = [word for word in normal(text).split() if word in ("on", "off")]
        assert words == ["on" if arguments["on"] else "off"], text
    for text, arguments in of(rows, "set_heating"):
        assert [room for room in ROOMS if room in text.lower()] == list(
            filter(None, [arguments.get("room")])
        ), text
    for text, arguments in of(rows, "set_alarm"):
        named = [word for word in normal(text).split() if word in DAYS]
        assert named == arguments.get("days", []), text
    labels = {arguments["label"] for _, arguments in of(rows, "set_timer") if "label" in arguments}
    for text, arguments in of(rows, "set_timer"):
        if "label" not in arguments:
            assert not {"call", "called", "name", "named", "label", "labelled"} & set(
                normal(text).split()
            ), text
            assert not [label for label in labels if find(text, "label", label)], text
    for row in rows:
        for key, value in row.leaves:
            if key == "time":
                assert re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value), row
            assert key not in ("day", "days") or value in DAYS, row
            assert key != "percent" or 1 <= value <= 100, row
            assert key != "zones" or 1 <= value <= 12, row
            assert key != "celsius" or round(value, 1) == value, row
    assert len(labels) >= 8


@both_files
def test_optional_arguments_come_with_and_without(name: str) -> None:
    for tool, key in (("set_heating", "room"), ("set_timer", "label"), ("set_alarm", "days")):
        share = sum(key in arguments for _, arguments in of(ROWS[name], tool)) / len(
            of(ROWS[name], tool)
        )
        assert 0.4 < share < 0.65, tool


def test_no_text_twice_in_either_file() -> None:
    # With no normalised text occurring twice, no two rows can contradict each other.
    texts = Counter(normal(row.text) for row in TRAIN + EVAL)
    assert len(texts) == len(TRAIN) + len(EVAL), texts.most_common(3)


def test_many_phrasings_of_each_tool() -> None:
    for tool in NAMES:
        for rows, least in ((TRAIN, 50), (EVAL, 18)):
            found = {
                phrasing(row) for row in rows if row.kind == "one call" and row.calls[0][0] == tool
            }
            assert len(found) >= least, tool
    assert max(Counter(map(phrasing, TRAIN)).values()) <= 2


def test_eval_is_held_out() -> None:
    train, held_out = set(map(phrasing, TRAIN)), set(map(phrasing, EVAL))
    assert len(train) > 700 and len(held_out) > 220
    assert not train & held_out
    for key in HELD_OUT:
        seen, new = (
            {str(value).lower() for row in rows for leaf, value in row.leaves if leaf == key}
            for rows in (TRAIN, EVAL)
        )
        assert len(new) >= 10, key
        assert not seen & new, key


def test_the_parameter_file_is_for_this_example(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.chdir(ROOT)  # its paths are relative to the repository
    parameters = yaml.safe_load(
        (ROOT / "notebooks" / "params" / "home.yaml").read_text(encoding="utf-8")
    )
    plans = pipeline.plan(parameters)
    files = [
        str(Path("data/home") / name)
        for name in ("training_data.jsonl", "eval_data.jsonl", "tools.py")
    ]
    assert all([plan.data, plan.eval_data, plan.tools] == files for plan in plans.values())
    assert plans["to_task"].profile == "google", "parallel calls need its stop tokens"


@pytest.mark.slow
def test_every_row_fits_the_context() -> None:
    from transformers import AutoTokenizer

    from fgkit.models.base import find_base

    tokenizer = AutoTokenizer.from_pretrained(find_base("offline").folder, local_files_only=True)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    prompt = prompts.render(prompts.conversation("x"), TOOLS)
    prefix = count(prompt[: prompt.index("<start_of_turn>user")])
    longest = 0
    for row in TRAIN + EVAL:
        text = prompts.render(prompts.conversation(row.text), TOOLS, add_generation_prompt=True)
        calls = [Call(tool, arguments) for tool, arguments in row.calls]
        longest = max(
            longest,
            count(text + (prompts.completion(calls) if calls else f"{REFUSAL}<end_of_turn>")),
        )
    assert longest <= 900
    assert f"{prefix} tokens" in README and f"{longest} tokens" in README
