"""Which pieces of a vocabulary an app needs: the rows' own, the format's, then the most frequent.

In: a SentencePiece BPE model, how many pieces to keep, the texts of the run. Out: the kept ids, in
their old order. A character whose piece is not kept is written in bytes.

Example:

    ids = choose(pieces, 32_768, texts)
    len(ids), ids[:108] == list(range(108))    # (32768, True)
"""

from __future__ import annotations

import collections
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set

from fgkit.errors import ConfigError
from fgkit.prompts.format import DEFAULT_SYSTEM_MSG

from .pieces import SPACE, Pieces, segments

# Share of the free places for single characters: letters of the texts' scripts, signs, emoji.
CHARACTERS = 1 / 16
# Pieces that start words, for each one inside words, from which a script counts as written with
# spaces.
SPACED = 0.1
# Share of the texts' letters from which a script counts as one of theirs.
ENOUGH = 0.01
# What the format itself writes between control tokens, also where no row of the run shows it.
FORMAT = (
    "developer\n",
    "user\n",
    "model\n",
    DEFAULT_SYSTEM_MSG,
    "declaration:f{description:",
    ",parameters:{properties:{x:{",
    ",nullable:true,enum:[",
    ",items:{type:",
    "]},required:[",
    "],type:",
    "STRING",
    "INTEGER",
    "NUMBER",
    "BOOLEAN",
    "ARRAY",
    "OBJECT",
    "call:f{x:-1.5e+10,y:true,z:false,n:None,l:[",
    "},{",
    "response:f{value:",
    "0123456789",
)


def choose(
    pieces: Pieces,
    size: int,
    texts: Iterable[str],
    *,
    needed: Iterable[str] | None = None,
    foreign: Set[int] = frozenset(),
) -> list[int]:
    """Choose the pieces to keep.

    All pieces that are not built by merges are kept: control tokens, white space, bytes. The texts'
    pieces follow. The places left go to single characters of the texts' scripts, to words in the
    texts' letters, to words in their scripts, and to all others. Each group is taken in the order
    of the ids: BPE made the pieces one after the other, the most frequent pair first, and sorted
    single characters by frequency. A word comes with its forms (see `Pieces.word`).

    Args:
        pieces: the complete vocabulary.
        size: pieces to keep, fewer than there are.
        texts: the run's; control tokens in them are structure.
        needed: those that must be encoded as they are now; None for all.
        foreign: words to take last (see `languages`).
    Returns:
        `size` ids, ascending, so that ids before the first merged piece stay the same.
    Raises:
        ConfigError: the size is too small for the texts, or too large.
    """
    if size >= len(pieces):
        raise ConfigError(
            f"vocab_size is {size}, but the base has {len(pieces)} pieces. Set it to less, or to 0 "
            "to keep them all."
        )
    texts = segments([*texts, *FORMAT])
    needed = texts if needed is None else segments([*needed, *FORMAT])
    kept = set(pieces.fixed)
    for index in {index for ids in pieces.encode(needed) for index in ids}:
        kept |= pieces.parts(index)
    if len(kept) > size:
        # Rounded up to the next thousand and twenty-four.
        enough = -(-len(kept) // 1024) * 1024
        raise ConfigError(
            f"vocab_size is {size}, but rows, tools and structure need {len(kept)} pieces. Set it "
            f"to "
            f"{enough} or more, or to 0 to keep all {len(pieces)}."
        )
    for group in ranked(pieces, texts, size - len(kept), foreign):
        if len(kept) == size:
            break
        missing = group - kept
        if len(kept) + len(missing) <= size:
            kept |= missing
    if len(kept) < size:
        raise ConfigError(
            f"vocab_size is {size}, but only {len(kept)} of the base's {len(pieces)} pieces are of "
            "use. Set it to that or less, or to 0 to keep them all."
        )
    return sorted(kept)


def ranked(
    pieces: Pieces, texts: Sequence[str], room: int, foreign: Set[int] = frozenset()
) -> Iterator[frozenset[int]]:
    """Merged pieces in the order in which they deserve a place, each with the pieces it needs.

    Args:
        pieces: the vocabulary.
        texts: of the run; their letters tell which scripts its users write.
        room: free places.
        foreign: words of other languages.
    Yields:
        ids to keep together; some come twice.
    """
    scripts = scripts_of(texts)
    alphabet = {char for text in texts for char in text} | set(map(chr, range(128))) | {SPACE}
    shared = {char for name in pieces.names for char in name if script(char) in scripts}
    own = [index for index in pieces.merged if shared.issuperset(pieces.names[index])]
    last = foreign | _inner(pieces)
    single = [index for index in own if len(pieces.names[index]) == 1]
    yield from map(pieces.parts, single[: int(room * CHARACTERS)])
    yield from (
        pieces.word(index)
        for index in own
        if index not in last and alphabet.issuperset(pieces.names[index])
    )
    yield from (pieces.word(index) for index in own if index not in last)
    yield from map(pieces.parts, own)
    yield from map(pieces.parts, pieces.merged)


def _inner(pieces: Pieces) -> set[int]:
    """Pieces for the inside of words, in scripts that put spaces between words.

    They come last, because every word brings along the pieces that it needs.
    """
    starts: collections.Counter[str] = collections.Counter()
    insides: dict[str, set[int]] = collections.defaultdict(set)
    for index in pieces.merged:
        name = pieces.names[index]
        if pieces.is_word(index):
            starts[script(name[1])] += 1
        elif len(name) > 1 and name.isalpha():
            insides[script(name[0])].add(index)
    return set().union(*(ids for name, ids in insides.items() if starts[name] >= SPACED * len(ids)))


def scripts_of(texts: Iterable[str]) -> set[str]:
    """The scripts with at least a hundredth of the letters, and "" for signs that all share."""
    counts: dict[str, int] = {}
    for text in texts:
        for char in text:
            counts[script(char)] = counts.get(script(char), 0) + 1
    letters = sum(count for name, count in counts.items() if name)
    return {"", *(name for name, count in counts.items() if count >= ENOUGH * letters)}


@functools.cache
def script(char: str) -> str:
    """A letter's script, by the first word of its Unicode name, such as LATIN or CJK.

    Returns:
        the script; "" for digits, signs and emoji.
    """
    if unicodedata.category(char)[0] not in "LM":
        return ""
    return re.split("[ -]", unicodedata.name(char, "OTHER"))[0].replace("COMBINING", "")
