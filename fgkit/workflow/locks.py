"""One writer at a time in a run's folder: `run`, `finetune`, or a step of a notebook that is run by hand.

>>> with only_run(Path("run")):      # a second one is refused while this one lives
...     ...

The operating system frees the lock of a process that died, however it died. A kernel may outlive the `run` that started
it by a second; the next `run` waits for it. The lock files stay, empty.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from fgkit import devices
from fgkit.atomic_files import tidy
from fgkit.errors import FgkitError

LOCK = ".lock"
STEP_LOCK = ".step.lock"  # of the kernels of a run, which holds the other one
_RUN = "FGKIT_RUN"  # the folder of the run that this process belongs to
_KERNEL_ENDS = 30.0  # seconds within which a kernel is gone whose run died: it looks every second, if it gets to it


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a folder for a whole run, and put in order what a killed one left.

    Args:
        folder: the run's; it is made where it is missing.
    Raises:
        FgkitError: another process is writing there, or nobody can.
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
    """Hold a folder for one step, which may hold others; arguments and errors are those of `only_run`.

    Of several processes that train together only the main one holds it.
    """
    if not devices.main_process():
        yield
        return
    by_hand = os.environ.get(_RUN) != str(folder)
    with _held(folder, LOCK if by_hand else STEP_LOCK, again=True) as first:
        if by_hand and first:
            _tidy(folder)
        yield


@contextlib.contextmanager
def _held(folder: Path, name: str, *, timeout: float = 0.0, again: bool = False) -> Iterator[bool]:
    """Hold a lock file; gives whether this process did not hold it before, which only `again` allows."""
    from filelock import FileLock, Timeout

    lock = None
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
    except NotImplementedError:  # a disk without locks, such as a mounted Drive
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
            f"{folder}: what a run left that was stopped cannot be removed: {error.strerror or error}: "
            f"{error.filename}. Remove it, or choose another --output."
        ) from error
