"""A whole model folder in a second: random Gemma 3 weights, both tokenizers over bytes and ASCII, FunctionGemma's ids.

The network is too small to learn much, but it has both kinds of attention layers, a sliding window shorter than any
prompt, and every file that the real folder has.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from fgkit import prompts
from fgkit.models import base_checks, offline_steps, spec

WINDOW = 24
NETWORK = dataclasses.replace(spec.GEMMA_3_270M, shape={"model_type": "gemma3_text"})


def model_folder(folder: Path, *, seed: int = 0, **shape: Any) -> Path:
    """Write the tiny model into `folder` and return it; `shape` overrides entries of its config."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    folder.mkdir(parents=True, exist_ok=True)
    pieces = tokenizer_files(folder)
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        **dict(
            vocab_size=len(pieces),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=24,
            query_pre_attn_scalar=24,
            sliding_window=WINDOW,
            max_position_embeddings=4096,
            layer_types=["sliding_attention", "full_attention"] * 2,
            bos_token_id=2,
            eos_token_id=[1, 50],
            pad_token_id=0,
            tie_word_embeddings=True,
        )
        | shape
    )
    model = Gemma3ForCausalLM(config).to(torch.bfloat16)
    model.generation_config.update(
        bos_token_id=2, eos_token_id=list(prompts.STOP_IDS), pad_token_id=0
    )
    model.save_pretrained(folder)
    return folder


def tokenizer_files(folder: Path) -> list[str]:
    """Write both tokenizers, their settings and the chat template; return the pieces in id order."""
    pieces = [f"<unused{index}>" for index in range(109)]
    types = [3] * 109
    for token, index in prompts.CONTROL_TOKENS.items():
        if index < len(pieces):
            pieces[index] = token
    pieces[107], pieces[108] = "\n", "\n\n"
    types[107] = types[108] = 4
    pieces += (
        [f"<0x{byte:02X}>" for byte in range(256)]
        + [chr(code) for code in range(33, 127)]
        + ["\u2581"]
    )
    types += [6] * 256 + [1] * 95
    scores = [0.0] * len(pieces)
    (folder / "tokenizer.model").write_bytes(
        offline_steps.sentencepiece_model(pieces, scores, types)
    )
    special = {0, 1, 2, 3, 50, 105, 106}
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [
                    {
                        "id": index,
                        "content": piece,
                        "single_word": False,
                        "lstrip": False,
                        "rstrip": False,
                        "normalized": False,
                        "special": index in special,
                    }
                    for index, piece in enumerate(pieces[:109])
                ],
                "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
                "pre_tokenizer": None,
                "post_processor": None,
                "decoder": {
                    "type": "Sequence",
                    "decoders": [
                        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                        {"type": "ByteFallback"},
                        {"type": "Fuse"},
                    ],
                },
                "model": {
                    "type": "BPE",
                    "dropout": None,
                    "unk_token": "<unk>",
                    "continuing_subword_prefix": None,
                    "end_of_word_suffix": None,
                    "fuse_unk": True,
                    "byte_fallback": True,
                    "ignore_merges": False,
                    "vocab": {piece: index for index, piece in enumerate(pieces)},
                    "merges": [],
                },
            }
        ),
        encoding="utf-8",
    )
    offline_steps.write_tokenizer_config(folder)
    (folder / "chat_template.jinja").write_text(prompts.chat_template(), encoding="utf-8")
    return pieces


def untrained(folder: Path, **config: Any) -> Path:
    """What passes for a base of the real shape in a millisecond: its tokenizers are tiny, and its tensors lie on 64 bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = tokenizer_files(folder)
    values = {**spec.GEMMA_3_270M.shape, "vocab_size": len(pieces)} | config
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": list(prompts.STOP_IDS)}), encoding="utf-8"
    )
    return stand_in_weights(
        folder, base_checks.tensors({**spec.GEMMA_3_270M.shape, "vocab_size": len(pieces)})
    )


def stand_in_weights(folder: Path, shapes: dict[str, list[int]], dtype: str = "BF16") -> Path:
    """Write a `model.safetensors` whose header lists tensors of these shapes, all on the same 64 bytes."""
    header = json.dumps(
        {
            name: {"dtype": dtype, "shape": shape, "data_offsets": [0, 64]}
            for name, shape in shapes.items()
        }
    ).encode()
    (folder / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + bytes(64)
    )
    return folder


def known(monkeypatch: Any) -> None:
    """Have fgkit take `model_folder`'s network for one that can be converted, here and in child processes."""
    monkeypatch.setitem(spec.SPECS, NETWORK.key, NETWORK)
    paths = [str(Path(__file__).with_name("tiny_network")), str(Path(__file__).parents[1])]
    if before := os.environ.get("PYTHONPATH"):
        paths.append(before)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def copy_of(folder: Path, target: Path) -> Path:
    """A copy of a model folder that a test may damage."""
    return Path(shutil.copytree(folder, target))
