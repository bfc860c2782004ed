"""Arguments against schemas: the quick test and jsonschema agree on everything, nested names are held to, nulls go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.tools.validation import Checker

STRING = {"type": "string"}
PROPERTIES = {
    "text": STRING,
    "mode": {"type": "string", "enum": ["a", "b"]},
    "count": {"type": "integer", "minimum": 0, "maximum": 9},
    "ratio": {"type": "number"},
    "on": {"type": "boolean"},
    "maybe": {"type": "string", "enum": ["a"], "nullable": True},
    "level": {"type": "integer", "nullable": True},
    "names": {"type": "array", "items": STRING},
    "any": {"type": "array"},
    "where": {
        "type": "object",
        "properties": {"city": STRING, "zip": STRING},
        "required": ["city"],
    },
    "free": {"type": "object"},
    "open": {"type": "object", "properties": {}},
    "code": {"type": "string", "pattern": "^[A-Z]$"},
    "rows": {
        "type": "array",
        "items": {"type": "object", "properties": {"n": {"type": "integer"}}},
    },
}


def checker(*required: str, **properties: dict) -> Checker:
    return Checker(
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "D.",
                "parameters": {
                    "type": "object",
                    "properties": properties or PROPERTIES,
                    "required": list(required),
                },
            },
        }
    )


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 11)
    | st.sampled_from([10**30, 2**63])
    | st.floats()
    | st.sampled_from(["a", "b", "A", "", "<escape>", "\ud800"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["city", "zip", "n", "two words", "x"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(PROPERTIES)), VALUES)
def test_the_quick_test_accepts_exactly_what_jsonschema_and_the_format_accept(
    name: str, value: Any
) -> None:
    quick, slow = checker(**{name: PROPERTIES[name]}), checker(**{name: PROPERTIES[name]})
    slow._accepts = None
    complaints = list(slow({name: value}))
    assert list(quick({name: value})) == complaints
    if (
        quick._accepts is not None and type(value) is not int
    ):  # integers beyond 64 bits take the slow way
        assert quick._accepts({name: value}) is (not complaints)


def test_plain_schemas_never_reach_jsonschema() -> None:
    plain = {name: schema for name, schema in PROPERTIES.items() if name != "code"}
    check = checker("text", **plain)
    good = {
        "text": "x",
        "mode": "b",
        "count": 3,
        "ratio": 1,
        "on": True,
        "maybe": None,
        "level": None,
        "names": ["a"],
        "any": [1, [None]],
        "where": {"city": "Rome"},
        "free": {"k": [1.5]},
        "open": {"k": 1},
        "rows": [{"n": 1}, {}],
    }
    assert list(check(good)) == [] and "_validator" not in vars(check)
    assert list(check({})) == [
        "missing argument 'text', expected: f takes " + ", ".join(plain) + ". Add it."
    ]
    assert "_validator" in vars(check)
    assert checker(code=PROPERTIES["code"])._accepts is None  # a pattern is jsonschema's business


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            {"city": "Rome", "zp": "1"},
            "argument 'where': has 'zp', expected only city, zip; did you mean 'zip'? Rename or remove it.",
        ),
        (
            {"zip": "1"},
            'argument \'where\': found {"zip": "1"}, expected required ["city"]. Correct it.',
        ),
        (
            {"city": 1},
            "argument 'where.city': found 1, expected type string. Put it in quotes: \"1\".",
        ),
    ],
)
def test_nested_objects_are_held_to_their_names(value: dict, found: str) -> None:
    assert list(checker()({"where": value})) == [found]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({"text": "x", "other": None}, {"text": "x"}),  # a name that only another tool has
        (
            {"text": "x", "on": None, "maybe": None},
            {"text": "x"},
        ),  # once one is filled in, no null can be trusted
        ({"text": "x", "maybe": None}, None),
        ({"text": None}, None),
        ({"free": {"k": None}}, None),
        ({"open": {"k": None}}, None),
        ({"where": {"city": "Rome", "zip": None}}, {"where": {"city": "Rome"}}),
        ({"where": {"city": None}}, None),
        ({"rows": [{"n": None}, {"n": 1}]}, {"rows": [{}, {"n": 1}]}),
        ({"any": [None]}, None),
        ({}, None),
    ],
)
def test_nulls_that_only_arrow_can_have_written(arguments: dict, kept: dict | None) -> None:
    assert checker("text").without_filled(arguments) == (arguments if kept is None else kept)


def test_a_tool_without_arguments_takes_none() -> None:
    check = Checker({"function": {"name": "ping", "description": "P."}})
    assert list(check({})) == [] and check.without_filled({"a": None}) == {}
    assert list(check({"a": 1})) == [
        "unknown argument 'a', expected: ping takes none. Rename or remove it."
    ]
