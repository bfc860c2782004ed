"""Options that several commands share, each with one spelling and one help text."""

from __future__ import annotations

import argparse
from os.path import expanduser  # unlike Path's method, it accepts any text
from typing import Any

from fgkit.dataset.formats.detection import FORMATS
from fgkit.errors import FgkitError


def add_tools(command: argparse.ArgumentParser, default: str | None = "") -> None:
    """Add `--tools FILE`; an empty value means the example's tools."""
    command.add_argument(
        "--tools",
        metavar="FILE",
        default=default,
        help="tools file, .py or .json (default: the example's)",
    )


def add_data(command: argparse.ArgumentParser, text: str) -> None:
    """Add `--data FILE` with a help text that says what the rows are for."""
    command.add_argument("--data", metavar="FILE", default="", help=text)


def add_format(command: argparse.ArgumentParser, default: str | None = "auto") -> None:
    """Add `--format NAME`, the format of the rows."""
    command.add_argument(
        "--format",
        choices=FORMATS,
        default=default,
        help="format of the rows (default: auto, detected from their keys)",
    )


def add_json(command: argparse.ArgumentParser, text: str) -> None:
    """Add `--json OUT`, a file for the command's results."""
    command.add_argument("--json", metavar="OUT", type=expanduser, default="", help=text)


def add_tokenizer(command: argparse.ArgumentParser, without: str) -> None:
    """Add `--base`, whose tokenizer counts tokens; `without` says what happens if there is none."""
    command.add_argument(
        "--base",
        metavar="NAME|PATH|offline",
        default="",
        help="base model whose tokenizer counts tokens; nothing is downloaded "
        f"(default: the offline base if it is built, otherwise {without})",
    )


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `run` and `finetune`, which become parameters of the notebooks."""
    command.add_argument(
        "--output", metavar="DIR", help="folder for everything the run writes (default: run)"
    )
    command.add_argument(
        "--base",
        metavar="NAME|PATH|offline",
        help="base model: a Hub name, a folder, or `offline` (default: FunctionGemma if a token or "
        "a local copy gives access, the offline base otherwise)",
    )
    command.add_argument(
        "--data", metavar="FILE", help="training rows, .jsonl or .csv (default: the example's)"
    )
    command.add_argument(
        "--eval", metavar="FILE", help="held-out rows, .jsonl or .csv (default: a tenth of --data)"
    )
    add_tools(command, default=None)
    add_format(command, default=None)
    command.add_argument(
        "-p",
        dest="parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a notebook parameter, such as -p learning_rate 2e-5, in every notebook "
        "that has it",
    )
    command.add_argument(
        "-f",
        "--parameters",
        metavar="FILE",
        help="notebook parameters from a YAML file, as papermill reads it; the other options "
        "override what it says",
    )


def notebook_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the notebooks' parameters: from the file, then `-p`, then the options of that name.

    Raises:
        FgkitError: the file cannot be read, or `--model` and `--base` are both given.
    """
    from fgkit.workflow import run as workflow
    from fgkit.workflow.manifest import NOTEBOOKS
    from fgkit.workflow.parameters import read_parameters

    text_parameters = {
        name
        for notebook in NOTEBOOKS
        for name, default in workflow.declared_parameters(notebook).items()
        if isinstance(default, str)
    }
    given: dict[str, Any] = {}
    if options.parameters is not None:
        given |= read_parameters(options.parameters)
    given |= dict(options.parameter)
    parameters = {
        name: literal(value) if isinstance(value, str) and name not in text_parameters else value
        for name, value in given.items()
    }
    if options.model and options.base:
        raise FgkitError(
            "--model starts at to_tflite with a tuned folder, --base starts at finetune: "
            "give one of them."
        )
    named = {
        "output": options.output,
        "base": options.base,
        "data": options.data,
        "eval_data": options.eval,
        "tools": options.tools,
        "model": options.model,
        "data_format": options.format,
    }
    return parameters | {name: value for name, value in named.items() if value is not None}


def literal(text: str) -> None | bool | int | float | str:
    """Read a parameter value as it was typed: None, true or false, a number, otherwise text."""
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for number_type in (int, float):
        try:
            return number_type(text)
        except ValueError:
            continue
    return text
