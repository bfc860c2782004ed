"""Files that are whole or absent: write beside the final name, sync, rename. Hashes and free-space checks live here too.

>>> write_json(Path("summary.json"), {"n": 1})
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import FgkitError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    Args:
        path: the final name of a file or folder; an existing one is replaced.
    Raises:
        FgkitError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        yield part
        for file in [part] if part.is_file() else [p for p in part.rglob("*") if p.is_file()]:
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())
        if part.is_dir():
            _remove(path)
        os.replace(part, path)
    except OSError as error:
        raise FgkitError(f"{path}: cannot be written: {error.strerror or error}. "
                         "Choose a folder you may write to, with space left.") from error
    finally:
        _remove(part)


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
    except ValueError as error:
        raise FgkitError(f"{path}: is not JSON: {error}. Restore the file or make it again.") from error


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
        raise FgkitError(f"{folder}: {needed_bytes / 1e9:.1f} GB are needed for {purpose}, {free / 1e9:.1f} GB are free. "
                         "Free some space or choose another output folder.")


def cache_dir(*parts: str) -> Path:
    """The folder for what can be made again: $FGKIT_CACHE, or fgkit under the user's cache folder.

    Raises:
        FgkitError: it cannot be made.
    """
    home = os.environ.get("FGKIT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgkit"
    folder = Path(home).expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FgkitError(f"{folder}: the cache folder cannot be made: {error.strerror or error}. "
                         "Set FGKIT_CACHE to a folder you may write to.") from error
    return folder


def shipped(*parts: str) -> Path:
    """A file that comes with fgkit (`data/...`, `notebooks/...`): beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package.joinpath(*parts)
    return inside if inside.exists() else package.parent.joinpath(*parts)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):  # a read-only disk refuses even to unlink what is not there
        path.unlink(missing_ok=True)
