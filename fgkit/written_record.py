"""The record of what fgkit wrote below a folder: file names, hashes, and temporary names in use.

    {"made_by": "fgkit", "files": {"model/config.json": ["<sha256>"]}, "named": [], "temporary": []}

`named` lists files that a user named, such as the target of `--json`: another such command may
replace them, while a run's own files are safe from it.

A run's folder carries its own record, `.fgkit.json`, which moves with it and marks the folder as
fgkit's; the records of other folders lie in fgkit's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import FgkitError

RECORD = ".fgkit.json"
_MADE_BY = "fgkit"
_START = b'{\n "files": {'  # what every record begins with


def is_marked(folder: Path) -> bool:
    """Say whether a folder carries fgkit's record."""
    return (folder / RECORD).is_file()


class WrittenRecord:
    """The record of what fgkit wrote below a folder.

    Args:
        root: the folder; names in the record are relative to it.
        cache: fgkit's cache folder.
        in_cache: whether the record is the folder's in the cache, instead of its `.fgkit.json`.
    """

    def __init__(self, root: Path, cache: Path, *, in_cache: bool) -> None:
        self.root = root
        self._in_cache = in_cache
        key = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
        self.path = cache / "written" / f"{key}.json" if in_cache else root / RECORD
        self._lock = cache / "written" / f"{key}.lock"

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the record held when this was first asked."""
        return _read(self.path) if os.path.lexists(self.path) else _empty()

    def create(self) -> None:
        """Write an empty record if there is none.

        Raises:
            FgkitError: something that is not a record has its name.
            OSError: it cannot be written.
        """
        if os.path.lexists(self.path):
            _read(self.path)
        else:
            _write(self.path, _empty())

    @contextmanager
    def changed(self, *, sync: bool = True) -> Iterator[dict[str, Any]]:
        """Give the record for a change and write it, while no other process changes it.

        A run's folder needs no cache for that: a cache that is read-only, or a disk without locks
        such as a mounted Drive, costs only this lock, and a run holds that of its folder.

        Args:
            sync: whether the disk must hold the change before anything else is done.
        Raises:
            FgkitError: the record lies in the cache, which cannot be written.
        """
        from filelock import FileLock

        with contextlib.ExitStack() as held:
            try:
                self._lock.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(self._lock))
            except NotImplementedError:
                pass
            except OSError as error:
                if self._in_cache:
                    raise FgkitError(
                        f"{self._lock.parent}: cannot be written: {error.strerror or error}. fgkit "
                        f"records there what it writes into {self.root}. Set FGKIT_CACHE to a "
                        "folder you may write to."
                    ) from error
            content = _read(self.path) if os.path.lexists(self.path) else _empty()
            yield content
            _write(self.path, content, sync=sync)

    def drop_unfinished(self) -> None:
        """Remove what a process left that was killed while it wrote the record."""
        with self.changed():
            _drop_unfinished(self.path)

    def require_ours(self) -> None:
        """Refuse what is no record, and what stands where one is written before it gets its name.

        Raises:
            FgkitError: one of the two was not written by fgkit.
        """
        if os.path.lexists(self.path):
            _read(self.path)
        _unfinished(self.path)

    def name_of(self, path: Path) -> str:
        """The name of a path below the folder."""
        return path.relative_to(self.root).as_posix()


def records_above(
    path: Path, cache: Path, read: dict[Path, list[WrittenRecord]]
) -> list[WrittenRecord]:
    """List the records of all folders above a path, the nearest first.

    Args:
        path: an absolute path.
        cache: fgkit's cache folder.
        read: records by folder; those that were found are added.
    """
    for folder in path.parents:
        if folder not in read:
            records = [
                WrittenRecord(folder, cache, in_cache=in_cache) for in_cache in (False, True)
            ]
            read[folder] = [record for record in records if os.path.lexists(record.path)]
    return [record for folder in path.parents for record in read[folder]]


def _empty() -> dict[str, Any]:
    return {"made_by": _MADE_BY, "files": {}, "named": [], "temporary": []}


def _read(path: Path) -> dict[str, Any]:
    """Read a record and validate everything in it, because whole folders come from other people."""
    try:
        if path.is_symlink() or not path.is_file():
            raise ValueError("it is no regular file")
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("made_by") != _MADE_BY:
            raise ValueError("it does not say that fgkit made it")
        files, temporary = record["files"], record["temporary"]
        named = record.get("named", [])
        if not all((isinstance(files, dict), isinstance(temporary, list), isinstance(named, list))):
            raise ValueError("its fields have other types")
        for name, hashes in files.items():
            if not _is_name(name) or not isinstance(hashes, list):
                raise ValueError(f"{name[:80]!r} is no name of a file in this folder")
        for name in (*temporary, *named):
            if not _is_name(name):
                raise ValueError("it lists a file outside this folder")
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise FgkitError(
            f"{path}: is not a record of fgkit's files: {error}. Choose another folder, or move "
            "this file away: the other files in the folder then count as yours."
        ) from error
    return {"made_by": _MADE_BY, "files": files, "named": named, "temporary": temporary}


def _is_name(name: Any) -> bool:
    """Say whether text is a relative path that stays below its folder."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or len(name) > 4000:
        return False
    parts = name.split("/")
    return not {"", ".", ".."} & set(parts) and ":" not in parts[0]


def _unfinished(path: Path) -> Path | None:
    """Give the file that stands where a record is written before it gets its name, if any.

    Raises:
        FgkitError: it is no part of a record.
    """
    part = path.with_name(f"{path.name}.part")  # one name: whoever writes holds the lock
    if not os.path.lexists(part):
        return None
    if stat.S_ISREG(part.lstat().st_mode):
        with open(part, "rb") as handle:
            start = handle.read(len(_START))
        if _START.startswith(start):
            return part
    raise FgkitError(f"{part}: was not written by fgkit. Move it away, or choose another folder.")


def _drop_unfinished(path: Path) -> Path:
    """Remove what a process left that was killed while it wrote a record; give the file's path."""
    if part := _unfinished(path):
        part.unlink()
    return path.with_name(f"{path.name}.part")


def _write(path: Path, record: dict[str, Any], *, sync: bool = True) -> None:
    """Write a record completely or not at all."""
    part = _drop_unfinished(path)
    # ASCII only: names of files need not be UTF-8.
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    try:
        with open(part, "x", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
            if sync:
                handle.flush()
                os.fsync(handle.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
