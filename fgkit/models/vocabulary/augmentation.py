"""Training rows once more, spelt as the cut vocabulary spells the words of users that it does not hold.

In: a cut base and its training rows. Out: token rows to train beside the usual ones; none for a whole vocabulary.

The pieces of the training rows are all kept, those of a user's next sentence are not: `▁Nina` is then `▁N`, `ina`. Without
this, a model meets such spellings for the first time when it has to copy them, and says another name. A row is spelt here
as it would be if it had not been there when the pieces were chosen, and with no more than 32,768 of them; `vocabulary.json`
lists the others.

>>> examples += unseen(base.folder, rendered.train, examples, max_length=1024)
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

from .cut_base import FILE


def unseen(
    folder: Path,
    rendered: RenderedRecords,
    examples: Sequence[TokenizedExample],
    *,
    max_length: int,
    seed: int = 0,
) -> list[TokenizedExample]:
    """Rows in the spelling of a text that the vocabulary was not chosen for, where it is another.

    Args:
        folder: the base that is trained.
        rendered: the training rows.
        examples: the same rows, tokenized as the base does.
        seed: the run's, for the choice of styles; the one that `examples` were made with.
        max_length: longest row in tokens; a spelling that is longer is left out.
    """
    gone = (
        read_json(folder / FILE).get("not_in_second_spelling")
        if (folder / FILE).is_file()
        else None
    )
    if not gone:
        return []
    spelt = rendered.tokenized(tokenizer_without(folder, gone), max_length=sys.maxsize, seed=seed)
    return [
        other
        for row, other in zip(examples, spelt, strict=True)
        if other != row and len(other.tokens) <= max_length
    ]


def tokenizer_without(folder: Path, ids: Sequence[int]) -> Any:
    """A model folder's tokenizer that never merges up to these pieces."""
    from transformers import PreTrainedTokenizerFast

    whole, data = load_tokenizer(folder).backend_tokenizer, read_json(folder / "tokenizer.json")
    model, gone = data["model"], set(ids)
    model["merges"] = [
        merge
        for merge in model["merges"]
        if model["vocab"]["".join(merge.split(" ") if isinstance(merge, str) else merge)]
        not in gone
    ]
    return PreTrainedTokenizerFast(tokenizer_object=type(whole).from_str(json.dumps(data)))
