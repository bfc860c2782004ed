"""Importers: what each format's rows become, one message for each way to get one wrong, and files that are lists."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgkit.calls import Call
from fgkit.dataset.formats import files as row_files
from fgkit.dataset.formats.detection import FORMATS, detect, read_row
from fgkit.dataset.formats.xlam import tools_of
from fgkit.dataset.reading import Inspection, inspect_records, read_records
from fgkit.dataset.records import Record
from fgkit.dataset.splits import held_out_data, load_data
from fgkit.errors import DataError, FgkitError

STRING = {"type": "string", "description": "A text."}


def tool(name: str, required: list[str] | None = None, **properties: dict) -> dict:
    required = list(properties) if required is None else required
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "Does.",
            "parameters": {"type": "object", "properties": properties, "required": required},
        },
    }


TOOLS = [
    tool("paint", color=STRING),
    tool("wait", [], seconds={"type": "integer"}, note=STRING | {"nullable": True}),
]
GUIDE = {"user_content": "make it red", "tool_name": "paint", "tool_arguments": '{"color": "red"}'}
USER = {"role": "user", "content": "make it red"}


def called(*calls: tuple[str, object], **more: object) -> dict:
    return {
        "role": "assistant",
        "tool_calls": [
            {"function": {"name": name, "arguments": arguments}} for name, arguments in calls
        ],
        **more,
    }


RED = called(("paint", {"color": "red"}))


def write(tmp_path: Path, *rows: object, name: str = "data.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows),
        encoding="utf-8",
    )
    return path


def inspect(
    tmp_path: Path, *rows: object, format: str = "auto", name: str = "data.jsonl"
) -> Inspection:
    return inspect_records(write(tmp_path, *rows, name=name), TOOLS, format=format)


def one(tmp_path: Path, row: object, **options: str) -> Record:
    inspection = inspect(tmp_path, row, **options)
    assert not inspection.problems, inspection.problems
    (record,) = inspection.records
    return record


# ---- what rows become


def test_guide_rows_and_messages_mix_in_one_file(tmp_path: Path) -> None:
    found = inspect(
        tmp_path,
        GUIDE,
        {"messages": [USER | {"content": "make it blue"}, called(("paint", {"color": "blue"}))]},
        {"user_content": "hello", "answer": "I can paint and wait."},
    )
    assert not found.problems and [record.kind for record in found.records] == [
        "call",
        "call",
        "no_call",
    ]
    assert [record.user_content for record in found.records] == [
        "make it red",
        "make it blue",
        "hello",
    ]
    assert found.records[2].text == "I can paint and wait." and found.per_tool == {
        "paint": 2,
        "wait": 0,
    }
    twice = inspect(tmp_path, GUIDE, {"messages": [USER, RED]})
    assert [warning.line for warning in twice.warnings] == [2] and len(twice.records) == 1


def test_openai_messages(tmp_path: Path) -> None:
    """Arguments as JSON text, the response's name only by the call's id, nulls for absent keys."""
    calls = [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "paint", "arguments": '{"color": "red"}'},
        },
        {"id": "c2", "type": "function", "function": {"name": "wait", "arguments": "{}"}},
    ]
    row = {
        "messages": [
            {"role": "system", "content": "It is Monday."},
            USER | {"name": None},
            {"role": "assistant", "content": None, "tool_calls": calls, "refusal": None},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
            {"role": "tool", "tool_call_id": "c2", "content": "waited"},
            {"role": "assistant", "content": "All done.", "tool_calls": None},
        ]
    }
    parallel, text = read_records(write(tmp_path, row), TOOLS)
    assert (
        parallel.calls == (Call("paint", {"color": "red"}), Call("wait", {}))
        and parallel.kind == "parallel"
    )
    assert [message["role"] for message in parallel.messages] == ["system", "user"]
    assert [message["name"] for message in text.messages if message["role"] == "tool"] == [
        "paint",
        "wait",
    ]
    assert (text.calls, text.text, text.kind, text.line) == ((), "All done.", "no_call", 1)


def test_an_answer_of_weight_0_is_read_but_not_trained(tmp_path: Path) -> None:
    row = {
        "parallel_tool_calls": False,
        "messages": [
            USER,
            RED | {"weight": 0},
            {"role": "tool", "name": "paint", "content": "ok"},
            {"role": "assistant", "content": "Done.", "weight": 1},
        ],
    }
    record = one(tmp_path, row)
    assert (
        record.text == "Done." and len(record.messages) == 3 and "weight" not in record.messages[1]
    )


def test_mobile_actions_brings_tools_and_marks_what_is_held_out(tmp_path: Path) -> None:
    own = {
        "function": {
            "name": "show_map",
            "description": "Shows.",
            "parameters": {
                "type": "OBJECT",
                "properties": {"query": {"type": "STRING", "description": "Where."}},
                "required": ["query"],
            },
        }
    }
    rows = [
        {
            "metadata": side,
            "tools": [own],
            "messages": [
                {"role": "developer", "content": "Today is Monday."},
                {"role": "user", "content": f"show {place}"},
                called(("show_map", {"query": place})),
            ],
        }
        for side, place in (("train", "Rome"), ("eval", "Bern"), ("train", "Oslo"))
    ]
    path = write(tmp_path, *rows)
    data = load_data(path, "", TOOLS, seed=0)
    assert [record.line for record in data.train] == [1, 3] and [
        record.line for record in data.held_out
    ] == [2]
    assert [record.line for record in held_out_data(path, TOOLS).held_out] == [2]
    first, second = data.train
    assert first.tools is second.tools and first.messages[0]["content"] == "Today is Monday."
    assert first.tools[0]["function"]["parameters"]["properties"]["query"]["type"] == "string"
    assert inspect_records(path, TOOLS).per_tool == {
        "show_map": 3
    }  # no row uses the tools of the run
    with pytest.raises(DataError, match="every row is marked for evaluation"):
        load_data(write(tmp_path, rows[1]), "", TOOLS, seed=0)


def test_xlam(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "query": "Wait 5 and paint",
        "tools": json.dumps(
            [
                {
                    "name": "live.wait",
                    "description": "Waits.",
                    "parameters": {
                        "seconds": {"type": "int", "description": "How long.", "default": 3}
                    },
                },
                {
                    "name": "mix",
                    "description": "Mixes.",
                    "parameters": {
                        "colors": {"type": "List[str]", "description": "Which."},
                        "weights": {"type": "list, optional"},
                        "options": {"type": "dict, optional"},
                        "exact": {"type": "bool"},
                        "ratio": {"type": "Optional[float]"},
                    },
                },
            ]
        ),
        "answers": json.dumps(
            [
                {"name": "live.wait", "arguments": {"seconds": 5}},
                {"name": "mix", "arguments": {"colors": ["red"], "exact": True, "ratio": 1.5}},
            ]
        ),
    }
    record = one(tmp_path, row)
    assert record.calls == (
        Call("live.wait", {"seconds": 5}),
        Call("mix", {"colors": ["red"], "exact": True, "ratio": 1.5}),
    )
    waits, mixes = (each["function"]["parameters"] for each in record.tools)
    assert waits["required"] == [] and mixes["required"] == ["colors", "exact"]
    assert {name: schema["type"] for name, schema in mixes["properties"].items()} == {
        "colors": "array",
        "weights": "array",
        "options": "object",
        "exact": "boolean",
        "ratio": "number",
    }
    assert mixes["properties"]["colors"]["items"] == {"type": "string"}
    wrong = inspect(
        tmp_path, row | {"answers": '[{"name": "live.wait", "arguments": {"seconds": "5"}}]'}
    )
    assert "argument 'seconds': found \"5\", expected type integer" in str(wrong.problems[0])


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}),
        ("List[List[int]]", {"type": "array"}),
        ("Tuple[float, float]", {"type": "array", "items": {"type": "number"}}),
        ("Tuple[int, str]", {"type": "array"}),
        ("Dict[str, int]", {"type": "object"}),
        ("set", {"type": "array"}),
        ("List[str], optional", {"type": "array", "items": {"type": "string"}}),
        ("str, default is 'a'", {"type": "string"}),
        ("Callable[[float], float]", None),
        ("Union[int, str]", None),
        ("", None),
        (None, None),
    ],
)
def test_xlam_types(kind: str | None, found: dict | None) -> None:
    tools, problems = tools_of(
        [
            {
                "name": "f",
                "description": "D.",
                "parameters": {"x": {"type": kind, "description": "X."}},
            }
        ]
    )
    if found is None:
        assert len(problems) == 1 and "tools[0].parameters.x: type is" in problems[0]
    else:
        assert not problems and tools[0]["parameters"]["properties"]["x"] == found | {
            "description": "X."
        }


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(
        "\ufeffprompt,tool,arguments,answer,group\r\n"
        'make it red,paint,"{""color"": ""red""}",,reds\r\n'
        "\r\n"
        '"two\nlines",wait,,,\r\n'
        'hello,,,"Hi, there.",\r\n'.encode()
    )
    records = read_records(path, TOOLS)
    assert [(record.line, record.user_content, record.group) for record in records] == [
        (2, "make it red", "reds"),
        (4, "two\nlines", ""),
        (6, "hello", ""),
    ]
    assert [record.calls for record in records] == [
        (Call("paint", {"color": "red"}),),
        (Call("wait", {}),),
        (),
    ]
    assert records[2].text == "Hi, there."
    path.write_text('prompt;tool;arguments\nmake it red;paint;"{""color"": ""a;b""}"\n')
    assert read_records(path, TOOLS)[0].calls[0].arguments == {"color": "a;b"}
    assert read_records(path, TOOLS, format="csv") == read_records(path, TOOLS)


@pytest.mark.parametrize("separators", [None, (",", ":")])
@pytest.mark.parametrize("indent", [None, 1, 4])
def test_one_json_list(
    tmp_path: Path, indent: int | None, separators: tuple[str, str] | None
) -> None:
    rows = [GUIDE | {"user_content": f"red {n} [}}],"} for n in range(3)]
    text = json.dumps(rows, indent=indent, separators=separators)
    records = read_records(write(tmp_path, "\n" + text, name="data.json"), TOOLS)
    assert [record.user_content for record in records] == [row["user_content"] for row in rows]
    height = text.count("\n") // 3
    assert [record.line for record in records] == (
        [2, 2, 2] if indent is None else [3, 3 + height, 3 + 2 * height]
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[\n", ":2: the list has no end"),
        ('[{"a": 1},\n{"a" 2}]', ":2: not JSON (Expecting ':' delimiter, line 2)"),
        ("[" + json.dumps(GUIDE) + "]\nx", ":1: there is text after the list's end"),
        ('[{"a": 1, "a": 2}]', ":1: the key 'a' occurs twice"),
        ("[" * 5000, ":1: the list has no end"),
        ("[{" + '"a":{' * 100_000, ":1: nested too deeply"),
        ("[]", ":1: the file is empty"),
        ('[{"a": "' + "x" * 1_100_000, ":1: not JSON (Unterminated string"),
        ('[{"a": ' + "9" * 5000 + "}]", ":1: not JSON (a number is too long)"),
        (b'[{"a":\n"\xff"}]', ":2: holds the byte 0xff"),
    ],
)
def test_broken_list(tmp_path: Path, text: str | bytes, found: str) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_records(path, TOOLS)
    assert found in str(caught.value)
    assert all(len(line) < 300 + len(str(path)) for line in str(caught.value).splitlines())


def test_lines_over_the_bound_are_refused_by_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "MAX_LINE", 200)
    long = json.dumps(GUIDE | {"user_content": "x" * 1000})
    found = inspect(tmp_path, long, GUIDE, long)
    assert [record.line for record in found.records] == [2]
    assert [str(problem).split(":", 1)[1] for problem in found.problems] == [
        f"{line}: has {len(long) + 1:,} bytes, expected at most 200. Is it one row a line?"
        for line in (1, 3)
    ]


def test_the_rows_in_the_page_are_read() -> None:
    page = (Path(__file__).parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    rows = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S)]
    assert [detect(row) for row in rows] == ["guide", "messages", "guide"]
    assert [read_row(row, detect(row))[1] for row in rows] == [[], [], []]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.M)) - {"--format"} == {*FORMATS} - {
        "auto"
    }


# ---- nulls that Arrow fills in


def test_calls_filled_with_nulls_lose_them_and_say_so(tmp_path: Path) -> None:
    filled = called(
        ("paint", {"color": "red", "seconds": None, "note": None}),
        ("wait", {"color": None, "seconds": 3, "note": None}),
    )
    found = inspect(
        tmp_path, {"messages": [USER, filled]}, {"messages": [USER | {"content": "again"}, filled]}
    )
    assert not found.problems
    assert [call.arguments for call in found.records[0].calls] == [{"color": "red"}, {"seconds": 3}]
    (warning,) = found.warnings
    assert (
        warning.line == 1 and "2 rows with such calls are read without the nulls" in warning.message
    )
    (shown,) = load_data(tmp_path / "data.jsonl", "", TOOLS, seed=0).warnings
    assert shown == str(warning)


def test_rows_that_went_through_arrow_read_as_before(tmp_path: Path) -> None:
    """What `datasets.load_dataset` makes of google/mobile-actions, see trl #5307: every struct has every key of all."""
    arrow = pytest.importorskip("pyarrow")
    tools = [
        tool("paint", color=STRING),
        tool("wait", [], seconds={"type": "integer", "description": "How long."}),
    ]
    rows = [
        {"metadata": "train", "tools": tools, "messages": [USER, RED]},
        {
            "metadata": "train",
            "tools": tools[::-1],
            "messages": [
                {"role": "developer", "content": "Act."},
                USER | {"content": "wait 3 and paint"},
                called(("wait", {"seconds": 3}), ("paint", {"color": "red"}), ("wait", {})),
            ],
        },
    ]
    filled = arrow.Table.from_pylist(rows).to_pylist()
    assert (
        filled != rows
        and filled[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]["seconds"] is None
    )
    before, after = (read_records(write(tmp_path, *each), []) for each in (rows, filled))
    assert after == before and len(before) == 2


def test_nulls_that_are_meant_stay(tmp_path: Path) -> None:
    record = one(tmp_path, {"messages": [USER, called(("wait", {"note": None, "seconds": 1}))]})
    assert record.calls[0].arguments == {"note": None, "seconds": 1}
    found = inspect(
        tmp_path, {"messages": [USER, called(("paint", {"color": None}))]}
    )  # required: no filled one
    assert "argument 'color': found null, expected type string" in str(found.problems[0])
    found = inspect(
        tmp_path, GUIDE | {"tool_name": "wait", "tool_arguments": '{"seconds": null}'}
    )  # JSON text, no Arrow
    assert "argument 'seconds': found null" in str(found.problems[0])


def test_nulls_in_tools_are_left_out(tmp_path: Path) -> None:
    own = {
        "type": "function",
        "function": {
            "name": "paint",
            "description": "Paints.",
            "parameters": {
                "type": "object",
                "required": ["color"],
                "properties": {"color": STRING | {"enum": None, "items": None}, "seconds": None},
            },
        },
    }
    record = one(tmp_path, {"tools": [own], "messages": [USER, RED]})
    assert record.tools[0]["function"]["parameters"]["properties"] == {"color": STRING}
    assert (
        one(tmp_path, {"tools": json.dumps([own]), "messages": [USER, RED]}).tools == record.tools
    )


# ---- what is refused

ANSWER = {"role": "assistant", "content": "No."}
BAD_ROWS = [
    ({"messages": "x"}, "messages: found a text, expected a list"),
    ({"messages": []}, "messages: is of type list, expected a list of one or more"),
    ({"messages": [1]}, "messages[0]: is of type int, expected a dict"),
    ({"messages": [USER, RED], "note": 1}, "has the key 'note', expected only messages."),
    ({"messages": [USER]}, "messages: ends with a user message, expected the model's answer"),
    ({"messages": [ANSWER]}, "messages[0]: an answer after nothing"),
    ({"messages": [USER, ANSWER, ANSWER]}, "messages[2]: an answer after assistant"),
    (
        {"messages": [USER, {"role": "assistant", "content": ""}]},
        "messages: holds no answer to learn",
    ),
    (
        {"messages": [USER, {"role": "function", "content": "x"}]},
        "messages[1]: role is 'function', expected",
    ),
    ({"messages": [USER | {"content": "a <end_of_turn>"}, ANSWER]}, "holds <end_of_turn>"),
    ({"messages": [USER | {"content": [{"type": "image"}]}, ANSWER]}, "holds an image"),
    ({"messages": [USER, RED, USER, ANSWER]}, "follows a call that has no response"),
    (
        {"messages": [USER, RED, {"role": "tool", "content": "x"}, ANSWER]},
        "a response without a name",
    ),
    (
        {"messages": [USER, RED, {"role": "tool", "name": "paint", "content": ""}, ANSWER]},
        "a response without content",
    ),
    (
        {"messages": [USER, RED, {"role": "tool", "name": "pain", "content": "x"}, ANSWER]},
        "answers 'pain', which was not called, expected one of 'paint'; did you mean 'paint'?",
    ),
    (
        {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c1", "function": {"name": "wait", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c2", "content": "x"},
                ANSWER,
            ]
        },
        "tool_call_id 'c2' is the id of no call",
    ),
    (
        {"messages": [USER | {"name": "Ann"}, ANSWER]},
        "messages[0]: has the key 'name', which would not reach the model",
    ),
    (
        {"messages": [USER, ANSWER | {"tool_cals": []}]},
        "has the key 'tool_cals', which would not reach the model, expected only "
        "role, content, tool_calls, weight; did you mean 'tool_calls'?",
    ),
    (
        {"messages": [USER, ANSWER | {"weight": 0.5}]},
        "messages[1]: weight is 0.5, expected 0 (not trained) or 1",
    ),
    ({"messages": [USER, ANSWER | {"weight": 0}]}, "messages: holds no answer to learn"),
    (
        {
            "messages": [
                USER,
                RED,
                {"role": "tool", "name": "paint", "tool_call_id": ["x"], "content": 3},
                ANSWER,
            ]
        },
        "tool_call_id: found a list, expected a text",
    ),
    (
        {"messages": [USER, called(("paint", "{color"))]},
        "tool_calls[0].function.arguments: not JSON",
    ),
    ({"messages": [USER, called(("paint", "[1]"))]}, "found a list, '[1]', expected an object"),
    ({"messages": [USER, called(("paint", [1]))]}, "arguments is of type list, expected a mapping"),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"name": "paint"}]}]},
        "has no 'function' object",
    ),
    (
        {"messages": [USER, called(("pant", {}))]},
        "tool_name: found 'pant', expected one of paint, wait; did you mean 'paint'?",
    ),
    (
        {"messages": [USER, called(("wait", {}), ("paint", {"color": 1}))]},
        "messages[1].tool_calls[1]: argument 'color': found 1, expected type string",
    ),
    ({"messages": [USER, RED], "tools": "x"}, "tools: not JSON"),
    ({"messages": [USER, RED], "tools": {}}, "tools: found a dict, expected a list"),
    (
        {"messages": [USER, RED], "tools": []},
        "tool_name: found 'paint', expected one of no tool at all",
    ),
    ({"messages": [USER, RED], "tools": TOOLS + TOOLS[:1]}, "tools[2]: 'paint' is there twice"),
    (
        {
            "messages": [USER, RED],
            "tools": [tool("paint", color={"type": "string", "description": 1})],
        },
        "tools[0]: ",
    ),
    (
        {"messages": [USER, called(("paint", '{"color": ' + "9" * 5000 + "}"))]},
        "arguments: Exceeds the limit",
    ),
    ({"messages": [USER, RED], "group": 3}, "group: found a number, expected a text"),
    (
        {"messages": [USER, RED], "metadata": "test"},
        'metadata: found \'test\', expected "train" or "eval"',
    ),
    (GUIDE | {"answer": "no"}, "has the key 'tool_name', expected only user_content, answer"),
    (
        {"user_content": "x", "answer": " "},
        "answer: found an empty text, expected what the model should say",
    ),
    ({"user_content": "x", "answer": "<eos>"}, "answer: holds <eos>"),
    ({"query": "x", "tools": "[]", "answers": "[]"}, "answers: found no call"),
    (
        {"query": "", "tools": "[]", "answers": "{}"},
        "answers: found an object, '{}', expected a list of calls",
    ),
    (
        {"query": "x", "tools": "[3]", "answers": '[{"name": "f"}]'},
        'answers[0]: found \'{"name": "f"}\', expected',
    ),
    ({"query": "x", "answers": "[]"}, "has no 'tools', expected the keys query, answers, tools"),
]


@pytest.mark.parametrize(("row", "found"), BAD_ROWS)
def test_bad_row(tmp_path: Path, row: dict, found: str) -> None:
    inspection = inspect(tmp_path, GUIDE, row)
    assert len(inspection.records) == 1 and inspection.problems
    assert any(found in problem.message for problem in inspection.problems), inspection.problems
    assert all(problem.line == 2 and len(problem.message) < 420 for problem in inspection.problems)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (
            ["prompt,tool"],
            ":1: has no column 'arguments', expected the header prompt,tool,arguments",
        ),
        (
            ["promt,tool,arguments"],
            ":1: has the column 'promt', expected only prompt, tool, arguments, answer, group; did you mean",
        ),
        (["prompt,tool,tool,arguments"], ":1: has the column 'tool' twice"),
        (
            ["prompt,tool,arguments", 'x,paint,{"color": "red", "a": 1}'],
            ":2: has 4 cells, expected 3",
        ),
        (
            ["prompt,tool,arguments", 'x,"paint,{}', "y,wait,"],
            ":2: is no CSV: unexpected end of data",
        ),
        (
            ["prompt,tool,arguments", "", 'x,paint,"{""color"": 3}"'],
            ":3: argument 'color': found 3",
        ),
        (["prompt,tool,arguments", ",paint,{}"], ":2: prompt: found an empty text"),
        (["prompt,tool,arguments,answer", "x,paint,,no"], ":2: has both a tool and an answer"),
        (["prompt,tool,arguments", "x,,"], ":2: tool_name: found '', expected one of paint, wait."),
        (["prompt,tool,arguments"], ":1: the file is empty"),
        ([], ":1: the file is empty"),
    ],
)
def test_bad_csv(tmp_path: Path, lines: list[str], found: str) -> None:
    with pytest.raises(DataError) as caught:
        read_records(write(tmp_path, *lines, name="data.csv"), TOOLS)
    assert found in str(caught.value)


CELLS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="<\x00\r"), min_size=1
).filter(str.strip)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        CELLS, min_size=1, max_size=4, unique_by=lambda text: text.casefold().split().__repr__()
    ),
    st.sampled_from(",;\t"),
)
def test_any_text_comes_through_csv(tmp_path: Path, texts: list[str], delimiter: str) -> None:
    path = tmp_path / "data.csv"
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter=delimiter)
        writer.writerow(["prompt", "tool", "arguments"])
        writer.writerows([text, "paint", json.dumps({"color": text})] for text in texts)
    records = read_records(path, TOOLS)
    assert [record.user_content for record in records] == texts
    assert [record.calls[0].arguments["color"] for record in records] == texts


def test_a_csv_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"prompt,tool,arguments\nfine,wait,\ncaf\xe9,wait,\n")
    with pytest.raises(DataError, match=r"data\.csv:3: byte 4 is 0xe9, expected UTF-8"):
        read_records(path, TOOLS)


def test_a_named_format_holds_every_row_to_it(tmp_path: Path) -> None:
    for kind in FORMATS[1:]:
        other = {"messages": [USER, RED]} if kind in ("guide", "xlam") else GUIDE
        assert inspect(tmp_path, other, format=kind).problems, kind
    assert one(tmp_path, GUIDE, format="guide").kind == "call"
    with pytest.raises(
        FgkitError, match="format is 'openai', expected one of auto, guide, messages"
    ):
        inspect(tmp_path, GUIDE, format="openai")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "type",
                    "text",
                    "parameters",
                    "properties",
                    "tool_call_id",
                    "id",
                    "weight",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYS = (
    "messages",
    "tools",
    "metadata",
    "query",
    "answers",
    "user_content",
    "tool_name",
    "tool_arguments",
    "answer",
    "group",
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        JSON
        | st.dictionaries(
            st.sampled_from(KEYS),
            JSON
            | st.lists(JSON | st.just(USER) | st.just(RED), max_size=4)
            | st.builds(json.dumps, JSON),
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_json_ends_in_anything_but_problems(tmp_path: Path, rows: list[object]) -> None:
    found = inspect(tmp_path, *map(json.dumps, rows))
    assert all(isinstance(problem.message, str) for problem in found.problems)
    assert {record.line for record in found.records}.isdisjoint(
        problem.line for problem in found.problems
    )
