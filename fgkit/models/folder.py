"""The files of a model folder, and whether a folder holds a complete model."""

from __future__ import annotations

from pathlib import Path

from fgkit import checksums
from fgkit.errors import ModelError

from .weights import weight_problems

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
)
OPTIONAL_FILES = {"special_tokens_map.json", "added_tokens.json"}


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not hold a complete model.

    Raises:
        ModelError: files are missing or the weights are truncated; all problems in one message.
    """
    problems = [
        f"{name} is missing"
        for name in MODEL_FILES
        if name not in OPTIONAL_FILES and not (folder / name).is_file()
    ]
    if (folder / "model.safetensors").is_file():
        problems += weight_problems(folder)
    problems = problems or checksums.problems(folder)
    if problems:
        raise ModelError(
            f"{folder}: not a complete model: {'; '.join(problems)}. "
            "If it was downloaded, download it again; if it was copied, copy all files."
        )
