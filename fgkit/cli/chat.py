"""Ask a finished bundle in the terminal: the raw answer, the parsed call, the time.

>>> chat(Path("run/functiongemma-flutter.task"), Path("data/tools.py"), ["make", "it", "red"])
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fgkit.dataset.records import request
from fgkit.runtime.ask import AskBundle
from fgkit.tools import load_tools


def chat(path: Path, tools_file: Path, question: list[str]) -> int:
    """Ask a bundle: one question given, or one a line from the terminal until the input ends.

    Returns:
        the exit code: 0, or 1 when the one given question got an answer that is no valid call.
    """
    failed = False
    with AskBundle(path, load_tools(tools_file)) as bundle:
        for text in [" ".join(question)] if question else _typed():
            answer = bundle.ask(request(1, text))
            failed = not answer.calls
            print(f"raw:  {answer.raw}", *answer.lines(), f"time: {answer.seconds:.2f} s", sep="\n")
    return int(failed) if question else 0


def _typed() -> Iterator[str]:
    print("Ask; an empty line or Ctrl-D ends.")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            return
        if not text:
            return
        yield text
