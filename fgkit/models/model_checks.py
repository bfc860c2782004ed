"""Numbered checks: each says pass, fail or skipped, why, and what to do about it.

>>> print(table(check_answers(["<start_function_call>call:f{}<end_function_call>"])))
 1. pass     calls a function  0 of 1 answers lack <start_function_call>.
 2. pass     no padding        0 of 1 answers contain <pad>.
...

`require(checks)` raises when one failed. Nothing here asks the network, loads a network or imports torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import checksums, files
from fgkit.checks import Check
from fgkit.errors import FgkitError
from fgkit.prompts import CONTROL_TOKENS, STOP_IDS

from . import sentencepiece_model

GUIDE_FILES = (
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
MORE_FILES = ("generation_config.json", "chat_template.jinja")
# What litert_torch's build_model_270m builds whatever the folder says: one that differs would convert into nonsense.
SHAPE_270M = {
    "model_type": "gemma3_text",
    "hidden_size": 640,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "intermediate_size": 2048,
    "sliding_window": 512,
}
VOCABULARY = 262_144  # rows of the 270M's embedding; a base with a cut vocabulary has fewer
# Shares of the answers above which a validation check fails; a call is missing in some rows of any honest model.
MAX_WITHOUT_CALL, MAX_GARBAGE, MAX_REFUSING = 0.5, 0.1, 0.25


def check_answers(texts: Sequence[str]) -> list[Check]:
    """The guide's four checks before conversion: what is wrong here was wrong before the conversion.

    Args:
        texts: the model folder's greedy answers, control tokens kept, to prompts that ask for a call.
    """
    texts = list(texts)
    without_call = [text for text in texts if "<start_function_call>" not in text]
    padded = [text for text in texts if "<pad>" in text]
    garbage = [text for text in without_call if _is_garbage(text)]
    # Only answers without a call: an alert that says "sorry" is a fine argument.
    refusing = [
        text
        for text in without_call
        if re.search(r"\b(?:sorry|apologi[sz]e)\b", text, re.IGNORECASE)
    ]
    broken = "The fine-tuning is broken, not the conversion: check learning rate, epochs and data, and train again."
    rows = [
        (
            "calls a function",
            without_call,
            MAX_WITHOUT_CALL,
            "lack <start_function_call>",
            "Train longer or on more rows, and look at the scores per tool.",
        ),
        (
            "no padding",
            padded,
            0.0,
            "contain <pad>",
            "Wrong loading parameters: load with dtype bfloat16 (not float16) and attn_implementation 'eager'.",
        ),
        ("readable text", garbage, MAX_GARBAGE, "are garbage or Chinese", broken),
        (
            "no refusals",
            refusing,
            MAX_REFUSING,
            "say sorry or apologize instead of calling",
            "The model refuses to call: the developer turn must hold the trigger sentence and the tool declarations.",
        ),
    ]
    if not texts:
        return [
            Check(
                i,
                row[0],
                "fail",
                "there are no answers to look at.",
                "Generate answers for some rows first.",
            )
            for i, row in enumerate(rows, 1)
        ]
    return [
        Check(
            i,
            name,
            "fail" if len(hits) > limit * len(texts) else "pass",
            f"{len(hits)} of {len(texts)} answers {what}"
            + (f", such as {hits[0][:60]!r}." if hits else "."),
            remedy,
        )
        for i, (name, hits, limit, what, remedy) in enumerate(rows, 1)
    ]


def check_model_folder(path: str | Path) -> list[Check]:
    """Check a model folder for the files, weights, shape and tokenizers that conversion and bundle need.

    Args:
        path: the folder that training wrote, or one tuned elsewhere.
    """
    path = Path(path)
    missing = [name for name in GUIDE_FILES + MORE_FILES if not (path / name).is_file()]
    again = "Save model and tokenizer again with fgkit's training, or copy the missing files from the base model."
    results: list[tuple[str, list[str] | None, str, str]] = [
        (
            "files",
            [f"{path}: missing: {', '.join(missing)}."] if missing else [],
            "all are there.",
            again,
        ),
        (
            "weights",
            weight_problems(path),
            "model.safetensors is whole.",
            "Copy or download the folder again.",
        ),
        (
            "data type",
            _or_skip(path / "model.safetensors", _dtype_problems),
            "all tensors are bfloat16.",
            "Save the model in bfloat16 (model.to(torch.bfloat16)); never float16.",
        ),
        ("shape", shape_problems(path), "Gemma 3 270M.", "Start from FunctionGemma 270M."),
        (
            "tokenizer.model",
            _or_skip(path / "tokenizer.model", _piece_problems),
            "parses, and the control tokens have their ids.",
            "Take tokenizer.model from the FunctionGemma base model.",
        ),
        (
            "tokenizer.json",
            _or_skip(path / "tokenizer.json", _added_token_problems),
            "the control tokens have their ids.",
            "Take tokenizer.json from the FunctionGemma base model.",
        ),
        (
            "stop ids",
            _or_skip(path / "generation_config.json", _stop_id_problems),
            f"generation stops at {sorted(STOP_IDS)}.",
            f'Set "eos_token_id": {sorted(STOP_IDS)} in generation_config.json.',
        ),
        (
            "fgkit.json",
            _or_skip(path / "fgkit.json", _record_problems),
            "records how the model was made.",
            "Delete or repair the file.",
        ),
        (
            "checksums",
            checksums.problems(path) if (path / checksums.NAME).is_file() else None,
            "every file has the bytes it was written with.",
            checksums.remedy(path),
        ),
    ]
    absent = {"fgkit.json": "there is no such file.", "checksums": f"there is no {checksums.NAME}."}
    return [
        Check(i, name, "skipped", absent.get(name, "the file is missing."))
        if problems is None
        else Check(i, name, "fail" if problems else "pass", " ".join(problems) or good, remedy)
        for i, (name, problems, good, remedy) in enumerate(results, 1)
    ]


def weight_problems(folder: str | Path) -> list[str]:
    """What is wrong with a folder's `model.safetensors`: missing, pickled, truncated, or not what its header says."""
    weights = Path(folder) / "model.safetensors"
    if not Path(folder).is_dir():
        return [f"{folder}: there is no such folder. Give the model folder that training wrote."]
    if not weights.is_file():
        others = sorted(
            p.name
            for p in Path(folder).iterdir()
            if p.suffix in (".bin", ".pt", ".ckpt", ".safetensors")
        )
        return [
            f"{weights}: missing"
            + (f" (found {', '.join(others)})" if others else "")
            + ". One safetensors file is expected; pickle files are not read. Save with save_pretrained."
        ]
    try:
        header = _tensors(weights)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return [
            f"{weights}: no readable safetensors header ({str(error)[:200]}). Copy or download the file again."
        ]
    problems = []
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    with open(weights, "rb") as handle:
        expected = 8 + int.from_bytes(handle.read(8), "little") + end
    if weights.stat().st_size != expected:
        problems.append(
            f"{weights}: {weights.stat().st_size} bytes, its header promises {expected}. "
            "The file is incomplete: copy or download it again."
        )
    if not any(name.endswith("embed_tokens.weight") for name in header):
        problems.append(
            f"{weights}: holds no embed_tokens.weight. It is no Gemma model; merge a LoRA adapter first."
        )
    return problems


def shape_problems(folder: str | Path) -> list[str]:
    """How a folder's `config.json` differs from Gemma 3 270M, the one shape that can be converted."""
    path = Path(folder) / "config.json"
    try:
        config = files.read_json(path)
    except FgkitError as error:
        return [str(error)]
    if not isinstance(config, dict):
        return [f"{path}: holds a {type(config).__name__}, expected an object."]
    problems = [
        f"{path}: {key} is {config.get(key)!r}, expected {value!r}: only Gemma 3 270M can be converted."
        for key, value in SHAPE_270M.items()
        if config.get(key) != value
    ]
    size = config.get("vocab_size")
    if type(size) is not int or not 0 < size <= VOCABULARY:
        problems.append(
            f"{path}: vocab_size is {size!r}, expected {VOCABULARY} or, after a cut, fewer."
        )
    if config.get("tie_word_embeddings", True) is not True:
        problems.append(
            f"{path}: tie_word_embeddings is false, expected true: the converter has no separate output "
            "head."
        )
    return problems


def _is_garbage(text: str) -> bool:
    """More than three in ten characters are CJK, replacement or control characters."""
    text = re.sub(r"<[a-z_]+>", "", text).strip()
    odd = sum(
        char == "\ufffd"
        or not (char.isprintable() or char in "\n\t")
        or "\u2e80" <= char <= "\u9fff"
        or "\uac00" <= char <= "\ud7af"
        for char in text
    )
    return odd > 0.3 * len(text)


def _or_skip(path: Path, problems: Any) -> list[str] | None:
    """The problems of a file that is there; None when it is not, because the check for files has said so."""
    if not path.is_file():
        return None
    try:
        return problems(path)
    except (
        FgkitError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        return [
            f"{path}: cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})."
        ]


def _tensors(weights: Path) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file: name -> {"dtype", "shape", "data_offsets"}."""
    with open(weights, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if not 2 <= length <= 100_000_000:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(handle.read(length))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in tensors.items():
        start, end = entry["data_offsets"]
        if not 0 <= start <= end or not isinstance(entry["dtype"], str):
            raise ValueError(f"tensor {name!r} at {start} to {end}")
    return tensors


def _dtype_problems(weights: Path) -> list[str]:
    found = sorted({entry["dtype"] for entry in _tensors(weights).values()})
    return (
        []
        if found == ["BF16"]
        else [f"{weights}: holds {', '.join(found) or 'nothing'}, expected BF16."]
    )


def _piece_problems(path: Path) -> list[str]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(path.read_bytes())
    problems = [
        f"{path}: {problem}." for problem in sentencepiece_model.control_token_problems(processor)
    ]
    size = files.read_json(path.with_name("config.json")).get("vocab_size")
    if processor.GetPieceSize() != size:
        problems.append(
            f"{path}: has {processor.GetPieceSize()} pieces, but config.json says vocab_size {size}: one of "
            "them is of another base, whole or with a cut vocabulary."
        )
    return problems


def _added_token_problems(path: Path) -> list[str]:
    added = {entry["content"]: entry["id"] for entry in files.read_json(path)["added_tokens"]}
    return [
        f"{path}: {token} has id {added.get(token)}, expected {number}."
        for token, number in CONTROL_TOKENS.items()
        if added.get(token) != number
    ]


def _stop_id_problems(path: Path) -> list[str]:
    found = files.read_json(path).get("eos_token_id")
    ids = found if isinstance(found, list) else [found]
    return (
        []
        if set(ids) == set(STOP_IDS)
        else [f"{path}: eos_token_id is {found}, expected {sorted(STOP_IDS)}."]
    )


def _record_problems(path: Path) -> list[str]:
    found = files.read_json(path)
    return (
        [] if isinstance(found, dict) and "style" in found else [f"{path}: names no prompt style."]
    )
