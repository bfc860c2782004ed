"""The tokenizer files of a model folder, rewritten for fewer pieces, and both tokenizers compared.

transformers reads `tokenizer.json`; the bundlers read `tokenizer.model`. Both must encode every
text alike, or the model on the phone sees other tokens than the one that was trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from fgkit.errors import ModelError
from fgkit.files import read_json, write_json
from fgkit.models.base import load_tokenizer
from fgkit.models.weights import weight_problems

from .pieces import SPACE, Json, Pieces, merge_parts, with_split_off


def reduced_tokenizer_json(data: Json, pieces: Pieces, ids: Sequence[int]) -> Json:
    """A `tokenizer.json` with fewer pieces, the merges between them and its added tokens.

    Args:
        data: the parsed file of the complete vocabulary.
        pieces: the complete vocabulary.
        ids: the kept pieces, in their new order.
    """
    new = {old: index for index, old in enumerate(ids)}
    model = data["model"]
    names = {
        name: new[old]
        for name, old in sorted(model["vocab"].items(), key=lambda item: item[1])
        if old in new
    }
    merges = [
        merge
        for merge in model["merges"]
        if all(part in names for part in (*merge_parts(merge), "".join(merge_parts(merge))))
    ]
    added = [
        entry | {"id": new[entry["id"]]} for entry in data["added_tokens"] if entry["id"] in new
    ]
    splits_off = {new[old]: pieces.names[old] for old in ids if pieces.splits_off(old)}
    return data | {
        "model": model | {"vocab": names, "merges": merges},
        "added_tokens": with_split_off(added, splits_off),
    }


def write_settings(
    folder: Path, target: Path, size: int, added: Mapping[str, Json], removed: Set[str]
) -> None:
    """Write the small files of a model folder for a reduced vocabulary.

    An added token that is still named anywhere would be appended after the last row of the
    embedding when the tokenizer is loaded, so the removed ones are removed everywhere.

    Args:
        folder: the folder of the complete vocabulary.
        target: where the files go.
        size: pieces of the reduced vocabulary.
        added: the entries of its added tokens, by token.
        removed: added tokens that it does not have.
    Raises:
        ModelError: `config.json` is not a Gemma 3 text model's.
    """
    config = read_json(folder / "config.json")
    if "vocab_size" not in config:
        raise ModelError(
            f"{folder / 'config.json'}: holds no vocab_size, so it is no Gemma 3 text model. Use "
            "FunctionGemma or the offline base."
        )
    write_json(target / "config.json", config | {"vocab_size": size})
    for name in ("generation_config.json", "chat_template.jinja"):
        shutil.copyfile(folder / name, target / name)
    settings = _without(read_json(folder / "tokenizer_config.json"), removed)
    # transformers prefers this list to the one in tokenizer.json.
    if "added_tokens_decoder" in settings:
        settings["added_tokens_decoder"] = {
            str(entry["id"]): {key: value for key, value in entry.items() if key != "id"}
            for entry in added.values()
        }
    write_json(target / "tokenizer_config.json", settings)
    special = "special_tokens_map.json"
    if (folder / special).is_file():
        write_json(target / special, _without(read_json(folder / special), removed))
    if (folder / "added_tokens.json").is_file():
        ids = {token: entry["id"] for token, entry in added.items()}
        write_json(target / "added_tokens.json", ids)


def check_tokenizers(
    folder: Path, pieces: Pieces, ids: Sequence[int], texts: Sequence[str]
) -> None:
    """Read a reduced folder's tokenizers back and compare them on the run's texts.

    Both must encode the run's texts as the complete vocabulary does, and must agree, without loss,
    on a text with every kind of character.

    Args:
        folder: the folder that was written.
        pieces: the complete vocabulary.
        ids: the kept pieces, in their new order.
        texts: the run's texts, without control tokens.
    Raises:
        ModelError: they differ; at most five problems are listed.
    """
    import sentencepiece

    tokenizer = load_tokenizer(folder)
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    problems = []
    if len(tokenizer) != len(ids):
        problems.append(f"tokenizer.json has {len(tokenizer)} pieces, expected {len(ids)}")
    texts = [*texts, _every_character()]
    encoded = tokenizer(texts, add_special_tokens=False).input_ids
    compared = zip(
        texts,
        pieces.encode(texts),
        encoded,
        model.Encode(texts),
        model.Decode(encoded),
        strict=True,
    )
    for text, before, by_json, by_model, decoded in compared:
        if text != texts[-1] and [ids[index] for index in by_json] != before:
            problems.append(f"{text[:60]!r} is not encoded as before")
        if by_json != by_model:
            problems.append(f"{text[:60]!r}: tokenizer.json and tokenizer.model differ")
        if decoded != text.replace(SPACE, " "):
            problems.append(f"{text[:60]!r} is not decoded to itself")
    problems += weight_problems(folder)
    if problems:
        raise ModelError(
            "The base's vocabulary cannot be cut: "
            + "; ".join(problems[:5])
            + ". Set vocab_size to 0 to train with all its pieces."
        )


def _every_character() -> str:
    """A text with characters of most scripts, an emoji, and runs of white space."""
    letters = "".join(chr(code) for code in range(32, 0x3000, 7))
    return letters + "\U0001f525" + " " * 40 + "\n" * 40 + "\t"


def _without(value: Any, tokens: Set[str]) -> Any:
    """A JSON value without the entries that name one of these tokens.

    Args:
        value: names a token as a text, or as an object with `content`.
        tokens: what to leave out.
    """

    def names_one(item: Any) -> bool:
        if isinstance(item, dict):
            return item.get("content") in tokens
        return isinstance(item, str) and item in tokens

    if isinstance(value, dict):
        return {key: _without(item, tokens) for key, item in value.items() if not names_one(item)}
    if isinstance(value, list):
        return [_without(item, tokens) for item in value if not names_one(item)]
    return value
