"""The linter's report: cost of each tool with and without a tokenizer, order, JSON, and the command that prints it."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import pytest

from fgkit import locations
from fgkit.cli import main as command_line, tokenizers
from fgkit.prompts.declarations import declaration
from fgkit.tools import lint_tools, load_tools

EXAMPLE = locations.shipped("data", "tools.py")
BAD = '''def go(x: int, y: str = ""):
    """Goes.

    Args:
        x: X
        y: Y
        z: Z
    """

def stop(type: str):
    """Stops.

    Args:
        type: T
    """

def wait(x: bytes):
    """Waits.

    Args:
        x: X
    """
'''


def words(text: str, *, add_special_tokens: bool) -> Any:
    assert not add_special_tokens and text.startswith("<start_function_declaration>")
    return types.SimpleNamespace(input_ids=text.split())


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.py"
    path.write_text(BAD)
    return path


def test_cost_is_that_of_the_declaration() -> None:
    tools = load_tools(EXAMPLE)
    report = lint_tools(EXAMPLE, words)
    assert [tool.characters for tool in report.tools] == [len(declaration(tool)) for tool in tools]
    assert [tool.tokens for tool in report.tools] == [
        len(declaration(tool).split()) for tool in tools
    ]
    lines = report.table().splitlines()
    assert (
        lines[0].split() == ["tool", "tokens", "parameters"] and "characters" not in report.table()
    )
    assert lines[1].split() == [
        "change_background_color",
        str(report.tools[0].tokens),
        "color:",
        "string",
    ]
    assert lines[4].split()[:2] == ["together", str(sum(tool.tokens for tool in report.tools))]
    assert lines[-1] == "tools: 3, errors: 0, warnings: 0"


def test_without_a_tokenizer_characters_are_called_characters() -> None:
    report = lint_tools(EXAMPLE)
    assert {tool.tokens for tool in report.tools} == {None}
    assert (
        report.table().splitlines()[0].split() == ["tool", "characters", "parameters"]
        and "token" not in report.table()
    )


def test_errors_come_before_warnings_and_a_wrong_tool_has_no_cost(bad: Path) -> None:
    report = lint_tools(bad)
    assert [finding.rule_id for finding in report.errors] == ["T206", "T104"] and [
        f.rule_id for f in report.warnings
    ] == ["T107"]
    lines = report.table().splitlines()
    assert lines[1].split()[2:] == ["x:", "integer,", "y?:", "string"]
    assert lines[2].split() == ["stop", "-", "type:", "string"]
    assert lines[5].startswith(f"{bad}:10: T206 ") and lines[6].startswith(f"{bad}:17: T104 ")
    assert (
        lines[7].startswith(f"warning: {bad}:1: T107 ")
        and lines[-1] == "tools: 2, errors: 2, warnings: 1"
    )


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
                    "required": ["b"],
                },
            },
            "x?: array of {a?: integer, b: number}",
        ),
        ({"type": "string", "enum": ["a", "b"]}, "x?: a | b"),
        ({"type": "object"}, "x?: object"),
        ({"type": ["a", "b"]}, "x?: ?"),
        ({"type": "array"}, "x?: array"),
        (3, "x?: ?"),
        ({"type": "array", "items": 3}, "x?: array"),
    ],
)
def test_parameters_are_shown_short(schema: Any, text: str) -> None:
    tool = {
        "name": "go",
        "description": "Goes.",
        "parameters": {"type": "object", "properties": {"x": schema}},
    }
    assert lint_tools([tool]).tools[0].parameters == text


def test_what_is_no_tool_has_a_row_too() -> None:
    report = lint_tools(
        [3, {"function": {"name": ["a"], "parameters": {"properties": 3}}}, {"name": "x\ud83d"}]
    )
    assert [tool.name for tool in report.tools] == ["3", "of type list", "x\ud83d"]
    assert {tool.characters for tool in report.tools} == {None} and "x\\ud83d" in report.table()


def test_the_command(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizers, "find_tokenizer", lambda base: (None, f"no base {base!r}."))
    out = tmp_path / "out.json"
    assert command_line.main(["tools", str(bad), "--json", str(out), "--base", "offline"]) == 1
    printed = capsys.readouterr().out
    assert lint_tools(bad).table() in printed and "no tokens counted: no base 'offline'." in printed
    assert json.loads(out.read_text()) == json.loads(json.dumps(lint_tools(bad).to_json()))
    assert json.loads(out.read_text())["findings"][0] == {
        "rule": "T206",
        "severity": "error",
        "place": f"{bad}:10",
        "message": lint_tools(bad).errors[0].message,
    }
    monkeypatch.setattr(tokenizers, "find_tokenizer", lambda base: (words, ""))
    assert command_line.main(["tools", str(EXAMPLE)]) == 0
    assert lint_tools(EXAMPLE, words).table() + "\n" == capsys.readouterr().out
    (tmp_path / "broken.json").write_text("[")
    assert command_line.main(["tools", str(tmp_path / "broken.json")]) == 2
    assert "broken.json: T004 cannot be read" in capsys.readouterr().err
