"""A child process that does not outlive the process that started it, however that one ends.

>>> process = subprocess.Popen([sys.executable, "-c", "...; end_with_parent(); ..."], stdin=subprocess.PIPE)

A conversion holds 7 GB for minutes: one that goes on after its notebook was killed would starve the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have this process end when its parent does; its standard input has to be a pipe that only the parent writes to."""
    if sys.platform == "linux":  # at once, also where a library does not let threads run
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait, daemon=True).start()


def python_path() -> str:
    """`PYTHONPATH` with which a child process imports this very fgkit, installed or not, and what this process could import."""
    return os.pathsep.join(
        filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")])
    )


def peak_memory_bytes() -> int | None:
    """Most memory this process has held so far; None on Windows, which does not tell.

    Linux counts what the parent held into a child's `ru_maxrss`, because the child borrows its memory until it is another
    program; VmHWM begins anew there.
    """
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_memory_gb() -> float | None:
    """Most memory this process has held so far, in GB; None where the system does not tell."""
    peak = peak_memory_bytes()
    return None if peak is None else round(peak / 1e9, 2)


def _wait() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: the pipe breaks
    os._exit(1)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[Callable[[], str]]:
    """Keep native output off the screen; gives a function that returns what was said so far."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        kept = os.dup(2)
        os.dup2(sink.fileno(), 2)

        def said() -> str:
            return os.pread(sink.fileno(), 1 << 20, 0).decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
