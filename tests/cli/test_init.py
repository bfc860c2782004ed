"""`fgkit init`: its samples lint clean, share nothing between training and evaluation, and overwrite nothing."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from fgkit import locations
from fgkit.cli import main as command_line
from fgkit.cli.init import FILES, init
from fgkit.dataset.reading import read_records
from fgkit.dataset.splits import load_data
from fgkit.errors import FgkitError
from fgkit.tools import lint_tools, load_tools
from fgkit.tools.coercion import coerce


@pytest.mark.slow
def test_files_and_commands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "my app"  # a name that a shell would split
    assert command_line.main(["init", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES) and all(
        name in printed for name in FILES
    )
    page = (folder / "README.md").read_text()
    assert not re.findall(r"\{(?:run|folder|python)\}", page)
    run = re.search(r"^  python -m fgkit (run .+)$", printed, re.MULTILINE)[1]
    options = command_line.build_parser().parse_args(shlex.split(run))
    assert (options.data, options.eval, options.tools) == tuple(
        str(folder / name) for name in ("training_data.jsonl", "eval_data.jsonl", "tools.py")
    )
    commands = re.findall(r"python -m fgkit ([^`\n]+)", page)
    assert run in commands and {shlex.split(command)[0] for command in commands} == {
        "tools",
        "lint",
        "run",
    }
    for command in commands:
        arguments = shlex.split(command)
        assert callable(command_line.build_parser().parse_args(arguments).execute)
        if arguments[0] != "run":
            assert command_line.main(arguments) == 0


def test_the_samples_are_clean_and_hold_every_kind(tmp_path: Path) -> None:
    init(tmp_path / "app")
    report = lint_tools(tmp_path / "app" / "tools.py")
    assert report.findings == () and len(report.tools) == 3
    tools = load_tools(tmp_path / "app" / "tools.py")
    declared = str(tools)
    for kind in ("string", "integer", "number", "boolean", "array", "object", "'enum'"):
        assert kind in declared
    data = load_data(
        tmp_path / "app" / "training_data.jsonl",
        tmp_path / "app" / "eval_data.jsonl",
        tools,
        seed=0,
    )
    assert data.warnings == ()
    kinds = Counter(record.kind for record in data.train)
    assert kinds == {"call": 30, "no_call": 4, "parallel": 1}
    single = Counter(record.calls[0].name for record in data.train if record.kind == "call")
    assert single == {name: 10 for name in (tool["function"]["name"] for tool in tools)}
    assert Counter(record.kind for record in data.held_out) == {
        "call": 12,
        "no_call": 2,
        "parallel": 1,
    }
    calls = [call for record in (*data.train, *data.held_out) for call in record.calls]
    assert all(coerce(call, tools, strict=True) == call for call in calls)
    assert {name for call in calls for name in call.arguments} == {
        name for tool in tools for name in tool["function"]["parameters"]["properties"]
    }
    for name in ("text", "items"):  # values that are copied from the request
        values = [
            {
                str(call.arguments[name])
                for record in side
                for call in record.calls
                if name in call.arguments
            }
            for side in (data.train, data.held_out)
        ]
        assert all(values) and not values[0] & values[1]


def test_samples_are_read_line_by_line(tmp_path: Path) -> None:
    init(tmp_path)  # an empty folder that is there already
    tools = load_tools(tmp_path / "tools.py")
    assert [record.line for record in read_records(tmp_path / "eval_data.jsonl", tools)] == list(
        range(1, 16)
    )


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "tools.py").write_text("mine")
    assert command_line.main(["init", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert (
        f"{tmp_path}: holds tools.py, expected a new or empty folder: nothing is overwritten"
        in error
    )
    assert (tmp_path / "tools.py").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FgkitError, match="is a file, expected a new or empty folder"):
        init(tmp_path / "tools.py")
    with pytest.raises(FgkitError, match="cannot be written"):
        init(tmp_path / "tools.py" / "below")


def test_the_data_that_ships_is_what_is_written() -> None:
    assert sorted(os.listdir(locations.shipped("starter"))) == sorted(FILES)
