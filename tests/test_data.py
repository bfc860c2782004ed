"""The shipped data keeps what data/README.md promises: counts, balance, one title convention, a clean hold-out.

>>> phrasing(Row("rename it to Moon", "change_app_title", {"title": "Moon"}))
'rename it to titlevalue'
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

DATA = Path(__file__).parents[1] / "data"
COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
FIXED_TITLES = ("Alert", "Message", "Warning")
ARGUMENTS = {
    "change_background_color": {"color"},
    "change_app_title": {"title"},
    "show_alert": {"title", "message"},
}
COUNTS = {"training_data": (94, 95, 95), "eval_data": (52, 52, 52)}
ALERT_TITLES = {
    "training_data": {"Alert": 38, "Message": 21, "Warning": 20, "named": 16},
    "eval_data": {"Alert": 21, "Message": 11, "Warning": 11, "named": 9},
}
GUIDE_ROWS = [
    ("make it red", {"color": "red"}),
    ("rename app to Hello", {"title": "Hello"}),
    ("show alert saying hi", {"title": "Alert", "message": "hi"}),
    ("change to blue", {"color": "blue"}),
    ("set background green", {"color": "green"}),
    ("I want a purple background", {"color": "purple"}),
    ("make the background orange", {"color": "orange"}),
    ("rename the app to Hello", {"title": "Hello"}),
    ("set title to My App", {"title": "My App"}),
    ("change the title to Test", {"title": "Test"}),
    ("call it Flutter Demo", {"title": "Flutter Demo"}),
    ("show an alert saying welcome", {"title": "Alert", "message": "welcome"}),
    ("display a message hello world", {"title": "Message", "message": "hello world"}),
    ("pop up an alert with error", {"title": "Alert", "message": "error"}),
]


class Row(NamedTuple):
    text: str
    tool: str
    arguments: dict[str, str]

    @property
    def copied(self) -> dict[str, str]:
        """The arguments whose value stands in the text; an alert title fixed by the convention does not."""
        fixed = self.tool == "show_alert" and self.arguments["title"] in FIXED_TITLES
        return {
            key: value for key, value in self.arguments.items() if not (fixed and key == "title")
        }


def read(name: str) -> list[Row]:
    records = [
        json.loads(line)
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [
        Row(r["user_content"], r["tool_name"], json.loads(r["tool_arguments"])) for r in records
    ]


TRAIN, EVAL = read("training_data"), read("eval_data")
ROWS = {"training_data": TRAIN, "eval_data": EVAL}
both_files = pytest.mark.parametrize("name", ROWS)


def normal(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


def find(row: Row, key: str) -> list[re.Match[str]]:
    """Where the value stands in the text as whole words; only a colour may differ in case."""
    pattern = rf"(?<!\w){re.escape(row.arguments[key])}(?!\w)"
    return list(re.finditer(pattern, row.text, re.IGNORECASE if key == "color" else 0))


def phrasing(row: Row) -> str:
    """The normalised text with placeholders for its values, cut from the right so that offsets stay valid."""
    text = row.text
    for start, end, key in sorted(
        ((*find(row, key)[0].span(), key) for key in row.copied), reverse=True
    ):
        text = f"{text[:start]} {key}value {text[end:]}"
    return normal(text)


def alert_title(text: str, message: str) -> str:
    """README's convention, from the text alone: a named title, else the cue word outside the message, else Alert."""
    start = text.rindex(message)
    around = text[:start] + text[start + len(message) :]
    end = r"(?=,? (?:saying|that says|with the text|and the text|and text|text)\b)"
    named = re.search(rf'\b(?:titled|title) (?:"([^"]+)"|(.+?){end})', around)
    if named:
        return named[1] or named[2]
    words = set(normal(around).split())
    cues = [
        title
        for title, cue in zip(FIXED_TITLES, ({"alert"}, {"message"}, {"warning", "warn"}))
        if words & cue
    ]
    assert len(cues) <= 1, f"{text!r} names {cues}"
    return cues[0] if cues else "Alert"


def values(rows: list[Row], key: str) -> list[str]:
    return [normal(row.arguments[key]) for row in rows if key in row.copied]


@both_files
def test_schema(name: str) -> None:
    raw = (DATA / f"{name}.jsonl").read_bytes()
    assert raw.endswith(b"}\n") and b"\r" not in raw and not raw.startswith(b"\xef\xbb\xbf")
    lines = raw.decode("utf-8").removesuffix("\n").split("\n")
    assert len(lines) == sum(COUNTS[name])
    for line in lines:
        record = json.loads(line)
        assert list(record) == ["user_content", "tool_name", "tool_arguments"], line
        assert all(type(value) is str for value in record.values()), line
        arguments = json.loads(record["tool_arguments"])
        assert arguments.keys() == ARGUMENTS[record["tool_name"]], line
        for text in (record["user_content"], *arguments.values()):
            assert type(text) is str and text and text == " ".join(text.split()), line


@both_files
def test_counts_and_shuffled(name: str) -> None:
    tools = [row.tool for row in ROWS[name]]
    assert tuple(Counter(tools)[tool] for tool in ARGUMENTS) == COUNTS[name]
    changes = sum(a != b for a, b in zip(tools, tools[1:]))
    assert changes > len(tools) / 2, "the tools come in blocks"


@both_files
def test_colors_balanced_and_the_only_one_named(name: str) -> None:
    rows = [row for row in ROWS[name] if row.tool == "change_background_color"]
    counts = Counter(row.arguments["color"] for row in rows)
    assert set(counts) == set(COLORS) and max(counts.values()) - min(counts.values()) <= 1
    for row in rows:
        assert [word for word in normal(row.text).split() if word in COLORS] == [
            row.arguments["color"]
        ], row


@both_files
def test_values_are_in_the_text_once_and_end_clearly(name: str) -> None:
    seen = 0
    for row in ROWS[name]:
        for key in row.copied:
            found = find(row, key)
            assert len(found) == 1, row
            before, after = row.text[: found[0].start()], row.text[found[0].end() :]
            if key != "color":
                assert not after or after[0] in " ,\"'”", (
                    f"punctuation after an unquoted value: {row}"
                )
                quotes = (before[-1:] + after[:1]) if before[-1:] in "\"'“" else ""
                assert quotes in ("", '""', "''", "“”"), row
                assert not set(row.arguments[key]) & set('"“”'), row
            seen += 1
    assert seen >= len(ROWS[name])


@both_files
def test_lengths(name: str) -> None:
    assert max(len(row.text.split()) for row in ROWS[name]) <= 25
    for row in ROWS[name]:
        assert len(row.arguments.get("title", "").split()) <= 4, row
        assert len(row.arguments.get("message", "").split()) <= 10, row


@both_files
def test_alert_titles_follow_the_convention(name: str) -> None:
    rows = [row for row in ROWS[name] if row.tool == "show_alert"]
    for row in rows:
        assert alert_title(row.text, row.arguments["message"]) == row.arguments["title"], row
    kinds = Counter("named" if "title" in row.copied else row.arguments["title"] for row in rows)
    assert kinds == ALERT_TITLES[name]


def test_the_convention_itself() -> None:
    assert alert_title("show a box saying message sent", "message sent") == "Alert"
    assert alert_title("warn me that the alert is on", "the alert is on") == "Warning"
    assert alert_title('a message titled "A B" saying x', "x") == "A B"
    with pytest.raises(AssertionError, match="names"):
        alert_title("show an alert with the message x", "x")


def test_guide_rows_are_training_rows() -> None:
    known = {row.text: row.arguments for row in TRAIN}
    assert [(text, known.get(text)) for text, _ in GUIDE_ROWS] == GUIDE_ROWS


def test_no_text_twice_in_either_file() -> None:
    # With no normalised text occurring twice, no two rows can contradict each other.
    texts = Counter(normal(row.text) for row in TRAIN + EVAL)
    assert len(texts) == 284 + 156, texts.most_common(3)


def test_no_value_twice_in_either_file() -> None:
    for key, twice in (("title", ["hello"]), ("message", [])):
        counts = Counter(values(TRAIN + EVAL, key))
        assert len(counts) > 100 and [value for value, n in counts.items() if n > 1] == twice
    assert values(TRAIN, "title").count("hello") == 2


def test_fixed_titles_are_never_copied_ones() -> None:
    named = {*values(TRAIN, "title"), *values(EVAL, "title")}
    assert named and not named & {title.lower() for title in FIXED_TITLES}


def test_eval_is_held_out() -> None:
    train, held_out = Counter(map(phrasing, TRAIN)), Counter(map(phrasing, EVAL))
    assert sum(train.values()) == 284 and sum(held_out.values()) == 156
    assert not train.keys() & held_out.keys()
    assert max(held_out.values()) <= 2 and max(train.values()) <= 2
    for key in ("title", "message"):
        assert values(EVAL, key) and not set(values(TRAIN, key)) & set(values(EVAL, key))
    for key in ("title", "message"):
        longest = [max(len(value) for value in values(rows, key)) for rows in (TRAIN, EVAL)]
        assert longest[1] <= longest[0], key


def test_tools_file_is_the_guides() -> None:
    tree = ast.parse((DATA / "tools.py").read_text(encoding="utf-8"))
    tools = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    found = [
        (tool.name, ast.unparse(tool.args), ast.unparse(tool.returns), ast.get_docstring(tool))
        for tool in tools
    ]
    assert found == [
        (
            "change_background_color",
            "color: str",
            "str",
            "Changes the app background color to specified color.\n\n"
            "Args:\n    color: The color name (red, green, blue, yellow, purple, orange)",
        ),
        (
            "change_app_title",
            "title: str",
            "str",
            "Changes the application title text in the AppBar.\n\n"
            "Args:\n    title: The new title text to display",
        ),
        (
            "show_alert",
            "title: str, message: str",
            "str",
            "Shows an alert dialog with a custom message and title.\n\n"
            "Args:\n    title: The title of the alert dialog\n    message: The message content of the alert dialog",
        ),
    ]


def test_readme_states_the_counts() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for name, per_tool in COUNTS.items():
        assert f"| `{name}.jsonl` | {sum(per_tool)} |" in readme
    for kind in ALERT_TITLES["training_data"]:
        cells = f" {ALERT_TITLES['training_data'][kind]} | {ALERT_TITLES['eval_data'][kind]} |"
        assert sum(line.endswith(cells) for line in readme.splitlines()) == 1, kind
