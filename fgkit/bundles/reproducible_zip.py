"""The same bundle whenever it is made: the members' times of a zip archive are set to the start of zip's calendar, in place.

>>> unset(Path("functiongemma-flutter.task"))

Mediapipe's bundler writes the local time of day into each member's headers. With it two bundles of the same network have
different hashes, and nobody can tell by its hash whether a bundle was made from what it says.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

_START = struct.pack("<HH", 0, 1 << 5 | 1)  # time and date of 1980-01-01 00:00
_LOCAL, _CENTRAL = b"PK\3\4", b"PK\1\2"


def unset(path: Path) -> None:
    """Overwrite the times of all members; everything else stays in its place.

    Raises:
        zipfile.BadZipFile: it is no archive, or its headers are not where its directory says.
    """
    with zipfile.ZipFile(path) as archive:
        position, entries = archive.start_dir, archive.infolist()
    with open(path, "rb+") as file:
        for entry in entries:
            _overwrite(file, entry.header_offset, _LOCAL, 10)
            _overwrite(file, position, _CENTRAL, 12)
            file.seek(position + 28)
            position += 46 + sum(struct.unpack("<HHH", file.read(6)))


def _overwrite(file: BinaryIO, header: int, signature: bytes, field: int) -> None:
    file.seek(header)
    if file.read(4) != signature:
        raise zipfile.BadZipFile(f"no member's header at {header}")
    file.seek(header + field)
    file.write(_START)
