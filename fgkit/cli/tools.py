"""`python -m fgkit tools`: what the model sees of each tool, its cost, and every problem."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_json, add_tokenizer

HELP = "check a tools file: what the model sees of each tool, its cost, every problem"
EXAMPLE = "tools my.py"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="FILE", help="tools, .py or .json")
    add_tokenizer(command, without="characters are counted")
    add_json(command, "write the same to this file")


def execute(options: argparse.Namespace) -> int:
    """Report what the model sees of each tool and what is wrong with it."""
    from fgkit.files import write_json
    from fgkit.outputs import require_outputs
    from fgkit.tools import lint_tools

    from .tokenizers import find_tokenizer

    require_outputs({"--json": options.json}, {"FILE": options.path})
    tokenizer, no_tokenizer = find_tokenizer(options.base)
    report = lint_tools(Path(options.path).expanduser(), tokenizer)
    print(report.table() + (f"\nno tokens counted: {no_tokenizer}" if no_tokenizer else ""))
    if options.json:
        write_json(options.json, report.to_json())
        print(f"written: {options.json}")
    return 1 if report.errors else 0
