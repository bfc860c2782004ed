"""How alike rows are: texts without case and punctuation, near-duplicates without comparing all.

In: texts. Out: digests that are equal where texts are, and pairs of rows that are nearly equal.

>>> similarity(normal("Please turn on the lamp!"), normal("please turn on the lamp now"))
0.85

Near-duplicates: the share of letter triples that two texts have in common (Jaccard), estimated by MinHash, searched by
locality-sensitive hashing and then computed exactly. Time and memory grow with the number of rows, not with its square:
a row is compared with at most two others per band, so of many copies each still finds one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

ALIKE = 0.75  # share of letter triples from which two texts are near-duplicates: one typo in a short sentence
_BANDS, _ROWS = (
    16,
    4,
)  # two texts at ALIKE share a band with a chance of 1 - (1 - 0.75**4)**16 = 99.8%
_TRIED = 3  # candidates of a row that are compared exactly, the most promising first
_CHUNK = 4096
_NOT_WORD = re.compile(r"(?:\W|_)+")


def normal(text: str) -> str:
    """What remains of a text when case, spacing and punctuation do not count; all of it where nothing would remain."""
    return _NOT_WORD.sub(" ", text.casefold()).strip() or text.strip()


def key(text: str) -> int:
    """64 bits that stand for a text: among a million texts two agree by accident with a chance of 1 in 37 million."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def leaves(value: Any) -> Iterator[Any]:
    """The values at the ends of nested lists and objects."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def signatures(texts: Sequence[str], *, seed: int) -> numpy.ndarray:
    """MinHash signatures of normalised texts.

    Args:
        texts: as `normal` gives them.
        seed: of the hash functions.
    Returns:
        uint32 [len(texts), 64]; the share of equal columns of two rows estimates how alike the texts are.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    factors, offsets = (
        random.integers(1, 2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
        for _ in range(2)
    )
    found = np.empty((len(texts), _BANDS * _ROWS), dtype=np.uint32)
    for start in range(0, len(texts), _CHUNK):
        hashes, starts = _triples(texts[start : start + _CHUNK])
        for column, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
            mixed = ((hashes * factor + offset) >> np.uint64(32)).astype(np.uint32)
            found[start : start + _CHUNK, column] = np.minimum.reduceat(mixed, starts)
    return found


def _triples(texts: Sequence[str]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """A hash of each letter triple of each text, text after text, and where each text begins."""
    import numpy as np

    padded = [f" {text} ".ljust(3) for text in texts]
    codes = np.frombuffer(
        "".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    ).astype(np.uint64)
    hashes = codes[:-2] * np.uint64(0x9E3779B97F4A7C15)
    hashes ^= codes[1:-1] * np.uint64(0xC2B2AE3D27D4EB4F)
    hashes ^= codes[2:] * np.uint64(0x165667B19E3779F9)
    hashes ^= hashes >> np.uint64(29)
    lengths = np.array([len(text) for text in padded])
    ends = np.cumsum(lengths)
    crosses = np.zeros(len(codes), dtype=bool)
    crosses[ends - 1] = crosses[ends - 2] = True  # triples that would reach into the next text
    return hashes[~crosses[:-2]], np.concatenate([[0], np.cumsum(lengths - 2)[:-1]])


def near_pairs(
    signature: numpy.ndarray,
    answers: Sequence[int],
    texts: Sequence[str],
    trained: int | None = None,
) -> Iterator[tuple[int, int, float]]:
    """Rows whose text is nearly that of an earlier row with the same answer.

    Args:
        signature: of all rows, from `signatures`.
        answers: `key` of each row's answer.
        texts: the normalised texts, same order; equal texts are no pair.
        trained: how many rows at the front are training rows: each later row is compared with those alone. Left out,
            each row is compared with the rows before it.
    Yields:
        (row, the most similar earlier row found, how alike) in the order of rows, where alike is at least `ALIKE`.
    """
    import numpy as np

    ours, theirs = _candidates(
        signature, np.array(answers, dtype=np.uint64), trained or 0, trained is not None
    )
    agreement = np.concatenate(
        [np.zeros(0, dtype=np.uint8)]
        + [
            (signature[ours[at : at + 65536]] == signature[theirs[at : at + 65536]]).sum(
                axis=1, dtype=np.uint8
            )
            for at in range(0, len(ours), 65536)
        ]
    )
    order = np.lexsort((theirs, -agreement.astype(np.int16), ours))
    current, left = -1, 0
    for row, other in zip(ours[order].tolist(), theirs[order].tolist(), strict=True):
        if row != current:
            current, left = row, _TRIED
        if left and texts[row] != texts[other]:
            left -= 1
            if (alike := similarity(texts[row], texts[other])) >= ALIKE:
                left = 0
                yield row, other, alike


def _candidates(
    signature: numpy.ndarray, answers: numpy.ndarray, trained: int, across: bool
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Pairs (row, earlier row) that share a band: with the first row of the band and the last one before the row."""
    import numpy as np

    count = len(signature)
    pairs = [np.zeros(0, dtype=np.int64)]
    places = np.arange(count)
    for band in range(_BANDS):
        keys = answers.copy()
        for column in range(band * _ROWS, (band + 1) * _ROWS):
            keys = (keys ^ signature[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(32)
        order = np.argsort(keys, kind="stable")
        new = np.ones(count, dtype=bool)
        new[1:] = keys[order][1:] != keys[order][:-1]
        first = np.maximum.accumulate(np.where(new, places, 0))
        eligible = order < trained if across else np.ones(count, dtype=bool)
        last = (
            np.concatenate([[-1], np.maximum.accumulate(np.where(eligible, places, -1))[:-1]])
            if count
            else places
        )
        asked = order >= trained if across else ~new
        for other in (first, last):
            good = asked & (other >= first) & (other < places)
            good[good] = eligible[other[good]]
            pairs.append(order[good] * count + order[other[good]])
    unique = np.unique(np.concatenate(pairs))
    return unique // max(count, 1), unique % max(count, 1)


def similarity(one: str, other: str) -> float:
    """The share of letter triples that two normalised texts have in common, 0 to 1."""
    first, second = (
        {text[at : at + 3] for at in range(len(text) - 2)} for text in (f" {one} ", f" {other} ")
    )
    return len(first & second) / len(first | second) if first | second else float(one == other)
