"""Read a `.task` of any origin: its profile and the sizes of its members.

A `.task` is a zip archive of uncompressed members: the network, the SentencePiece model and a
protobuf message with start token, stop tokens and prompt texts.

For example:

    profile, members = read(Path("run/functiongemma-flutter.task"))
    profile.stop_tokens
    # ('<eos>', '<end_of_turn>', '<end_function_call>', '<start_function_response>')
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from fgkit.errors import BundleError
from fgkit.files import require_regular
from fgkit.models import sentencepiece_model

from .profiles import Profile

TFLITE, TOKENIZER, METADATA = "TF_LITE_PREFILL_DECODE", "TOKENIZER_MODEL", "METADATA"
# Members that mediapipe's bundler can add: other people's bundles may hold them, fgkit's never do.
OPTIONAL = {
    "TF_LITE_EMBEDDER",
    "TF_LITE_PER_LAYER_EMBEDDER",
    "TF_LITE_VISION_ENCODER",
    "TF_LITE_VISION_ADAPTER",
}
# Largest sizes in bytes of the members that are read into memory.
LIMITS = {TOKENIZER: 64 << 20, METADATA: 1 << 20, TFLITE: 8 << 30}
_NO_LIMIT = 1 << 40


def read(path: Path) -> tuple[Profile, dict[str, int]]:
    """Read an archive and verify every byte against its checksums.

    Args:
        path: the `.task`.
    Returns:
        its profile, and its members' sizes in bytes.
    Raises:
        BundleError: the file is missing, truncated, damaged or compressed, has unexpected members,
            or its tokenizer cannot be parsed.
    """
    if not path.exists():
        raise BundleError(f"{path}: there is no such file. Make it with to_task.")
    require_regular(path, "a .task", error=BundleError)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_members(path, entries)
            if (damaged := archive.testzip()) is not None:
                raise BundleError(
                    f"{path}: its {damaged} is damaged (checksum). Make or download it again."
                )
            metadata = archive.read(METADATA)
            sentencepiece_model.parse(archive.read(TOKENIZER), f"{path} {TOKENIZER}")
            with archive.open(TFLITE) as member:
                start = member.read(8)
            if start[4:] != b"TFL3":
                raise BundleError(
                    f"{path}: its {TFLITE} is no .tflite (starts with {start!r}). Make it again."
                )
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        zlib.error,
    ) as error:
        raise BundleError(
            f"{path}: is no readable .task archive ({error}). It is incomplete or damaged: "
            "make or download it again."
        ) from error
    return _parse_metadata(metadata, path), {entry.filename: entry.file_size for entry in entries}


def _check_members(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive with other members than a language model's, before any is read."""
    names = [entry.filename for entry in entries]
    expected = {TFLITE, TOKENIZER, METADATA}
    strange = set(names) - expected - OPTIONAL
    if strange or len(set(names)) != len(names) or not expected <= set(names):
        raise BundleError(
            f"{path}: holds the members {names[:9]}, expected {sorted(expected)}. It is no "
            "language-model .task, or an incomplete one: make or download it again."
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise BundleError(
            f"{path}: its members are compressed, which phones cannot map into memory. "
            "Make it again."
        )
    for entry in entries:
        if entry.file_size > LIMITS.get(entry.filename, _NO_LIMIT):
            raise BundleError(
                f"{path}: its {entry.filename} is larger than any of its kind. "
                "Make or download it again."
            )


def _parse_metadata(data: bytes, path: Path) -> Profile:
    """Read mediapipe's LlmParameters: start token, stop tokens and the texts of a user's turn.

    The message class is compiled into mediapipe's library and not shipped to Python, so the wire
    format is read here. Its fields: 5 stop tokens, 6 start token, 17 prompt templates; in these 1
    is the user's turn, and in that 2 is its prefix and 3 its suffix.
    """
    try:
        fields = list(_protobuf(data))
        texts = [
            (number, value.decode())
            for number, value in fields
            if number in (5, 6) and isinstance(value, bytes)
        ]
        user = [value for number, value in fields if number == 17]
        turn = [
            value for message in user for number, value in _protobuf(_bytes(message)) if number == 1
        ]
        around = {
            number: _bytes(value).decode()
            for message in turn
            for number, value in _protobuf(_bytes(message))
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path}: its metadata cannot be read ({error}). Make or download it again."
        ) from error
    return Profile(
        next((text for number, text in texts if number == 6), ""),
        tuple(text for number, text in texts if number == 5),
        around.get(2, ""),
        around.get(3, ""),
    )


def _bytes(value: int | bytes) -> bytes:
    """A field's value where its type must be bytes.

    Raises:
        TypeError: it is a number, so the message has another type.
    """
    if isinstance(value, int):
        raise TypeError("a number where a text is expected")
    return value


def _protobuf(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of one protobuf message: integers, and bytes for all others.

    A message is a sequence of keys and values. A key holds the field number and, in its lowest
    three bits, the wire type: 0 a varint, 1 and 5 eight and four bytes, 2 a length and so many
    bytes. Source: https://protobuf.dev/programming-guides/encoding/
    """
    position = 0

    def varint() -> int:
        # Seven bits per byte, lowest first; a set top bit means that another byte follows.
        nonlocal position
        value = shift = 0
        while True:
            if position >= len(data) or shift > 63:
                raise ValueError("a number is cut off")
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        key = varint()
        wire_type = key & 7
        if wire_type == 0:
            yield key >> 3, varint()
            continue
        if wire_type not in (1, 2, 5):
            raise ValueError(f"unknown wire type {wire_type}")
        size = varint() if wire_type == 2 else 8 if wire_type == 1 else 4
        if position + size > len(data):
            raise ValueError("a field is cut off")
        yield key >> 3, data[position : position + size]
        position += size
