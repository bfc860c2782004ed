"""Functions to tools: every hint that is read, every hint that is refused, and agreement with transformers."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import functools
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    Union,
)

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.tools import check_tools
from fgkit.tools.python_schemas import function_tool


class Shade(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    BIG = 1


class Address(TypedDict, total=False):
    """Where it is.

    Attributes:
        street (str): Street and
            number
    """

    street: Required[str]
    zip: Annotated[int, "Five digits"]


class Ticket(TypedDict):
    """Args:
    seat: Where
    address: Whose
    """

    seat: str
    address: NotRequired[Address]


@dataclasses.dataclass
class Item:
    """Args:
    name: What
    tags: Marks
    """

    name: str
    tags: list[str] = dataclasses.field(default_factory=list)
    total: int = dataclasses.field(init=False, default=0)
    count: Annotated[int, "How many"] = 1


@dataclasses.dataclass
class Bare:
    x: int


class Loop(TypedDict):
    inner: list[Loop]


Minutes = NewType("Minutes", int)
ADDRESS = {
    "type": "object",
    "properties": {
        "street": {"type": "string", "description": "Street and number"},
        "zip": {"type": "integer", "description": "Five digits"},
    },
    "required": ["street"],
}


def tool_of(hint: Any, doc: str = "X", **more: Any) -> tuple[dict | None, list[tuple[str, str]]]:
    def go(x): ...

    go.__annotations__["x"] = hint
    go.__doc__ = f"Goes.\n\nArgs:\n    x: {doc}"
    if more:
        go.__defaults__ = (more["default"],)
    return function_tool(go)


READ = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal["a", None], {"type": "string", "enum": ["a"], "nullable": True}),
    (Shade, {"type": "string", "enum": ["red", "blue"]}),
    (Optional[int], {"type": "integer", "nullable": True}),
    (int | None, {"type": "integer", "nullable": True}),
    (Union[None, Shade], {"type": "string", "enum": ["red", "blue"], "nullable": True}),
    (list, {"type": "array"}),
    (list[float], {"type": "array", "items": {"type": "number"}}),
    (list[Literal["a"]], {"type": "array", "items": {"type": "string", "enum": ["a"]}}),
    (list[Address], {"type": "array", "items": ADDRESS | {"description": "Where it is."}}),
    (Address, ADDRESS),
    (Minutes, {"type": "integer"}),
    (Annotated[str, "ignored: Args win"], {"type": "string"}),
    (
        Ticket,
        {
            "type": "object",
            "properties": {
                "seat": {"type": "string", "description": "Where"},
                "address": ADDRESS | {"description": "Whose"},
            },
            "required": ["seat"],
        },
    ),
    (
        Item,
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "What"},
                "tags": {"type": "array", "items": {"type": "string"}, "description": "Marks"},
                "count": {"type": "integer", "description": "How many"},
            },
            "required": ["name"],
        },
    ),
    (Bare, {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}),
]


@pytest.mark.parametrize(("hint", "expected"), READ, ids=str)
def test_hints_that_are_read(hint: Any, expected: dict) -> None:
    tool, problems = tool_of(hint)
    assert problems == []
    assert tool["function"]["parameters"] == {
        "type": "object",
        "properties": {"x": expected | {"description": "X"}},
        "required": ["x"],
    }
    check_tools([tool], "here")


REFUSED = [
    (dict[str, int], "T407", "`dict[str, int]`, which does not name its keys. Write a TypedDict"),
    (dict, "T407", "`dict`"),
    (int | str, "T402", "(`int | str`)"),
    (Any, "T401", "may be anything"),
    (object, "T401", "may be anything"),
    (Literal[1, 2], "T403", "allows 1, 2, but the prompt shows choices of texts only"),
    (Size, "T403", "allows 1"),
    (Literal["a", True], "T403", "'a', True"),
    (enum.Enum("Empty", {}), "T403", "allows no value"),
    (tuple[int, int], "T104", "`tuple[int, int]`"),
    (datetime.date, "T104", "take dates, times"),
    (set[str], "T104", "`set[str]`"),
    (bytes, "T104", "`bytes`"),
    (None, "T104", "None"),
    ([int], "T104", "[<class 'int'>]"),
    (collections.namedtuple("P", "x"), "T104", "P`"),
    (Loop, "T412", "'x.inner' is a Loop, which contains itself"),
    ("Nope", "T104", "gives no type: name 'Nope' is not defined"),
    ("int |", "T104", "gives no type: "),
    ("list[1/0]", "T104", "gives no type: division by zero"),
    (list[dict[str, str]], "T407", "`dict[str, str]`"),
]


@pytest.mark.parametrize(("hint", "rule", "text"), REFUSED, ids=str)
def test_hints_that_are_refused(hint: Any, rule: str, text: str) -> None:
    tool, problems = tool_of(hint)
    assert tool is None and rule in [rule for rule, _ in problems]
    assert any(text in problem and problem.startswith("function 'go': ") for _, problem in problems)


def test_defaults_make_an_argument_optional_and_are_not_shown() -> None:
    for default in (None, "a", 0):
        tool, _ = tool_of(str, default=default)
        assert tool["function"]["parameters"] == {
            "type": "object",
            "properties": {"x": {"type": "string", "description": "X"}},
        }


def rules(function: Any) -> list[str]:
    return [rule for rule, _ in function_tool(function)[1]]


def test_docstrings() -> None:
    def silent(x: int): ...

    def vague(colour: int):
        """Goes.

        Args:
            color: Which
        """

    def annotated(x: Annotated[int, "From here"], y: list[Annotated[str, "inner"]] = ()):
        """Goes.

        Args:
            y: Two
        """

    def chosen(x: str, y: str):
        """Goes far
        and wide.

        Args:
            x (str, optional): Which one (choices: [" a", "b"])
            y: Left alone (choices: [a])

        Returns:
            nothing
        """

    assert rules(silent) == ["T101"]
    assert function_tool(vague)[1][0] == (
        "T105",
        "function 'vague': parameter 'colour' is not described in the docstring; did "
        "you mean 'color'? Write a line `colour: ...` under `Args:`.",
    )
    assert rules(vague) == ["T105", "T107"]
    body = function_tool(annotated)[0]["function"]
    assert body["parameters"]["properties"]["x"] == {"type": "integer", "description": "From here"}
    assert body["parameters"]["properties"]["y"]["items"] == {
        "type": "string",
        "description": "inner",
    }
    body = function_tool(chosen)[0]["function"]
    assert body["description"] == "Goes far\nand wide." and body["name"] == "chosen"
    assert body["parameters"]["properties"] == {
        "x": {"type": "string", "enum": ["a", "b"], "description": "Which one"},
        "y": {"type": "string", "description": "Left alone (choices: [a])"},
    }


def test_all_problems_of_a_function_at_once() -> None:
    def go(a, b: bytes, *c: int, **d: int):
        """Goes."""

    assert rules(go) == ["T103", "T102", "T102", "T104", "T105"]


def test_one_class_may_serve_several_arguments() -> None:
    def go(start: Address, end: Address):
        """Goes.

        Args:
            start: From
            end: To
        """

    tool, problems = function_tool(go)
    assert problems == [] and tool["function"]["parameters"]["properties"]["end"] == ADDRESS | {
        "description": "To"
    }


def test_methods_and_wrapped_functions() -> None:
    class Thing:
        def go(self, x: int) -> None:
            """Goes.

            Args:
                x: X
            """

    def decorated(function):
        return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))

    for function in (Thing().go, decorated(Thing().go)):
        tool, problems = function_tool(function)
        assert problems == [] and list(tool["function"]["parameters"]["properties"]) == ["x"]


PLAIN = st.recursive(
    st.sampled_from([str, int, float, bool, Shade, Literal["a", "b"], list]),
    lambda inner: inner.map(lambda hint: list[hint]) | inner.map(lambda hint: Optional[hint]),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "Count", "last_one"]),
        st.tuples(PLAIN, st.booleans()),
        max_size=4,
    ),
    st.booleans(),
)
def test_transformers_says_the_same_for_every_hint_it_knows(
    members: dict[str, tuple[Any, bool]], returns: bool
) -> None:
    from transformers.utils import chat_template_utils, get_json_schema

    names = sorted(members, key=lambda name: members[name][1])  # those with a default come last
    namespace: dict[str, Any] = {}
    arguments = ", ".join(f"{name}=None" if members[name][1] else name for name in names)
    exec(f"def go({arguments}): ...", namespace)
    go = namespace["go"]
    go.__annotations__ = {name: members[name][0] for name in names}
    go.__doc__ = "Goes.\n\nArgs:\n" + "\n".join(
        f"    {name}: About {name}:\n        more" for name in names
    )
    if returns:
        go.__doc__ += "\n\nReturns:\n    a thing"
    with pytest.MonkeyPatch.context() as patch:  # so that torch is not imported
        patch.setattr(chat_template_utils, "is_torch_available", lambda: False)
        expected = get_json_schema(go)
    expected["function"].pop("return", None)
    assert function_tool(go) == (expected, [])
