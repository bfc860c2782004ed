"""A `.task` or `.litertlm` of any origin is read: its tokens, its parts, and the JSON record beside it.

Example:

    info = read_bundle("run/functiongemma-flutter.task")
    info.profile.stop_tokens, info.sidecar["style"]
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgkit import files, schema
from fgkit.errors import BundleError
from fgkit.export.tflite import Signature, signatures
from fgkit.record_types import BundleRecord

from . import litertlm as litertlm_archive, task
from .profiles import Profile

SUFFIXES = (".task", ".litertlm")

# By signature: the shapes of its "inputs" and "outputs", by the tensor's name.
Signatures = dict[str, Signature]


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says about itself.

    Args:
        path: the file.
        profile: start token, stop tokens, texts around a user's turn.
        members: its parts' sizes in bytes.
        litertlm: the rest of what a `.litertlm` says; None for a `.task`.
        sidecar: the JSON beside it; None where there is none.
    """

    path: Path
    profile: Profile
    members: dict[str, int]
    litertlm: litertlm_archive.Litertlm | None = None
    sidecar: BundleRecord | None = None

    @property
    def end_tag_cut(self) -> bool:
        """Whether the runtime stops at, and removes, the call's end tag: `calls.parse(..., end_tag_cut=True)` then."""
        return self.profile.single_call_only


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
        archive = litertlm_archive.read(path)
        sizes = {name: end - begin for name, (begin, end) in archive.sections.items()}
        return BundleInfo(path, archive.profile, sizes, archive)
    profile, members = task.read(path)
    return BundleInfo(path, profile, members)


def read_record(path: Path) -> BundleRecord | None:
    """Read the JSON beside a bundle; None where there is none.

    Args:
        path: the bundle.
    Raises:
        BundleError: the JSON has fields of wrong types, or describes another file.
    """
    beside = sidecar_path(path)
    if not beside.is_file():
        return None
    sidecar = _checked(beside)
    if sidecar.get("sha256") != files.sha256(path):
        raise BundleError(
            f"{beside}: describes another file than {path.name} (sha256 differs). One of the two is "
            "damaged, or they do not belong together: put the right pair side by side, or delete the .json."
        )
    return sidecar


def read_own_record(path: Path) -> BundleRecord:
    """Read the JSON beside a bundle that fgkit made, whose bytes are compared elsewhere.

    Args:
        path: the bundle.
    Raises:
        FgkitError: the JSON is missing or has fields of wrong types.
    """
    return _checked(sidecar_path(path))


def update_sidecar(path: str | Path, **fields: Any) -> Path:
    """Add fields, such as the scores, to the JSON beside a bundle.

    Args:
        path: the bundle.
        fields: names of `BundleRecord` and their values; those of the same name are replaced.
    """
    beside = sidecar_path(Path(path))
    return files.write_json(beside, {**_checked(beside), **fields})


def tokenizer_of(info: BundleInfo) -> bytes:
    """The SentencePiece model inside a bundle that was read."""
    if info.litertlm is None:
        with zipfile.ZipFile(info.path) as archive:
            return archive.read(task.TOKENIZER)
    return _section(info, info.litertlm, litertlm_archive.TOKENIZER)


def network_of(info: BundleInfo) -> bytes:
    """The `.tflite` inside a bundle that was read: some hundred megabytes."""
    if info.litertlm is None:
        with zipfile.ZipFile(info.path) as archive:
            return archive.read(task.TFLITE)
    return _section(info, info.litertlm, litertlm_archive.NETWORK)


def read_network(source: Path | bytes, where: Path) -> Signatures:
    """Read the signatures of a network, because the bundlers would wrap any bytes at all.

    Args:
        source: a `.tflite`, or its bytes.
        where: the file's name for messages.
    Raises:
        BundleError: it is no converted language model.
    """
    network = signatures(source)
    if "decode" not in network or not any(name.startswith("prefill") for name in network):
        raise BundleError(
            f"{where}: has the signatures {sorted(network)}, expected decode and prefill. It is no "
            "converted language model: convert one with to_tflite."
        )
    return network


def context_of(network: Signatures) -> int:
    """The length of a network's KV cache in tokens, as the mask says; 0 where it has none."""
    return network["decode"].get("inputs", {}).get("mask", [0])[-1]


def require_pieces(path: Path, network: Signatures, pieces: int) -> None:
    """Refuse a network with the tokenizer of another vocabulary.

    Args:
        path: the network's file, for the message.
        network: its signatures.
        pieces: how many the tokenizer has.
    Raises:
        BundleError: the network scores another number of pieces.
    """
    scored = network["decode"].get("outputs", {}).get("logits", [pieces])[-1]
    if scored != pieces:
        raise BundleError(
            f"{path}: scores {scored} pieces, but the tokenizer has {pieces}: one of them is of another "
            "base, whole or with a cut vocabulary. Use the tokenizer.model of the folder that was converted."
        )


def _section(info: BundleInfo, archive: litertlm_archive.Litertlm, name: str) -> bytes:
    begin, end = archive.sections[name]
    with open(info.path, "rb") as file:
        file.seek(begin)
        return file.read(end - begin)


def sidecar_path(path: Path) -> Path:
    """The path of the JSON beside a bundle."""
    return path.with_name(f"{path.name}.json")


def _checked(beside: Path) -> BundleRecord:
    return schema.read(
        beside,
        BundleRecord,
        remedy="Restore the file or make the bundle again; a bundle without the .json can be read, too.",
        error=BundleError,
    )
