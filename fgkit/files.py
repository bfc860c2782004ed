"""Text, JSON and hashes of files; what is written is complete or absent (`fgkit.atomic_files`).

Inputs are opened only if they are regular files, so that a pipe or device never blocks.

    write_json(Path("summary.json"), {"n": 1})
"""

from __future__ import annotations

import codecs
import json
import os
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

_KERNEL_FOLDERS = ("/proc", "/sys")
# In bytes; tokenizer.json has 33 million.
_LARGEST_JSON = 1 << 28


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
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # The name of a file that is no UTF-8 has halves of surrogate pairs, which JSON escapes.
    return write_text(path, text.encode("utf-8", "backslashreplace").decode())


def why_unreadable(path: str | Path, what: str) -> str:
    """Say why an input cannot be read: "" for a regular file.

    Args:
        path: the input; links to regular files are fine.
        what: what is expected there, such as "a tools file".
    Returns:
        what is wrong and what to do about it, to be written behind the path.
    """
    if not str(path) or str(path) == ".":
        return f"is a folder, the working one. Give the path of {what}."
    try:
        path = Path(path).expanduser()
        mode = path.stat().st_mode
        real = Path(os.path.realpath(path))
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"cannot be read: {reason}. Name {what}."
    if not stat.S_ISREG(mode):
        found = next((name for test, name in _KINDS if test(mode)), "no regular file")
        return f"is {found}, expected {what}. Copy the content into a file."
    # The kernel shows some of its own pipes, such as /proc/kmsg, as regular files.
    if any(real.is_relative_to(folder) for folder in _KERNEL_FOLDERS):
        return f"is a file of the kernel, expected {what}. Copy the content into a file."
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        return f"cannot be read: {error.strerror}. Name {what}."
    return ""


def require_regular(
    path: str | Path, what: str = "a file", *, error: type[FgkitError] = FgkitError
) -> Path:
    """Refuse an input that is no regular file: a folder, or a pipe or device that may never end.

    Args:
        path: the input; links to regular files are fine.
        what: what is expected there, such as "a tools file", for the message.
        error: the class of the error.
    Raises:
        FgkitError: nothing is there, or something else.
    """
    if reason := why_unreadable(path, what):
        raise error(f"{str(path) or repr('')}: {reason}")
    return Path(path).expanduser()


def read_bytes(
    path: str | Path,
    what: str = "a file",
    *,
    limit: int = 1 << 30,
    error: type[FgkitError] = FgkitError,
) -> bytes:
    """Read a whole file of a size that fits into memory.

    Args:
        path, what, error: as for `require_regular`.
        limit: the most bytes that are read.
    Raises:
        FgkitError: it is no regular file, or too large.
    """
    path = require_regular(path, what, error=error)
    try:
        with open(path, "rb") as handle:
            # Before anything is allocated: a file with a hole claims any size.
            size = os.fstat(handle.fileno()).st_size
            content = handle.read(limit + 1) if size <= limit else b""
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}. Name {what}.") from reason
    if max(size, len(content)) > limit:
        raise error(
            f"{path}: has more than {limit:,} bytes, expected {what}. Is it another kind of file?"
        )
    return content


def read_text(
    path: str | Path,
    what: str = "a text file",
    *,
    limit: int = 1 << 30,
    error: type[FgkitError] = FgkitError,
) -> str:
    """Read a whole UTF-8 file, with or without a byte order mark.

    Args:
        path, what, limit, error: as for `read_bytes`.
    Raises:
        FgkitError: it is no regular file, too large, or not UTF-8; the message names the line.
    """
    content = read_bytes(path, what, limit=limit, error=error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        start = reason.start + (3 if content.startswith(codecs.BOM_UTF8) else 0)
        line = content.count(b"\n", 0, start) + 1
        raise error(
            f"{path}:{line}: is not UTF-8 (byte {start} is {content[start]:#04x}), expected "
            f"{what}. Save it as UTF-8."
        ) from reason


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Raises:
        FgkitError: it is missing, unreadable, too large or not JSON; the message names the place.
    """
    if os.path.isdir(path):
        raise FgkitError(f"{path}: cannot be read: Is a directory. Name a JSON file.")
    text = read_text(path, "a JSON file", limit=_LARGEST_JSON)
    try:
        return json.loads(text)
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
