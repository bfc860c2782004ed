"""`python -m fgkit init`: a folder with sample functions and rows to start from."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from fgkit import files, locations
from fgkit.errors import FgkitError

HELP = "write sample functions and rows into a new folder"
EXAMPLE = "init my_app"
FILES = {
    "tools.py": "the functions: replace the three samples by your own",
    "training_data.jsonl": "rows to train on",
    "eval_data.jsonl": "rows to score on",
    "README.md": "what to do with them",
}
_PYTHON = "python"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="DIR", help="a new or empty folder")


def execute(options: argparse.Namespace) -> int:
    """Write sample functions and rows into a new folder."""
    print(init(options.path))
    return 0


def init(folder: str | Path) -> str:
    """Write the starter files into a new or empty folder.

    Args:
        folder: the folder to write into; it is created if it does not exist.
    Returns:
        What was written and what to run next, for the user to read.
    Raises:
        FgkitError: the folder holds something already, or cannot be written.
    """
    folder = Path(folder).expanduser()
    try:
        present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except NotADirectoryError as error:
        raise FgkitError(
            f"{folder}: is a file, expected a new or empty folder. Choose another name."
        ) from error
    except OSError as error:
        raise FgkitError(
            f"{folder}: cannot be read: {error.strerror}. Choose a folder of your own."
        ) from error
    if present:
        raise FgkitError(
            f"{folder}: holds {', '.join(present[:5])}{', ...' if present[5:] else ''}, "
            "expected a new or empty folder: nothing is overwritten. Choose another name."
        )
    run = run_command(folder)
    for name in FILES:
        text = locations.shipped("starter", name).read_text(encoding="utf-8")
        if name == "README.md":
            text = (
                text.replace("{run}", run)
                .replace("{folder}", shlex.quote(str(folder)))
                .replace("{python}", _PYTHON)
            )
        files.write_text(folder / name, text)
    width = max(len(str(folder / name)) for name in FILES)
    lines = [f"{folder / name!s:{width}}  {purpose}" for name, purpose in FILES.items()]
    return "\n".join(
        [*lines, "", "The samples run as they are. Train, convert and score:", "", f"  {run}"]
    )


def run_command(folder: Path) -> str:
    """The command that makes a `.task` from the files of a starter folder."""

    def path(name: str) -> str:
        return shlex.quote(str(folder / name))

    return (
        f"{_PYTHON} -m fgkit run --data {path('training_data.jsonl')} "
        f"--eval {path('eval_data.jsonl')} --tools {path('tools.py')} --output {path('run')}"
    )
