"""calls.parse against the shared vectors, against prompts.completion, and against rubbish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.calls import Call, parse
from fgkit.errors import CallSyntaxError, PromptError
from fgkit.prompts import CONTROL_TOKENS, completion
from fgkit.prompts.format import CONTROL, MAX_DEPTH

VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "wire_vectors.json").read_text(encoding="utf-8")
)
GOOD = [vector for vector in VECTORS if vector["kind"] == "parse"]
BAD = [vector for vector in VECTORS if vector["kind"] == "parse_error"]

START, END, STOP = "<start_function_call>", "<end_function_call>", "<start_function_response>"

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
# Hypothesis takes constants from the code under test, control tokens too.
STRINGS = st.one_of(
    st.text(max_size=12).filter(lambda text: not CONTROL.search(text)),
    st.sampled_from(["true", "42", "None", "{a:1}", "],", "<escape", "\n \t", "call:f{}"]),
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1, 4290).map(lambda digits: 10**digits - 7),
    st.integers(300, 4290).map(lambda digits: -(10**digits)),
    st.sampled_from(
        [
            -0.0,
            1e-05,
            1e-4,
            1.5e-07,
            1e15,
            1e16,
            5e-324,
            -1.7976931348623157e308,
            2**63,
            -(2**63),
            2**64,
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, STRINGS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def deep(draw):
    """A value under some dozens of lists and dicts."""
    value = draw(VALUES)
    for wrap in draw(st.lists(NAMES | st.none(), max_size=MAX_DEPTH - 12)):
        value = [value] if wrap is None else {wrap: value}
    return value


CALLS = st.lists(
    st.builds(Call, NAMES, st.dictionaries(NAMES, VALUES | deep(), max_size=4)),
    min_size=1,
    max_size=3,
)


def typed(item):
    """The value with every type spelt out, so that 1, 1.0 and True differ, and -0.0 from 0.0."""
    if isinstance(item, dict):
        return {key: typed(inner) for key, inner in item.items()}
    if isinstance(item, list):
        return [typed(inner) for inner in item]
    return type(item).__name__, repr(item)


def typed_calls(calls):
    return [(call.name, typed(call.arguments)) for call in calls]


def call_text(body: str) -> str:
    return f"{START}call:f{body}{END}"


def test_every_shared_vector_is_here():
    assert len(GOOD) == 20
    assert len(BAD) == 31


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["id"])
def test_vector(vector):
    found = [
        {"name": call.name, "arguments": call.arguments} for call in parse(vector["input"]["text"])
    ]
    assert typed(found) == typed(vector["expected"])


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector["id"])
def test_error_vector(vector):
    with pytest.raises(CallSyntaxError) as caught:
        parse(vector["input"]["text"])
    assert 0 <= caught.value.offset <= len(vector["input"]["text"])
    assert "expected" in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(CALLS)
def test_completion_comes_back_typed(calls):
    text = completion(calls)
    assert typed_calls(parse(text)) == typed_calls(calls)
    cut = text[: -len(END + STOP)]
    assert typed_calls(parse(cut, end_tag_cut=True)) == typed_calls(calls)
    assert typed_calls(parse(text, end_tag_cut=True)) == typed_calls(calls)
    with pytest.raises(CallSyntaxError, match="expected '<end_function_call>', found the end"):
        parse(cut)


@pytest.mark.parametrize(
    "text",
    [
        "braces {a:[1,2]}, commas, \"quotes\", 'single', \\back\\slash",
        "  kept \n",
        "",
        "ключ 日本 🎌",
        "<escape",
        "\x00\u2028",
    ],
)
def test_any_text_survives(text):
    calls = [Call("f", {"x": text, "y": [text, {"z": text}]})]
    assert parse(completion(calls)) == calls


@pytest.mark.parametrize("key", ["", " ", "a b", "1", "é", "a:b", "-a"])
def test_a_key_that_could_not_be_read_is_not_written(key):
    for arguments in ({key: 1}, {"a": [{key: 1}]}):
        with pytest.raises(PromptError, match="key "):
            completion([Call("f", arguments)])


def test_key_order_is_free():
    assert parse(call_text("{b:1,a:2}")) == [Call("f", {"b": 1, "a": 2})]


@pytest.mark.parametrize(
    "word, value",
    [
        ("0", 0),
        ("-0", 0),
        ("-7", -7),
        ("1.0", 1.0),
        ("-0.0", -0.0),
        ("1e5", 1e5),
        ("1.5e-07", 1.5e-07),
        ("2E+3", 2000.0),
        ("true", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("1e-999", 0.0),
        ("9" * 309, 10**309 - 1),
        ("-" + "9" * 4300, 1 - 10**4300),  # more than a float holds
    ],
)
def test_bare_values_keep_their_type(word, value):
    assert typed(parse(call_text(f"{{a:{word}}}"))[0].arguments) == typed({"a": value})


@pytest.mark.parametrize(
    "text, expected, offset",
    [
        ("hi <escape>", "expected '<start_function_call>', found '<escape>'", 3),
        (f"{START}f{{}}", "expected 'call:', found 'f{}'", 21),
        (f"{START}call:", "expected a function name, found the end of the text", 26),
        (call_text("{a:1,a:2}"), "expected each name once, found 'a' again", 32),
        (call_text("{a:[1 2]}"), "expected a value: a number", 31),
        (call_text("{a:[{} 2]}"), "expected ',' or ']', found ' 2]}", 33),
        (call_text("{a:{}b:2}"), "expected ',' or '}', found 'b:2}", 32),
        (
            f"{START}call:f{{a:<escape>x",
            "expected <escape> at the end of the string, found 'x'",
            38,
        ),
        (
            call_text("{a:<escape>x<bos>y<escape>}"),
            "expected <escape> before any other control token, found '<bos>y",
            39,
        ),
        (call_text("{a:1e999}"), "expected a number that a float can hold, found '1e999}", 30),
        (call_text("{a:-1e999}"), "expected a number that a float can hold, found '-1e999}", 30),
        (call_text("{a:" + "9" * 5000 + "}"), "expected a shorter integer, found '9999", 30),
        (
            call_text("{a:<escape>x\ud800<escape>}"),
            "expected Unicode text without halves of surrogate pairs, found ",
            39,
        ),
        (call_text("{a:٣}"), "expected a value: a number", 30),
        (call_text("{ключ:1}"), "expected an argument name", 28),
        (call_text("{}") + " and", "expected '<start_function_call>', found ' and'", 48),
        (
            call_text("{}") + "\n" + call_text("{}"),
            r"expected '<start_function_call>', found '\n",
            48,
        ),
    ],
)
def test_error_says_what_and_where(text, expected, offset):
    with pytest.raises(CallSyntaxError) as caught:
        parse(text)
    assert expected in str(caught.value)
    assert caught.value.offset == offset
    assert str(caught.value).endswith(f"(at offset {offset})")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("stop", ["<eos>", STOP, "<end_of_turn>"])
def test_reads_up_to_the_first_stop_token(stop):
    assert parse(f"Sure.{call_text('{a:1}')}{stop}{START}call:broken") == [Call("f", {"a": 1})]
    assert parse(f"Just text{stop}<escape>") == []


def test_end_tag_cut_forgives_the_last_end_tag_only():
    two = f"{call_text('{a:1}')}{START}call:g{{}}"
    assert parse(two, end_tag_cut=True) == [Call("f", {"a": 1}), Call("g", {})]
    assert parse(two + STOP, end_tag_cut=True) == [Call("f", {"a": 1}), Call("g", {})]
    assert parse("plain", end_tag_cut=True) == []
    for text in (
        f"{START}call:f{{a:1}}{call_text('{}')}",
        f"{START}call:f{{a:1",
        f"{START}call:f{{a:1}}<end_fun",
        f"{START}call:f{{a:1}}\n",
        f"{START}call:f",
    ):
        with pytest.raises(CallSyntaxError):
            parse(text, end_tag_cut=True)


@pytest.mark.parametrize("opening, closing", [("[", "]"), ("{a:", "}")])
def test_depth_is_limited_not_python(opening, closing):
    deepest = MAX_DEPTH - 1
    assert parse(call_text("{a:" + opening * deepest + "1" + closing * deepest + "}"))
    for levels in (deepest + 1, 100_000):
        with pytest.raises(CallSyntaxError, match=f"at most {MAX_DEPTH} nested levels"):
            parse(call_text("{a:" + opening * levels + "1" + closing * levels + "}"))


def test_deepest_value_that_can_be_written_can_be_read():
    value = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    calls = [Call("f", {"a": value})]
    assert parse(completion(calls)) == calls


FRAGMENTS = [
    *CONTROL_TOKENS,
    "call:",
    "f",
    "a",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "1",
    "-",
    ".",
    "e",
    "0",
    "true",
    "None",
    "null",
    " ",
    "\n",
    "<",
    "é",
    "{a:1}",
    "<escape>x<escape>",
    START + "call:f{a:",
    "}" + END,
]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join), st.booleans())
def test_rubbish_is_refused_never_a_crash(text, end_tag_cut):
    try:
        calls = parse(text, end_tag_cut=end_tag_cut)
    except CallSyntaxError as error:
        assert 0 <= error.offset <= len(text)
        return
    # What was accepted can be written, and reads the same.
    if calls:
        assert typed_calls(parse(completion(calls))) == typed_calls(calls)
    else:
        assert not CONTROL.match(text) or text.startswith(("<eos>", STOP, "<end_of_turn>"))


@settings(max_examples=60, deadline=None)
@given(CALLS, st.data())
def test_damaged_answers_are_refused_or_still_calls(calls, data):
    text = completion(calls)
    start = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:start] + data.draw(st.sampled_from(["", *FRAGMENTS])) + text[start + 1 :]
    try:
        assert isinstance(parse(damaged), list)
    except CallSyntaxError as error:
        assert 0 <= error.offset <= len(damaged)
