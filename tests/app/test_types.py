"""Names for an app's code: valid, its own, the same for the same tools; and the types that go with them."""

from __future__ import annotations

import re

import pytest
from app_tools import RICH, text, tool
from hypothesis import given, strategies as st

from fgkit.app.languages import DART, KOTLIN
from fgkit.app.planning import plan, unchecked
from fgkit.app.types import Type

LANGUAGES = pytest.mark.parametrize("language", [DART, KOTLIN], ids=["dart", "kotlin"])
WIRE = st.text("aAbB_.-019", min_size=1, max_size=6).map(
    lambda name: f"a{name}" if name[0] in ".-019" else name
)


def names(tools: list[dict], language) -> list[str]:
    return [function.name for function in plan(tools, language).functions]


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ("set_timer", "setTimer"),
        ("setTimer", "setTimer"),
        ("SetTimer", "setTimer"),
        ("set-timer.now", "setTimerNow"),
        ("HTTP_get", "httpGet"),
        ("_private", "private"),
        ("__", "function"),
        ("a1_2b", "a12b"),
    ],
)
def test_words_are_joined(wire, name):
    assert names([tool(wire)], DART) == names([tool(wire)], KOTLIN) == [name]


def test_reserved_words_are_those_of_the_language():
    both = [tool("switch"), tool("when"), tool("class"), tool("wait"), tool("hash_code")]
    assert names(both, DART) == ["switch_", "when", "class_", "wait_", "hashCode_"]
    assert names(both, KOTLIN) == ["switch", "when_", "class_", "wait_", "hashCode_"]


@LANGUAGES
@given(wires=st.lists(WIRE, min_size=1, max_size=8, unique=True))
def test_names_are_valid_and_all_different(language, wires):
    tools = [
        tool(wire, "x", None, **{other: text(enum=["a", wire]) for other in wires})
        for wire in wires
    ]
    found = plan(tools, language)
    for group in [
        [function.name for function in found.functions],
        *([member.name for member in function.members] for function in found.functions),
    ]:
        assert len(group) == len(wires) == len(set(group))
        assert all(
            re.fullmatch(r"[a-z][A-Za-z0-9]*_?\d*", name) and name not in language.words
            for name in group
        )
    types = [enum.name.casefold() for enum in found.enums]
    assert len(types) == len(set(types)) and found == plan(tools, language)
    assert [function.wire for function in found.functions] == wires


@LANGUAGES
def test_types_do_not_hide_the_languages_own(language):
    tools = [
        tool(
            "f", "x", None, list=text(enum=["a"]), string=text(enum=["a"]), future=text(enum=["a"])
        )
    ]
    assert [enum.name for enum in plan(tools, language).enums] == ["FList", "FString", "FFuture"]


def test_values_of_an_enum():
    enum = {item.name: item.values for item in plan(RICH, DART).enums}["Shade"]
    assert [name for name, _ in enum] == [
        "red",
        "darkRed",
        "darkRed2",
        "value2nd",
        "value",
        "new_",
        "x",
        "itS1",
        "value2",
        "value3",
    ]
    assert [wire for _, wire in enum] == RICH[6]["function"]["parameters"]["properties"]["shade"][
        "enum"
    ]
    upper = {item.name: item.values for item in plan(RICH, KOTLIN).enums}["Shade"]
    assert [name for name, _ in upper][:5] == ["RED", "DARK_RED", "DARK_RED2", "VALUE_2ND", "VALUE"]


def test_one_enum_for_the_same_name_and_values_only():
    tools = [
        tool("f", "x", None, size=text(enum=["S", "M"])),
        tool("g", "x", None, size=text(enum=["S", "M"])),
        tool("h", "x", None, size=text(enum=["S"])),
        tool("i", "x", None, width=text(enum=["S", "M"])),
    ]
    found = plan(tools, KOTLIN)
    assert [enum.name for enum in found.enums] == ["Size", "HSize", "Width"]
    assert [function.members[0].type.name for function in found.functions] == [
        "Size",
        "Size",
        "HSize",
        "Width",
    ]


def test_types_and_defaults():
    move, limits = plan(RICH, DART).functions[-2:]
    kinds = {member.wire: member.type for member in move.members}
    assert kinds["to"] == Type("object", "To") and kinds["back"] == Type(
        "object", "Back", nullable=True
    )
    assert kinds["many"] == Type("list", item=Type("object", "Many")) and kinds["free"] == Type(
        "map"
    )
    assert kinds["kinds"] == Type("list", item=Type("enum", "Kinds"))
    assert kinds["list"] == Type("list", item=Type("any"))
    assert [(member.wire, member.optional, member.default) for member in limits.members] == [
        ("count", False, None),
        ("share", False, 1.0),
        ("label", False, "it's $5"),
        ("times", False, 2),
        ("loud", False, False),
        ("size", False, "M"),
        ("some", True, None),
    ]
    assert type(limits.members[1].default) is float


@pytest.mark.parametrize("default", [1.5, "1", True, 2**63, [1], None])
def test_a_default_of_another_type_is_none(default):
    member = (
        plan([tool("f", "x", None, n={"type": "integer", "default": default})], DART)
        .functions[0]
        .members[0]
    )
    assert member.default is None and member.optional


def test_keywords_that_nobody_checks_are_named():
    tools = [
        tool(
            "f",
            "x",
            None,
            code=text(pattern="[A-Z]+", maxLength=3),
            n={"type": "integer", "minimum": 1},
            many={"type": "array", "items": {"type": "string", "format": "date"}},
        )
    ]
    assert (
        unchecked(tools) == ["f.code: maxLength, pattern", "f.many[]: format"]
        and unchecked(RICH) == []
    )
