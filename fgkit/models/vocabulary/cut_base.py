"""A base with a reduced vocabulary: a model folder of its own, from which training starts.

In: the base's folder and the run's rows. Out: a folder whose two tokenizers, embedding and tied
head hold the chosen pieces only. Two thirds of FunctionGemma's weights are the table of 262,144
pieces, so the file for the phone shrinks with it, and every training step and every answer token
gets cheaper (docs/vocabulary.md).

Example:

    base = cut_vocabulary(base, rows, size=32_768, output=Path("run"))    # 15 seconds, once
    Vocabulary: 32,768 of 262,144 pieces, 121 of 268 million weights, in run/base-32768. ...

`vocabulary.json` in it, and in the model tuned from it, lists the kept pieces (`record`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import checksums, progress
from fgkit.atomic_files import replacing
from fgkit.dataset.rows import RunData
from fgkit.errors import ConfigError, ModelError
from fgkit.files import read_bytes, read_json, require_space, sha256, write_json, write_text
from fgkit.licence import NOTICE, notice_text
from fgkit.models.base import Base, load_tokenizer
from fgkit.models.record import model_facts
from fgkit.prompts import styles

from . import languages
from .choice import choose
from .pieces import Pieces, segments
from .record import FILE, is_made_from, original_ids, vocabulary_size
from .tokenizer_files import check_tokenizers, reduced_tokenizer_json, write_settings

# Raise it when what is written changes, so that folders of earlier runs are made again.
REVISION = 4
# Most pieces of the second spelling (see `augmentation`): that of a larger vocabulary leaves too
# few rows to learn from.
SECOND_SPELLING_PIECES = 32_768
# One row for each piece; a tied head is not stored.
_TABLES = ("embed_tokens.weight", "lm_head.weight")


def cut_vocabulary(
    base: Base,
    rows: RunData,
    *,
    size: int,
    output: Path,
    style: str = styles.DEFAULT,
    system_message: str = "",
) -> Base:
    """Return the base to train from: with `size` pieces, or unchanged where `size` is 0.

    The pieces of the training rows are all kept. Those of the held-out rows are not looked at, so
    that these represent what users will say, and the score is not flattered.

    Args:
        base: the base with the complete vocabulary; its folder is only read.
        rows: the run's.
        size: pieces to keep; 0 for all.
        output: the run's folder; the reduced base goes to `base-<size>` in it.
        style: prompt styles of the run, with commas between.
        system_message: developer text; empty for the official trigger sentence.
    Raises:
        ConfigError: the size does not fit the rows or the base.
        DataError: a prompt style cannot express a row.
        ModelError: the base's files are not what they should be.
    """
    if not size:
        return base
    prompts, answers = _texts(rows, style, system_message)
    texts = segments([*prompts, *answers])
    shared = segments(prompt.partition("<start_of_turn>user")[0] for prompt in prompts)
    made_from = _digest(base.folder, size, texts)
    target = output / f"base-{size}"
    if not is_made_from(target, made_from):
        progress.note(f"Cutting the vocabulary to {size:,} pieces: some seconds, once.")
        cut(
            base.folder,
            target,
            size,
            texts,
            base=base.name,
            made_from=made_from,
            shared=shared,
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
    """Write a model folder with fewer pieces, completely or not at all, and verify its tokenizers.

    Args:
        folder: a Gemma 3 folder.
        target: the folder to write; an existing one is replaced.
        size: pieces to keep.
        texts: what must be encoded as before.
        base: name of the model in `folder`, for the record.
        made_from: hash of the inputs, for the record.
        shared: those of the texts that every prompt repeats. Pieces that a vocabulary of at most
            `SECOND_SPELLING_PIECES` has only for the other texts are listed in the record, because
            a user's next sentence will lack such pieces (see `augmentation`).
    Returns:
        `target`.
    Raises:
        ConfigError: the size does not fit, or `target` is `folder`.
        ModelError: a file of the base is not what it should be.
    """
    if target.absolute() == folder.absolute():
        raise ConfigError(
            f"{target}: is the base itself, which is kept as it is. Choose another output folder."
        )
    pieces = Pieces(read_bytes(folder / "tokenizer.model", "a tokenizer", limit=64 << 20))
    table = _embedding(folder, len(pieces))
    foreign = languages.foreign(table, pieces, segments(texts))
    ids = choose(pieces, size, texts, foreign=foreign)
    second_size = min(size, SECOND_SPELLING_PIECES)
    second = set(choose(pieces, second_size, texts, needed=shared, foreign=foreign))
    require_space(
        target.parent, (folder / "model.safetensors").stat().st_size, "the base with fewer pieces"
    )
    with replacing(target) as part:
        part.mkdir()
        (part / "tokenizer.model").write_bytes(pieces.only(ids))
        _write_tokenizer_json(folder, part, pieces, ids)
        _write_weights(folder, part, ids)
        (part / NOTICE).write_text(notice_text(), encoding="utf-8")
        record = model_facts(folder)
        write_json(part / "fgkit.json", {**record, **({"base": base} if base else {})})
        not_in_second = [new for new, old in enumerate(ids) if old not in second]
        _write_record(folder, part, ids, len(pieces), made_from, not_in_second)
        check_tokenizers(part, pieces, ids, segments(texts))
        checksums.write(part)
    return target


def _texts(rows: RunData, style: str, system_message: str) -> tuple[list[str], list[str]]:
    """Prompts and answers of the training rows, as they are trained, in each style of the run."""
    setup = rows.setup(system_message, styles.split(style))
    train = rows.rendered(setup).train
    prompts = [text for name in setup.styles for text in train.prompts(name)]
    answers = [text for name in setup.styles for text in train.answers(name)]
    return prompts, answers


def _digest(folder: Path, size: int, texts: Sequence[str]) -> str:
    """A hash of everything that decides what `cut` writes."""
    files = ("model.safetensors", "tokenizer.model", "tokenizer.json", "config.json")
    hashes = [sha256(folder / name) for name in files]
    return hashlib.sha256(json.dumps([REVISION, size, hashes, sorted(texts)]).encode()).hexdigest()


def _write_tokenizer_json(folder: Path, part: Path, pieces: Pieces, ids: Sequence[int]) -> None:
    """Write `tokenizer.json` and the small files that repeat its added tokens."""
    data = read_json(folder / "tokenizer.json")
    reduced = reduced_tokenizer_json(data, pieces, ids)
    write_text(part / "tokenizer.json", json.dumps(reduced, ensure_ascii=False))
    kept = {entry["content"]: entry for entry in reduced["added_tokens"]}
    removed = {entry["content"] for entry in data["added_tokens"]} - kept.keys()
    write_settings(folder, part, len(ids), kept, removed)


def _write_record(
    folder: Path,
    part: Path,
    ids: Sequence[int],
    size: int,
    made_from: str,
    not_in_second: Sequence[int],
) -> None:
    """Write `vocabulary.json`; a base that was reduced before gives the ids of the complete one."""
    earlier = vocabulary_size(folder)
    original = original_ids(folder) or range(size)
    record = {
        "pieces": len(ids),
        "of": earlier["of"] if earlier else size,
        "made_from": made_from,
        "not_in_second_spelling": list(not_in_second),
        "ids": [original[index] for index in ids],
    }
    write_text(part / FILE, json.dumps(record) + "\n")


def _write_weights(folder: Path, part: Path, ids: Sequence[int]) -> None:
    """The weights, with the rows of the kept pieces in their new order."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith(_TABLES)]:
        tensors[name] = tensors[name][torch.tensor(ids)].contiguous()
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})


def _embedding(folder: Path, rows: int) -> Any:
    """The embedding, a tensor, once every table is known to have at least a row for each piece."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        tables = sorted(
            name
            for name in file.keys()  # noqa: SIM118 (it is no dict)
            if name.endswith(_TABLES)
        )
        for name in tables:
            table_rows = file.get_slice(name).get_shape()[0]
            if table_rows < rows:
                raise ModelError(
                    f"{folder / 'model.safetensors'}: {name} has {table_rows} rows, but "
                    f"tokenizer.model {rows} pieces. Get the base's files again."
                )
        return file.get_tensor(next(name for name in tables if name.endswith(_TABLES[0])))


def _announcement(complete: Path, reduced: Path, rows: RunData) -> str:
    """One line: how much smaller the model is, and how many more tokens users' sentences take."""
    texts = [row.user_content for row in rows.held_out]
    before, after = (
        sum(map(len, load_tokenizer(path)(texts, add_special_tokens=False).input_ids))
        for path in (complete, reduced)
    )
    # Two bytes for each weight.
    all_weights, weights = (
        (path / "model.safetensors").stat().st_size / 2e6 for path in (complete, reduced)
    )
    all_pieces, pieces = (
        read_json(path / "config.json")["vocab_size"] for path in (complete, reduced)
    )
    return (
        f"Vocabulary: {pieces:,} of {all_pieces:,} pieces, {weights:.0f} of {all_weights:.0f} "
        f"million "
        f"weights, in {reduced}. What held-out users say takes "
        f"{100 * (after / max(before, 1) - 1):.1f}% more tokens."
    )
