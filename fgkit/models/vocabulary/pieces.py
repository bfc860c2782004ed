"""Which pieces of a vocabulary an app needs: what the rows hold, what structures a prompt, then the most frequent rest.

In: a SentencePiece BPE model, how many pieces to keep, the texts of the run. Out: the kept ids, in their old order.

>>> pieces = Pieces(Path("base/tokenizer.model").read_bytes())
>>> ids = choose(pieces, 32_768, texts)
>>> len(ids), ids[:108] == list(range(108))
(32768, True)

BPE builds a piece from pairs, so a piece without one of its parts would never come about: every kept piece brings the
parts of its own merges along, and one that no merges lead to is left out. Then a text whose pieces are all kept is cut
as the whole vocabulary cuts it, because every merge on the way is there and no other is new. A character that has no
piece any more is written in bytes.
"""

from __future__ import annotations

import collections
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from fgkit.errors import ConfigError, ModelError
from fgkit.prompts import CONTROL_TOKENS, DEFAULT_SYSTEM_MSG

SPACE = "\u2581"  # how pieces spell a space
CHARACTERS = (
    1 / 16
)  # share of the free places for single characters: letters of the texts' scripts, signs, emoji
SPACED = 0.1  # pieces that start words, beside one inside them, from which a script counts as written with spaces
ENOUGH = 0.01  # share of the texts' letters from which a script counts as theirs
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
_CONTROL = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
_UNUSED = re.compile(r"<unused\d+>")


def choose(
    pieces: Pieces,
    size: int,
    texts: Iterable[str],
    *,
    needed: Iterable[str] | None = None,
    foreign: Set[int] = frozenset(),
) -> list[int]:
    """Choose the pieces to keep.

    Fixed are all pieces that are not built by merges: control tokens, white space, bytes. The texts' pieces follow;
    the places left go to single characters of the texts' scripts, to words in the texts' letters, to words in their
    scripts, to all others. Each kind is taken in the order of the ids: BPE made the pieces one after the other, the most
    frequent pair first, and sorted single characters by frequency. A word comes with its forms (see `Pieces.word`).

    Args:
        pieces: the whole vocabulary.
        size: pieces to keep, below the number there are.
        texts: the run's; control tokens in them are structure.
        needed: those that must be encoded as they are now; left out: all.
        foreign: words to take last (see `languages`).
    Returns:
        `size` ids, ascending, so that ids before the first merged piece stay what they are.
    Raises:
        ConfigError: the size is too small for the texts, or too large.
    """
    if size >= len(pieces):
        raise ConfigError(
            f"vocab_size is {size}, but the base has {len(pieces)} pieces. Set it to less, or to 0 to keep "
            "them all."
        )
    texts = segments([*texts, *FORMAT])
    needed = texts if needed is None else segments([*needed, *FORMAT])
    kept = set(pieces.fixed)
    for index in {index for ids in pieces.encode(needed) for index in ids}:
        kept |= pieces.parts(index)
    if len(kept) > size:
        raise ConfigError(
            f"vocab_size is {size}, but rows, tools and structure need {len(kept)} pieces. Set it to "
            f"{-(-len(kept) // 1024) * 1024} or more, or to 0 to keep all {len(pieces)}."
        )
    for group in ranked(pieces, texts, size - len(kept), foreign):
        if len(kept) == size:
            break
        missing = group - kept
        if len(kept) + len(missing) <= size:
            kept |= missing
    if len(kept) < size:
        raise ConfigError(
            f"vocab_size is {size}, but only {len(kept)} of the base's {len(pieces)} pieces are of use. "
            "Set it to that or less, or to 0 to keep them all."
        )
    return sorted(kept)


def segments(texts: Iterable[str]) -> list[str]:
    """The different stretches between control tokens; no piece reaches across one."""
    return list(dict.fromkeys(part for text in texts for part in _CONTROL.split(text) if part))


class Pieces:
    """A vocabulary with the merges that its scores mean.

    Args:
        model: bytes of a SentencePiece BPE model.
    Raises:
        ModelError: it is of another kind.
    """

    def __init__(self, model: bytes):
        import sentencepiece
        from google.protobuf.message import DecodeError
        from sentencepiece.sentencepiece_model_pb2 import ModelProto

        try:
            self.proto = ModelProto.FromString(model)
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (DecodeError, RuntimeError) as error:
            raise ModelError(
                "tokenizer.model: is no SentencePiece model. Get the base's files again."
            ) from error
        trainer = self.proto.trainer_spec
        if trainer.model_type != trainer.BPE or not trainer.byte_fallback:
            raise ModelError(
                "tokenizer.model: is no BPE model with byte fallback, as every Gemma's is. A vocabulary "
                "can be cut for these only; set vocab_size to 0."
            )
        self.names = [piece.piece for piece in self.proto.pieces]
        normal = [piece.type == piece.NORMAL for piece in self.proto.pieces]
        self._scores = {
            piece.piece: piece.score for piece in self.proto.pieces if piece.type == piece.NORMAL
        }
        self._ids = {name: index for index, name in enumerate(self.names)}
        self._parts: dict[int, frozenset[int]] = {}
        self._words: dict[int, frozenset[int]] = {}
        self.merged = [index for index, is_normal in enumerate(normal) if is_normal]
        head = self.merged[0] if self.merged else len(self.names)
        self.fixed = [
            index
            for index, name in enumerate(self.names)
            if index < head or not normal[index] and not _UNUSED.fullmatch(name)
        ]

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; nothing is added."""
        return self._processor.Encode(list(texts))

    def splits_off(self, index: int) -> bool:
        """Whether a piece is found in texts before any merge: control tokens, runs of white space, HTML tags."""
        return self.proto.pieces[index].type == self.proto.pieces[index].USER_DEFINED

    def only(self, ids: Sequence[int]) -> bytes:
        """The SentencePiece model with these pieces, in this order."""
        proto = type(self.proto).FromString(self.proto.SerializeToString())
        del proto.pieces[:]
        proto.pieces.extend(self.proto.pieces[index] for index in ids)
        proto.trainer_spec.vocab_size = len(ids)
        proto.DiscardUnknownFields()  # older files hold sentences in whole pieces, with which loading would compare
        return proto.SerializeToString()

    def parts(self, index: int) -> frozenset[int]:
        """A piece's id and those of the pieces that merge into it; nothing where no merges lead to it.

        They are the same in every text: a merge inside a piece never waits for one outside.
        """
        if index not in self._parts:
            self._parts[index] = self._merged_from(index)
        return self._parts[index]

    def _merged_from(self, index: int) -> frozenset[int]:
        name = self.names[index]
        if name not in self._scores:
            return frozenset({index})
        if self._processor.Encode(name) != [index]:
            return frozenset()
        symbols = list(name)
        found = {*symbols, name}
        while len(symbols) > 1:
            pairs = [left + right for left, right in zip(symbols, symbols[1:])]
            at = max(
                range(len(pairs)), key=lambda place: self._scores.get(pairs[place], -float("inf"))
            )
            symbols[at : at + 2] = [pairs[at]]
            found.add(pairs[at])
        if any(
            part not in self._ids for part in found
        ):  # a character without a piece: `tokenizers` gives its bytes
            return frozenset()
        return frozenset(self._ids[part] for part in found)

    def is_word(self, index: int) -> bool:
        """Whether a piece is a space and letters."""
        return self.names[index].startswith(SPACE) and self.names[index][1:].isalpha()

    def word(self, index: int) -> frozenset[int]:
        """What is needed to copy a word from a request into an argument, where no space stands before it: the pieces of
        the word with and without a space, with a small and a capital letter, with their parts; of another piece its parts.
        """
        if index not in self._words:
            forms = {self.names[index][1:]} if self.is_word(index) and self.parts(index) else set()
            forms |= {change(form) for form in forms for change in (str.lower, str.capitalize)}
            ids = self.encode([space + form for form in sorted(forms) for space in ("", " ")])
            self._words[index] = self.parts(index).union(
                *(self.parts(part) for one in ids for part in one)
            )
        return self._words[index]


def ranked(
    pieces: Pieces, texts: Sequence[str], room: int, foreign: Set[int] = frozenset()
) -> Iterator[frozenset[int]]:
    """Merged pieces in the order in which they are worth a place, each with what it needs; some come twice.

    Args:
        pieces: the vocabulary.
        texts: of the run; their letters say which scripts its users write.
        room: free places.
        foreign: words of other languages.
    """
    scripts = scripts_of(texts)
    alphabet = {char for text in texts for char in text} | set(map(chr, range(128))) | {SPACE}
    shared = {char for name in pieces.names for char in name if script(char) in scripts}
    theirs = [index for index in pieces.merged if shared.issuperset(pieces.names[index])]
    last = foreign | _inner(pieces)
    single = [index for index in theirs if len(pieces.names[index]) == 1]
    yield from map(pieces.parts, single[: int(room * CHARACTERS)])
    yield from (
        pieces.word(index)
        for index in theirs
        if index not in last and alphabet.issuperset(pieces.names[index])
    )
    yield from (pieces.word(index) for index in theirs if index not in last)
    yield from map(pieces.parts, theirs)
    yield from map(pieces.parts, pieces.merged)


def _inner(pieces: Pieces) -> set[int]:
    """Pieces for the inside of words, in the scripts that put spaces between words; words bring those they need along."""
    starts, insides = collections.Counter(), collections.defaultdict(set)
    for index in pieces.merged:
        name = pieces.names[index]
        if pieces.is_word(index):
            starts[script(name[1])] += 1
        elif len(name) > 1 and name.isalpha():
            insides[script(name[0])].add(index)
    return set().union(
        *(found for name, found in insides.items() if starts[name] >= SPACED * len(found))
    )


def with_split_off(
    added: Sequence[dict[str, Any]], pieces: Mapping[int, str]
) -> list[dict[str, Any]]:
    """The added tokens of a `tokenizer.json`, and beside them every piece that SentencePiece splits off before it merges.

    These are runs of spaces. Where `tokenizer.json` merges them instead, the two part at the 32nd space.

    Args:
        added: the file's entries.
        pieces: what SentencePiece splits off, by id.
    """
    known = {entry["id"] for entry in added}
    more = [
        {
            "id": index,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": True,
            "special": False,
        }
        for index, name in pieces.items()
        if index not in known
    ]
    return sorted([*added, *more], key=lambda entry: entry["id"])


def scripts_of(texts: Iterable[str]) -> set[str]:
    """The scripts of which a hundredth of the letters are, and "" for the signs that all share."""
    counts: dict[str, int] = {}
    for text in texts:
        for char in text:
            counts[script(char)] = counts.get(script(char), 0) + 1
    letters = sum(count for name, count in counts.items() if name)
    return {"", *(name for name, count in counts.items() if count >= ENOUGH * letters)}


@functools.cache
def script(char: str) -> str:
    """A letter's script, by the first word of its name, such as LATIN or CJK; "" for digits, signs and emoji."""
    if unicodedata.category(char)[0] not in "LM":
        return ""
    return re.split("[ -]", unicodedata.name(char, "OTHER"))[0].replace("COMBINING", "")
