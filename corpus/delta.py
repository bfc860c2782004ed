"""The small file that turns the offline base into the taught base: low-rank changes of every layer,
rows of the first tokens.

In: the base's weights by name, and `delta.safetensors`. Out: the taught weights: for every
multiplication `W + B @ A`, and for the tied embedding new rows of the first token ids, which hold
the control tokens.

>>> weights = load_file("base/model.safetensors")
>>> taught = applied(weights, Path("corpus/taught/delta.safetensors"))

It needs torch and safetensors only, so that it can be moved as it is into the package.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EMBEDDING = "model.embed_tokens.weight"
ROWS = "embed_rows"
FORMAT = "fgkit-delta-1"


def save(
    path: Path,
    changes: Mapping[str, Any],
    rows: Any,
    facts: Mapping[str, Any],
    *,
    eight_bits: bool = False,
) -> None:
    """Write a delta file.

    Args:
        path: the file, replaced whole.
        changes: for the name of each changed weight (B, A): shapes (outputs, rank) and (rank,
            inputs).
        rows: what is added to the embedding's first rows.
        facts: strings that say how it was made; they go into the file's metadata.
        eight_bits: store bytes with a scale for each line along the rank, half the size of
            bfloat16.
    """
    import torch
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {ROWS: rows.detach().to(torch.bfloat16).contiguous()}
    for name, (b, a) in changes.items():
        for part, tensor in (("B", b), ("A", a)):
            if eight_bits:
                scale = (
                    tensor.detach()
                    .abs()
                    .amax(dim=0 if part == "B" else 1, keepdim=True)
                    .clamp(min=1e-12)
                    / 127
                )
                tensors[f"{name}.{part}.scale"] = scale.float().contiguous()
                tensors[f"{name}.{part}"] = (
                    (tensor.detach() / scale).round().to(torch.int8).contiguous()
                )
            else:
                tensors[f"{name}.{part}"] = tensor.detach().to(torch.bfloat16).contiguous()
    part_file = path.with_suffix(".part")
    save_file(
        tensors,
        part_file,
        metadata={"format": FORMAT, **{key: str(value) for key, value in facts.items()}},
    )
    part_file.replace(path)


def applied(weights: Mapping[str, Any], delta: Path) -> dict[str, Any]:
    """The taught weights, each in the precision of the base's.

    Args:
        weights: the base's by name, as its `model.safetensors` holds them; they are not changed.
        delta: the delta file.
    Raises:
        ValueError: the file is no delta, or was made for other weights.
    """
    from safetensors import safe_open

    with safe_open(delta, "pt") as stored:
        found = (stored.metadata() or {}).get("format")
        if found != FORMAT:
            raise ValueError(f"{delta}: found format {found!r}, expected {FORMAT!r}")
        tensors = {name: stored.get_tensor(name) for name in sorted(stored.keys())}
    taught = dict(weights)
    for name in sorted({key.rsplit(".", 1)[0] for key in tensors if key.endswith(".A")}):
        if name not in taught:
            raise ValueError(f"{delta}: changes {name}, which the base does not have")
        change = _whole(tensors, f"{name}.B") @ _whole(tensors, f"{name}.A")
        if change.shape != taught[name].shape:
            raise ValueError(
                f"{delta}: {name} has shape {tuple(change.shape)}, "
                f"the base's {tuple(taught[name].shape)}"
            )
        taught[name] = (taught[name].float() + change).to(taught[name].dtype)
    rows = tensors[ROWS].float()
    embedding = taught[EMBEDDING].clone()
    embedding[: len(rows)] = (embedding[: len(rows)].float() + rows).to(embedding.dtype)
    taught[EMBEDDING] = embedding
    return taught


def write_taught_folder(base: Path, delta: Path, target: Path) -> Path:
    """Write a model folder like the base's, with the taught weights; every fgkit command takes it
    as `--base`.

    Args:
        base: the offline base's folder.
        delta: the delta file.
        target: a folder that does not exist yet.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    from fgkit import checksums

    shutil.copytree(
        base, target, ignore=shutil.ignore_patterns("model.safetensors", checksums.NAME)
    )
    with safe_open(base / "model.safetensors", "pt") as stored:
        weights, metadata = (
            {name: stored.get_tensor(name) for name in sorted(stored.keys())},
            stored.metadata(),
        )
    save_file(applied(weights, delta), target / "model.safetensors", metadata=metadata)
    record = {
        "base": "offline",
        "delta": {"sha256": digest(delta), **facts_of(delta)},
    }  # a run then takes the offline base's recipe
    (target / "fgkit.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    checksums.write(target)
    return target


def digest(path: Path) -> str:
    """SHA-256 of a file, which pins the delta and the base it was made for."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def facts_of(path: Path) -> dict[str, str]:
    """What a delta file says of how it was made."""
    with path.open("rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]


def _whole(tensors: Mapping[str, Any], name: str) -> Any:
    tensor = tensors[name].float()
    return tensor * tensors[f"{name}.scale"] if f"{name}.scale" in tensors else tensor
