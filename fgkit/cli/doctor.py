"""`python -m fgkit doctor`: whether this machine has what the notebooks need."""

from __future__ import annotations

import argparse

HELP = "check Python, platform, packages, memory and disk"
EXAMPLE = "doctor"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument(
        "--step", default="all", help="all (default), finetune, to_tflite or to_task"
    )
    command.add_argument(
        "--output",
        metavar="DIR",
        default=".",
        help="folder on the disk whose free space is checked (default: here)",
    )


def execute(options: argparse.Namespace) -> int:
    """Say whether this machine has what a notebook needs."""
    from fgkit import checks
    from fgkit.workflow import doctor

    results = doctor.check_environment(options.step, options.output)
    print(checks.table(results))
    failed = sum(check.status == "fail" for check in results)
    print("everything is there" if not failed else f"{failed} of {len(results)} checks failed")
    return 1 if failed else 0
