"""coerce: each line of its table, what it leaves alone, and that it changes nothing that is right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.calls import Call
from fgkit.errors import ArgumentError, FgkitError
from fgkit.tools import check_tools
from fgkit.tools.coercion import coerce

PROPERTIES = {
    "count": {"type": "integer", "minimum": 0},
    "ratio": {"type": "number"},
    "on": {"type": "boolean"},
    "shade": {"type": "string", "enum": ["red", "Blue", "ON", "on"]},
    "text": {"type": "string"},
    "note": {"type": "string", "nullable": True},
    "counts": {"type": "array", "items": {"type": "integer"}},
    "place": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "floor": {"type": "integer"}},
        "required": ["city"],
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "go",
            "description": "Goes.",
            "parameters": {
                "type": "object",
                "properties": {
                    name: {**schema, "description": "X"} for name, schema in PROPERTIES.items()
                },
                "required": ["text"],
            },
        },
    },
    {"type": "function", "function": {"name": "stop", "description": "Stops."}},
]


def same(one: Any, two: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart."""
    if isinstance(one, dict) and isinstance(two, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and one == two


def test_the_schema_here_is_one_that_fgkit_accepts() -> None:
    check_tools(TOOLS, "here")


CHANGED = [
    ("count", "42", 42),
    ("count", "0", 0),
    ("count", 7.0, 7),
    ("ratio", 1, 1.0),
    ("ratio", "0.5", 0.5),
    ("ratio", "-2", -2.0),
    ("ratio", "1e3", 1000.0),
    ("on", "true", True),
    ("on", "False", False),
    ("shade", "RED", "red"),
    ("shade", "blue", "Blue"),
    ("counts", ["1", 2, 3.0], [1, 2, 3]),
    ("place", {"city": "Rom", "floor": "2"}, {"city": "Rom", "floor": 2}),
    ("place", {"city": "Rom", "floor": None}, {"city": "Rom"}),
]


@pytest.mark.parametrize(("name", "written", "expected"), CHANGED)
def test_what_is_coerced(name: str, written: Any, expected: Any) -> None:
    call = Call("go", {"text": "a", name: written})
    assert same(coerce(call, TOOLS).arguments, {"text": "a", name: expected})
    assert call.arguments[name] is written
    if not same(written, 1):  # JSON Schema takes an integer for a number
        with pytest.raises(ArgumentError):
            coerce(call, TOOLS, strict=True)


def test_null_is_left_out_where_nothing_is_required_and_kept_where_it_is_allowed() -> None:
    assert coerce(Call("go", {"text": "a", "count": None, "note": None}), TOOLS).arguments == {
        "text": "a",
        "note": None,
    }


def test_an_integer_that_no_float_holds_is_a_number_as_it_is() -> None:
    assert same(
        coerce(Call("go", {"text": "a", "ratio": 2**53 + 1}), TOOLS).arguments["ratio"], 2**53 + 1
    )


REFUSED = [
    ("count", "4 2", "'count': found \"4 2\", expected type integer"),
    ("count", "42.0", "expected type integer"),
    ("count", " 42", "expected type integer"),
    ("count", "007", "expected type integer"),
    ("count", 1.5, "expected type integer"),
    ("count", True, "expected type integer"),
    ("count", "9" * 5000, "expected type integer"),
    ("count", -1, "expected minimum 0"),
    ("count", "-1", "expected minimum 0"),
    ("count", "١", "expected type integer"),
    ("ratio", "half", "expected type number"),
    ("ratio", "1e999", "expected type number"),
    ("ratio", "nan", "expected type number"),
    ("ratio", True, "expected type number"),
    ("on", 1, "expected type boolean"),
    ("on", "yes", "expected type boolean"),
    ("shade", "On", "expected one of"),
    ("shade", "reddish", "did you mean 'red'?"),
    ("text", 3, "expected type string"),
    ("text", None, "expected type string"),
    ("counts", 3, "expected type array"),
    ("counts", "[1]", "expected type array"),
    ("counts", [None], "'counts[0]': found null"),
    ("place", {"floor": 2}, "'place': "),
    (
        "place",
        {"city": "Rom", "flor": 2},
        "'place': has 'flor', expected only city, "
        "floor; did you mean 'floor'? Rename or remove it.",
    ),
    ("colour", "red", "unknown argument 'colour'"),
    ("counnt", 3, "did you mean 'count'?"),
]


@pytest.mark.parametrize(("name", "written", "expected"), REFUSED)
def test_what_is_refused(name: str, written: Any, expected: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        coerce(Call("go", {"text": "a", name: written}), TOOLS)
    assert expected in str(caught.value) and str(caught.value).startswith("go: ")
    assert len(str(caught.value).splitlines()) == 1


def test_all_problems_at_once_and_unknown_tools() -> None:
    with pytest.raises(ArgumentError) as caught:
        coerce(Call("go", {"count": "x", "zoom": 1}), TOOLS)
    lines = str(caught.value).splitlines()
    assert [
        "unknown argument" in lines[0],
        "missing argument 'text'" in lines[1],
        "'count'" in lines[2],
    ] == [True] * 3
    with pytest.raises(
        ArgumentError, match="found 'goo', expected one of go, stop; did you mean 'go'?"
    ):
        coerce(Call("goo", {}), TOOLS)
    assert coerce(Call("stop", {}), TOOLS) == Call("stop", {})
    with pytest.raises(FgkitError, match="unknown argument 'x'"):
        coerce(Call("stop", {"x": 1}), TOOLS)


VALID = st.fixed_dictionaries(
    {"text": st.text()},
    optional={
        "count": st.integers(0, 10**20),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "on": st.booleans(),
        "shade": st.sampled_from(PROPERTIES["shade"]["enum"]),
        "note": st.none() | st.text(),
        "counts": st.lists(st.integers()),
        "place": st.fixed_dictionaries({"city": st.text()}, optional={"floor": st.integers()}),
    },
)
LOOSE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1", "-2.5", "TRUE", "RED", "1e400", "0" * 3, "9" * 4400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["city", "floor", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(VALID)
def test_a_call_that_fits_comes_back_as_it_is(arguments: dict) -> None:
    try:
        strict = coerce(Call("go", arguments), TOOLS, strict=True)
    except ArgumentError:  # a control token or half a surrogate pair in a text
        return
    assert same(coerce(strict, TOOLS).arguments, arguments) and same(strict.arguments, arguments)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*PROPERTIES, "other"]), LOOSE, max_size=4))
def test_coerced_twice_is_coerced_once_and_fits(arguments: dict) -> None:
    try:
        once = coerce(Call("go", {"text": "a", **arguments}), TOOLS)
    except ArgumentError:
        return
    assert same(coerce(once, TOOLS).arguments, once.arguments)
    assert same(coerce(once, TOOLS, strict=True).arguments, once.arguments)
