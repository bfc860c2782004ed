"""Which files fgkit wrote, and with which bytes: only these are ever replaced or removed.

Every file that is written through `fgkit.files` is recorded with its SHA-256 before it gets its
name. A file that is there without a record, or with other bytes than recorded, belongs to somebody
else and is refused by name. A run's folder carries its own record, `.fgkit.json`, which moves with
it and marks the folder as fgkit's; files elsewhere, such as the target of `--json`, are recorded in
fgkit's cache.

    {"made_by": "fgkit", "files": {"model/config.json": ["<sha256>"]}, "temporary": []}

The record is written before the rename, with the old hash beside the new one, so that a process
that is killed between the two leaves a file that is still known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import FgkitError

RECORD = ".fgkit.json"
_MADE_BY = "fgkit"
_BLOCK = 1 << 20


def mark(folder: Path) -> None:
    """Make a folder fgkit's: create it and its record if they do not exist.

    Raises:
        FgkitError: the folder cannot be written, or its `.fgkit.json` is not a record.
    """
    path = folder / RECORD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            _read(path)
        else:
            _write(path, _empty())
    except OSError as error:
        raise FgkitError(
            f"{folder}: cannot be written: {error.strerror or error}. Choose another folder."
        ) from error


def is_marked(folder: Path) -> bool:
    """Say whether a folder carries fgkit's record."""
    return (folder / RECORD).is_file()


class Owner:
    """The record that a path belongs to: its run folder's, or the one of its folder in the cache.

    Args:
        path: a file or folder that is to be written, replaced or removed; it need not exist.
        cache: fgkit's cache folder.
    Attributes:
        root: the folder that names in the record are relative to.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        self.path = _absolute(path)
        marked = next((folder for folder in self.path.parents if is_marked(folder)), None)
        self.root = marked or self.path.parent
        key = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:32]
        folder = cache / "written"
        self._record = self.root / RECORD if marked else folder / f"{key}.json"
        self._lock = folder / f"{key}.lock"
        self.name = self.path.relative_to(self.root).as_posix()

    def foreign(self) -> list[str]:
        """Say why the path must not be replaced or removed: one sentence for each foreign file.

        Nothing is foreign if nothing is there, or if fgkit wrote everything and nobody changed it.
        """
        if not os.path.lexists(self.path):
            return []
        known = self._files()
        if self.path.is_symlink() or not self.path.is_dir():
            return _reasons(self.path, known.get(self.name, []))
        reasons = []
        for inner in sorted(self.path.rglob("*")):
            if inner.is_dir() and not inner.is_symlink():
                continue
            reasons += _reasons(inner, known.get(inner.relative_to(self.root).as_posix(), []))
        return reasons

    def record(self, content: Path) -> None:
        """Record what the path is about to become, beside what it was.

        Args:
            content: the finished file or folder under its temporary name.
        """
        hashes = self._hashes(content)
        with self._changed() as record:
            for name, digest in hashes.items():
                known = record["files"].get(name, [])
                record["files"][name] = [digest, *(old for old in known[:1] if old != digest)]

    def settle(self, content_names: set[str] | None = None) -> None:
        """Forget the hashes of what was replaced; called after the rename."""
        names = self._names() if content_names is None else content_names
        with self._changed() as record:
            files = record["files"]
            for name in [each for each in files if self._covers(each)]:
                if name in names:
                    files[name] = files[name][:1]
                else:
                    del files[name]

    def forget(self) -> None:
        """Remove the path from the record; called after it was removed."""
        self.settle(set())

    @contextmanager
    def temporary(self, *names: str) -> Iterator[None]:
        """Record temporary names beside the path while they are in use, for `leftovers`."""
        full = {str(PurePosixPath(self.name).with_name(name)) for name in names}
        with self._changed() as record:
            record["temporary"] = sorted({*record["temporary"], *full})
        yield
        with self._changed() as record:
            record["temporary"] = [name for name in record["temporary"] if name not in full]

    def leftovers(self) -> list[Path]:
        """List the recorded temporary paths, also of living processes; some may be gone."""
        return [
            path
            for name in self._load()["temporary"]
            if _inside(path := self.root / name, self.root)
        ]

    def drop_temporary(self, path: Path) -> None:
        """Take a temporary name out of the record after it was removed."""
        name = path.relative_to(self.root).as_posix()
        with self._changed() as record:
            record["temporary"] = [other for other in record["temporary"] if other != name]

    def drop_unfinished_record(self) -> None:
        """Remove what a process left that was killed while it wrote the record."""
        with self._changed():
            self._record.with_name(f"{self._record.name}.part").unlink(missing_ok=True)

    def _covers(self, name: str) -> bool:
        return name == self.name or name.startswith(f"{self.name}/")

    def _names(self) -> set[str]:
        return {
            inner.relative_to(self.root).as_posix()
            for inner in ([self.path] if not self.path.is_dir() else self.path.rglob("*"))
            if inner.is_file()
        }

    def _hashes(self, content: Path) -> dict[str, str]:
        if not content.is_dir():
            return {self.name: _sha256(content)}
        return {
            f"{self.name}/{inner.relative_to(content).as_posix()}": _sha256(inner)
            for inner in content.rglob("*")
            if inner.is_file()
        }

    def _files(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = self._load()["files"]
        return files

    def _load(self) -> dict[str, Any]:
        return _read(self._record) if os.path.lexists(self._record) else _empty()

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        """Give the record for a change and write it, while no other process changes it."""
        from filelock import FileLock

        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock):
            record = self._load()
            yield record
            _write(self._record, record)


def _reasons(path: Path, known: list[str]) -> list[str]:
    if path.is_symlink():
        return [f"{path}: is a symbolic link that fgkit did not make"]
    if not stat.S_ISREG(path.lstat().st_mode):
        return [f"{path}: is no regular file"]
    if not known:
        return [f"{path}: was not written by fgkit"]
    if _sha256(path) not in known:
        return [f"{path}: was changed since fgkit wrote it"]
    return []


def _absolute(path: Path) -> Path:
    """Resolve the folder, but not the last name: a symbolic link itself would be replaced."""
    return path.parent.resolve() / path.name


def _inside(path: Path, root: Path) -> bool:
    """Say whether a path is below a folder without passing through a symbolic link."""
    return path.parent.resolve().is_relative_to(root) and path.parent.resolve() == path.parent


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _empty() -> dict[str, Any]:
    return {"made_by": _MADE_BY, "files": {}, "temporary": []}


def _read(path: Path) -> dict[str, Any]:
    """Read a record and validate everything in it, because whole folders come from other people."""
    try:
        if path.is_symlink() or not path.is_file():
            raise ValueError("it is no regular file")
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("made_by") != _MADE_BY:
            raise ValueError("it does not say that fgkit made it")
        files, temporary = record["files"], record["temporary"]
        if not isinstance(files, dict) or not isinstance(temporary, list):
            raise ValueError("its fields have other types")
        for name, hashes in files.items():
            if not _is_name(name) or not isinstance(hashes, list):
                raise ValueError(f"{name[:80]!r} is no name of a file in this folder")
        for name in temporary:
            if not _is_name(name):
                raise ValueError("it lists a temporary file outside this folder")
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise FgkitError(
            f"{path}: is not a record of fgkit's files: {error}. Choose another folder, or move "
            "this file away: the other files in the folder then count as yours."
        ) from error
    return {"made_by": _MADE_BY, "files": files, "temporary": temporary}


def _is_name(name: Any) -> bool:
    """Say whether text is a relative path that stays below its folder."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or len(name) > 4000:
        return False
    parts = name.split("/")
    return not {"", ".", ".."} & set(parts) and ":" not in parts[0]


def _write(path: Path, record: dict[str, Any]) -> None:
    """Write a record completely or not at all."""
    part = path.with_name(f"{path.name}.part")  # one name: whoever writes holds the lock
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
