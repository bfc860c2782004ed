"""A converted network compared with PyTorch: the logits of an answer's first token.

Example:

    reference = generation.first_logits(model, tokenizer, text)
    compare(reference, logits_of("run/functiongemma-flutter_q8_ekv1024.tflite", ids))
    # {'argmax_reference': 48, 'argmax_got': 48, 'argmax_agrees': True, 'cosine': 0.9968..., ...}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit.errors import BundleError
from fgkit.subprocesses import quiet_stderr

from .tflite import interpreter

if TYPE_CHECKING:
    import numpy as np


def logits_of(tflite_path: str | Path, token_ids: Sequence[int]) -> np.ndarray:
    """Run a prompt through the `.tflite` on the CPU and return the first answer token's logits.

    Args:
        tflite_path: a file whose mask is an input and whose KV cache is transposed, as `convert`
            makes them.
        token_ids: the complete prompt with its `<bos>`, no longer than the KV cache.
    Returns:
        an array of shape (vocabulary,).
    Raises:
        BundleError: the file cannot be read or the prompt does not fit.
    """
    import numpy as np

    network = interpreter(tflite_path, delegate=True)
    prefill = max(
        (name for name in network.get_signature_list() if name.startswith("prefill")), key=_length
    )
    runners = {
        "prefill": network.get_signature_runner(prefill),
        "decode": network.get_signature_runner("decode"),
    }
    inputs = runners["prefill"].get_input_details()
    chunk, kv_length = (int(size) for size in inputs["mask"]["shape"][2:])
    if not 0 < len(token_ids) <= kv_length:
        raise BundleError(
            f"{tflite_path}: the prompt has {len(token_ids)} tokens, the file takes 1 to "
            f"{kv_length}. Shorten the tool declarations or convert with a larger kv_cache_max_len."
        )
    cache = {
        name: np.zeros(detail["shape"], np.float32)
        for name, detail in inputs.items()
        if name.startswith("kv_cache")
    }

    def step(runner: str, start: int, tokens: Sequence[int], length: int) -> dict[str, Any]:
        positions = np.arange(start, start + length, dtype=np.int32)
        padded = np.zeros((1, length), np.int32)
        padded[0, : len(tokens)] = tokens
        # A position sees itself and all before it; -inf removes the others from the softmax.
        mask = np.where(np.arange(kv_length) <= positions[:, None], 0, -np.inf).astype(np.float32)[
            None, None
        ]
        return runners[runner](tokens=padded, input_pos=positions, mask=mask, **cache)

    # A padded chunk writes to the cache, too, so one that would end past the end of the cache is
    # decoded token by token instead. The last token is always decoded, for its logits.
    done, last = 0, len(token_ids) - 1
    with quiet_stderr():
        while done < last and done + chunk <= kv_length:
            tokens = token_ids[done : min(done + chunk, last)]
            cache = step("prefill", done, tokens, chunk)
            done += len(tokens)
        for position in range(done, len(token_ids)):
            cache = step("decode", position, token_ids[position : position + 1], 1)
            logits = cache.pop("logits")
    return logits[0, 0]


def compare(reference: np.ndarray, got: np.ndarray) -> dict[str, float | int | bool]:
    """Compare first-token logits of two models; int8 weights make them close, never equal.

    Args:
        reference: PyTorch's logits, shape (vocabulary,).
        got: the `.tflite`'s logits, same shape.
    Returns:
        `argmax_reference`, `argmax_got`, `argmax_agrees`, `cosine` (1 is the same direction),
        `max_abs_difference`, `top5_overlap` (0 to 1) and `reference_margin` (how far the
        reference's best token leads its second).
    Raises:
        BundleError: the shapes differ or a value is not finite.
    """
    import numpy as np

    reference, got = np.asarray(reference, np.float64), np.asarray(got, np.float64)
    if reference.shape != got.shape or reference.ndim != 1:
        raise BundleError(
            f"logits: shapes {reference.shape} and {got.shape}, expected one vocabulary-sized row "
            "each. The .tflite was made from another model: convert it again."
        )
    if not (np.isfinite(reference).all() and np.isfinite(got).all()):
        raise BundleError(
            "logits: NaN or infinity found. Load the model in bfloat16 or float32 (never float16), "
            "then convert it again."
        )
    ranked, ranked_got = np.argsort(-reference, kind="stable"), np.argsort(-got, kind="stable")
    norms = np.linalg.norm(reference) * np.linalg.norm(got)
    return {
        "argmax_reference": int(ranked[0]),
        "argmax_got": int(ranked_got[0]),
        "argmax_agrees": bool(ranked[0] == ranked_got[0]),
        "cosine": float(reference @ got / norms) if norms else 0.0,
        "max_abs_difference": float(np.abs(reference - got).max()),
        "top5_overlap": len({*ranked[:5].tolist()} & {*ranked_got[:5].tolist()})
        / min(5, len(ranked)),
        "reference_margin": float(
            reference[ranked[0]] - reference[ranked[min(1, len(ranked) - 1)]]
        ),
    }


def _length(signature: str) -> int:
    """Tokens that a signature such as `prefill_256` takes."""
    return int(signature.rpartition("_")[2])
