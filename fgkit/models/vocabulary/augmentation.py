"""Extra training rows, tokenized as the reduced vocabulary splits the words it does not hold.

In: a base with a reduced vocabulary and its training rows. Out: token rows to train beside the
usual ones; none for a complete vocabulary.

The pieces of the training rows are all kept, those of a user's next sentence are not: `▁Nina` is
then `▁N`, `ina`. Without these rows a model meets such splits for the first time when it has to
copy a word, and copies another one. A row is split as it would be if it had not been there when
the pieces were chosen, and with no more than 32,768 of them; `vocabulary.json` lists the others.

Example:

    examples += unseen_spellings(base.folder, rendered.train, examples, max_length=1024)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit.dataset.rendered import RenderedRecords
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.files import read_json
from fgkit.models.base import load_tokenizer

from .pieces import merge_parts
from .record import FILE


def unseen_spellings(
    folder: Path,
    rendered: RenderedRecords,
    examples: Sequence[TokenizedExample],
    *,
    max_length: int,
    seed: int = 0,
) -> list[TokenizedExample]:
    """Training rows in the split of a text for which the vocabulary was not chosen.

    Args:
        folder: the base that is trained.
        rendered: the training rows.
        examples: the same rows, tokenized as the base does.
        max_length: longest row in tokens; a split that is longer is left out.
        seed: the run's, for the choice of styles; the one that `examples` were made with.
    Returns:
        The rows that are split differently from `examples`.
    """
    record = read_json(folder / FILE) if (folder / FILE).is_file() else {}
    removed = record.get("not_in_second_spelling")
    if not removed:
        return []
    split = rendered.tokenized(
        tokenizer_without(folder, removed), max_length=sys.maxsize, seed=seed
    )
    return [
        other
        for row, other in zip(examples, split, strict=True)
        if other != row and len(other.tokens) <= max_length
    ]


def tokenizer_without(folder: Path, ids: Sequence[int]) -> Any:
    """A model folder's tokenizer that never merges up to certain pieces.

    Args:
        folder: the model folder.
        ids: the pieces; they stay in the vocabulary, so that all ids keep their meaning.
    """
    from transformers import PreTrainedTokenizerFast

    backend, data = load_tokenizer(folder).backend_tokenizer, read_json(folder / "tokenizer.json")
    model, removed = data["model"], set(ids)
    model["merges"] = [
        merge
        for merge in model["merges"]
        if model["vocab"]["".join(merge_parts(merge))] not in removed
    ]
    return PreTrainedTokenizerFast(tokenizer_object=type(backend).from_str(json.dumps(data)))
