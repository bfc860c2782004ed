"""The files of a model folder, and whether a folder holds a complete model."""

from __future__ import annotations

from pathlib import Path

from fgkit import checksums
from fgkit.errors import ModelError

from .weights import weight_problems

WEIGHTS = "model.safetensors"
ADAPTER = "adapter_config.json"
SHARDS = "model.safetensors.index.json"

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    WEIGHTS,
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
)
OPTIONAL_FILES = {"special_tokens_map.json", "added_tokens.json"}

# Several times what the files of a real model have; everything in them is read into memory.
_MAX_MB = {
    "config.json": 1,
    "generation_config.json": 1,
    "tokenizer.json": 200,
    "tokenizer.model": 50,
    "tokenizer_config.json": 20,
    "chat_template.jinja": 1,
    "special_tokens_map.json": 1,
    "added_tokens.json": 20,
}


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not hold a complete model.

    Raises:
        ModelError: it holds another kind of model, files are missing or the weights are truncated;
            all problems in one message.
    """
    if kind := other_kind(folder):
        raise ModelError(f"{folder}: not a complete model: {kind}")
    problems = [
        f"{name} is missing"
        for name in MODEL_FILES
        if name not in OPTIONAL_FILES and not (folder / name).is_file()
    ]
    problems += [
        f"{name} has more than {limit} MB, expected a few"
        for name, limit in _MAX_MB.items()
        if (folder / name).is_file() and (folder / name).stat().st_size > limit * 1_000_000
    ]
    if (folder / WEIGHTS).is_file():
        problems += weight_problems(folder)
    problems = problems or checksums.problems(folder)
    if problems:
        raise ModelError(
            f"{folder}: not a complete model: {'; '.join(problems)}. "
            "If it was downloaded, download it again; if it was copied, copy all files."
        )


def other_kind(folder: Path) -> str:
    """What a folder holds instead of one complete model, and what to do; empty if it is one.

    Args:
        folder: an existing folder; only the names of its files are looked at.
    """
    if (folder / ADAPTER).exists():
        return (
            f"it is a LoRA or PEFT adapter ({ADAPTER}), which only changes another model; expected "
            "all weights of one model. Merge it into its base "
            "(AutoPeftModelForCausalLM.from_pretrained(...).merge_and_unload()), save the result "
            "with save_pretrained into a new folder, and give that."
        )
    if (folder / WEIGHTS).exists():
        return ""
    missing = f"{WEIGHTS} is missing: the folder holds"
    if (folder / SHARDS).exists() or _names(folder, "model-*-of-*.safetensors"):
        return (
            f"{missing} weights in several files ({SHARDS}); expected one. Load it with "
            "AutoModelForCausalLM and save it again with "
            'save_pretrained(folder, max_shard_size="50GB").'
        )
    if found := _names(folder, "*.gguf"):
        return (
            f"{missing} GGUF weights ({found}), which are made for llama.cpp; expected safetensors "
            "in bfloat16. Get the model that they were made from."
        )
    if found := _names(folder, "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"):
        return (
            f"{missing} pickled weights ({found}); pickle files are not read, because reading them "
            "runs code that they hold. Get the model as safetensors, or load it where you trust it "
            "and save it with save_pretrained."
        )
    return ""


def _names(folder: Path, *patterns: str) -> str:
    """The first names in a folder that match, for messages."""
    found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
