"""`python -m fgkit publish`: a run that passed the gate goes to the Hugging Face Hub."""

from __future__ import annotations

import argparse

HELP = "publish a finished run on the Hugging Face Hub, with card, licence and hashes"
EXAMPLE = "publish run --repo me/my-functions --dry-run"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="RUN", help="the folder that `run` wrote")
    command.add_argument(
        "--repo",
        metavar="USER/NAME",
        required=True,
        help="the repository; it is created if it does not exist",
    )
    command.add_argument(
        "--public", action="store_true", help="everybody may see it (default: private)"
    )
    command.add_argument(
        "--data", action="store_true", help="publish the training and held-out rows, too"
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="publish although the gate failed; the card says so first",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="show every file and the card; use no network, send nothing",
    )


def execute(options: argparse.Namespace) -> int:
    """Publish a finished run on the Hub, or show what would be published."""
    from fgkit.hub import upload

    print(
        upload.publish(
            options.path,
            options.repo,
            public=options.public,
            data=options.data,
            force=options.force,
            dry_run=options.dry_run,
        )
    )
    return 0
