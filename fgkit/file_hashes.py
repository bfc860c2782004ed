"""SHA-256 of files. A process reads a large file once as long as the file stays the same.

A run compares the same 0.5 GB several times: before it starts, before it replaces them, and for its
manifest. A hash is kept only if the file is large and has been left alone for two seconds: a clock
that ticks in milliseconds cannot tell two younger states apart.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

_LARGE = 1 << 20
_SETTLED_NANOSECONDS = 2_000_000_000
# Device and inode of a file; what identifies its state, and the hash of that state.
_hashes: dict[tuple[int, int], tuple[tuple[int, int, int], str]] = {}


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        status = os.fstat(handle.fileno())
        file, state = (status.st_dev, status.st_ino), _state(status)
        known_state, digest = _hashes.get(file, (None, ""))
        if known_state == state:
            return digest
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        age = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
        settled = age > _SETTLED_NANOSECONDS and _state(os.fstat(handle.fileno())) == state
        if settled and status.st_size >= _LARGE:
            _hashes[file] = (state, digest)
    return digest


def _state(status: os.stat_result) -> tuple[int, int, int]:
    # The time of the last change cannot be set back, as that of the last modification can.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
