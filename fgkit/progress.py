"""Progress bars, shown where somebody sees them: the notebook, a panel, or the terminal of `run`.

- In an interactive notebook or a terminal they are ordinary tqdm bars.
- A panel that works in a thread shows them inside itself (`shown_in`).
- A notebook that `python -m fgkit run` executes writes its bars into the file that FGKIT_PROGRESS
  names, and the command line copies that file to the terminal (`relayed`). The executed notebook
  stays free of progress output.
- Under papermill alone nobody could see them, so there are none.
"""

from __future__ import annotations

import codecs
import contextlib
import contextvars
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fgkit.display import RELAY, unattended

VARIABLE = RELAY
_panel: contextvars.ContextVar[Callable[[str], None] | None] = contextvars.ContextVar(
    "panel", default=None
)


def bar(iterable: Any = None, **options: Any) -> Any:
    """Return a tqdm progress bar; the arguments are tqdm's (`total`, `desc`, `unit`, ...)."""
    show = _panel.get()
    if show:
        from tqdm import tqdm

        return tqdm(iterable, file=_Line(show), ncols=90, mininterval=0.5, **options)
    relay = os.environ.get(VARIABLE)
    if relay:
        from tqdm import tqdm

        return tqdm(iterable, file=_Relay(relay), ncols=100, mininterval=1, **options)
    from tqdm.auto import tqdm

    return tqdm(iterable, **options | ({"disable": True} if unattended() else {}))


def note(text: str) -> None:
    """Print one line about what is going on, in the notebook and in the terminal that runs it."""
    show = _panel.get()
    if show:
        show(text)
        return
    print(text)
    relay = os.environ.get(VARIABLE)
    if relay:
        _Relay(relay).write(text + "\n")


class _Relay(io.TextIOBase):
    """The file that the command line copies; failing to write a bar must not end a training."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError), open(self.path, "a", encoding="utf-8") as handle:
            handle.write(text)
        return len(text)


@contextlib.contextmanager
def shown_in(show: Callable[[str], None]) -> Iterator[None]:
    """Send this thread's bars and notes to a function while the block runs.

    Args:
        show: takes one line of text, which replaces the line before it.
    """
    token = _panel.set(show)
    try:
        yield
    finally:
        _panel.reset(token)


class _Line(io.TextIOBase):
    """A file for tqdm that passes each state of the bar to a function."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show

    def write(self, text: str) -> int:
        if line := text.strip("\r\n "):
            self.show(line)
        return len(text)


@contextlib.contextmanager
def relayed() -> Iterator[None]:
    """Show on stderr the progress bars of kernels that are started inside this block."""
    with tempfile.TemporaryDirectory(prefix="fgkit-") as folder:
        path = Path(folder, "progress")
        path.touch()
        before, done = os.environ.get(VARIABLE), threading.Event()
        os.environ[VARIABLE] = str(path)
        thread = threading.Thread(target=_copy, args=(path, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before


def _copy(path: Path, done: threading.Event) -> None:
    """Copy what is appended to a file to stderr until `done` is set."""
    # Incremental, because a read may end in the middle of a multi-byte bar character.
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    with open(path, "rb") as handle:
        while True:
            last_look = done.wait(0.3)
            if text := decode(handle.read()):
                sys.stderr.write(text)
                sys.stderr.flush()
            if last_look:
                return
