"""`python -m fgkit check`: numbered checks of a finished bundle, which is not run for them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_data, add_format, add_json, add_tools

HELP = "look into a finished bundle of any origin: ten numbered checks, without running it"
EXAMPLE = "check run/functiongemma-flutter.task"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="BUNDLE", help="a .task or .litertlm")
    command.add_argument(
        "--model", metavar="DIR", help="the folder it was made from (default: model/ beside it)"
    )
    add_data(
        command,
        "rows whose prompts and answers must fit (default: the example's held-out rows)",
    )
    add_tools(command)
    add_format(command)
    add_json(command, "write the checks to this file")


def execute(options: argparse.Namespace) -> int:
    """Look into a finished bundle without running it."""
    from fgkit import checks
    from fgkit.bundles import checks as bundle_checks
    from fgkit.files import write_json
    from fgkit.outputs import require_outputs

    inputs = {
        "BUNDLE": options.path,
        "--model": options.model or "",
        "--data": options.data,
        "--tools": options.tools,
    }
    require_outputs({"--json": options.json}, inputs)
    results = bundle_checks.check_file(
        Path(options.path).expanduser(),
        model=options.model,
        data=options.data,
        tools=options.tools,
        format=options.format,
    )
    print(checks.table(results))
    if options.json:
        print("written:", write_json(options.json, [vars(check) for check in results]))
    return 1 if any(check.status == "fail" for check in results) else 0
