"""Bytes of a SentencePiece `tokenizer.model` go in; a tokenizer comes out, or what a bundle may not say with it.

>>> processor = parse(Path("run/model/tokenizer.model").read_bytes(), "tokenizer.model")
>>> processor.Encode("<end_of_turn>")
[106]
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fgkit.bundles.profiles import Profile
from fgkit.errors import BundleError
from fgkit.prompts.format import CONTROL_TOKENS


def check_tokens(profile: Profile, tokenizer: bytes, *, where: str | Path) -> None:
    """Refuse a profile whose tokens the tokenizer does not know as one piece: the bundler would accept them silently.

    Args:
        profile: what the bundle will say.
        tokenizer: bytes of a SentencePiece model.
        where: the file's name for the message.
    Raises:
        BundleError: the model cannot be parsed or tokens are missing; all are listed.
    """
    processor = parse(tokenizer, where)
    absent = [
        token
        for token in (profile.start_token, *profile.stop_tokens)
        if processor.IdToPiece(processor.PieceToId(token)) != token
    ]
    # The turn tokens inside the prompt texts are encoded from text, so being in the vocabulary is not enough.
    split = [
        token
        for token in sorted(
            set(re.findall(r"<[a-z_]+>", profile.prompt_prefix + profile.prompt_suffix))
        )
        if processor.Encode(token) != [processor.PieceToId(token)]
    ]
    problems = [
        f"{where}: {token} is no piece of the vocabulary." for token in dict.fromkeys(absent)
    ]
    problems += [
        f"{where}: {token} is split into {processor.Encode(token, out_type=str)}, expected one piece."
        for token in split
        if token not in absent
    ]
    if problems:
        raise BundleError(
            "\n".join(
                [*problems, "Use the tokenizer.model of the model folder that was converted."]
            )
        )


def parse(tokenizer: bytes, where: str | Path) -> Any:
    """Give the SentencePieceProcessor of a model.

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
        # Pieces that are no UTF-8, or the lack of one for what is unknown, would fail later, at some text.
        processor.IdToPiece([*range(processor.GetPieceSize()), processor.unk_id()])
    except (
        RuntimeError,
        ValueError,
        IndexError,
    ) as error:  # ValueError: bytes that are no UTF-8, in a complaint, too
        raise BundleError(
            f"{where}: is no SentencePiece model ({str(error).splitlines()[0]}). "
            "Use the tokenizer.model of the model folder."
        ) from error
    return processor


def control_token_problems(processor: Any) -> list[str]:
    """List the control tokens that a SentencePieceProcessor has at another id, or does not find in a text as one piece."""
    problems = []
    for token, number in CONTROL_TOKENS.items():
        piece = processor.IdToPiece(number) if number < processor.GetPieceSize() else None
        if piece != token:
            problems.append(f"id {number} is {piece!r}, expected {token!r}")
        elif number > 3 and processor.Encode(token) != [number]:
            problems.append(
                f"{token} is split into {processor.Encode(token, out_type=str)}, expected one piece"
            )
    return problems


def differences(given: Any, found: Any) -> list[str]:
    """List where two tokenizers differ, id by id: in number, pieces, kinds or merge scores; empty when they do not.

    Args:
        given: the SentencePieceProcessor as it should be.
        found: the other one.
    """
    if given.GetPieceSize() != found.GetPieceSize():
        return [f"it has {found.GetPieceSize()} pieces, expected {given.GetPieceSize()}"]
    ids = list(range(given.GetPieceSize()))
    aspects = (
        ("pieces", lambda one: one.IdToPiece(ids)),
        ("scores", lambda one: one.GetScore(ids)),
        ("control flags", lambda one: one.IsControl(ids)),
        ("byte flags", lambda one: one.IsByte(ids)),
    )
    problems = []
    for name, of in aspects:
        if different := [
            index for index, (one, two) in enumerate(zip(of(given), of(found))) if one != two
        ]:
            problems.append(f"{len(different)} {name} differ, first at id {different[0]}")
    return problems
