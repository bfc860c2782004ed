"""`python -m fgkit run`: the three notebooks in order, data in, scored bundles out."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_run_options, notebook_parameters

HELP = "execute the three notebooks in order: data in, scored .task out"
EXAMPLE = "run --data my.jsonl --tools my.py -p num_train_epochs 5"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument(
        "--model", metavar="DIR", help="a folder tuned elsewhere: start at to_tflite"
    )
    add_run_options(command)


def execute(options: argparse.Namespace) -> int:
    """Execute the three notebooks and print the table of scores."""
    from fgkit.workflow import run as workflow, summary

    parameters = notebook_parameters(options)
    result = workflow.run(parameters)
    print("\n" + summary.table(result))
    folder = Path(parameters.get("output", "run")).expanduser().absolute()
    print(f"everything is in {folder}")
    return 0
