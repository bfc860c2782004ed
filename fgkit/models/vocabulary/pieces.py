"""The pieces of a SentencePiece BPE model, and which others each of them is merged from.

BPE builds a piece from pairs of pieces, so a piece without one of its parts would never come about.
A reduced vocabulary therefore keeps, with every piece, the parts of its merges. A text whose pieces
are all kept is then encoded as by the complete vocabulary, because every merge on the way is there
and no other is new.

Example:

    pieces = Pieces(Path("base/tokenizer.model").read_bytes())
    len(pieces)    # 262144
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fgkit.errors import ModelError
from fgkit.prompts.format import CONTROL_TOKENS

Json = dict[str, Any]

# How pieces write a space.
SPACE = "\u2581"
_CONTROL = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
_UNUSED = re.compile(r"<unused\d+>")


def segments(texts: Iterable[str]) -> list[str]:
    """The distinct stretches of text between control tokens; no piece reaches across one."""
    return list(dict.fromkeys(part for text in texts for part in _CONTROL.split(text) if part))


class Pieces:
    """A vocabulary with the merges that its scores mean.

    Args:
        model: bytes of a SentencePiece BPE model.
    Attributes:
        names: the pieces, by id.
        merged: ids of the pieces that are built by merges.
        fixed: ids of all others, which every reduced vocabulary keeps.
    Raises:
        ModelError: it is a model of another kind.
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
                "tokenizer.model: is no BPE model with byte fallback, as every Gemma's is. A "
                "vocabulary can be cut for these only; set vocab_size to 0."
            )
        self.names: list[str] = [piece.piece for piece in self.proto.pieces]
        normal = [piece.type == piece.NORMAL for piece in self.proto.pieces]
        self._scores: dict[str, float] = {
            piece.piece: piece.score for piece in self.proto.pieces if piece.type == piece.NORMAL
        }
        self._ids = {name: index for index, name in enumerate(self.names)}
        self._parts: dict[int, frozenset[int]] = {}
        self._words: dict[int, frozenset[int]] = {}
        self.merged: list[int] = [index for index, is_normal in enumerate(normal) if is_normal]
        # Control tokens, white space and bytes come first and keep their ids.
        head = self.merged[0] if self.merged else len(self.names)
        self.fixed: list[int] = [
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
        """Whether a piece is found in texts before any merge: control tokens, white space, HTML."""
        return self.proto.pieces[index].type == self.proto.pieces[index].USER_DEFINED

    def only(self, ids: Sequence[int]) -> bytes:
        """The SentencePiece model with these pieces, in this order."""
        proto = type(self.proto).FromString(self.proto.SerializeToString())
        del proto.pieces[:]
        proto.pieces.extend(self.proto.pieces[index] for index in ids)
        proto.trainer_spec.vocab_size = len(ids)
        # Older files hold test sentences, with whose old pieces loading would compare.
        proto.DiscardUnknownFields()
        return proto.SerializeToString()

    def parts(self, index: int) -> frozenset[int]:
        """A piece's id and those of the pieces that merge into it; empty if no merges lead to it.

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
        # Repeat BPE on the piece's own characters: merge the pair with the best score, first one
        # first, until one symbol is left. Every symbol on the way is a part.
        symbols = list(name)
        names = {*symbols, name}
        while len(symbols) > 1:
            pairs = [left + right for left, right in zip(symbols, symbols[1:], strict=False)]
            scores = [self._scores.get(pair, -float("inf")) for pair in pairs]
            best = scores.index(max(scores))
            symbols[best : best + 2] = [pairs[best]]
            names.add(pairs[best])
        # A character without a piece: `tokenizers` would write its bytes instead of merging.
        if any(part not in self._ids for part in names):
            return frozenset()
        return frozenset(self._ids[part] for part in names)

    def is_word(self, index: int) -> bool:
        """Whether a piece is a space followed by letters."""
        return self.names[index].startswith(SPACE) and self.names[index][1:].isalpha()

    def word(self, index: int) -> frozenset[int]:
        """Ids that are needed to copy a word from a request into an argument.

        No space stands before an argument's value, so these are the pieces of the word with and
        without a space, in lower case and capitalised, and their parts. For a piece that is not a
        word they are its parts.
        """
        if index not in self._words:
            forms = {self.names[index][1:]} if self.is_word(index) and self.parts(index) else set()
            forms |= {change(form) for form in forms for change in (str.lower, str.capitalize)}
            encoded = self.encode([space + form for form in sorted(forms) for space in ("", " ")])
            self._words[index] = self.parts(index).union(
                *(self.parts(part) for ids in encoded for part in ids)
            )
        return self._words[index]


def merge_parts(merge: str | Sequence[str]) -> tuple[str, ...]:
    """The two parts of a merge, which files of older versions write as one text."""
    return tuple(merge.split(" ") if isinstance(merge, str) else merge)


def with_split_off(added: Sequence[Json], pieces: Mapping[int, str]) -> list[Json]:
    """The added tokens, with every piece that SentencePiece splits off before it merges.

    These are runs of spaces. If `tokenizer.json` merged them instead, the two tokenizers would
    differ from the 32nd space on.

    Args:
        added: the entries of a `tokenizer.json`.
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
