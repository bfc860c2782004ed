"""Text, JSON and hashes of files; what is written is complete or absent (`fgkit.atomic_files`).

Inputs are opened only if they are regular files, so that a pipe or device never blocks.

    write_json(Path("summary.json"), {"n": 1})
"""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

from . import file_hashes
from .atomic_files import replacing
from .errors import FgkitError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def copy(source: str | Path, target: str | Path) -> Path:
    """Copy a file with its times, completely or not at all; a `copy_function` for `shutil`."""
    with replacing(target) as part:
        shutil.copy2(source, part)
    return Path(target)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 text atomically and return the path."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def write_json(path: str | Path, value: Any) -> Path:
    """Write `value` as indented JSON atomically and return the path; NaN is refused."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def require_regular(path: str | Path, what: str = "a file") -> Path:
    """Refuse an input that is no regular file: a folder, or a pipe or device that may never end.

    Args:
        path: the input; links to regular files are fine.
        what: what is expected there, such as "a tools file", for the message.
    Raises:
        FgkitError: nothing is there, or something else.
    """
    try:
        path = Path(path).expanduser()
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FgkitError(f"{path}: cannot be read: {reason}. Name {what}.") from error
    if not stat.S_ISREG(mode):
        found = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise FgkitError(f"{path}: is {found}, expected {what}. Copy the content into a file.")
    return path


def read_text(path: str | Path, what: str = "a text file", *, limit: int = 1 << 30) -> str:
    """Read a whole UTF-8 file (with or without a byte order mark) of a size that fits into memory.

    Args:
        path: the file.
        what: what is expected there, for messages.
        limit: the most bytes that are read.
    Raises:
        FgkitError: it is no regular file, too large, or not UTF-8.
    """
    path = require_regular(path, what)
    try:
        with open(path, "rb") as handle:
            content = handle.read(limit + 1)
    except OSError as error:
        raise FgkitError(f"{path}: cannot be read: {error.strerror}. Name {what}.") from error
    if len(content) > limit:
        raise FgkitError(f"{path}: has more than {limit:,} bytes, expected {what}.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FgkitError(
            f"{path}: is not UTF-8 (byte {error.start} is {content[error.start]:#04x}), expected "
            f"{what}. Save it as UTF-8."
        ) from error


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Raises:
        FgkitError: it is missing, unreadable or not JSON; the message names the place.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        require_regular(path, "a JSON file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FgkitError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise FgkitError(
            f"{path}: is not JSON: {error}. Restore the file or make it again."
        ) from error


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    return file_hashes.sha256(path)


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
            f"{folder}: {needed_bytes / 1e9:.1f} GB are needed for {purpose}, "
            f"{free / 1e9:.1f} GB are free. Free some space or choose another output folder."
        )
