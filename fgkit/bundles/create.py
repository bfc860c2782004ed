"""A `.tflite` and its tokenizer go in, a `.task` or `.litertlm` for the phone comes out, re-opened and compared first.

>>> create_task("run/functiongemma-flutter_q8_ekv1024.tflite", "run/model/tokenizer.model",
...             "run/functiongemma-flutter.task", sidecar={"style": "template"})
PosixPath('run/functiongemma-flutter.task')

Beside it go `functiongemma-flutter.task.json` (what it was made from) and the Gemma notice. A `.task` is for mediapipe and
flutter_gemma; a `.litertlm`, of the same network, for LiteRT-LM, whose conversations it tells how to write prompts.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgkit import atomic_files, files, prompts
from fgkit.errors import BundleError, ConfigError
from fgkit.export.tflite import signatures
from fgkit.licence import NOTICE, notice_text
from fgkit.models import sentencepiece_model
from fgkit.models.sentencepiece_model import check_tokens
from fgkit.prompts import styles

from . import litertlm as litertlm_archive, profiles, reproducible_zip, task
from .profiles import LITERTLM, PROFILES, Profile

__all__ = [
    "PROFILES",
    "SUFFIXES",
    "BundleInfo",
    "check_tokens",
    "create_litertlm",
    "create_task",
    "network_of",
    "notice_text",
    "read_bundle",
    "tokenizer_of",
    "update_sidecar",
]
SUFFIXES = (".task", ".litertlm")


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says about itself.

    Args:
        path: the file.
        profile: start token, stop tokens, texts around a user's turn.
        members: its parts' sizes in bytes.
        litertlm: the rest of what a `.litertlm` says; None for a `.task`.
        sidecar: the JSON beside it, if any.
    """

    path: Path
    profile: Profile
    members: dict[str, int]
    litertlm: litertlm_archive.Litertlm | None = None
    sidecar: dict[str, Any] | None = None

    @property
    def end_tag_cut(self) -> bool:
        """Whether the runtime stops at, and removes, the call's end tag: `calls.parse(..., end_tag_cut=True)` then."""
        return self.profile.single_call_only


def create_task(
    tflite: str | Path,
    tokenizer: str | Path,
    output: str | Path,
    *,
    profile: str = "guide",
    developer_turn: str = "",
    sidecar: Mapping[str, Any],
) -> Path:
    """Bundle a `.task`, re-open it, compare, and only then rename to `output`; write JSON and licence notice beside it.

    Args:
        tflite: the converted network.
        tokenizer: the SentencePiece model of the model folder.
        output: the `.task` to write; an existing one is replaced.
        profile: a name in PROFILES.
        developer_turn: what the bundle puts before every question; for a profile that embeds it.
        sidecar: what to record beside the bundle (prompt style, tools hash, base, ...); profile, stop tokens, sizes and
            hashes are added.
    Raises:
        ConfigError: no such profile, or `output` does not end in `.task`.
        BundleError: an input is damaged, a token is not one piece of the tokenizer, or the archive differs from them.
    """
    if profile not in PROFILES:
        raise ConfigError(f"profile is {profile!r}, expected one of {', '.join(PROFILES)}.")
    embeds = PROFILES[profile].embeds_declarations
    if embeds != bool(developer_turn):
        raise ConfigError(
            f"profile is {profile!r}, but {'no' if embeds else 'a'} developer turn is given."
        )
    tflite, tokenizer, wanted = (
        Path(tflite),
        Path(tokenizer),
        profiles.profile(profile, developer_turn),
    )

    def write(part: Path) -> None:
        _bundle(tflite, tokenizer, part, wanted)
        reproducible_zip.clear_timestamps(part)

    return _create(
        tflite, tokenizer, Path(output), ".task", wanted, write, {**sidecar, "profile": profile}
    )


def create_litertlm(
    tflite: str | Path,
    tokenizer: str | Path,
    output: str | Path,
    *,
    style: str,
    sidecar: Mapping[str, Any],
) -> Path:
    """Bundle a `.litertlm` as `create_task` bundles a `.task`.

    Args:
        tflite, tokenizer, sidecar: as for `create_task`.
        output: the `.litertlm` to write; an existing one is replaced.
        style: the prompt style that the model was trained in, whose text LiteRT-LM's conversations are to write.
    Raises:
        ConfigError: `output` does not end in `.litertlm`.
        BundleError: as for `create_task`.
    """
    tflite, tokenizer = Path(tflite), Path(tokenizer)
    context = context_of(_network(tflite))
    template_writes_tools = styles.get(style).template_writes_tools

    def write(part: Path) -> None:
        litertlm_archive.write(part, tflite, tokenizer, style=style, context=context)
        found = litertlm_archive.read(part)
        wanted = {
            "model_type": litertlm_archive.MODEL_TYPE,
            "context": context,
            "template_writes_tools": template_writes_tools,
            "template": prompts.chat_template(),
        }
        _refuse(
            [
                f"{name} is {str(getattr(found, name))[:80]!r}, expected {str(value)[:80]!r}"
                for name, value in wanted.items()
                if getattr(found, name) != value
            ]
        )

    return _create(
        tflite,
        tokenizer,
        Path(output),
        ".litertlm",
        LITERTLM,
        write,
        {
            **sidecar,
            "model_type": litertlm_archive.MODEL_TYPE,
            "template_writes_tools": template_writes_tools,
        },
    )


def read_bundle(path: str | Path) -> BundleInfo:
    """Read a `.task` or `.litertlm` of any origin, and the JSON beside it.

    Raises:
        BundleError: neither, missing, truncated, damaged, or a JSON beside it that describes another file.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise BundleError(f"{path}: ends in {path.suffix!r}, expected {' or '.join(SUFFIXES)}.")
    info = read_archive(path)
    return replace(info, sidecar=read_record(info.path))


def read_archive(path: Path) -> BundleInfo:
    """Read a bundle alone, whatever lies beside it; raises as `read_bundle` does."""
    if path.suffix == ".litertlm":
        found = litertlm_archive.read(path)
        return BundleInfo(
            path,
            found.profile,
            {kind: end - begin for kind, (begin, end) in found.sections.items()},
            found,
        )
    profile, members = task.read(path)
    return BundleInfo(path, profile, members)


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON beside a bundle, None where there is none.

    Raises:
        BundleError: it describes another file.
    """
    beside = _sidecar_path(path)
    if not beside.is_file():
        return None
    sidecar = files.read_json(beside)
    if not isinstance(sidecar, dict) or sidecar.get("sha256") != files.sha256(path):
        raise BundleError(
            f"{beside}: describes another file than {path.name} (sha256 differs). One of the two is "
            "damaged, or they do not belong together: put the right pair side by side, or delete the .json."
        )
    return sidecar


def update_sidecar(path: str | Path, **fields: Any) -> Path:
    """Add fields, such as the scores, to the JSON beside a bundle."""
    beside = _sidecar_path(Path(path))
    return files.write_json(beside, files.read_json(beside) | fields)


def tokenizer_of(info: BundleInfo) -> bytes:
    """The SentencePiece model inside a bundle that was read."""
    if info.litertlm is None:
        with zipfile.ZipFile(info.path) as archive:
            return archive.read(task.TOKENIZER)
    return _section(info, litertlm_archive.TOKENIZER)


def network_of(info: BundleInfo) -> bytes:
    """The `.tflite` inside a bundle that was read: some hundred megabytes."""
    if info.litertlm is None:
        with zipfile.ZipFile(info.path) as archive:
            return archive.read(task.TFLITE)
    return _section(info, litertlm_archive.NETWORK)


def _create(
    tflite: Path,
    tokenizer: Path,
    output: Path,
    suffix: str,
    wanted: Profile,
    write: Callable[[Path], None],
    sidecar: Mapping[str, Any],
) -> Path:
    """Check what goes in, write beside the final name, compare what came out, rename, and write what belongs beside it."""
    if output.suffix != suffix:
        raise ConfigError(f"{output}: the bundle's name must end in {suffix}.")
    found, given = _network(tflite), _file_bytes(tokenizer)
    tokens, prompt_text = (wanted.start_token, *wanted.stop_tokens), "".join(wanted.around)
    check_tokens(given, tokens, prompt_text, where=tokenizer)
    require_pieces(tflite, found, sentencepiece_model.parse(given, tokenizer).GetPieceSize())
    notice = notice_text()
    files.require_space(
        output.parent, int(1.05 * tflite.stat().st_size) + len(given), f"the bundle {output.name}"
    )
    with atomic_files.replacing(output) as part:
        bundled = Path(f"{part}{suffix}")  # mediapipe's bundler insists on its ending
        try:
            write(bundled)
            info = read_archive(bundled)
            _compare(info, wanted, tflite, given)
            os.replace(bundled, part)
        finally:
            bundled.unlink(missing_ok=True)
        _sidecar_path(output).unlink(missing_ok=True)  # never a new bundle beside an old record
    files.write_json(
        _sidecar_path(output),
        {
            **sidecar,
            "start_token": wanted.start_token,
            "stop_tokens": list(wanted.stop_tokens),
            "prompt_prefix": wanted.prompt_prefix,
            "prompt_suffix": wanted.prompt_suffix,
            "bytes": output.stat().st_size,
            "members": info.members,
            "context": context_of(found),
            "sha256": files.sha256(output),
            "tflite_sha256": files.sha256(tflite),
        },
    )
    files.write_text(output.with_name(NOTICE), notice)
    return output


def _bundle(tflite: Path, tokenizer_model: Path, output: Path, profile: Profile) -> None:
    from mediapipe.tasks.python.genai import bundler

    try:
        bundler.create_bundle(
            bundler.BundleConfig(
                tflite_model=str(tflite),
                tokenizer_model=str(tokenizer_model),
                start_token=profile.start_token,
                stop_tokens=list(profile.stop_tokens),
                output_filename=str(output),
                prompt_prefix_user=profile.prompt_prefix,
                prompt_suffix_user=profile.prompt_suffix,
            )
        )
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            f"{tflite}: mediapipe's bundler failed: {error}. "
            "`python -m fgkit doctor` checks its package."
        ) from error


def _compare(info: BundleInfo, wanted: Profile, tflite: Path, tokenizer: bytes) -> None:
    """Compare a fresh archive with what went into it, field by field, byte by byte, piece by piece."""
    problems = [
        f"{field} is {getattr(info.profile, field)!r}, expected {getattr(wanted, field)!r}"
        for field in ("start_token", "stop_tokens", "prompt_prefix", "prompt_suffix")
        if getattr(info.profile, field) != getattr(wanted, field)
    ]
    if info.litertlm is None and info.members.keys() & task.OPTIONAL:
        problems.append(f"members are {sorted(info.members)}")
    if hashlib.sha256(network_of(info)).hexdigest() != files.sha256(tflite):
        problems.append("the network's bytes differ")
    inside = tokenizer_of(info)
    if inside != tokenizer:
        problems.append("the tokenizer's bytes differ")
    problems += [
        f"the tokenizer: {problem}"
        for problem in sentencepiece_model.differences(
            sentencepiece_model.parse(tokenizer, "tokenizer.model"),
            sentencepiece_model.parse(inside, f"{info.path} tokenizer"),
        )
    ]
    _refuse(problems)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise BundleError(
            f"the finished bundle is not what was asked for: {'; '.join(problems)}. Nothing was written."
        )


def _section(info: BundleInfo, kind: str) -> bytes:
    begin, end = info.litertlm.sections[kind]
    with open(info.path, "rb") as file:
        file.seek(begin)
        return file.read(end - begin)


def read_network(source: Path | bytes, where: Path) -> dict[str, Any]:
    """Give what a network takes and gives; the bundlers would wrap any bytes at all.

    Args:
        source: a `.tflite`, or its bytes.
        where: the file's name for messages.
    Raises:
        BundleError: it is no converted language model.
    """
    found = signatures(source)
    if "decode" not in found or not any(name.startswith("prefill") for name in found):
        raise BundleError(
            f"{where}: has the signatures {sorted(found)}, expected decode and prefill. It is no "
            "converted language model: convert one with to_tflite."
        )
    return found


def context_of(network: dict[str, Any]) -> int:
    """The length of a network's KV cache in tokens, as the mask says; 0 where it has none."""
    return network["decode"].get("inputs", {}).get("mask", [0])[-1]


def require_pieces(path: Path, found: dict[str, Any], pieces: int) -> None:
    """Refuse a network with the tokenizer of another vocabulary (BundleError)."""
    scored = found["decode"].get("outputs", {}).get("logits", [pieces])[-1]
    if scored != pieces:
        raise BundleError(
            f"{path}: scores {scored} pieces, but the tokenizer has {pieces}: one of them is of another "
            "base, whole or with a cut vocabulary. Use the tokenizer.model of the folder that was converted."
        )


def _network(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file. Convert the model with to_tflite first.")
    return read_network(path, path)


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read: {error.strerror}. "
            "Give the tokenizer.model of the model folder."
        ) from error


def _sidecar_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
