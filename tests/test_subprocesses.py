"""child: it ends with its parent, also where the parent has no time to say goodbye, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgkit import subprocesses

CHILD = "import sys, time; from fgkit.subprocesses import end_with_parent; end_with_parent(); print('up', flush=True); time.sleep(60)"
PARENT = f"""
import subprocess, sys
process = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(process.stdout.readline(), process.pid, flush=True)
process.wait()
"""


@pytest.mark.parametrize("without_signal", [False, True])
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_parent_takes_its_child_along(without_signal: bool) -> None:
    code = (
        PARENT
        if not without_signal
        else PARENT.replace("; end_with_parent()", "; sys.platform = 'another'; end_with_parent()")
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(subprocesses.__file__).parents[1])},
    )
    assert parent.stdout.readline() == "up\n"
    number = int(parent.stdout.readline())
    time.sleep(0.3)
    os.kill(number, 0)  # it lives
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while alive(number) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(number)


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{number}/stat")
    return (
        not stat.is_file() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    )  # nobody may fetch it here


def test_the_peak_memory_of_a_child_is_its_own():
    ballast = bytearray(b"x") * 400_000_000
    code = "from fgkit.subprocesses import peak_memory_bytes; print(peak_memory_bytes())"
    found = int(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    )
    assert 1e6 < found < len(ballast) / 2
