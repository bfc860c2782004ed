"""`python -m fgkit chat`: ask a finished bundle; the raw answer, the parsed call and the time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from fgkit import credentials
from fgkit.errors import FgkitError

from .options import add_tools

HELP = "ask a finished bundle"
EXAMPLE = 'chat run/functiongemma-flutter.task "make it red"'
FREE_TEXT = "question"  # words that stand after an option belong to the question, too


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="BUNDLE", help="a .task or .litertlm")
    command.add_argument(
        "question", nargs="*", help="what to ask; without it, questions are read from the terminal"
    )
    add_tools(command)


def execute(options: argparse.Namespace) -> int:
    """Ask a bundle one question, or what is typed."""
    from fgkit.dataset.rows import data_files

    tools_file = data_files(tools=options.tools)[2]
    return chat(Path(options.path).expanduser(), tools_file, options.question)


def chat(path: Path, tools_file: Path, question: list[str]) -> int:
    """Ask a bundle one given question, or one question per line of the terminal.

    A typed question that cannot be asked prints its message, and the next one is read.

    Returns:
        The exit code: 0, or 1 if the one given question got an answer that is no valid call.
    """
    from fgkit.dataset.records import request
    from fgkit.runtime.ask import AskBundle
    from fgkit.tools import load_tools

    failed = False
    with AskBundle(path, load_tools(tools_file)) as bundle:
        for text in [" ".join(question)] if question else _typed():
            try:
                if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
                    raise FgkitError("the line is not UTF-8. Set the terminal to UTF-8.")
                answer = bundle.ask(request(1, text))
            except FgkitError as error:
                if question:
                    raise
                print(f"fgkit: {credentials.redacted(str(error))}", file=sys.stderr)
                continue
            failed = not answer.calls
            print(f"raw:  {answer.raw}", *answer.lines(), f"time: {answer.seconds:.2f} s", sep="\n")
    return int(failed) if question else 0


def _typed() -> Iterator[str]:
    """Read questions from the terminal until an empty line or the end of the input."""
    print("Ask; an empty line or Ctrl-D ends.")
    if hasattr(sys.stdin, "reconfigure"):  # bytes that are no text cost their line only
        sys.stdin.reconfigure(errors="surrogateescape")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            return
        if not text:
            return
        yield text
