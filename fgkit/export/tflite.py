"""The signatures of a `.tflite`: which tensors it takes and gives, and whether they are as asked.

A converted language model has one signature for each prefill length and one for `decode`.

Example:

    sorted(signatures("run/functiongemma-flutter_q8_ekv1024.tflite"))
    # ['decode', 'prefill_256', 'prefill_32']
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from fgkit.errors import BundleError

Shapes = dict[str, list[int]]


class Signature(TypedDict):
    """The tensors of one signature: shapes by name."""

    inputs: Shapes
    outputs: Shapes


def signatures(tflite: str | Path | bytes) -> dict[str, Signature]:
    """Read the signatures of a `.tflite`, by name.

    Args:
        tflite: the file, or its bytes.
    Raises:
        BundleError: the file is missing, truncated or no `.tflite`.
    """
    network = interpreter(tflite, delegate=False)
    by_name: dict[str, Signature] = {}
    for name in network.get_signature_list():
        runner = network.get_signature_runner(name)
        by_name[name] = {
            "inputs": _shapes(runner.get_input_details()),
            "outputs": _shapes(runner.get_output_details()),
        }
    return by_name


def _shapes(details: dict[str, Any]) -> Shapes:
    return {tensor: detail["shape"].tolist() for tensor, detail in details.items()}


def check_signatures(
    tflite_path: str | Path, *, prefill_seq_lens: Sequence[int], kv_cache_max_len: int
) -> dict[str, Signature]:
    """Compare a file's signatures with what was asked for and return them.

    Args:
        tflite_path: the file.
        prefill_seq_lens: prompt tokens that its prefill signatures must take, one each.
        kv_cache_max_len: length that its mask and its KV cache must have.
    Raises:
        BundleError: unreadable, or different; every difference is listed.
    """
    actual = signatures(tflite_path)
    wanted = {"decode": 1} | {f"prefill_{length}": length for length in prefill_seq_lens}
    if actual.keys() != wanted.keys():
        raise BundleError(
            f"{tflite_path}: has the signatures {sorted(actual)}, expected {sorted(wanted)}. "
            "Convert the model again."
        )
    problems = [
        f"{tflite_path}: {name}: {problem}"
        for name, length in wanted.items()
        for problem in _shape_problems(actual[name]["inputs"], length, kv_cache_max_len)
    ]
    if "logits" not in actual["decode"]["outputs"]:
        problems.append(f"{tflite_path}: decode has no output 'logits'.")
    if problems:
        raise BundleError("\n".join([*problems, "Convert the model again."]))
    return actual


def _shape_problems(inputs: Shapes, length: int, kv_cache_max_len: int) -> list[str]:
    """How a signature's inputs differ from those of so many tokens and such a KV cache."""
    # Transposed layout: keys are (1, heads, KV length, head size), values (1, heads, head size,
    # KV length).
    got = {
        "tokens": inputs.get("tokens"),
        "mask": inputs.get("mask"),
        "kv_cache_k_0": inputs.get("kv_cache_k_0", [])[2:3],
        "kv_cache_v_0": inputs.get("kv_cache_v_0", [])[3:4],
    }
    want = {
        "tokens": [1, length],
        "mask": [1, 1, length, kv_cache_max_len],
        "kv_cache_k_0": [kv_cache_max_len],
        "kv_cache_v_0": [kv_cache_max_len],
    }
    return [
        f"{tensor} has the shape {got[tensor]}, expected {want[tensor]}."
        for tensor in want
        if got[tensor] != want[tensor]
    ]


def interpreter(tflite: str | Path | bytes, *, delegate: bool) -> Any:
    """Open a `.tflite` with the LiteRT interpreter.

    Args:
        tflite: the file, or its bytes.
        delegate: whether XNNPACK compiles the network; without it shapes can be read at once.
    Raises:
        BundleError: it is no readable `.tflite`.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    source = {"model_content": tflite} if isinstance(tflite, bytes) else {"model_path": str(tflite)}
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        return Interpreter(
            **source, num_threads=os.cpu_count(), experimental_op_resolver_type=resolver
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "its network" if isinstance(tflite, bytes) else tflite
        raise BundleError(
            f"{where}: is not a readable .tflite ({reason[:200]}). Convert the model again."
        ) from error
