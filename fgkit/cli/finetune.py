"""`python -m fgkit finetune`: the first notebook's stages without a notebook."""

from __future__ import annotations

import argparse

from .options import add_run_options, notebook_parameters

HELP = "the first notebook's steps without a notebook, on one device or several"
EXAMPLE = (
    "finetune --output my_run    (several: accelerate launch --num_processes 2 -m fgkit finetune)"
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.set_defaults(model=None)
    add_run_options(command)


def execute(options: argparse.Namespace) -> int:
    """Train and score without a notebook, on one device or several."""
    from fgkit import devices
    from fgkit.workflow import distributed

    folder = distributed.finetune(notebook_parameters(options))
    if devices.main_process():
        print(
            f"the tuned model is in {folder}; next: "
            f"python -m fgkit run --output {folder.parent} --model {folder}"
        )
    return 0
