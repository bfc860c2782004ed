"""locks: one writer in a folder, whoever it is; a lock dies with its process, and only then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fgkit import ownership
from fgkit.errors import FgkitError
from fgkit.locations import cache_dir
from fgkit.workflow import locks

HOLD = """
import sys, time
from pathlib import Path
from fgkit.workflow import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(kind: str, folder: Path, **environment: str) -> subprocess.Popen:
    """A process that holds a folder's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(locks.__file__).parents[2])} | environment,
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("holder", ["only_run", "only_step"])
def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path: Path, holder: str) -> None:
    process = hold(holder, tmp_path)
    try:
        for second in (locks.only_run, locks.only_step):
            with (
                pytest.raises(
                    FgkitError, match="another run or notebook is writing here. Wait for it"
                ),
                second(tmp_path),
            ):
                pass
        with locks.only_step(tmp_path / "another"):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left_over = f".a.{process.pid}-00000000.part"
    ownership.Owner(tmp_path / "a", cache_dir()).temporary(left_over).__enter__()
    (tmp_path / left_over).touch()
    for second in (locks.only_run, locks.only_step):
        with second(tmp_path):
            assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_run_waits_for_the_kernel_that_outlived_the_run_before(tmp_path: Path) -> None:
    process = hold("only_step", tmp_path, FGKIT_RUN=str(tmp_path))
    threading.Timer(0.5, process.kill).start()
    with locks.only_run(tmp_path):
        assert process.wait(5) == -signal.SIGKILL


def test_a_kernel_that_does_not_end_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_KERNEL_ENDS", 0.2)
    process = hold("only_step", tmp_path, FGKIT_RUN=str(tmp_path))
    try:
        with (
            pytest.raises(FgkitError, match="another run or notebook is writing here"),
            locks.only_run(tmp_path),
        ):
            pass
    finally:
        process.kill()
        process.wait()


def test_steps_hold_steps_and_belong_to_their_run(tmp_path: Path) -> None:
    with locks.only_run(tmp_path), locks.only_step(tmp_path), locks.only_step(tmp_path):
        pass
    assert "FGKIT_RUN" not in os.environ
    with locks.only_step(tmp_path), locks.only_step(tmp_path):
        (half := tmp_path / ".a.1.part").touch()
        with locks.only_step(tmp_path):
            assert half.exists()  # only who comes first puts in order
        with pytest.raises(FgkitError, match="another run or notebook"), locks.only_run(tmp_path):
            pass


def test_only_the_main_process_of_a_training_holds_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with locks.only_step(tmp_path / "out"):
        assert not (tmp_path / "out").exists()


def test_a_disk_without_locks_is_written_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError("no flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with locks.only_run(tmp_path), locks.only_step(tmp_path):
        pass
