"""Which words of a vocabulary belong to other languages than an app's: the base's own embeddings tell.

In: the table of embeddings, the pieces, the app's texts. Out: the ids of words that lie far from those texts' words.
Pieces of one language lie near each other, and frequency alone would keep ▁semana and ▁jedoch for an app in English
before ▁invoice.

>>> foreign(table, pieces, texts)      # rows in English: a third of the frequent words in Latin letters
frozenset({...})
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pieces import Pieces

NEAREST = 4  # of the texts' words, whose mean similarity counts
OUTSIDE = 0.1  # share of the texts' own words that would count as foreign, by their similarity to the others
LEAST = 64  # different words in the texts, below which they tell too little
SHORTEST = 3  # letters; shorter pieces are parts of words of every language
_ROWS = 8192  # words compared at a time


def foreign(table: Any, pieces: Pieces, texts: Sequence[str]) -> frozenset[int]:
    """Words that are less like the texts' words than nine tenths of these are like each other.

    Args:
        table: the base's embeddings, a tensor of shape (pieces, hidden size).
        pieces: the vocabulary.
        texts: of the run, in all its languages.
    Returns:
        ids of pieces that begin a word; none where the texts have fewer than 64 different words.
    """
    import torch

    words = [
        index
        for index in pieces.merged
        if pieces.is_word(index) and len(pieces.names[index]) > SHORTEST
    ]
    own = sorted({index for ids in pieces.encode(texts) for index in ids} & set(words))
    if len(own) < LEAST:
        return frozenset()
    middle = table[words].double().mean(0)

    def directions(ids: Sequence[int]) -> Any:
        return torch.nn.functional.normalize(table[list(ids)].double() - middle, dim=1)

    def closeness(similar: Any) -> Any:
        return similar.topk(NEAREST, dim=1).values.mean(1)

    theirs = directions(own)  # float64, so that every machine chooses the same pieces
    among = (theirs @ theirs.T).fill_diagonal_(-1)
    least = closeness(among).sort().values[int(OUTSIDE * len(own))]
    found: set[int] = set()
    for start in range(0, len(words), _ROWS):
        some = words[start : start + _ROWS]
        far = closeness(directions(some) @ theirs.T) < least
        found.update(index for index, is_far in zip(some, far.tolist(), strict=True) if is_far)
    return frozenset(found.difference(own))
