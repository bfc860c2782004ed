"""Make a zip archive reproducible by clearing the timestamps of its members.

Mediapipe's bundler writes the local time into each member's headers. Without this step two bundles
of the same network would have different hashes, so a hash could not prove what a bundle was made
from.

For example:

    clear_timestamps(Path("functiongemma-flutter.task"))
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

# Time and date of 1980-01-01 00:00, where zip's calendar begins.
_EPOCH = struct.pack("<HH", 0, 1 << 5 | 1)
# Signatures of a member's two headers: before its bytes, and in the directory at the end.
_LOCAL, _CENTRAL = b"PK\3\4", b"PK\1\2"
# Offsets of the time in both headers; of the lengths in the second, and that header's fixed size.
# Source:
# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 and 4.3.12.
_LOCAL_TIME, _CENTRAL_TIME, _CENTRAL_LENGTHS, _CENTRAL_SIZE = 10, 12, 28, 46


def clear_timestamps(path: Path) -> None:
    """Set the timestamps of all members to 1980-01-01, in place; no other byte changes.

    Args:
        path: the archive.
    Raises:
        zipfile.BadZipFile: it is no archive, or its headers are not at the recorded offsets.
    """
    with zipfile.ZipFile(path) as archive:
        position, entries = archive.start_dir, archive.infolist()
    with open(path, "rb+") as file:
        for entry in entries:
            _overwrite(file, entry.header_offset, _LOCAL, _LOCAL_TIME)
            _overwrite(file, position, _CENTRAL, _CENTRAL_TIME)
            # Name, extra field and comment follow the fixed part.
            file.seek(position + _CENTRAL_LENGTHS)
            position += _CENTRAL_SIZE + sum(struct.unpack("<HHH", file.read(6)))


def _overwrite(file: BinaryIO, header: int, signature: bytes, field: int) -> None:
    file.seek(header)
    if file.read(4) != signature:
        raise zipfile.BadZipFile(f"no member's header at {header}")
    file.seek(header + field)
    file.write(_EPOCH)
