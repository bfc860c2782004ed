"""Files that are complete or absent: written beside the final name, synced, renamed.

Nothing that fgkit did not write is replaced (`fgkit.ownership`), devices are written through, and
inputs are opened only if they are regular files. Hashes and free-space checks are here, too.

    write_json(Path("summary.json"), {"n": 1})
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import FgkitError
from .ownership import Owner

PACKAGE = Path(__file__).parent
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_STREAM_FOLDERS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))

# A temporary name says which process writes it. `replacing` gives the first part; bundlers that
# insist on an ending add one.
_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<process>\d+)-[0-9a-f]{8}\.(?P<ending>part|old)(\.\w+)*", re.DOTALL
)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends without an error.

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
    if _is_stream(path):
        with _written_through(path) as part:
            yield part
        return
    require_ours([path])
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    part, aside = (path.with_name(f".{path.name}.{mark}.{ending}") for ending in ("part", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        owner = Owner(path, cache_dir())
        _put_in_order(owner, beside=path)
        with owner.temporary(part.name, aside.name):
            try:
                yield part
                for inner in (*part.rglob("*"), part) if part.is_dir() else [part]:
                    sync(inner)
                owner.record(part)
                if part.is_dir() and os.path.lexists(path):
                    os.replace(path, aside)
                os.replace(part, path)
                sync(path.parent)
            finally:
                _restore(aside, path)
                for left in path.parent.glob(f".{_escaped(path.name)}.{mark}.*"):
                    _remove(left)
        owner.settle()
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


def _is_stream(path: Path) -> bool:
    """Say whether a path is a device, a pipe or a process's own output such as /dev/stdout."""
    return path.is_char_device() or path.is_fifo() or path.parent in _STREAM_FOLDERS


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
        if not _is_stream(path):
            reasons += Owner(path, cache_dir()).foreign()
    if reasons:
        shown = reasons[:20] + ([f"... and {len(reasons) - 20} more"] if len(reasons) > 20 else [])
        raise FgkitError(
            "\n".join(
                [*shown, "Nothing was changed. Choose another place, or move these files away."]
            )
        )


def require_outputs(outputs: Mapping[str, str], inputs: Mapping[str, str]) -> None:
    """Refuse outputs that are inputs or would replace somebody's file, before any work begins.

    Args:
        outputs: option and path of each output; empty paths are skipped.
        inputs: option and path of each input; empty paths are skipped.
    Raises:
        FgkitError: with every problem.
    """
    problems = []
    for option, output in outputs.items():
        for other, source in inputs.items():
            if output and source and same_file(Path(output), Path(source)):
                problems.append(f"{option} {output}: is the input {other}. Choose another name.")
    if problems:
        raise FgkitError("\n".join(problems))
    require_ours([Path(output).expanduser() for output in outputs.values() if output])


def same_file(path: Path, other: Path) -> bool:
    """Say whether two paths lead to the same file, through links and other spellings, too."""
    try:
        path, other = path.expanduser(), other.expanduser()
        if path.exists() and other.exists():
            return path.samefile(other)
        return path.resolve() == other.resolve()
    except (OSError, RuntimeError, ValueError):
        return False


@contextlib.contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Give an empty folder for intermediate files, on the disk of `parent`, and remove it at the end.

    Args:
        parent: the folder to create it in; what a killed process leaves there, `tidy` removes.
    """
    parent.mkdir(parents=True, exist_ok=True)
    name = f".work.{os.getpid()}-{secrets.token_hex(4)}.part"
    folder = parent / name
    with Owner(folder, cache_dir()).temporary(name):
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
    """Put in order what killed processes left: unfinished files go, a folder moved aside comes back.

    Only names that fgkit recorded are touched.

    Args:
        folder: a folder that no other process is writing to.
    """
    owner = Owner(folder / "any", cache_dir())
    _put_in_order(owner, beside=None)
    owner.drop_unfinished_record()


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
    """Find a file that comes with fgkit: beside the package in a checkout, inside it in a wheel."""
    inside = PACKAGE.joinpath(*parts)
    return inside if inside.exists() else PACKAGE.parent.joinpath(*parts)


def _put_in_order(owner: Owner, *, beside: Path | None) -> None:
    """Remove recorded temporary files; a folder that was moved aside gets its name back first.

    Args:
        owner: the record that lists them.
        beside: only those of this path, and only if their process is dead; None for all.
    """
    for path in sorted(owner.leftovers()):  # .old before .part
        match = _TEMPORARY.fullmatch(path.name)
        if not match:
            continue
        if beside is not None and (
            path.with_name(match["name"]) != owner.path or not _is_dead(match["process"])
        ):
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
