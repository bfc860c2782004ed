"""file_hashes: a large file is read once, and again whenever it may have changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from fgkit import file_hashes

LARGE = bytes(2 << 20)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, in order; every file counts as settled."""
    names: list[str] = []
    real = hashlib.file_digest

    def digest(handle, name):
        names.append(Path(handle.name).name)
        return real(handle, name)

    monkeypatch.setattr(hashlib, "file_digest", digest)
    monkeypatch.setattr(file_hashes, "_SETTLED_NANOSECONDS", -1)
    monkeypatch.setattr(file_hashes, "_hashes", {})
    return names


def of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_large_file_is_read_once_until_it_changes(tmp_path, read) -> None:
    path = tmp_path / "a"
    path.write_bytes(LARGE)
    assert file_hashes.sha256(path) == file_hashes.sha256(str(path)) == of(LARGE)
    assert read == ["a"]
    status = path.stat()
    time.sleep(0.02)  # more than a tick of the kernel's clock
    with open(path, "r+b") as handle:
        handle.write(b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as some tools set it back
    assert file_hashes.sha256(path) == of(b"x" + LARGE[1:])
    assert read == ["a", "a"]
    os.replace(path, tmp_path / "b")
    path.write_bytes(LARGE)
    assert file_hashes.sha256(path) == of(LARGE)


def test_a_small_file_is_always_read(tmp_path, read) -> None:
    path = tmp_path / "a"
    for content in (b"1", b"2", b"2"):
        path.write_bytes(content)
        assert file_hashes.sha256(path) == of(content)
    assert read == ["a"] * 3


@pytest.mark.parametrize("offset", [0, 3600], ids=["just written", "from the future"])
def test_a_file_that_may_still_change_within_a_tick_is_always_read(
    tmp_path, read, monkeypatch, offset
) -> None:
    monkeypatch.setattr(file_hashes, "_SETTLED_NANOSECONDS", 2_000_000_000)
    path = tmp_path / "a"
    path.write_bytes(LARGE)
    os.utime(path, (time.time() + offset,) * 2)
    for _ in range(2):
        assert file_hashes.sha256(path) == of(LARGE)
    assert read == ["a"] * 2
