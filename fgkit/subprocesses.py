"""Child processes that end with their parent, memory use, and capturing native stderr.

A conversion holds 7 GB for minutes: one that continued after its notebook was killed would leave no
memory for the next. Example:

    code = "from fgkit.subprocesses import end_with_parent; end_with_parent(); ..."
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
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
    """End this process when its parent ends, however the parent ends.

    Standard input has to be a pipe of which only the parent holds the other end.
    """
    # On Linux the kernel ends this process at once, even while a library keeps threads waiting.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait, daemon=True).start()


def python_path() -> str:
    """Return a `PYTHONPATH` that lets a child process import this fgkit, installed or not."""
    return os.pathsep.join(
        filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")])
    )


def peak_memory_bytes() -> int | None:
    """Return the peak memory of this process in bytes; None on Windows, which does not report it.

    On Linux `ru_maxrss` of a child includes what its parent held, because the child shares the
    parent's memory between fork and exec; VmHWM in /proc starts again at the exec.
    """
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_memory_gb() -> float | None:
    """Return the peak memory of this process in GB; None where the system does not report it."""
    peak = peak_memory_bytes()
    return None if peak is None else round(peak / 1e9, 2)


def _wait() -> None:
    """Block until the parent's end of the pipe closes, then end this process."""
    # Nothing is ever written to the pipe, so this returns only when the parent is gone.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[Callable[[], str]]:
    """Capture everything written to stderr, native libraries included.

    Yields:
        a function that returns what has been written so far (at most its first MiB).
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        # Native code writes to the file descriptor, which replacing sys.stderr would not catch.
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)

        def captured() -> str:
            return os.pread(sink.fileno(), 1 << 20, 0).decode(errors="replace")

        try:
            yield captured
        finally:
            os.dup2(saved, 2)
            os.close(saved)
