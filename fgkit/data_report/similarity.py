"""Compares texts without case and punctuation, and finds near-duplicates without comparing all.

Two texts are near-duplicates if they share most of their letter triples (Jaccard similarity).
MinHash signatures estimate this, locality-sensitive hashing finds the candidates, and the
similarity of these is then computed exactly. Time and memory grow with the number of rows, not with
its square: in each band a row is compared with at most two others, which is enough for each of many
copies to find one.

>>> round(similarity(normal("Please turn on the lamp!"), normal("please turn on the lamp now")), 2)
0.85
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fgkit.chat_types import JsonValue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Texts that share this much are near-duplicates: one typo in a short sentence.
ALIKE = 0.75
# Two texts at ALIKE share a band with a probability of 1 - (1 - 0.75**4)**16 = 99.8%.
_BANDS, _ROWS = 16, 4
# Candidates of a row that are compared exactly, the most promising first.
_TRIED = 3
_CHUNK = 4096
_NOT_WORD = re.compile(r"(?:\W|_)+")


def normal(text: str) -> str:
    """Return a text without case, spacing and punctuation; unchanged if nothing would be left."""
    return _NOT_WORD.sub(" ", text.casefold()).strip() or text.strip()


def key(text: str) -> int:
    """Return a 64-bit digest of a text.

    Among a million texts two have the same digest by accident with a probability of 1 in 37
    million.
    """
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def leaves(value: JsonValue) -> Iterator[JsonValue]:
    """Yield the values inside nested lists and objects, in order."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def signatures(texts: Sequence[str], *, seed: int) -> NDArray[np.uint32]:
    """Return the MinHash signatures of normalised texts.

    Args:
        texts: as `normal` gives them.
        seed: of the hash functions.
    Returns:
        uint32 [len(texts), 64]; the share of equal columns of two rows estimates the similarity of
        their texts.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    factors, offsets = (
        random.integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
        for _ in range(2)
    )
    result = np.empty((len(texts), _BANDS * _ROWS), dtype=np.uint32)
    for start in range(0, len(texts), _CHUNK):
        hashes, starts = _triples(texts[start : start + _CHUNK])
        for column, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
            mixed = ((hashes * factor + offset) >> np.uint64(32)).astype(np.uint32)
            result[start : start + _CHUNK, column] = np.minimum.reduceat(mixed, starts)
    return result


def _triples(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hashes of the letter triples of all texts, and where those of each text begin."""
    import numpy as np

    padded = [f" {text} ".ljust(3) for text in texts]
    codes = np.frombuffer(
        "".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    ).astype(np.uint64)
    # Three multiplications and a shift mix three letters into 64 bits, for all texts at once.
    hashes = codes[:-2] * np.uint64(0x9E3779B97F4A7C15)
    hashes ^= codes[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F)
    hashes ^= codes[2:] * np.uint64(0x165667B19E3779F9)
    hashes ^= hashes >> np.uint64(29)
    lengths = np.array([len(text) for text in padded])
    ends = np.cumsum(lengths)
    crosses = np.zeros(len(codes), dtype=bool)
    # Triples that would reach into the next text are left out.
    crosses[ends - 1] = crosses[ends - 2] = True
    return hashes[~crosses[:-2]], np.concatenate([[0], np.cumsum(lengths - 2)[:-1]])


def near_pairs(
    signature: NDArray[np.uint32],
    answers: Sequence[int],
    texts: Sequence[str],
    trained: int | None = None,
) -> Iterator[tuple[int, int, float]]:
    """Find rows whose text is nearly that of an earlier row with the same answer.

    Args:
        signature: of all rows, from `signatures`.
        answers: `key` of each row's answer.
        texts: the normalised texts, same order; equal texts are no pair.
        trained: how many of the first rows are training rows: each later row is compared only with
            those. Left out, each row is compared with the rows before it.
    Yields:
        (row, the most similar earlier row, their similarity) in the order of rows; the similarity
        is at least `ALIKE`.
    """
    import numpy as np

    rows, others = _candidates(
        signature, np.array(answers, dtype=np.uint64), trained or 0, trained is not None
    )
    agreement = np.zeros(len(rows), dtype=np.uint8)
    # In slices, because the compared signatures of all pairs could be large.
    for start in range(0, len(rows), 65536):
        pairs = slice(start, start + 65536)
        equal = signature[rows[pairs]] == signature[others[pairs]]
        agreement[pairs] = equal.sum(axis=1, dtype=np.uint8)
    order = np.lexsort((others, -agreement.astype(np.int16), rows))
    current, left = -1, 0
    for row, other in zip(rows[order].tolist(), others[order].tolist(), strict=True):
        if row != current:
            current, left = row, _TRIED
        if left and texts[row] != texts[other]:
            left -= 1
            share = similarity(texts[row], texts[other])
            if share >= ALIKE:
                left = 0
                yield row, other, share


def _candidates(
    signature: NDArray[np.uint32], answers: NDArray[np.uint64], trained: int, across: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (row, earlier row) that have the same answer and share a band of the signature.

    Of all rows that share a band, each is paired with the first one and with the one before it.
    `across` allows only training rows as the earlier row, and only other rows as the later one.
    """
    import numpy as np

    count = len(signature)
    pairs = [np.zeros(0, dtype=np.int64)]
    positions = np.arange(count)
    for band in range(_BANDS):
        # Rows of one answer whose signatures agree in this band get the same key.
        keys = answers.copy()
        for column in range(band * _ROWS, (band + 1) * _ROWS):
            keys = (keys ^ signature[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(32)
        # Sorted by key, rows of one key are neighbours, in the order of the file.
        order = np.argsort(keys, kind="stable")
        new = np.ones(count, dtype=bool)
        new[1:] = keys[order][1:] != keys[order][:-1]
        first = np.maximum.accumulate(np.where(new, positions, 0))
        eligible = order < trained if across else np.ones(count, dtype=bool)
        last = (
            np.concatenate([[-1], np.maximum.accumulate(np.where(eligible, positions, -1))[:-1]])
            if count
            else positions
        )
        asked = order >= trained if across else ~new
        # Positions become rows again; a pair is coded as one number, to drop those found twice.
        for other in (first, last):
            good = asked & (other >= first) & (other < positions)
            good[good] = eligible[other[good]]
            pairs.append(order[good] * count + order[other[good]])
    unique = np.unique(np.concatenate(pairs))
    return unique // max(count, 1), unique % max(count, 1)


def similarity(text: str, other: str) -> float:
    """Return the share of letter triples that two normalised texts have in common, 0 to 1."""
    triples, others = _triple_set(text), _triple_set(other)
    if not triples | others:
        return float(text == other)
    return len(triples & others) / len(triples | others)


def _triple_set(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[start : start + 3] for start in range(len(padded) - 2)}
