"""docs/prompts.md says what the code does: every block of code gives the block of text below it, every style its text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fgkit import prompts
from fgkit.calls import Call
from fgkit.prompts import CONTROL_TOKENS, completion, neutralise, render
from fgkit.prompts.format import IMAGE_TOKENS, value

PAGE = (Path(__file__).parents[1] / "docs" / "prompts.md").read_text(encoding="utf-8")
CODE = dict(re.findall(r"```python (\w+)\n(.*?)```", PAGE, re.DOTALL))
SHOWN = dict(re.findall(r"```python (\w+)\n(?:(?!```).)*```\n```text\n(.*?)\n```", PAGE, re.DOTALL))
STYLES = dict(re.findall(r"```text (\w+)\n(.*?)```", PAGE, re.DOTALL))
KNOWN = {
    "Call": Call,
    "completion": completion,
    "neutralise": neutralise,
    "CONTROL_TOKENS": CONTROL_TOKENS,
    "IMAGE_TOKENS": IMAGE_TOKENS,
}


def test_the_page_has_its_blocks():
    assert set(CODE) == {"answer", "tools", "neutralise", "tokens"} and set(SHOWN) == set(CODE) - {
        "tools"
    }
    assert tuple(STYLES) == tuple(prompts.STYLES)


@pytest.mark.parametrize("name", SHOWN)
def test_code_gives_the_text_below_it(name):
    *statements, last = ast.parse(CODE[name]).body
    names = dict(KNOWN)
    exec(compile(ast.Module(statements, []), name, "exec"), names)
    assert str(eval(compile(ast.Expression(last.value), name, "eval"), names)) == SHOWN[name]


@pytest.mark.parametrize("style", STYLES)
def test_a_style_gives_its_text(style):
    names = {}
    exec(CODE["tools"].rsplit("\nrender(", 1)[0], names)
    expected = STYLES[style].replace("\n", "").replace("↵", "\n")
    assert (
        render(names["messages"], names["tools"], add_generation_prompt=True, style=style)
        == expected
    )


def test_the_table_of_values():
    lines = re.findall(r"^(`.*`) \| (`.*`)$", PAGE, re.MULTILINE)
    pairs = [
        (left, right)
        for line in lines
        for left, right in zip(*(re.findall(r"`([^`]*)`", cell) for cell in line), strict=True)
    ]
    assert len(pairs) == 11
    for python, written in pairs:
        assert value(ast.literal_eval(python)) == written
