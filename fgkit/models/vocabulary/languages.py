"""Which words of a vocabulary belong to other languages than an app's, by the base's embeddings.

In: the embedding, the pieces, the app's texts. Out: the ids of words that lie far from those texts'
words. Pieces of one language lie near each other, and frequency alone would keep ▁semana and
▁jedoch for an app in English before ▁invoice.

Example:

    foreign(table, pieces, texts)    # a third of the frequent words in Latin letters
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pieces import Pieces

# How many of the texts' words the mean similarity is taken over.
NEAREST = 4
# Share of the texts' own words that would count as foreign, by their similarity to the others.
OUTSIDE = 0.1
# Distinct words in the texts below which they tell too little.
LEAST = 64
# Letters; shorter pieces are parts of words of every language.
SHORTEST = 3
# Words compared at a time, to bound the memory.
_ROWS = 8192


def foreign(table: Any, pieces: Pieces, texts: Sequence[str]) -> frozenset[int]:
    """Words that are less similar to the texts' words than nine tenths of these are to each other.

    Args:
        table: the base's embeddings, a tensor of shape (pieces, hidden size).
        pieces: the vocabulary.
        texts: of the run, in all its languages.
    Returns:
        ids of pieces that begin a word; none where the texts have fewer than 64 distinct words.
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

    # float64, so that every machine chooses the same pieces.
    own_directions = directions(own)
    among = (own_directions @ own_directions.T).fill_diagonal_(-1)
    least = closeness(among).sort().values[int(OUTSIDE * len(own))]
    far_words: set[int] = set()
    for start in range(0, len(words), _ROWS):
        block = words[start : start + _ROWS]
        far = closeness(directions(block) @ own_directions.T) < least
        far_words.update(index for index, is_far in zip(block, far.tolist(), strict=True) if is_far)
    return frozenset(far_words.difference(own))
