"""Whether a model folder can be trained from, asked before anything is trained.

`to_tflite` refuses a tuned model with another shape, other tokenizers or other stop ids than the
registered networks have. All of these come from the base, so the same table is asked of the base.

Example:

    require_trainable(Path("my-base"))    # ModelError: ... hidden_size is 1152, expected 640 ...
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgkit import files
from fgkit.errors import ModelError

from .folder import WEIGHTS
from .model_checks import check_model_folder, problems_in_file
from .network_shape import shape_problems
from .spec import SPECS
from .weights import TensorEntry, read_header

# Of FOLDER_CHECKS; `check_folder` has asked about files, weights and checksums, and a training
# writes its own data type and its own `fgkit.json`.
_ASKED = ("shape", "tokenizer.model", "tokenizer.json", "stop ids")
# Training loads all of these as bfloat16; anything else is quantised.
_DATA_TYPES = {"BF16", "F16", "F32"}


def require_trainable(folder: Path) -> None:
    """Refuse a complete model folder whose tuned model could not be converted.

    Args:
        folder: a folder that `check_folder` accepts.
    Raises:
        ModelError: with every problem and its remedy.
    """
    require_known_network(folder)
    failed = [check for check in check_model_folder(folder, _ASKED) if check.status == "fail"]
    lines = [f"{check.reason} {check.remedy}" for check in failed]
    lines += problems_in_file(folder / WEIGHTS, _tensor_problems)
    if lines:
        raise ModelError(_message(folder, lines))


def require_known_network(folder: Path) -> None:
    """Refuse a folder by its `config.json` alone; one without that file passes.

    Raises:
        ModelError: it describes another network, or quantised weights.
    """
    if (folder / "config.json").is_file() and (problems := shape_problems(folder)):
        raise ModelError(_message(folder, problems))


def _message(folder: Path, lines: list[str]) -> str:
    names = " or ".join(base.name for spec in SPECS.values() for base in spec.bases)
    return "\n".join(
        [
            f"{folder}: cannot be the base of a training: its tuned model could not be converted.",
            *lines,
            f"Nothing was trained. Start from {names}, or from a model tuned from one of them.",
        ]
    )


def _tensor_problems(weights: Path) -> list[str]:
    """Compare the weights' names and shapes with what the network of `config.json` needs.

    transformers fills missing tensors with random numbers and says so only in a log.
    """
    header = read_header(weights)
    config = files.read_json(weights.with_name("config.json"))
    expected = tensors(config)
    problems = [
        f"{weights}: {name} has the shape {_shape(header[name])}, expected {shape}."
        for name, shape in expected.items()
        if name in header and _shape(header[name]) != shape
    ]
    if missing := [name for name in expected if name not in header]:
        problems.insert(
            0,
            f"{weights}: {len(missing)} of {len(expected)} tensors are missing, first {missing[0]}."
            " Get the model again, or save it with save_pretrained of its causal language model.",
        )
    odd = sorted({entry["dtype"] for entry in header.values()} - _DATA_TYPES)
    if odd:
        problems.insert(
            0,
            f"{weights}: holds {', '.join(odd)[:80]}, expected BF16, F16 or F32: quantised weights "
            "cannot be trained. Get the model that they were made from.",
        )
    return problems[:5]


def _shape(entry: TensorEntry) -> list[int]:
    return list(entry["shape"])


def tensors(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Names and shapes of a Gemma 3 text network's weights, as transformers' Gemma3ForCausalLM."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries = config["num_attention_heads"] * head
    values = config["num_key_value_heads"] * head
    layer = {
        "self_attn.q_proj": [queries, hidden],
        "self_attn.k_proj": [values, hidden],
        "self_attn.v_proj": [values, hidden],
        "self_attn.o_proj": [hidden, queries],
        "self_attn.q_norm": [head],
        "self_attn.k_norm": [head],
        "mlp.gate_proj": [inner, hidden],
        "mlp.up_proj": [inner, hidden],
        "mlp.down_proj": [hidden, inner],
        "input_layernorm": [hidden],
        "post_attention_layernorm": [hidden],
        "pre_feedforward_layernorm": [hidden],
        "post_feedforward_layernorm": [hidden],
    }
    return {
        "model.embed_tokens.weight": [config["vocab_size"], hidden],
        "model.norm.weight": [hidden],
        **{
            f"model.layers.{number}.{name}.weight": shape
            for number in range(config["num_hidden_layers"])
            for name, shape in layer.items()
        },
    }
