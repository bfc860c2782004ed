"""Which files fgkit wrote, and with which bytes: only these are ever replaced or removed.

Every file that is written through `fgkit.files` is recorded with its SHA-256 before it gets its
name. A file that is there without a record, or with other bytes than recorded, belongs to somebody
else and is refused by name. A run's folder carries its own record, `.fgkit.json`, which moves with
it and marks the folder as fgkit's; files elsewhere, such as the target of `--json`, are recorded in
fgkit's cache.

The record is written before the rename, with the old hash beside the new one, so that a process
that is killed between the two leaves a file that is still known.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import FgkitError
from .file_hashes import sha256
from .written_record import RECORD, WrittenRecord, is_marked, records_above

__all__ = ["RECORD", "Owner", "is_marked", "mark", "require_record"]


def mark(folder: Path) -> None:
    """Make a folder fgkit's: create it and its record if they do not exist.

    Raises:
        FgkitError: the folder cannot be written, or its `.fgkit.json` is not a record.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        WrittenRecord(folder, folder, in_cache=False).create()
    except OSError as error:
        raise FgkitError(
            f"{folder}: cannot be written: {error.strerror or error}. Choose another folder."
        ) from error


def require_record(folder: Path) -> None:
    """Refuse a folder in which something else stands in the place of fgkit's record.

    Raises:
        FgkitError: `.fgkit.json` is not a record, or what stands beside it is no part of one.
    """
    WrittenRecord(folder, folder, in_cache=False).require_ours()


class Owner:
    """Who owns a path: what the records say of it, and the record that it is written to.

    A file may have been recorded by itself or as part of a folder, and before or after its folder
    became a run's. So the records of all folders above it are read; its run folder's, or else the
    one of its own folder in the cache, is written.

    Args:
        path: a file or folder that is to be written, replaced or removed; it need not exist.
        cache: fgkit's cache folder.
    Attributes:
        run: the nearest folder above that is marked as fgkit's; None without one.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        self.path = _absolute(path)
        self._cache = cache
        self._replaced = False
        self.run = marked = next(
            (folder for folder in self.path.parents if is_marked(folder)), None
        )
        self._own = (
            WrittenRecord(marked, cache, in_cache=False)
            if marked
            else WrittenRecord(self.path.parent, cache, in_cache=True)
        )

    def foreign(self) -> list[str]:
        """Say why the path must not be replaced or removed: one sentence for each foreign file.

        Nothing is foreign if nothing is there, or if fgkit wrote everything and nobody changed it.
        """
        if not os.path.lexists(self.path):
            return []
        read: dict[Path, list[WrittenRecord]] = {}
        if self.path.is_symlink() or not self.path.is_dir():
            return _reasons(self.path, self._known(self.path, read))
        reasons = []
        for inner in sorted(self.path.rglob("*")):
            if inner.is_symlink() or not inner.is_dir():
                reasons += _reasons(inner, self._known(inner, read))
        return reasons

    def adopt(self, digest: str) -> None:
        """Record a file that fgkit wrote on another machine, if it has the hash that is known."""
        if self.path.is_file() and not self.path.is_symlink() and sha256(self.path) == digest:
            self.record(self.path)

    def belongs_to_a_run(self) -> bool:
        """Say whether the path is one of a run's own files, not one that a user named."""
        name, content = self._own.name_of(self.path), self._own.content
        return self.run is not None and name in content["files"] and name not in content["named"]

    def name_by_user(self) -> None:
        """Record that a user named the path as an output, before it is written."""
        with self._own.changed() as record:
            record["named"] = sorted({*record["named"], self._own.name_of(self.path)})

    def record(self, content: Path) -> None:
        """Record what the path is about to become, beside what it was.

        Args:
            content: the finished file or folder under its temporary name.
        """
        files = [content] if not content.is_dir() else sorted(content.rglob("*"))
        hashes = {
            self._own.name_of(self.path / file.relative_to(content)): sha256(file)
            for file in files
            if file.is_file()
        }
        with self._own.changed() as record:
            for name, digest in hashes.items():
                known = record["files"].get(name, [])
                record["files"][name] = [digest, *(old for old in known if old != digest)]

    def settle(self) -> None:
        """Have `temporary` forget the hashes of what was replaced; called after the rename."""
        self._replaced = True

    def forget(self) -> None:
        """Remove the path from the records; called after it was removed."""
        with self._own.changed() as record:
            self._keep_newest(record)
        self._forget_elsewhere()

    @contextmanager
    def temporary(self, *names: str) -> Iterator[None]:
        """Record temporary names beside the path while they are in use, for `leftovers`."""
        full = {self._own.name_of(self.path.with_name(name)) for name in names}
        # If the power fails now, files of these names are left over at worst.
        with self._own.changed(sync=False) as record:
            record["temporary"] = sorted({*record["temporary"], *full})
        yield
        with self._own.changed() as record:
            record["temporary"] = [name for name in record["temporary"] if name not in full]
            if self._replaced:
                self._keep_newest(record)
        if self._replaced:
            self._forget_elsewhere()

    def leftovers(self) -> list[Path]:
        """List the temporary paths that the records of the folders above name; some may be gone.

        They may be those of living processes.
        """
        return [
            path
            for record in records_above(self.path, self._cache, {})
            for name in record.content["temporary"]
            if _inside(path := record.root / name, record.root)
        ]

    def drop_temporary(self, path: Path) -> None:
        """Take a temporary name out of the records after it was removed."""
        for record in records_above(self.path, self._cache, {}):
            if path.is_relative_to(record.root):
                name = record.name_of(path)
                if name in record.content["temporary"]:
                    with record.changed() as content:
                        content["temporary"] = [
                            other for other in content["temporary"] if other != name
                        ]

    def drop_unfinished_record(self) -> None:
        """Remove what a process left that was killed while it wrote the record."""
        self._own.drop_unfinished()

    def _known(self, path: Path, read: dict[Path, list[WrittenRecord]]) -> list[str]:
        """List the hashes under which a path was recorded."""
        return [
            digest
            for record in records_above(path, self._cache, read)
            for digest in record.content["files"].get(record.name_of(path), [])
        ]

    def _keep_newest(self, content: dict[str, Any]) -> None:
        """Keep the newest hashes of the path's files that exist, and nothing else of it."""
        paths = [self.path] if not self.path.is_dir() else self.path.rglob("*")
        names = {self._own.name_of(file) for file in paths if file.is_file()}
        for name in _covered(content, self._own.name_of(self.path)):
            if name in names:
                content["files"][name] = content["files"][name][:1]
            else:
                del content["files"][name]

    def _forget_elsewhere(self) -> None:
        """Remove the path from all other records."""
        for record in records_above(self.path, self._cache, {}):
            name = record.name_of(self.path)
            if record.path != self._own.path and _covered(record.content, name):
                with record.changed() as content:
                    for other in _covered(content, name):
                        del content["files"][other]


def _covered(content: dict[str, Any], name: str) -> list[str]:
    """List the recorded names of a file, or of the files in a folder."""
    return [other for other in content["files"] if other == name or other.startswith(f"{name}/")]


def _reasons(path: Path, known: list[str]) -> list[str]:
    if path.is_symlink():
        return [f"{path}: is a symbolic link that fgkit did not make"]
    if not stat.S_ISREG(path.lstat().st_mode):
        return [f"{path}: is no regular file"]
    if not known:
        return [f"{path}: was not written by fgkit"]
    if sha256(path) not in known:
        return [f"{path}: was changed since fgkit wrote it"]
    return []


def _absolute(path: Path) -> Path:
    """Resolve the folder, but not the last name: a symbolic link itself would be replaced."""
    return path.parent.resolve() / path.name


def _inside(path: Path, root: Path) -> bool:
    """Say whether a path is below a folder without passing through a symbolic link."""
    return path.parent.resolve().is_relative_to(root) and path.parent.resolve() == path.parent
