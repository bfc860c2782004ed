"""Files that are whole or absent: write beside the final name, sync, rename. Hashes and free-space checks live here too.

>>> write_json(Path("summary.json"), {"n": 1})
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fgkit.errors import FgkitError

PACKAGE = Path(__file__).parent

# `replacing`'s names, those with further endings that bundle.py and litertlm_archive.py give their bundlers' files, and
# tflite.py's working folder.
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<process>\d+)\.(?P<ending>part|old)(\.\w+)*|\.tflite-\w+", re.DOTALL
)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    A folder that is replaced is first moved aside. What a process leaves that was killed, `tidy` puts in order.

    Args:
        path: the final name of a file or folder; an existing one is replaced.
    Raises:
        FgkitError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    part, aside = (
        path.with_name(f".{path.name}.{os.getpid()}.{ending}") for ending in ("part", "old")
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _put_in_order(path.parent.glob(f".{glob.escape(path.name)}.*"), of_the_living=False)
        yield part
        for inner in (*part.rglob("*"), part) if part.is_dir() else [part]:
            sync(inner)
        if part.is_dir() and os.path.lexists(path):
            os.replace(path, aside)
        os.replace(part, path)
        sync(path.parent)
    except OSError as error:
        raise FgkitError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "Choose a folder you may write to, with space left."
        ) from error
    finally:
        _put_in_order([aside, part], of_the_living=True)


def tidy(folder: Path) -> None:
    """Put in order what killed processes left in a folder and those in it: half files go, a folder moved aside comes back.

    Args:
        folder: one that no other process is writing to.
    """
    for place in (folder, *(inner for inner in folder.glob("*/") if not inner.is_symlink())):
        _put_in_order(place.glob(".*"), of_the_living=True)


def copy(source: str | Path, target: str | Path) -> Path:
    """Copy a file with its times, whole or not at all; what `shutil.copytree` takes as its `copy_function`."""
    with replacing(target) as part:
        shutil.copy2(source, part)
    return Path(target)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text atomically and return the path."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def write_json(path: str | Path, value: Any) -> Path:
    """Write `value` as indented JSON atomically and return the path; NaN and infinity are refused."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Raises:
        FgkitError: it is missing, unreadable or not JSON; the message names the place.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FgkitError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise FgkitError(
            f"{path}: is not JSON: {error}. Restore the file or make it again."
        ) from error


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_space(folder: str | Path, needed_bytes: int, purpose: str) -> None:
    """Refuse to start work that would fill the disk.

    Args:
        folder: where the files will go; it need not exist yet.
        needed_bytes: how much the work writes at its peak.
        purpose: completes "N GB are needed for ...".
    Raises:
        FgkitError: less is free.
    """
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise FgkitError(
            f"{folder}: {needed_bytes / 1e9:.1f} GB are needed for {purpose}, {free / 1e9:.1f} GB are free. "
            "Free some space or choose another output folder."
        )


def cache_dir(*parts: str) -> Path:
    """The folder for what can be made again: $FGKIT_CACHE, or fgkit under the user's cache folder.

    Raises:
        FgkitError: it cannot be made.
    """
    home = (
        os.environ.get("FGKIT_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgkit"
    )
    folder = Path(home).expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FgkitError(
            f"{folder}: the cache folder cannot be made: {error.strerror or error}. "
            "Set FGKIT_CACHE to a folder you may write to."
        ) from error
    return folder


def shipped(*parts: str) -> Path:
    """A file that comes with fgkit (`data/...`, `notebooks/...`): beside the package in a checkout, inside it in a wheel."""
    inside = PACKAGE.joinpath(*parts)
    return inside if inside.exists() else PACKAGE.parent.joinpath(*parts)


def _put_in_order(paths: Iterable[Path], *, of_the_living: bool) -> None:
    for path in sorted(paths):  # .old before .part
        found = _TEMPORARY.fullmatch(path.name)
        if not found or not (of_the_living or _is_dead(found["process"])):
            continue
        if (
            found["ending"] == "old"
            and os.path.lexists(path)
            and not os.path.lexists(path.with_name(found["name"]))
        ):
            os.replace(path, path.with_name(found["name"]))
        else:
            _remove(path)


def _is_dead(process: str | None) -> bool:
    """Whether a process of this machine has ended; Windows is not asked, where asking could end it."""
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
