"""Create a `.task` or `.litertlm` from a `.tflite` and its tokenizer, and compare it with them.

For example:

    create_task("run/functiongemma-flutter_q8_ekv1024.tflite", "run/model/tokenizer.model",
                "run/functiongemma-flutter.task", sidecar={"style": "template"})

The licence notice of Gemma and `functiongemma-flutter.task.json`, the record of what the bundle was
made from, are written beside it. A `.task` is for mediapipe and flutter_gemma. A `.litertlm` holds
the same network for LiteRT-LM, together with the chat template for its conversations.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fgkit import atomic_files, files, prompts
from fgkit.errors import BundleError, ConfigError
from fgkit.licence import NOTICE, notice_text
from fgkit.models import sentencepiece_model
from fgkit.models.sentencepiece_model import check_tokens
from fgkit.prompts import styles

from . import litertlm as litertlm_archive, profiles, reproducible_zip, task
from .profiles import LITERTLM, PROFILES, Profile
from .read import (
    BundleInfo,
    Signatures,
    context_of,
    network_of,
    read_archive,
    read_network,
    require_pieces,
    sidecar_path,
    tokenizer_of,
)


def create_task(
    tflite: str | Path,
    tokenizer: str | Path,
    output: str | Path,
    *,
    profile: str = "guide",
    developer_turn: str = "",
    sidecar: Mapping[str, Any],
) -> Path:
    """Create a `.task`, with its JSON record and the licence notice beside it.

    The file is read again and compared with its sources before it gets the name `output`.

    Args:
        tflite: the converted network.
        tokenizer: the SentencePiece model of the model folder.
        output: the `.task` to write; an existing one is replaced.
        profile: a name in PROFILES.
        developer_turn: the rendered developer turn; only for a profile that embeds it.
        sidecar: what to record beside the bundle (prompt style, tools hash, base, ...); profile,
            stop tokens, sizes and hashes are added.
    Returns:
        `output`.
    Raises:
        ConfigError: there is no such profile, or `output` does not end in `.task`.
        BundleError: an input is damaged, a start or stop token is not a single piece of the
            tokenizer, or the finished bundle differs from its sources.
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
    """Create a `.litertlm`, as `create_task` creates a `.task`.

    Args:
        tflite, tokenizer, sidecar: as for `create_task`.
        output: the `.litertlm` to write; an existing one is replaced.
        style: the prompt style that the model was trained in, in which LiteRT-LM's conversations
            have to write their prompts.
    Returns:
        `output`.
    Raises:
        ConfigError: `output` does not end in `.litertlm`.
        BundleError: as for `create_task`.
    """
    tflite, tokenizer = Path(tflite), Path(tokenizer)
    context = context_of(_network(tflite))
    template_writes_tools = styles.get(style).template_writes_tools

    def write(part: Path) -> None:
        litertlm_archive.write(part, tflite, tokenizer, style=style, context=context)
        written = litertlm_archive.read(part)
        wanted = {
            "model_type": litertlm_archive.MODEL_TYPE,
            "context": context,
            "template_writes_tools": template_writes_tools,
            "template": prompts.chat_template(),
        }
        _refuse(
            [
                f"{name} is {str(getattr(written, name))[:80]!r}, expected {str(value)[:80]!r}"
                for name, value in wanted.items()
                if getattr(written, name) != value
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


def _create(
    tflite: Path,
    tokenizer: Path,
    output: Path,
    suffix: str,
    wanted: Profile,
    write: Callable[[Path], None],
    sidecar: Mapping[str, Any],
) -> Path:
    """Create a bundle of either format: check the inputs, write, compare, rename, add the record.

    Args:
        tflite, tokenizer, output: as for `create_task`.
        suffix: the ending that `output` must have.
        wanted: the profile that the finished bundle must have.
        write: a function that writes the bundle to the path it is given.
        sidecar: as for `create_task`.
    """
    if output.suffix != suffix:
        raise ConfigError(f"{output}: the bundle's name must end in {suffix}.")
    network, tokenizer_bytes = _network(tflite), _file_bytes(tokenizer)
    tokens, prompt_text = (wanted.start_token, *wanted.stop_tokens), "".join(wanted.around)
    check_tokens(tokenizer_bytes, tokens, prompt_text, where=tokenizer)
    pieces = sentencepiece_model.parse(tokenizer_bytes, tokenizer).GetPieceSize()
    require_pieces(tflite, network, pieces)
    notice = notice_text()
    needed = int(1.05 * tflite.stat().st_size) + len(tokenizer_bytes)
    files.require_space(output.parent, needed, f"the bundle {output.name}")
    atomic_files.require_ours([output, sidecar_path(output), output.with_name(NOTICE)])
    with atomic_files.replacing(output) as part:
        # Mediapipe's bundler accepts no other ending.
        bundled = Path(f"{part}{suffix}")
        try:
            write(bundled)
            info = read_archive(bundled)
            _compare(info, wanted, tflite, tokenizer_bytes)
            os.replace(bundled, part)
        finally:
            bundled.unlink(missing_ok=True)
        # If the process stops here, no new bundle is left beside an old record.
        atomic_files.remove(sidecar_path(output))
    files.write_json(
        sidecar_path(output),
        {
            **sidecar,
            "start_token": wanted.start_token,
            "stop_tokens": list(wanted.stop_tokens),
            "prompt_prefix": wanted.prompt_prefix,
            "prompt_suffix": wanted.prompt_suffix,
            "bytes": output.stat().st_size,
            "members": info.members,
            "context": context_of(network),
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
    """Compare a new bundle with its sources: profile, network and tokenizer.

    Raises:
        BundleError: they differ; all differences are listed.
    """
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
            f"the finished bundle is not what was asked for: {'; '.join(problems)}. Nothing was "
            "written."
        )


def _network(path: Path) -> Signatures:
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file. Convert the model with to_tflite first.")
    return read_network(path, path)


def _file_bytes(path: Path) -> bytes:
    return files.read_bytes(
        path,
        "the tokenizer.model of the model folder",
        limit=task.LIMITS[task.TOKENIZER],
        error=BundleError,
    )
