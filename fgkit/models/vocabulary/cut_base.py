"""The base with a smaller vocabulary: a model folder of its own, from which training starts.

In: the base's folder and the run's rows. Out: a folder whose two tokenizers, embedding and tied head hold the chosen
pieces only. Two thirds of FunctionGemma's weights are the table of 262,144 pieces, so the file for the phone shrinks
with it, and every step of the training and every token of the answer gets cheaper (docs/vocabulary.md).

>>> start = cut_vocabulary(settings, base, rows)      # 15 seconds; again: none
Vocabulary: 32,768 of 262,144 pieces, 121 of 268 million weights, in run/base-32768. ...

`vocabulary.json` in it, and in the model that is tuned from it, tells which pieces of the whole vocabulary its own are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit import checksums, progress
from fgkit.dataset.rows import Rows
from fgkit.errors import ConfigError, ModelError
from fgkit.files import (
    read_json,
    replacing,
    require_space,
    sha256,
    write_json,
    write_text,
)
from fgkit.licence import NOTICE, notice_text
from fgkit.models import model_checks
from fgkit.models.base import Base, load_tokenizer
from fgkit.models.record import model_facts
from fgkit.prompts import styles

from . import languages, pieces as vocabulary

if TYPE_CHECKING:
    from fgkit.config import FinetuneConfig

FILE = "vocabulary.json"
REVISION = 4  # raise when what is written changes, so that folders of earlier runs are made again
SPELT_AS = 32_768  # pieces of the second spelling at most: that of a larger vocabulary leaves too few rows to learn from
_TABLES = ("embed_tokens.weight", "lm_head.weight")  # one row a piece; a tied head is not stored


def cut_vocabulary(settings: FinetuneConfig, base: Base, rows: Rows) -> Base:
    """Give the base to train from: with `vocab_size` pieces, or as it is where `vocab_size` is 0.

    The pieces of the training rows are all kept. Those of the held-out rows are not looked at, so that they stand for
    what users will say, and the score does not flatter.

    Args:
        settings: `vocab_size`, `style`, `system_message` and the output folder count.
        base: the whole base; its folder is only read.
        rows: the run's.
    Returns:
        The base with its own folder, or with `base-<vocab_size>` in the output folder.
    Raises:
        ConfigError: the size does not fit the rows or the base.
        DataError: a prompt style cannot say a row.
        ModelError: the base's files are not what they should be.
    """
    if not settings.vocab_size:
        return base
    texts = _texts(settings, rows)
    made_from = _digest(base.folder, settings.vocab_size, texts)
    target = settings.folder / f"base-{settings.vocab_size}"
    if not _is_made_from(target, made_from):
        progress.note(
            f"Cutting the vocabulary to {settings.vocab_size:,} pieces: some seconds, once."
        )
        cut(
            base.folder,
            target,
            settings.vocab_size,
            texts,
            base=base.name,
            made_from=made_from,
            shared=_texts(settings, rows, shared=True),
        )
    progress.note(_announcement(base.folder, target, rows))
    return dataclasses.replace(base, folder=target)


def cut(
    folder: Path,
    target: Path,
    size: int,
    texts: Sequence[str],
    *,
    base: str = "",
    made_from: str = "",
    shared: Sequence[str] = (),
) -> Path:
    """Write a model folder with fewer pieces, whole or not at all, and read its tokenizers back.

    Args:
        folder: a whole Gemma 3 folder.
        target: the folder to write; one that is there is replaced.
        size: pieces to keep.
        texts: what must be encoded as before.
        base: name of the model in `folder`, as the record tells it.
        made_from: what tells these inputs from others.
        shared: those of the texts that every prompt repeats. Pieces that a vocabulary of at most `SPELT_AS` has only for the
            others are listed, because a user's next sentence will miss such (see `respelling`).
    Raises:
        ConfigError: the size does not fit; ModelError: a file of the base is not what it should be.
    """
    if target.absolute() == folder.absolute():
        raise ConfigError(
            f"{target}: is the base itself, which is kept as it is. Choose another output folder."
        )
    pieces = vocabulary.Pieces((folder / "tokenizer.model").read_bytes())
    foreign = languages.foreign(_table(folder, len(pieces)), pieces, vocabulary.segments(texts))
    ids = vocabulary.choose(pieces, size, texts, foreign=foreign)
    without_rows = set(
        vocabulary.choose(pieces, min(size, SPELT_AS), texts, needed=shared, foreign=foreign)
    )
    require_space(
        target.parent, (folder / "model.safetensors").stat().st_size, "the base with fewer pieces"
    )
    with replacing(target) as part:
        part.mkdir()
        (part / "tokenizer.model").write_bytes(pieces.only(ids))
        data = read_json(folder / "tokenizer.json")
        small = _tokenizer_json(data, pieces, ids)
        write_text(part / "tokenizer.json", json.dumps(small, ensure_ascii=False))
        kept, all_added = (
            {entry["content"]: entry for entry in one["added_tokens"]} for one in (small, data)
        )
        _write_settings(folder, part, len(ids), kept, all_added.keys() - kept.keys())
        _write_weights(folder, part, ids, len(pieces))
        (part / NOTICE).write_text(notice_text(), encoding="utf-8")
        record = model_facts(folder)
        write_json(part / "fgkit.json", {**record, **({"base": base} if base else {})})
        whole = {"of": len(pieces), "ids": range(len(pieces))} | (
            read_json(folder / FILE) if described(folder) else {}
        )
        write_text(
            part / FILE,
            json.dumps(
                {
                    "pieces": size,
                    "of": whole["of"],
                    "made_from": made_from,
                    "not_in_second_spelling": [
                        new for new, old in enumerate(ids) if old not in without_rows
                    ],
                    "ids": [whole["ids"][index] for index in ids],
                }
            )
            + "\n",
        )
        _check(part, pieces, ids, vocabulary.segments(texts))
        checksums.write(part)
    return target


def described(folder: Path) -> dict[str, int] | None:
    """How many pieces a model folder has of how many; None where its vocabulary is whole."""
    if not (folder / FILE).is_file():
        return None
    found = read_json(folder / FILE)
    return {"pieces": found["pieces"], "of": found["of"]}


def modification(folder: Path) -> str:
    """What the licence asks to be said of a cut model, as the first part of a sentence; "" of a whole one."""
    found = described(folder)
    return f"vocabulary cut to {found['pieces']:,} of {found['of']:,} pieces; " if found else ""


def hand_on(folder: Path, model: Path) -> None:
    """Put the record of a cut base into the folder of a model that was tuned from it."""
    if (folder / FILE).is_file():
        with replacing(model / FILE) as part:
            shutil.copyfile(folder / FILE, part)


def _texts(settings: FinetuneConfig, rows: Rows, shared: bool = False) -> list[str]:
    """The training rows as they are trained and served, in each style of the run; or only what stands before the users."""
    setup = rows.setup(settings.system_message, styles.split(settings.style))
    train, texts = rows.rendered(setup).train, []
    for style in setup.styles:
        texts += (
            [text.partition("<start_of_turn>user")[0] for text in train.prompts(style)]
            if shared
            else [*train.prompts(style), *train.answers(style)]
        )
    return vocabulary.segments(texts)


def _digest(folder: Path, size: int, texts: Sequence[str]) -> str:
    files = ("model.safetensors", "tokenizer.model", "tokenizer.json", "config.json")
    return hashlib.sha256(
        json.dumps(
            [REVISION, size, [sha256(folder / name) for name in files], sorted(texts)]
        ).encode()
    ).hexdigest()


def _is_made_from(folder: Path, made_from: str) -> bool:
    return (
        (folder / FILE).is_file()
        and read_json(folder / FILE).get("made_from") == made_from
        and not model_checks.weight_problems(folder)
        and not checksums.problems(folder)
    )


def _tokenizer_json(
    data: dict[str, Any], pieces: vocabulary.Pieces, ids: Sequence[int]
) -> dict[str, Any]:
    """`tokenizer.json` with these pieces, the merges between them, and as added tokens what SentencePiece splits off."""
    new = {old: index for index, old in enumerate(ids)}
    model = data["model"]
    names = {
        name: new[old]
        for name, old in sorted(model["vocab"].items(), key=lambda item: item[1])
        if old in new
    }

    def both(merge: Any) -> tuple[str, str]:
        return tuple(
            merge.split(" ") if isinstance(merge, str) else merge
        )  # a text in files of older versions

    merges = [
        merge
        for merge in model["merges"]
        if all(part in names for part in (*both(merge), "".join(both(merge))))
    ]
    added = [
        entry | {"id": new[entry["id"]]} for entry in data["added_tokens"] if entry["id"] in new
    ]
    splits_off = {new[old]: pieces.names[old] for old in ids if pieces.splits_off(old)}
    return data | {
        "model": model | {"vocab": names, "merges": merges},
        "added_tokens": vocabulary.with_split_off(added, splits_off),
    }


def _write_settings(
    folder: Path, part: Path, size: int, added: dict[str, dict], gone: set[str]
) -> None:
    """The small files, with the added tokens that are left: reading others would add them behind the last row."""
    config = read_json(folder / "config.json")
    if "vocab_size" not in config:
        raise ModelError(
            f"{folder / 'config.json'}: holds no vocab_size, so it is no Gemma 3 text model. Use "
            "FunctionGemma or the offline base."
        )
    write_json(part / "config.json", config | {"vocab_size": size})
    for name in ("generation_config.json", "chat_template.jinja"):
        shutil.copyfile(folder / name, part / name)
    settings = _without(read_json(folder / "tokenizer_config.json"), gone)
    if (
        "added_tokens_decoder" in settings
    ):  # transformers prefers this list to the one in tokenizer.json
        settings["added_tokens_decoder"] = {
            str(entry["id"]): {key: value for key, value in entry.items() if key != "id"}
            for entry in added.values()
        }
    write_json(part / "tokenizer_config.json", settings)
    if (folder / "special_tokens_map.json").is_file():
        write_json(
            part / "special_tokens_map.json",
            _without(read_json(folder / "special_tokens_map.json"), gone),
        )
    if (folder / "added_tokens.json").is_file():
        write_json(
            part / "added_tokens.json", {token: entry["id"] for token, entry in added.items()}
        )


def _without(value: Any, gone: set[str]) -> Any:
    """A JSON value without the entries that name one of these tokens, as a text or as a description with `content`."""

    def names(item: Any) -> bool:
        return (
            item.get("content")
            if isinstance(item, dict)
            else item
            if isinstance(item, str)
            else None
        ) in gone

    if isinstance(value, dict):
        return {key: _without(item, gone) for key, item in value.items() if not names(item)}
    return (
        [_without(item, gone) for item in value if not names(item)]
        if isinstance(value, list)
        else value
    )


def _write_weights(folder: Path, part: Path, ids: Sequence[int], rows: int) -> None:
    """The weights, with the rows of the kept pieces in their new order."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith(_TABLES)]:
        tensors[name] = tensors[name][torch.tensor(ids)].contiguous()
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})


def _table(folder: Path, rows: int) -> Any:
    """The embeddings, after every table has been found to have a row a piece."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        tables = sorted(name for name in file.keys() if name.endswith(_TABLES))
        for name in tables:
            if (found := file.get_slice(name).get_shape()[0]) < rows:
                raise ModelError(
                    f"{folder / 'model.safetensors'}: {name} has {found} rows, but tokenizer.model "
                    f"{rows} pieces. Get the base's files again."
                )
        return file.get_tensor(next(name for name in tables if name.endswith(_TABLES[0])))


def _check(
    folder: Path, pieces: vocabulary.Pieces, ids: Sequence[int], texts: Sequence[str]
) -> None:
    """Read the tokenizers back: as before on the run's texts, alike and without loss on a text of every kind of character.

    Raises:
        ModelError: they are not; nothing is written then.
    """
    import sentencepiece

    tokenizer = load_tokenizer(folder)
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    problems = (
        []
        if len(tokenizer) == len(ids)
        else [f"tokenizer.json has {len(tokenizer)} pieces, expected {len(ids)}"]
    )
    every = (
        "".join(chr(code) for code in range(32, 0x3000, 7))
        + "\U0001f525"
        + " " * 40
        + "\n" * 40
        + "\t"
    )
    texts = [*texts, every]
    found = tokenizer(texts, add_special_tokens=False).input_ids
    for text, before, ours, theirs, back in zip(
        texts, pieces.encode(texts), found, model.Encode(texts), model.Decode(found), strict=True
    ):
        if text != every and [ids[index] for index in ours] != before:
            problems.append(f"{text[:60]!r} is not encoded as before")
        if ours != theirs:
            problems.append(f"{text[:60]!r}: tokenizer.json and tokenizer.model differ")
        if back != text.replace(vocabulary.SPACE, " "):
            problems.append(f"{text[:60]!r} is not decoded to itself")
    problems += model_checks.weight_problems(folder)
    if problems:
        raise ModelError(
            "The base's vocabulary cannot be cut: "
            + "; ".join(problems[:5])
            + ". Set vocab_size to 0 to train with all its pieces."
        )


def _announcement(whole: Path, folder: Path, rows: Rows) -> str:
    """One line: how much smaller, and what users' sentences pay for it."""
    texts = [row.user_content for row in rows.held_out]
    before, after = (
        sum(map(len, load_tokenizer(path)(texts, add_special_tokens=False).input_ids))
        for path in (whole, folder)
    )
    weights = [(path / "model.safetensors").stat().st_size // 2 for path in (whole, folder)]
    size, all_pieces = (read_json(path / "config.json")["vocab_size"] for path in (folder, whole))
    return (
        f"Vocabulary: {size:,} of {all_pieces:,} pieces, {weights[1] / 1e6:.0f} of {weights[0] / 1e6:.0f} million "
        f"weights, in {folder}. What held-out users say takes {100 * (after / max(before, 1) - 1):.1f}% more tokens."
    )
