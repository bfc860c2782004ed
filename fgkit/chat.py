"""Ask a finished bundle in the terminal: the raw answer, the parsed call, the time.

>>> chat(Path("run/functiongemma-flutter.task"), Path("data/tools.py"), ["make", "it", "red"])
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from . import calls, examples, runtime
from .errors import CallSyntaxError
from .records import request
from .scoring import bundle_prompt
from .tools import load_tools


def chat(path: Path, tools_file: Path, question: list[str]) -> int:
    """Ask a bundle: one question given, or one a line from the terminal until the input ends.

    Returns:
        the exit code: 0, or 1 when the one given question got an answer that is no valid call.
    """
    tools = load_tools(tools_file)
    message, style = bundle_prompt(path, tools, None)
    with runtime.Runtime(path) as opened:
        for text in [" ".join(question)] if question else _typed():
            start = time.monotonic()
            record = request(1, text)
            answer = opened.generate(examples.prompt_texts([record], tools, message, style)[0], max_new_tokens=256)
            print(f"raw:  {answer}")
            try:
                found = calls.parse(answer, end_tag_cut=opened.end_tag_cut)
                for call in found:
                    print(f"call: {call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})")
                failed = not found
            except CallSyntaxError as error:
                print(f"not a valid call: {error}")
                failed = True
            print(f"time: {time.monotonic() - start:.2f} s")
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
