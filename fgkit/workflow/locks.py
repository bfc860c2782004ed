"""Lock a run folder, so that only one process writes into it at a time.

The writer is `run`, `finetune`, or a step of a notebook that a user runs. For example:

    with only_run(Path("run")):
        ...  # a second process is refused meanwhile

The operating system releases the lock of a process that ends in any way. A kernel may outlive the
`run` that started it by a second; the next `run` waits for it. The empty lock files are kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from fgkit import devices
from fgkit.atomic_files import NOTHING_CHANGED, tidy
from fgkit.errors import FgkitError

LOCK = ".lock"
# Held by the kernels of a run, while the run itself holds LOCK.
STEP_LOCK = ".step.lock"
# The environment variable with the folder of the run that this process belongs to.
_RUN = "FGKIT_RUN"
# Seconds that a kernel may need to end after its run died. It checks every second, unless native
# code keeps it busy.
_KERNEL_ENDS = 30.0


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Lock a folder for a complete run, and clean up after a run that was killed.

    Args:
        folder: the run folder; it is created if it does not exist.
    Raises:
        FgkitError: another process is writing there, or the folder is not writable.
    """
    with _held(folder, LOCK):
        with _held(folder, STEP_LOCK, timeout=_KERNEL_ENDS):
            _tidy(folder)
        before = os.environ.get(_RUN)
        os.environ[_RUN] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[_RUN]
            else:
                os.environ[_RUN] = before


@contextlib.contextmanager
def only_step(folder: Path) -> Iterator[None]:
    """Lock a folder for one step; steps may be nested.

    Arguments and errors are those of `only_run`. Of several processes that train together only the
    main one takes the lock.
    """
    if not devices.main_process():
        yield
        return
    by_hand = os.environ.get(_RUN) != str(folder)
    with _held(folder, LOCK if by_hand else STEP_LOCK, again=True) as first:
        if by_hand and first:
            _tidy(folder)
        yield


def are_there(folder: Path) -> bool:
    """Say whether a folder holds fgkit's locks already, so that taking them changes nothing."""
    return (folder / LOCK).exists() and not problems(folder)


def problems(folder: Path) -> list[str]:
    """Say which lock files are somebody else's: fgkit's are empty, or hold a process's number."""
    return [
        f"{path}: was not written by fgkit"
        for path in (folder / LOCK, folder / STEP_LOCK)
        if os.path.lexists(path) and not _is_lock(path)
    ]


def _is_lock(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    with open(path, "rb") as handle:
        content = handle.read(1024)
    # On a disk without the system's locks, filelock writes the process and the host.
    return not content or re.match(rb"\d+\n", content) is not None


@contextlib.contextmanager
def _held(folder: Path, name: str, *, timeout: float = 0.0, again: bool = False) -> Iterator[bool]:
    """Hold a lock file and yield whether this process did not hold it already.

    Only with `again` may the process hold it already.
    """
    from filelock import FileLock, Timeout

    lock = None
    if foreign := problems(folder):
        raise FgkitError("\n".join([*foreign, NOTHING_CHANGED]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, is_singleton=again)
        first = not lock.is_locked
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise FgkitError(
            f"{folder}: another run or notebook is writing here. Wait for it, or choose another "
            "--output."
        ) from error
    except NotImplementedError:
        # Some file systems, such as a mounted Google Drive, have no locks.
        lock, first = None, True
    except OSError as error:
        raise FgkitError(
            f"{folder}: cannot be written: {error.strerror or error}. Choose another --output."
        ) from error
    try:
        yield first
    finally:
        if lock is not None:
            lock.release()


def _tidy(folder: Path) -> None:
    try:
        tidy(folder)
    except OSError as error:
        raise FgkitError(
            f"{folder}: an unfinished file of an interrupted run cannot be removed: "
            f"{error.strerror or error}: {error.filename}. Remove it, or choose another --output."
        ) from error
