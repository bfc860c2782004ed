"""A SentencePiece `tokenizer.model`: parsed, compared, and checked for the tokens a bundle needs.

Example:

    processor = parse(Path("run/model/tokenizer.model").read_bytes(), "tokenizer.model")
    processor.Encode("<end_of_turn>")    # [106]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgkit.errors import BundleError
from fgkit.prompts.format import CONTROL_TOKENS


def check_tokens(
    tokenizer: bytes, tokens: Sequence[str], prompt_text: str, *, where: str | Path
) -> None:
    """Refuse tokens that the tokenizer does not know as one piece: a bundler would accept them.

    Args:
        tokenizer: bytes of a SentencePiece model.
        tokens: start and stop tokens, which a bundle names; each must be a piece.
        prompt_text: text that the runtime writes around a user's turn; the control tokens in it
            must be encoded as one piece each.
        where: the file's name for the message.
    Raises:
        BundleError: the model cannot be parsed or tokens are missing; all are listed.
    """
    processor = parse(tokenizer, where)
    absent = [token for token in tokens if processor.IdToPiece(processor.PieceToId(token)) != token]
    # These tokens are encoded from text, so being in the vocabulary is not enough.
    split = [
        token
        for token in sorted(set(re.findall(r"<[a-z_]+>", prompt_text)))
        if processor.Encode(token) != [processor.PieceToId(token)]
    ]
    problems = [
        f"{where}: {token} is no piece of the vocabulary." for token in dict.fromkeys(absent)
    ]
    problems += [
        f"{where}: {token} is split into {processor.Encode(token, out_type=str)}, "
        "expected one piece."
        for token in split
        if token not in absent
    ]
    if problems:
        problems.append("Use the tokenizer.model of the model folder that was converted.")
        raise BundleError("\n".join(problems))


def parse(tokenizer: bytes, where: str | Path) -> Any:
    """Parse a model and return its SentencePieceProcessor.

    Args:
        tokenizer: the model's bytes.
        where: the file's name for the message.
    Raises:
        BundleError: it cannot be parsed or is empty.
    """
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        # An empty model is "parsed" without complaint and crashes at the first question.
        if (
            not tokenizer
            or not processor.LoadFromSerializedProto(tokenizer)
            or not processor.GetPieceSize()
        ):
            raise RuntimeError("it is empty")
        # Pieces that are not UTF-8, or a missing unknown piece, would fail later, at some text.
        processor.IdToPiece([*range(processor.GetPieceSize()), processor.unk_id()])
    # ValueError: bytes that are not UTF-8, in an error message of the library as well.
    except (RuntimeError, ValueError, IndexError) as error:
        raise BundleError(
            f"{where}: is no SentencePiece model ({str(error).splitlines()[0]}). "
            "Use the tokenizer.model of the model folder."
        ) from error
    return processor


def control_token_problems(
    processor: Any, control_tokens: Mapping[str, int] = CONTROL_TOKENS
) -> list[str]:
    """List the control tokens that have another id, or are not encoded as one piece.

    Args:
        processor: a SentencePieceProcessor.
        control_tokens: the expected id of each token.
    """
    problems = []
    for token, number in control_tokens.items():
        piece = processor.IdToPiece(number) if number < processor.GetPieceSize() else None
        if piece != token:
            problems.append(f"id {number} is {piece!r}, expected {token!r}")
        # The four core pieces (`<pad>` to `<unk>`) are never found in a text.
        elif number > 3 and processor.Encode(token) != [number]:
            pieces = processor.Encode(token, out_type=str)
            problems.append(f"{token} is split into {pieces}, expected one piece")
    return problems


def differences(expected: Any, actual: Any) -> list[str]:
    """List how two tokenizers differ, id by id: in size, pieces, flags or merge scores.

    Args:
        expected: the SentencePieceProcessor as it should be.
        actual: the one to compare with it.
    """
    if expected.GetPieceSize() != actual.GetPieceSize():
        return [f"it has {actual.GetPieceSize()} pieces, expected {expected.GetPieceSize()}"]
    ids = list(range(expected.GetPieceSize()))
    aspects = (
        ("pieces", lambda processor: processor.IdToPiece(ids)),
        ("scores", lambda processor: processor.GetScore(ids)),
        ("control flags", lambda processor: processor.IsControl(ids)),
        ("byte flags", lambda processor: processor.IsByte(ids)),
    )
    problems = []
    for name, values_of in aspects:
        pairs = zip(values_of(expected), values_of(actual), strict=True)
        different = [index for index, (wanted, got) in enumerate(pairs) if wanted != got]
        if different:
            problems.append(f"{len(different)} {name} differ, first at id {different[0]}")
    return problems
