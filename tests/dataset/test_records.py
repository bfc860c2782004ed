"""Reading, checking and splitting data: one message for each way to get a line wrong, all of them at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgkit.calls import Call
from fgkit.dataset.reading import inspect_records, read_records
from fgkit.dataset.records import canonical, request, same_text, show
from fgkit.errors import DataError


def tool(name: str, required: list[str] | None = None, **properties: dict) -> dict:
    required = list(properties) if required is None else required
    parameters = {"type": "object", "properties": properties, "required": required}
    return {
        "type": "function",
        "function": {"name": name, "description": "Does.", "parameters": parameters},
    }


STRING = {"type": "string"}
TOOLS = [
    tool("paint", color={"type": "string", "enum": ["red", "green"]}),
    tool("show_alert", title=STRING, message=STRING),
    tool(
        "typed",
        [],
        count={"type": "integer"},
        ratio={"type": "number", "minimum": 0},
        on={"type": "boolean"},
        maybe={"type": "string", "enum": ["a"], "nullable": True},
        names={"type": "array", "items": STRING},
        where={"type": "object", "properties": {"city": STRING}, "required": ["city"]},
        free={"type": "object"},
    ),
    {"type": "function", "function": {"name": "ping", "description": "Pings."}},
]


def row(
    text: object = "make red",
    name: object = "paint",
    arguments: object = '{"color": "red"}',
    **extra: int,
) -> str:
    whole = {"user_content": text, "tool_name": name, "tool_arguments": arguments, **extra}
    return json.dumps(whole, ensure_ascii=False)


def typed(**arguments: object) -> str:
    return row("go", "typed", json.dumps(arguments))


def write(tmp_path: Path, *lines: str | bytes, name: str = "data.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n"
    )
    return path


BAD_LINES = [
    (b'{"user_content": "caf\xe9"}', "byte 22 is 0xe9, expected UTF-8. Save the file as UTF-8."),
    (
        "make it red",
        "not JSON (Expecting value, line 1 column 1): found 'make it red', expected one complete JSON",
    ),
    (row()[:-1], "not JSON (Expecting"),
    (row() + row(), "not JSON (Extra data"),
    ("[" + row() + "]", "found a list, "),
    (
        "3",
        "found a number, '3', expected a JSON object with the keys user_content, tool_name, tool_arguments",
    ),
    ("null", "found null, 'null', expected a JSON object"),
    ("[" * 100_000, "nested too deeply: found '[[["),
    (
        '{"user_content": "a", "user_content": "b"}',
        "the key 'user_content' occurs twice in one object",
    ),
    ('{"user_content": NaN}', "NaN is not a JSON value"),
    ('{"user_content": "a", "tool_name": "ping"}', "has no 'tool_arguments', expected the keys"),
    (row(note=1), "has the key 'note', expected only user_content, tool_name, tool_arguments."),
    (
        row().replace("tool_name", "tool_nam"),
        "has the key 'tool_nam', expected only user_content, tool_name, "
        "tool_arguments; did you mean 'tool_name'?",
    ),
    (row(5), "user_content: found a number, expected a text. Put it in quotes."),
    (row(None), "user_content: found null, expected a text"),
    (row(name=["paint"]), "tool_name: found a list, expected a text"),
    (row(name=True), "tool_name: found true or false, expected a text"),
    (
        row(arguments={"color": "red"}),
        "tool_arguments: found an object, expected a text. Write it as a JSON text: "
        + json.dumps('{"color": "red"}'),
    ),
    (row(""), "user_content: found an empty text, expected a request. Fill it in or delete"),
    (row(" \t\n "), "user_content: found an empty text"),
    (row("say <end_of_turn>"), "user_content: holds <end_of_turn>"),
    (row().replace("make", "\\ud83d"), "user_content: holds half"),
    (row(arguments=""), "tool_arguments: not JSON (Expecting value"),
    (row(arguments="color=red"), "tool_arguments: not JSON"),
    (row(arguments='["red"]'), "tool_arguments: found a list, '[\"red\"]', expected an object"),
    (
        row(arguments='{"color": "red", "color": "green"}'),
        "tool_arguments: the key 'color' occurs twice",
    ),
    (row("go", "typed", '{"ratio": Infinity}'), "tool_arguments: Infinity is not a JSON value"),
    (row("go", "typed", '{"ratio": 1e999}'), "arguments.ratio: is inf"),
    (
        row(name="pant"),
        "tool_name: found 'pant', expected one of paint, show_alert, typed, ping; "
        "did you mean 'paint'? Correct it.",
    ),
    (row(name=""), "tool_name: found '', expected one of paint, show_alert, typed, ping."),
    (row(arguments="{}"), "missing argument 'color', expected: paint takes color. Add it."),
    (
        row(arguments='{"color": "red", "colour": "red"}'),
        "unknown argument 'colour', expected: paint takes color; did you mean 'color'?",
    ),
    (row("ping", "ping", '{"x": 1}'), "unknown argument 'x', expected: ping takes none."),
    (
        row(arguments='{"color": "gren"}'),
        'argument \'color\': found "gren", expected one of ["red", "green"]; '
        "did you mean 'green'? Correct it.",
    ),
    (
        row(arguments='{"color": 7}'),
        "argument 'color': found 7, expected type string. Put it in quotes: \"7\".",
    ),
    (
        typed(count="3"),
        "argument 'count': found \"3\", expected type integer. Write it without quotes.",
    ),
    (typed(count=1.0), "argument 'count': found 1.0, expected type integer"),
    (typed(count=True), "argument 'count': found true, expected type integer"),
    (typed(on=1), "argument 'on': found 1, expected type boolean"),
    (typed(on=None), "argument 'on': found null, expected type boolean"),
    (typed(ratio=-1), "argument 'ratio': found -1, expected minimum 0"),
    (typed(maybe="b"), 'argument \'maybe\': found "b", expected one of ["a", null]'),
    (typed(names=["a", 2]), "argument 'names[1]': found 2, expected type string"),
    (typed(where={}), "argument 'where': found {}, expected required [\"city\"]"),
    (typed(where={"city": 1}), "argument 'where.city': found 1, expected type string"),
    (typed(names=["<escape>"]), "arguments.names[0]: holds <escape>"),
    (typed(free={"two words": 1}), "arguments.free: key 'two words'"),
]


@pytest.mark.parametrize(("line", "expected"), BAD_LINES)
def test_bad_line(tmp_path: Path, line: str | bytes, expected: str) -> None:
    path = write(tmp_path, row("fine"), line)
    with pytest.raises(DataError) as caught:
        read_records(path, TOOLS)
    text = str(caught.value)
    assert expected in text
    assert all(
        part.startswith(f"{path}:2: ") and len(part) < len(str(path)) + 420
        for part in text.splitlines()
    )


def test_every_bad_line_at_once_and_every_problem_of_a_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x",
        row(),
        row("", "pant", "{", note=1),
        b"",
        row("ok", "paint", "{}"),
        row("ok", "ping", "{}"),
        row("no call", None, "3"),
    )
    with pytest.raises(DataError) as caught:
        read_records(path, TOOLS)
    lines = [line.removeprefix(f"{path}:").split(":")[0] for line in str(caught.value).splitlines()]
    assert lines == ["1", "3", "3", "3", "3", "5", "7", "7"]


def test_many_problems_are_counted_not_all_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_records(write(tmp_path, *["x"] * 73), TOOLS)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51 and lines[-1] == "... and 23 more (73 in all)."


def test_good_values_pass_with_their_types(tmp_path: Path) -> None:
    arguments = {
        "count": 10**30,
        "ratio": 1,
        "on": False,
        "maybe": None,
        "names": [],
        "where": {"city": "Zürich"},
        "free": {"deep": [{"k": [1.5, None]}]},
    }
    records = read_records(write(tmp_path, typed(**arguments), row("p", "ping", "{}")), TOOLS)
    assert records == [
        request(1, "go", (Call("typed", arguments),)),
        request(2, "p", (Call("ping", {}),)),
    ]
    assert type(records[0].calls[0].arguments["ratio"]) is int


def test_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path, b"\xef\xbb\xbf" + row("one").encode() + b"\r", b"\r", b"  ", row("two\u2028three")
    )
    records = read_records(path, TOOLS)
    assert [(record.line, record.user_content) for record in records] == [
        (1, "one"),
        (4, "two\u2028three"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "data.jsonl:1: the file is empty"),
        (b"\xef\xbb\xbf\n \r\n", "data.jsonl:1: the file is empty"),
        (f"{row()}\n{row()}\n".encode("utf-16"), "data.jsonl:1: is UTF-16, expected UTF-8"),
        (None, "data.jsonl: cannot be read: No such"),
    ],
)
def test_bad_file(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "data.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_records(path, TOOLS)
    assert expected in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_contradiction_names_both_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        row("Make  it RED"),
        row("other"),
        row(" make it red", arguments='{"color": "green"}'),
    )
    with pytest.raises(DataError) as caught:
        read_records(path, TOOLS)
    assert str(caught.value) == (
        f'{path}:3: contradicts line 1: \' make it red\' asks for paint({{"color": "green"}}) here and for '
        'paint({"color": "red"}) there. Keep one of them, or say the difference in the text.'
    )
    one, true = (
        row("go", "typed", '{"free": {"k": 1}}'),
        row("go", "typed", '{"free": {"k": true}}'),
    )
    assert len(inspect_records(write(tmp_path, one, true), TOOLS).problems) == 1


def test_exact_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    orders = ('{"title": "A", "message": "B"}', '{"message": "B", "title": "A"}')
    swapped = [row("a", "show_alert", order) for order in orders]
    inspection = inspect_records(
        write(tmp_path, swapped[0], row(), swapped[1], row(), row("MAKE red")), TOOLS
    )
    assert not inspection.problems and [record.line for record in inspection.records] == [1, 2, 5]
    assert [(warning.line, warning.message.split(",")[0]) for warning in inspection.warnings] == [
        (3, "is an exact duplicate of line 1"),
        (4, "is an exact duplicate of line 2"),
    ]
    assert inspection.per_tool == {"paint": 2, "show_alert": 1, "typed": 0, "ping": 0}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), min_size=1).filter(
    str.strip
)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(TEXT, st.dictionaries(KEYS, VALUES, max_size=3)),
        min_size=1,
        max_size=4,
        unique_by=lambda pair: same_text(pair[0]),
    ),
    st.booleans(),
)
def test_written_rows_read_back_equal(
    tmp_path: Path, rows: list[tuple[str, dict]], ascii_only: bool
) -> None:
    lines = [
        json.dumps(
            {
                "user_content": text,
                "tool_name": "typed",
                "tool_arguments": json.dumps({"free": value}),
            },
            ensure_ascii=ascii_only,
        )
        for text, value in rows
    ]
    expected = [
        request(number, text, (Call("typed", {"free": value}),))
        for number, (text, value) in enumerate(rows, 1)
    ]
    records = read_records(write(tmp_path, *lines), TOOLS)
    assert records == expected
    assert [canonical(record.calls) for record in records] == [
        canonical(record.calls) for record in expected
    ]


def test_canonical_tells_types_apart_and_show_is_readable() -> None:
    values = (1, 1.0, True, "1", None, [1], {"a": 1})
    assert len({canonical([Call("f", {"x": value})]) for value in values}) == len(values)
    assert canonical([Call("f", {"a": 1, "b": 2})]) == canonical([Call("f", {"b": 2, "a": 1})])
    assert (
        show([Call("f", {"a": "é"}), Call("g", {})]) == 'f({"a": "é"}) g({})'
        and show([]) == "no call"
    )
