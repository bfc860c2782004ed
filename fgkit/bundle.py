"""A `.tflite` and its tokenizer go in, a `.task` for the phone comes out, re-opened and compared first.

>>> create_task("run/functiongemma-flutter_q8_ekv1024.tflite", "run/model/tokenizer.model",
...             "run/functiongemma-flutter.task", sidecar={"style": "template"})
PosixPath('run/functiongemma-flutter.task')

A `.task` is a zip archive of stored members: the network, the SentencePiece model and a protobuf with start token, stop
tokens and prompt texts. Beside it go `functiongemma-flutter.task.json` (what it was made from) and the Gemma notice.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files, zip_times
from .errors import BundleError, ConfigError
from .tflite import signatures

TFLITE, TOKENIZER, METADATA = "TF_LITE_PREFILL_DECODE", "TOKENIZER_MODEL", "METADATA"
# What mediapipe's bundler may add; a foreign bundle can hold them, ours never do.
OPTIONAL = {"TF_LITE_EMBEDDER", "TF_LITE_PER_LAYER_EMBEDDER", "TF_LITE_VISION_ENCODER", "TF_LITE_VISION_ADAPTER"}
LIMITS = {TOKENIZER: 64 << 20, METADATA: 1 << 20}  # bytes; these are read into memory, the network is not
NOTICE = "NOTICE-GEMMA.txt"


@dataclass(frozen=True)
class Profile:
    """What a bundle tells its runtime: first token, tokens to stop at, texts put around what the user said."""

    start_token: str
    stop_tokens: tuple[str, ...]
    prompt_prefix: str
    prompt_suffix: str


_PREFIX, _SUFFIX = "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"
_GUIDE_STOPS = ("<eos>", "<end_of_turn>", "<end_function_call>", "<start_function_response>")
PROFILES = {
    # One call an answer; the runtime cuts the call's end tag off, so the app's parser must accept its absence.
    "guide": Profile("<bos>", _GUIDE_STOPS, _PREFIX, _SUFFIX),
    # Parallel calls survive.
    "google": Profile("<bos>", ("<end_of_turn>", "<start_function_response>"), _PREFIX, _SUFFIX),
    # Today's flutter_gemma plugin writes the turns itself.
    "flutter_gemma": Profile("<bos>", _GUIDE_STOPS, "", ""),
}


@dataclass(frozen=True)
class TaskInfo:
    """What a `.task` says about itself: its profile, its members' sizes in bytes, and the JSON beside it, if any."""

    path: Path
    profile: Profile
    members: dict[str, int]
    sidecar: dict[str, Any] | None

    @property
    def end_tag_cut(self) -> bool:
        """Whether the runtime stops at, and removes, the call's end tag: `calls.parse(..., end_tag_cut=True)` then."""
        return "<end_function_call>" in self.profile.stop_tokens


def create_task(tflite: str | Path, tokenizer_model: str | Path, output: str | Path, *, profile: str = "guide",
                sidecar: Mapping[str, Any]) -> Path:
    """Bundle, re-open, compare, and only then rename to `output`; write the JSON and the licence notice beside it.

    Args:
        tflite: the converted network.
        tokenizer_model: the SentencePiece model of the model folder.
        output: the `.task` to write; an existing one is replaced.
        profile: a name in PROFILES.
        sidecar: what to record beside the bundle (prompt style, tools hash, base, ...); profile, stop tokens, sizes and
            hashes are added.
    Raises:
        ConfigError: no such profile, or `output` does not end in `.task`.
        BundleError: an input is damaged, a token is not one piece of the tokenizer, or the archive differs from them.
    """
    tflite, tokenizer_model, output = Path(tflite), Path(tokenizer_model), Path(output)
    if profile not in PROFILES:
        raise ConfigError(f"profile is {profile!r}, expected one of {', '.join(PROFILES)}.")
    if output.suffix != ".task":
        raise ConfigError(f"{output}: a bundle's name must end in .task.")
    wanted = PROFILES[profile]
    found = _check_signatures(tflite)
    tokenizer = _read(tokenizer_model)
    check_tokens(wanted, tokenizer, where=tokenizer_model)
    _check_pieces(tflite, found, _processor(tokenizer, tokenizer_model).GetPieceSize())
    notice = notice_text()
    files.require_space(output.parent, int(1.05 * tflite.stat().st_size) + len(tokenizer), f"the bundle {output.name}")
    with files.replacing(output) as part:
        bundled = Path(f"{part}.task")  # the bundler insists on this ending
        try:
            _bundle(tflite, tokenizer_model, bundled, wanted)
            zip_times.unset(bundled)
            os.replace(bundled, part)
        finally:
            bundled.unlink(missing_ok=True)
        info = _read_archive(part)
        _compare(part, info, wanted, tflite, tokenizer)
        _sidecar_path(output).unlink(missing_ok=True)  # never a new bundle beside an old record
    files.write_json(_sidecar_path(output), {
        **sidecar, "profile": profile, "start_token": wanted.start_token, "stop_tokens": list(wanted.stop_tokens),
        "prompt_prefix": wanted.prompt_prefix, "prompt_suffix": wanted.prompt_suffix, "bytes": output.stat().st_size,
        "members": info.members, "sha256": files.sha256(output), "tflite_sha256": files.sha256(tflite)})
    files.write_text(output.with_name(NOTICE), notice)
    return output


def read_task(path: str | Path) -> TaskInfo:
    """Read a `.task` of any origin, checking every byte against the archive's own checksums.

    Raises:
        BundleError: missing, truncated, damaged, unexpected members, or a JSON beside it that describes another file.
    """
    path = Path(path)
    info, sidecar = _read_archive(path), None
    beside = _sidecar_path(path)
    if beside.is_file():
        sidecar = files.read_json(beside)
        if not isinstance(sidecar, dict) or sidecar.get("sha256") != files.sha256(path):
            raise BundleError(f"{beside}: describes another file than {path.name} (sha256 differs). "
                              "Put the pair that belongs together side by side, or delete the .json.")
    return TaskInfo(path, info.profile, info.members, sidecar)


def update_sidecar(path: str | Path, **fields: Any) -> Path:
    """Add fields, such as the scores, to the JSON beside a `.task`."""
    beside = _sidecar_path(Path(path))
    return files.write_json(beside, files.read_json(beside) | fields)


def check_tokens(profile: Profile, tokenizer: bytes, *, where: str | Path) -> None:
    """Refuse a profile whose tokens the tokenizer does not know as one piece: the bundler would accept them silently.

    Args:
        profile: what the bundle will say.
        tokenizer: bytes of a SentencePiece model.
        where: the file's name for the message.
    Raises:
        BundleError: the model cannot be parsed or tokens are missing; all are listed.
    """
    processor = _processor(tokenizer, where)
    absent = [token for token in (profile.start_token, *profile.stop_tokens)
              if processor.IdToPiece(processor.PieceToId(token)) != token]
    # The turn tokens inside the prompt texts are encoded from text, so being in the vocabulary is not enough.
    split = [token for token in sorted(set(re.findall(r"<[a-z_]+>", profile.prompt_prefix + profile.prompt_suffix)))
             if processor.Encode(token) != [processor.PieceToId(token)]]
    problems = [f"{where}: {token} is no piece of the vocabulary." for token in dict.fromkeys(absent)]
    problems += [f"{where}: {token} is split into {processor.Encode(token, out_type=str)}, expected one piece."
                 for token in split if token not in absent]
    if problems:
        raise BundleError("\n".join([*problems, "Use the tokenizer.model of the model folder that was converted."]))


def notice_text() -> str:
    """The Gemma licence notice that must travel with every bundle, from the checkout or the installed package.

    Raises:
        BundleError: it is in neither place.
    """
    checkout = Path(__file__).resolve().parents[1] / NOTICE
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    try:
        for file in importlib.metadata.files("fgkit") or []:
            if file.name == NOTICE:
                return file.read_text(encoding="utf-8")
    except (importlib.metadata.PackageNotFoundError, OSError):
        pass  # reported below, with the place it was looked for
    raise BundleError(f"{checkout}: missing, and the installed fgkit carries none. A bundle must not be made without "
                      "the Gemma notice: install fgkit again.")


def _bundle(tflite: Path, tokenizer_model: Path, output: Path, profile: Profile) -> None:
    from mediapipe.tasks.python.genai import bundler

    try:
        bundler.create_bundle(bundler.BundleConfig(
            tflite_model=str(tflite), tokenizer_model=str(tokenizer_model), start_token=profile.start_token,
            stop_tokens=list(profile.stop_tokens), output_filename=str(output),
            prompt_prefix_user=profile.prompt_prefix, prompt_suffix_user=profile.prompt_suffix))
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{tflite}: mediapipe's bundler failed: {error}. "
                          "`python -m fgkit doctor` checks its package.") from error


def _compare(part: Path, info: TaskInfo, wanted: Profile, tflite: Path, tokenizer: bytes) -> None:
    """Compare a fresh archive with what went into it, field by field, byte by byte, piece by piece."""
    problems = [f"{field} is {getattr(info.profile, field)!r}, expected {getattr(wanted, field)!r}"
                for field in ("start_token", "stop_tokens", "prompt_prefix", "prompt_suffix")
                if getattr(info.profile, field) != getattr(wanted, field)]
    if set(info.members) != {TFLITE, TOKENIZER, METADATA}:
        problems.append(f"members are {sorted(info.members)}")
    with zipfile.ZipFile(part) as archive, open(tflite, "rb") as source, archive.open(TFLITE) as member:
        while chunk := source.read(1 << 24):
            if member.read(len(chunk)) != chunk:
                problems.append("the network's bytes differ")
                break
        else:
            if member.read(1):
                problems.append("the network has bytes after its end")
        inside = archive.read(TOKENIZER)
    if inside != tokenizer:
        problems.append("the tokenizer's bytes differ")
    given, packed = _processor(tokenizer, "tokenizer.model"), _processor(inside, f"{part} {TOKENIZER}")
    ids = list(range(given.GetPieceSize()))
    if packed.GetPieceSize() != len(ids):
        problems.append(f"the tokenizer has {packed.GetPieceSize()} pieces, expected {len(ids)}")
    elif given.IdToPiece(ids) != packed.IdToPiece(ids):
        problems.append("the tokenizer's pieces differ")
    if problems:
        raise BundleError(f"the finished bundle is not what was asked for: {'; '.join(problems)}. Nothing was written.")


def _read_archive(path: Path) -> TaskInfo:
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file. Make it with to_task.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            expected = {TFLITE, TOKENIZER, METADATA}
            strange = sorted(set(names) - expected - OPTIONAL)
            if strange or len(set(names)) != len(names) or not expected <= set(names):
                raise BundleError(f"{path}: holds the members {names[:9]}, expected {sorted(expected)}. It is no "
                                  "language-model .task, or not a whole one: make or download it again.")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise BundleError(f"{path}: its members are compressed, which phones cannot map into memory. "
                                  "Make it again.")
            if large := [entry.filename for entry in entries if entry.file_size > LIMITS.get(entry.filename, 1 << 40)]:
                raise BundleError(f"{path}: its {large[0]} is larger than any of its kind. Make or download it again.")
            if (damaged := archive.testzip()) is not None:
                raise BundleError(f"{path}: its {damaged} is damaged (checksum). Make or download it again.")
            metadata = archive.read(METADATA)
            _processor(archive.read(TOKENIZER), f"{path} {TOKENIZER}")
            with archive.open(TFLITE) as member:
                start = member.read(8)
            if start[4:] != b"TFL3":
                raise BundleError(f"{path}: its {TFLITE} is no .tflite (starts with {start!r}). Make it again.")
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise BundleError(f"{path}: is no readable .task archive ({error}). It is incomplete or damaged: "
                          "make or download it again.") from error
    return TaskInfo(path, _parse_metadata(metadata, path), {entry.filename: entry.file_size for entry in entries}, None)


def _parse_metadata(data: bytes, path: Path) -> Profile:
    """Read mediapipe's LlmParameters: 5 stop tokens, 6 start token, 17.1 the user turn's prefix (2) and suffix (3).

    The message class is compiled into mediapipe's library and not shipped to Python, so the wire format is read here.
    """
    try:
        fields = list(_protobuf(data))
        texts = [(number, value.decode()) for number, value in fields if number in (5, 6) and isinstance(value, bytes)]
        user = [value for number, value in fields if number == 17]
        turn = [value for message in user for number, value in _protobuf(message) if number == 1]
        around = {number: value.decode() for message in turn for number, value in _protobuf(message)}
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: its metadata cannot be read ({error}). Make or download it again.") from error
    return Profile(next((text for number, text in texts if number == 6), ""),
                   tuple(text for number, text in texts if number == 5), around.get(2, ""), around.get(3, ""))


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
        yield key >> 3, data[position:position + size]
        position += size


def _processor(tokenizer: bytes, where: str | Path) -> Any:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        # An empty model is "parsed" without complaint and crashes at the first question.
        if not tokenizer or not processor.LoadFromSerializedProto(tokenizer) or not processor.GetPieceSize():
            raise RuntimeError("it is empty")
        # Pieces that are no UTF-8, or the lack of one for what is unknown, would fail later, at some text.
        processor.IdToPiece([*range(processor.GetPieceSize()), processor.unk_id()])
    except (RuntimeError, ValueError, IndexError) as error:  # ValueError: bytes that are no UTF-8, in a complaint, too
        raise BundleError(f"{where}: is no SentencePiece model ({str(error).splitlines()[0]}). "
                          "Use the tokenizer.model of the model folder.") from error
    return processor


def _check_signatures(path: Path) -> dict[str, Any]:
    """Give what the network takes and gives; the bundler would wrap any bytes at all."""
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file. Convert the model with to_tflite first.")
    found = signatures(path)
    if "decode" not in found or not any(name.startswith("prefill") for name in found):
        raise BundleError(f"{path}: has the signatures {sorted(found)}, expected decode and prefill. It is no "
                          "converted language model: convert one with to_tflite.")
    return found


def _check_pieces(path: Path, found: dict[str, Any], pieces: int) -> None:
    """Refuse a network with the tokenizer of another vocabulary."""
    scored = found["decode"].get("outputs", {}).get("logits", [pieces])[-1]
    if scored != pieces:
        raise BundleError(f"{path}: scores {scored} pieces, but the tokenizer has {pieces}: one of them is of another "
                          "base, whole or with a cut vocabulary. Use the tokenizer.model of the folder that was converted.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}. "
                          "Give the tokenizer.model of the model folder.") from error


def _sidecar_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
