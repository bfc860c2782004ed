"""Read a `.task` or `.litertlm` of any origin: its tokens, its parts, the JSON record beside it.

For example:

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

# For each signature of a network, the shapes of its "inputs" and "outputs" by tensor name.
Signatures = dict[str, Signature]


@dataclass(frozen=True)
class BundleInfo:
    """The metadata of a bundle.

    Args:
        path: the file.
        profile: start token, stop tokens, texts around a user's turn.
        members: the sizes of its parts in bytes, by name.
        litertlm: the metadata that only a `.litertlm` has; None for a `.task`.
        sidecar: the JSON beside it; None where there is none.
    """

    path: Path
    profile: Profile
    members: dict[str, int]
    litertlm: litertlm_archive.Litertlm | None = None
    sidecar: BundleRecord | None = None

    @property
    def end_tag_cut(self) -> bool:
        """Whether the runtime stops at a call's end tag and removes it from the answer.

        Then `calls.parse` needs `end_tag_cut=True`.
        """
        return self.profile.single_call_only


def read_bundle(path: str | Path) -> BundleInfo:
    """Read a `.task` or `.litertlm` of any origin, and the JSON beside it.

    Args:
        path: the bundle.
    Raises:
        BundleError: the file is missing, truncated, damaged or of another format, or the JSON
            beside it describes another file.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise BundleError(f"{path}: ends in {path.suffix!r}, expected {' or '.join(SUFFIXES)}.")
    info = read_archive(path)
    return replace(info, sidecar=read_record(info.path))


def read_archive(path: Path) -> BundleInfo:
    """Read a bundle without the JSON beside it; raises as `read_bundle` does."""
    if path.suffix == ".litertlm":
        archive = litertlm_archive.read(path)
        sizes = {name: end - begin for name, (begin, end) in archive.sections.items()}
        return BundleInfo(path, archive.profile, sizes, archive)
    profile, members = task.read(path)
    return BundleInfo(path, profile, members)


def read_record(path: Path) -> BundleRecord | None:
    """Read the JSON beside a bundle.

    Args:
        path: the bundle.
    Returns:
        the record; None where there is no JSON.
    Raises:
        BundleError: the JSON has fields of wrong types, or describes another file.
    """
    beside = sidecar_path(path)
    if not beside.is_file():
        return None
    sidecar = _checked(beside)
    if sidecar.get("sha256") != files.sha256(path):
        raise BundleError(
            f"{beside}: describes another file than {path.name} (sha256 differs). One of the two "
            "is damaged, or they do not belong together: put the right pair side by side, or "
            "delete the .json."
        )
    return sidecar


def read_own_record(path: Path) -> BundleRecord:
    """Read the JSON beside a bundle that fgkit made, without comparing the bundle's hash.

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
        fields: fields of `BundleRecord` and their values; existing values are replaced.
    """
    beside = sidecar_path(Path(path))
    return files.write_json(beside, {**_checked(beside), **fields})


def tokenizer_of(info: BundleInfo) -> bytes:
    """Return the bytes of the SentencePiece model inside a bundle."""
    if info.litertlm is None:
        with zipfile.ZipFile(info.path) as archive:
            return archive.read(task.TOKENIZER)
    return _section(info, info.litertlm, litertlm_archive.TOKENIZER)


def network_of(info: BundleInfo) -> bytes:
    """Return the bytes of the `.tflite` inside a bundle, some hundred megabytes."""
    if info.litertlm is None:
        with zipfile.ZipFile(info.path) as archive:
            return archive.read(task.TFLITE)
    return _section(info, info.litertlm, litertlm_archive.NETWORK)


def read_network(source: Path | bytes, where: Path) -> Signatures:
    """Read the signatures of a network and check that it is a language model.

    The bundlers accept any bytes as a network, so they have to be checked here.

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
    """Return the length of a network's KV cache in tokens; 0 where the network has no mask."""
    # The mask of the decoding step has an entry for each position of the cache.
    return network["decode"].get("inputs", {}).get("mask", [0])[-1]


def require_pieces(path: Path, network: Signatures, pieces: int) -> None:
    """Refuse a network and a tokenizer whose vocabularies differ in size.

    Args:
        path: the network's file, for the message.
        network: its signatures.
        pieces: the number of pieces of the tokenizer.
    Raises:
        BundleError: the network has logits for another number of pieces.
    """
    scored = network["decode"].get("outputs", {}).get("logits", [pieces])[-1]
    if scored != pieces:
        raise BundleError(
            f"{path}: scores {scored} pieces, but the tokenizer has {pieces}: they belong to "
            "different bases, or only one of them has a reduced vocabulary. Use the "
            "tokenizer.model of the folder that was converted."
        )


def _section(info: BundleInfo, archive: litertlm_archive.Litertlm, name: str) -> bytes:
    begin, end = archive.sections[name]
    with open(info.path, "rb") as file:
        file.seek(begin)
        return file.read(end - begin)


def sidecar_path(path: Path) -> Path:
    """Return the path of the JSON beside a bundle."""
    return path.with_name(f"{path.name}.json")


def _checked(beside: Path) -> BundleRecord:
    return schema.read(
        beside,
        BundleRecord,
        remedy="Restore the file or make the bundle again; a bundle without the .json can be "
        "read, too.",
        error=BundleError,
    )
