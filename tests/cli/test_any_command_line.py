"""Any command line is answered: exit code 0, 1 or 2, at least one line when it fails, and never a traceback."""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

import pytest

from fgkit.cli import main as command_line

# What needs minutes when it works; everything else is called with arguments that nobody would type.
LONG = {"run", "finetune", "quantize", "doctor"}
SEED = int(os.environ.get("FGKIT_COMMAND_LINES_SEED", "1"))
COUNT = int(os.environ.get("FGKIT_COMMAND_LINES", "60"))


@pytest.fixture
def odd_values(tmp_path: Path) -> list[str]:
    """Paths and texts of every kind that a command may be given."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    contents = {
        "rows.jsonl": '{"user_content": "a", "tool_name": "b", "tool_arguments": "{}"}\n',
        "list.json": "[1, null, {}]",
        "deep.json": "[" * 5000,
        "tools.py": "def f(x: int):\n    '''F.\n\n    Args:\n        x: an x.\n    '''\n",
        "broken.py": "import os; os._exit(0)",
        "a.task": "PK\x03\x04nothing",
        "a.litertlm": "LITERTLM" + 40 * "\xff",
        "summary.json": '{"base": 1, "settings": []}',
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    paths = [str(path) for path in tmp_path.iterdir()]
    return [
        *paths,
        "",
        "-",
        ".",
        "~nobody/x",
        "a\nb",
        "\ud800",
        "x" * 300,
        "0",
        "-1",
        "1e999",
        "red",
    ]


def command_lines(values: list[str], number: random.Random):
    """Generate command lines from the parsers themselves."""
    parser = command_line.build_parser()
    (subparsers,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    commands = {name: sub for name, sub in subparsers.choices.items() if name not in LONG}
    while True:
        name = number.choice(sorted(commands))
        words = [name]
        for action in commands[name]._actions:
            if action.dest in ("help", "debug"):
                continue
            if not action.option_strings:
                words += [number.choice(values) for _ in range(number.choice((1, 1, 1, 0, 2)))]
            elif number.random() < 0.3:
                words.append(action.option_strings[-1])
                words += [] if action.nargs == 0 else [number.choice(values)]
        yield words


def test_any_command_line_is_answered(odd_values, tmp_path, monkeypatch, capsys) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    lines, failures, seen = command_lines(odd_values, random.Random(SEED)), [], 0
    for _, words in zip(range(COUNT), lines):
        try:
            code = command_line.main(words)
        except SystemExit as stop:  # argparse's own refusals
            code = stop.code
        said = capsys.readouterr()
        seen += code in (0, 1, 2)
        text = said.out + said.err
        if code not in (0, 1, 2) or "should not happen" in text or not text.strip():
            failures.append((words, code, text[-300:]))
    assert not failures, failures
    assert seen == COUNT
