"""`python -m fgkit quantize`: a run's model stored in several ways, each run, scored and timed."""

from __future__ import annotations

import argparse

from .options import add_data

HELP = "store a run's model in every way, run and score each, recommend one"
EXAMPLE = "quantize run"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="RUN", help="a run's folder")
    add_data(command, "training rows (default for this and the next four: the run's own)")
    command.add_argument("--eval", metavar="FILE", default="", help="held-out rows")
    command.add_argument("--tools", metavar="FILE", default="", help="tools, .py or .json")
    command.add_argument("--format", default="", help="format of the rows")
    command.add_argument("--name", default="", help="first part of the files' names")
    command.add_argument(
        "--only",
        metavar="NAME",
        nargs="+",
        help="only these ways to store weights (docs/quantisation.md)",
    )


def execute(options: argparse.Namespace) -> int:
    """Make, run and score a model with each way to store its weights."""
    from fgkit.workflow import quantization_study as study
    from fgkit.workflow.stages.data_steps import load_rows

    settings = study.settings_of(
        options.path,
        data=options.data,
        eval_data=options.eval,
        tools=options.tools,
        data_format=options.format,
        name=options.name,
    )
    study.study(settings, load_rows(settings), options.only or study.MENU)
    table = settings.folder / study.FOLDER / f"{study.NAME}.md"
    print(table.read_text(encoding="utf-8"), end="")
    return 0
