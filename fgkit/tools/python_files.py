"""The tools of a Python file: its functions, or what its list `TOOLS` holds.

The file's code is run once, in a process of its own (`python_worker`) with a time limit, so that it
can neither end nor change this one. It is not imported: nothing is written beside it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from fgkit.chat_types import JsonValue
from fgkit.errors import ToolError
from fgkit.lint_rules import Finding, printable

from .rules import RULES

TIMEOUT = "FGKIT_TOOLS_TIMEOUT"
_DEFAULT_SECONDS = 60.0
# In bytes.
_LARGEST_ANSWER = 64 << 20
_ADVICE = (
    "The file is run once to read its functions: keep it self-contained and free of side effects."
)
# The request is a Python literal on one line, followed by the source. `sys.path` is set before
# anything is imported: nothing may come from a folder that this process would not look into.
_CHILD = (
    "import sys\n"
    "request = eval(sys.stdin.buffer.readline())\n"
    "sys.path[:] = request['path']\n"
    "source = sys.stdin.buffer.read(request['size'])\n"
    "from fgkit.tools.python_worker import main\n"
    "main(request['file'], source)\n"
)


class PythonTools(NamedTuple):
    """What a Python file holds.

    Args:
        tools: in order; entries of `TOOLS` that are no functions are as they were written.
        places: how messages name the source of each tool.
        findings: what is wrong with the functions.
    """

    tools: list[JsonValue]
    places: list[str]
    findings: list[Finding]


def read_python_tools(source: bytes, path: Path) -> PythonTools:
    """Run a Python file in a child process and return its tools.

    Args:
        source: the file's bytes.
        path: the file, for messages and for `__file__`.
    Raises:
        ToolError: the source is not Python, it stops with an error, it ends its process, it needs
            more seconds than the environment variable FGKIT_TOOLS_TIMEOUT allows (60 without it),
            or its `TOOLS` is not a list.
    """
    answer = _Child(source, path).answer(_seconds_allowed())
    try:
        value = json.loads(answer)
        if "error" in value:
            raise ToolError(str(value["error"]))
        findings = [
            Finding(RULES[rule], str(place), str(text)) for rule, place, text in value["findings"]
        ]
        return PythonTools(list(value["tools"]), list(value["places"]), findings)
    except RecursionError as error:
        raise ToolError(f"{path}: T412 a tool is nested too deeply. Flatten it.") from error
    except (ValueError, TypeError, LookupError) as error:
        raise ToolError(f"{path}: T003 wrote into fgkit's own pipe. {_ADVICE}") from error


def _seconds_allowed() -> float:
    text = os.environ.get(TIMEOUT, "")
    try:
        seconds = float(text or _DEFAULT_SECONDS)
    except ValueError:
        seconds = math.nan
    # A thread cannot be waited for longer than some hundred years.
    if not 0 < seconds <= 1e9:
        raise ToolError(
            f"{TIMEOUT} is {text[:80]!r}, expected the seconds that a tools file may take, such as "
            f"{_DEFAULT_SECONDS:.0f}."
        )
    return seconds


def _import_path() -> list[str]:
    """`sys.path`, and the folder of this fgkit if it is in none of its folders."""
    own = str(Path(__file__).resolve().parents[2])
    path = [entry for entry in sys.path if isinstance(entry, str)]
    return path if own in map(os.path.realpath, path) else [own, *path]


class _Child:
    """A process that runs one tools file.

    Args:
        source, path: as for `read_python_tools`.
    """

    def __init__(self, source: bytes, path: Path) -> None:
        self.path = path
        self._answer = self._printed = b""
        request = {"path": _import_path(), "file": str(path), "size": len(source)}
        self._request = ascii(request).encode() + b"\n" + source
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(
                f"{path}: T003 no process could be started for it: {error.strerror}. Close other "
                "programs."
            ) from error

    def answer(self, seconds: float) -> bytes:
        """Wait for the answer, and end the process with all that it started.

        Raises:
            ToolError: none came.
        """
        threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._send, self._collect_answer, self._collect_output)
        ]
        deadline = time.monotonic() + seconds
        try:
            for thread in threads:
                thread.start()
            # What the file started may hold the pipe open after the file's own process has ended.
            while threads[1].is_alive() and not self._has_ended() and time.monotonic() < deadline:
                threads[1].join(0.05)
            threads[1].join(1.0)
            # A file that closed the pipe by mistake is about to end.
            while not self._answer and not self._has_ended() and time.monotonic() < deadline:
                time.sleep(0.05)
            late = not self._answer and not self._has_ended()
        finally:
            self._kill()
            code = self._process.wait()
            self._close(threads)
        if self._answer.endswith(b"\n"):
            return self._answer
        if late:
            raise ToolError(
                f"{self.path}: T003 did not finish within {seconds:g} s. {_ADVICE} If it "
                f"needs longer, set {TIMEOUT} to more seconds."
            )
        raise ToolError(self._reason(code))

    def _reason(self, code: int) -> str:
        if len(self._answer) > _LARGEST_ANSWER:
            return (
                f"{self.path}: T003 gives more than {_LARGEST_ANSWER:,} bytes of tools. {_ADVICE}"
            )
        lines = self._printed.decode("utf-8", "backslashreplace").strip().splitlines()
        printed = f" Its last output: {printable(lines[-1][-200:])}" if lines else ""
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return (
            f"{self.path}: T003 ended its process before its functions could be read ({how})."
            f"{printed} {_ADVICE}"
        )

    def _send(self) -> None:
        """Send the file; the pipe stays open, because its end tells the child to stop."""
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                stdin.write(self._request)
                stdin.flush()

    def _collect_answer(self) -> None:
        stdout = self._process.stdout
        if stdout is not None:
            with contextlib.suppress(OSError, ValueError):
                self._answer = stdout.readline(_LARGEST_ANSWER + 1)

    def _collect_output(self) -> None:
        """Keep the end of what the file prints, and drop the rest: it may print without end."""
        stderr = self._process.stderr
        if stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                while block := os.read(stderr.fileno(), 1 << 16):
                    self._printed = (self._printed + block)[-2000:]

    def _has_ended(self) -> bool:
        if sys.platform == "win32":
            return self._process.poll() is not None
        # WNOWAIT: while nobody has asked for its exit code, its id is given to no other process.
        try:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, options) is not None
        except ChildProcessError:
            return True

    def _close(self, threads: list[threading.Thread]) -> None:
        """Close the pipes; one that a thread still reads is held by a process that got away."""
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        for thread, pipe in zip(threads, pipes, strict=True):
            thread.join(1.0)
            if pipe is not None and not thread.is_alive():
                with contextlib.suppress(OSError):
                    pipe.close()

    def _kill(self) -> None:
        """End the process and, where the system has groups of processes, its own children."""
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
