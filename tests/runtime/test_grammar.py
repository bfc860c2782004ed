"""call_grammar: what the pattern of a set of tools lets through, read by Python's own regular expressions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fgkit.dataset import tokenize
from fgkit.dataset.reading import read_records
from fgkit.runtime import grammar
from fgkit.tools import load_tools

DATA = Path(__file__).parents[2] / "data"


def allowed(tools, answer: str) -> bool:
    return bool(re.fullmatch(grammar.pattern(tools), answer.replace(" ", "\u2581")))


def call(arguments: str, name: str = "f") -> str:
    return f"<start_function_call>call:{name}{{{arguments}}}<end_function_call>"


def one(properties: dict, *required: str) -> list[dict]:
    return [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "F.",
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": list(required),
                },
            },
        }
    ]


@pytest.mark.parametrize(("folder", "rows"), [(DATA, 156), (DATA / "home", 235)])
def test_every_held_out_answer_is_allowed(folder, rows):
    tools = load_tools(folder / "tools.py")
    answers = tokenize.answer_texts(read_records(folder / "eval_data.jsonl", tools))
    assert (
        len(answers) == rows and [answer for answer in answers if not allowed(tools, answer)] == []
    )


TOOLS = one(
    {
        "b": {"type": "boolean"},
        "A": {"type": "integer"},
        "c": {"type": "string", "enum": ["x y", "\u20ac"]},
        "d": {"type": "array", "items": {"type": "number"}},
        "e": {"type": "string", "nullable": True},
    },
    "A",
)


@pytest.mark.parametrize(
    "arguments",
    [
        "A:1",
        "A:-20,b:true",
        "A:0,c:<escape>x y<escape>",
        "A:0,c:<escape><0xE2><0x82><0xAC><escape>",
        "A:0,d:[]",
        "A:0,d:[1,-2.5,1e-05]",
        "A:0,e:None",
        "A:0,e:<escape>a < b, <0xF0><0x9F>}<escape>",
    ],
)
def test_calls_of_the_tools_are_allowed(arguments):
    assert allowed(TOOLS, call(arguments) + "<start_function_response>")
    assert allowed(TOOLS, f"Well: {call(arguments)}{call('A:1')}<start_function_response>")


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "b:true",
        "A:1.5",
        "A:01",
        "A:1,",
        "b:true,A:1",
        "A:1,b:True",
        "A:1,c:<escape>z<escape>",
        "A:1,c:x y",
        "A:1,d:[true]",
        "A:1,e:<escape>a<escape>b<escape>",
        "A:1,e:<escape>a<end_of_turn><escape>",
        "A:1,e:<escape>a",
        "A:1,z:1",
    ],
)
def test_other_calls_are_not(arguments):
    assert not allowed(TOOLS, call(arguments) + "<start_function_response>")


def test_only_declared_functions_are_called_and_text_is_always_allowed():
    assert not allowed(TOOLS, call("A:1", "g") + "<start_function_response>")
    assert allowed(TOOLS, "Which one?\n<end_of_turn>") and allowed([], "Which one?<end_of_turn>")
    assert not allowed([], call("") + "<start_function_response>")
    assert allowed(one({}), call("") + "<start_function_response>")


def test_what_no_schema_tells_apart_is_free_inside_its_call():
    tools = one(
        {
            "any": {"type": "object"},
            "deep": {"type": "object", "properties": {"x": {"type": "null"}}},
        }
    )
    assert allowed(
        tools, call("any:{k:[1,<escape>}<escape>]},deep:{x:None}") + "<start_function_response>"
    )
    assert not allowed(tools, call("any:{k:<end_of_turn>}") + "<start_function_response>")
