"""`vocabulary.json`: the record of a reduced vocabulary, in a base and in models tuned from it.

    {"pieces": 32768, "of": 262144, "made_from": "<sha256>", "not_in_second_spelling": [...],
     "ids": [...]}

`ids` holds the id that each piece has in the complete vocabulary. `not_in_second_spelling` lists
the pieces that only the training rows need (see `augmentation`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypedDict

from fgkit import checksums
from fgkit.atomic_files import replacing
from fgkit.files import read_json
from fgkit.models.weights import weight_problems

FILE = "vocabulary.json"


class VocabularySize(TypedDict):
    """How many pieces a model has, of how many in the complete vocabulary."""

    pieces: int
    of: int


def vocabulary_size(folder: Path) -> VocabularySize | None:
    """The size of a model folder's reduced vocabulary; None where its vocabulary is complete."""
    if not (folder / FILE).is_file():
        return None
    record = read_json(folder / FILE)
    return {"pieces": record["pieces"], "of": record["of"]}


def original_ids(folder: Path) -> list[int] | None:
    """The ids of a folder's pieces in the complete vocabulary; None where it is complete."""
    return read_json(folder / FILE)["ids"] if (folder / FILE).is_file() else None


def modification(folder: Path) -> str:
    """The licence's statement about a reduced vocabulary, as the first part of a sentence.

    Returns:
        such as `vocabulary cut to 32,768 of 262,144 pieces; `; empty for a complete vocabulary.
    """
    size = vocabulary_size(folder)
    return f"vocabulary cut to {size['pieces']:,} of {size['of']:,} pieces; " if size else ""


def copy_vocabulary_record(base: Path, model: Path) -> None:
    """Copy the record of a base with a reduced vocabulary to the model that was tuned from it.

    Args:
        base: the base's folder; without a record nothing is copied.
        model: the tuned model's folder.
    """
    if (base / FILE).is_file():
        with replacing(model / FILE) as part:
            shutil.copyfile(base / FILE, part)


def is_made_from(folder: Path, made_from: str) -> bool:
    """Whether a folder holds the undamaged base that certain inputs give.

    Args:
        folder: where it would be.
        made_from: the hash of the inputs.
    """
    return (
        (folder / FILE).is_file()
        and read_json(folder / FILE).get("made_from") == made_from
        and not weight_problems(folder)
        and not checksums.problems(folder)
    )
