"""Checks of a model folder's `model.safetensors`, read from the file's header alone.

A safetensors file is eight bytes with the length of a JSON header, the header, and the tensors'
bytes. The header says where each tensor begins and ends, so a truncated file is found without
loading anything. Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

_LENGTH_BYTES = 8
_MAX_HEADER = 100_000_000


class TensorEntry(TypedDict):
    """One tensor in a safetensors header; offsets count from the end of the header."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]


def weight_problems(folder: str | Path) -> list[str]:
    """Problems of a folder's `model.safetensors`: missing, pickled, truncated or no Gemma model.

    Args:
        folder: the model folder.
    Returns:
        one sentence or two for each problem; empty when the weights are complete.
    """
    weights = Path(folder) / "model.safetensors"
    if not Path(folder).is_dir():
        return [f"{folder}: there is no such folder. Give the model folder that training wrote."]
    if not weights.is_file():
        return [_missing(weights)]
    try:
        header = read_header(weights)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [
            f"{weights}: no readable safetensors header ({str(error)[:200]}). "
            "Copy or download the file again."
        ]
    problems = []
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    with open(weights, "rb") as handle:
        expected = _LENGTH_BYTES + int.from_bytes(handle.read(_LENGTH_BYTES), "little") + end
    if weights.stat().st_size != expected:
        problems.append(
            f"{weights}: {weights.stat().st_size} bytes, its header promises {expected}. "
            "The file is incomplete: copy or download it again."
        )
    if not any(name.endswith("embed_tokens.weight") for name in header):
        problems.append(
            f"{weights}: holds no embed_tokens.weight. It is no Gemma model; merge a LoRA adapter "
            "first."
        )
    return problems


def data_type_problems(weights: Path) -> list[str]:
    """Problems of the tensors' data types: all must be bfloat16.

    Raises:
        ValueError, KeyError, TypeError: the header cannot be read.
    """
    data_types = sorted({entry["dtype"] for entry in read_header(weights).values()})
    if data_types == ["BF16"]:
        return []
    return [f"{weights}: holds {', '.join(data_types) or 'nothing'}, expected BF16."]


def read_header(weights: Path) -> dict[str, TensorEntry]:
    """The tensors that a safetensors file lists, by name.

    Raises:
        ValueError, KeyError, TypeError: the header is damaged.
    """
    with open(weights, "rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
        # A damaged length would make Python allocate whatever it says.
        if not 2 <= length <= min(_MAX_HEADER, weights.stat().st_size):
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(handle.read(length))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    tensors: dict[str, TensorEntry] = {
        name: entry for name, entry in header.items() if name != "__metadata__"
    }
    for name, entry in tensors.items():
        start, end = entry["data_offsets"]
        if not 0 <= start <= end or not isinstance(entry["dtype"], str):
            raise ValueError(f"tensor {name!r} at {start} to {end}")
    return tensors


def _missing(weights: Path) -> str:
    others = sorted(
        path.name
        for path in weights.parent.iterdir()
        if path.suffix in (".bin", ".pt", ".ckpt", ".safetensors")
    )
    return (
        f"{weights}: missing"
        + (f" (found {', '.join(others)})" if others else "")
        + ". One safetensors file is expected; pickle files are not read. "
        "Save with save_pretrained."
    )
