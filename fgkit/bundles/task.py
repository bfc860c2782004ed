"""A `.task` of any origin goes in; its profile and the sizes of its members come out, or what is wrong with it.

>>> read("run/functiongemma-flutter.task")[0].stop_tokens
('<eos>', '<end_of_turn>', '<end_function_call>', '<start_function_response>')

It is a zip archive of stored members: the network, the SentencePiece model and a protobuf with start token, stop tokens
and prompt texts.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from fgkit.errors import BundleError
from fgkit.models import sentencepiece_model

from .profiles import Profile

TFLITE, TOKENIZER, METADATA = "TF_LITE_PREFILL_DECODE", "TOKENIZER_MODEL", "METADATA"
# What mediapipe's bundler may add; a foreign bundle can hold them, ours never do.
OPTIONAL = {
    "TF_LITE_EMBEDDER",
    "TF_LITE_PER_LAYER_EMBEDDER",
    "TF_LITE_VISION_ENCODER",
    "TF_LITE_VISION_ADAPTER",
}
LIMITS = {
    TOKENIZER: 64 << 20,
    METADATA: 1 << 20,
}  # bytes; these are read into memory, the network is not


def read(path: Path) -> tuple[Profile, dict[str, int]]:
    """Read an archive, every byte against its own checksum: its profile, and its members' sizes in bytes.

    Raises:
        BundleError: missing, truncated, damaged, compressed, unexpected members, or a tokenizer that cannot be parsed.
    """
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file. Make it with to_task.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            expected = {TFLITE, TOKENIZER, METADATA}
            strange = sorted(set(names) - expected - OPTIONAL)
            if strange or len(set(names)) != len(names) or not expected <= set(names):
                raise BundleError(
                    f"{path}: holds the members {names[:9]}, expected {sorted(expected)}. It is no "
                    "language-model .task, or not a whole one: make or download it again."
                )
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise BundleError(
                    f"{path}: its members are compressed, which phones cannot map into memory. "
                    "Make it again."
                )
            if large := [
                entry.filename
                for entry in entries
                if entry.file_size > LIMITS.get(entry.filename, 1 << 40)
            ]:
                raise BundleError(
                    f"{path}: its {large[0]} is larger than any of its kind. Make or download it again."
                )
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


def _parse_metadata(data: bytes, path: Path) -> Profile:
    """Read mediapipe's LlmParameters: 5 stop tokens, 6 start token, 17.1 the user turn's prefix (2) and suffix (3).

    The message class is compiled into mediapipe's library and not shipped to Python, so the wire format is read here.
    """
    try:
        fields = list(_protobuf(data))
        texts = [
            (number, value.decode())
            for number, value in fields
            if number in (5, 6) and isinstance(value, bytes)
        ]
        user = [value for number, value in fields if number == 17]
        turn = [value for message in user for number, value in _protobuf(message) if number == 1]
        around = {
            number: value.decode() for message in turn for number, value in _protobuf(message)
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


def _protobuf(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) pairs of one protobuf message: integers, and bytes for everything with a length."""
    position = 0

    def varint() -> int:
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
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"unknown wire type {kind}")
        size = varint() if kind == 2 else 8 if kind == 1 else 4
        if position + size > len(data):
            raise ValueError("a field is cut off")
        yield key >> 3, data[position : position + size]
        position += size
