"""Files and folders that are complete or absent: written beside the final name, synced, renamed.

Nothing that fgkit did not write is replaced or removed (`fgkit.ownership`), and devices are written
through.

    with replacing(Path("scores.png")) as part:
        part.write_bytes(content)
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import FgkitError
from .locations import cache_dir
from .ownership import Owner

_STREAMS = (Path("/dev/stdout"), Path("/dev/stderr"))
_STREAM_FOLDERS = (Path("/dev/fd"), Path("/proc/self/fd"))

NOTHING_CHANGED = "Nothing was changed. Choose another place, or move these files away."

# A temporary name says which process writes it. `replacing` gives the first part; bundlers that
# insist on an ending add one.
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<process>\d+)-[0-9a-f]{8}\.(?P<ending>part|old)(\.\w+)*", re.DOTALL
)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends without an error.

    An existing file or folder is replaced only if fgkit wrote it and nobody changed it since. A
    folder is first moved aside. A character device, such as /dev/stdout, is written to instead of
    replaced. What a killed process left is put in order the next time (`tidy`).

    Args:
        path: the final name of a file or folder.
    Raises:
        FgkitError: the path holds something that fgkit did not write, the folder cannot be written,
            or the disk is full.
    """
    path = Path(path)
    if _inside_temporary(path):  # a file of a folder that is being made
        with _unrecorded(path) as part:
            yield part
        return
    if is_stream(path):
        with _written_through(path) as part:
            yield part
        return
    require_ours([path])
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    part, aside = (path.with_name(f".{path.name}.{mark}.{ending}") for ending in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        owner = Owner(path, cache_dir())
        _put_in_order(owner)
        with owner.temporary(part.name, aside.name):
            try:
                yield part
                for inner in (*part.rglob("*"), part) if part.is_dir() else [part]:
                    sync(inner)
                require_ours([path])  # the work may have taken hours
                owner.record(part)
                if part.is_dir() and os.path.lexists(path):
                    os.replace(path, aside)
                os.replace(part, path)
                sync(path.parent)
                owner.settle()
            finally:
                _restore(aside, path)
                for left in path.parent.glob(f".{_escaped(path.name)}.{mark}.*"):
                    _remove(left)
    except OSError as error:
        raise FgkitError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "Choose a folder you may write to, with space left."
        ) from error


@contextlib.contextmanager
def _unrecorded(path: Path) -> Iterator[Path]:
    """Write a file inside a temporary folder, which is recorded as a whole when it is finished."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        os.replace(part, path)
    except OSError as error:
        raise FgkitError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "Choose a folder you may write to, with space left."
        ) from error
    finally:
        _remove(part)


def is_stream(path: Path) -> bool:
    """Say whether a path is a device, a pipe or a process's own output such as /dev/stdout.

    A block device is a disk, which nothing is ever written to.
    """
    if path in _STREAMS or path.parent in _STREAM_FOLDERS:
        return True
    return not path.is_symlink() and (path.is_char_device() or path.is_fifo())


@contextlib.contextmanager
def _written_through(path: Path) -> Iterator[Path]:
    """Collect the text in a temporary file and copy it into a device."""
    with tempfile.TemporaryDirectory(prefix="fgkit-") as folder:
        part = Path(folder, "content")
        yield part
        try:
            with open(part, "rb") as source, open(path, "ab", buffering=0) as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise FgkitError(f"{path}: cannot be written: {error.strerror or error}.") from error


def require_ours(paths: Iterable[str | Path]) -> None:
    """Refuse to write where something is that fgkit did not write; everything in the way is listed.

    Args:
        paths: files and folders that are going to be written.
    Raises:
        FgkitError: with one line for each foreign file.
    """
    reasons: list[str] = []
    for path in map(Path, paths):
        if not is_stream(path):
            reasons += Owner(path, cache_dir()).foreign()
    if reasons:
        shown = reasons[:20] + ([f"... and {len(reasons) - 20} more"] if len(reasons) > 20 else [])
        raise FgkitError("\n".join([*shown, NOTHING_CHANGED]))


@contextlib.contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder for intermediate files on the disk of `parent`; remove it at the end.

    Args:
        parent: the folder to create it in; what a killed process left there is removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    name = f".work.{os.getpid()}-{secrets.token_hex(4)}.part"
    folder = parent / name
    owner = Owner(parent / "work", cache_dir())
    _put_in_order(owner)
    with owner.temporary(name):
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def remove(path: Path) -> bool:
    """Remove a file or folder that fgkit wrote and nobody changed; leave anything else alone.

    Returns:
        Whether it was removed.
    """
    owner = Owner(path, cache_dir())
    if not os.path.lexists(path) or owner.foreign():
        return False
    _remove(path)
    owner.forget()
    return True


def tidy(folder: Path) -> None:
    """Put in order what killed processes left: unfinished files go, folders moved aside return.

    Only names that fgkit recorded are touched.

    Args:
        folder: a folder that no other process is writing to.
    """
    owner = Owner(folder / "any", cache_dir())
    _put_in_order(owner, inside=owner.path.parent)
    owner.drop_unfinished_record()


def _put_in_order(owner: Owner, *, inside: Path | None = None) -> None:
    """Remove recorded temporary files; a folder that was moved aside gets its name back first.

    Args:
        owner: the path whose files they are. Those of living processes stay.
        inside: a folder that no other process writes to; all that are in it go instead.
    """
    for path in sorted(owner.leftovers()):  # .old before .part
        match = _TEMPORARY.fullmatch(path.name)
        if not match:
            continue
        if inside is not None:
            if not path.is_relative_to(inside):
                continue
        elif path.with_name(match["name"]) != owner.path or not _is_dead(match["process"]):
            continue
        if match["ending"] == "old":
            _restore(path, path.with_name(match["name"]))
        _remove(path)
        # Bundlers that insist on an ending write `.part.task` and the like.
        for longer in path.parent.glob(f"{_escaped(path.name)}.*"):
            _remove(longer)
        owner.drop_temporary(path)


def _restore(aside: Path, path: Path) -> None:
    """Give a folder that was moved aside its name back, if no successor has it."""
    if os.path.lexists(aside) and not os.path.lexists(path):
        os.replace(aside, path)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _inside_temporary(path: Path) -> bool:
    return any(_TEMPORARY.fullmatch(parent.name) for parent in path.absolute().parents)


def _is_dead(process: str | None) -> bool:
    """Say whether a process has ended; on Windows, where asking could end it, nobody asks."""
    if not process or sys.platform == "win32":
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return int(process) == os.getpid()


def sync(path: Path) -> None:
    """Have the disk hold a file's bytes, or the names in a folder."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some network disks do not know the call
            raise
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):  # a read-only disk refuses even to unlink what is not there
        path.unlink(missing_ok=True)
