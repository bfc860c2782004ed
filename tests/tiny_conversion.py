"""Inputs for notebooks that are tested with a tiny model, and its conversion: its shape is not the 270M's.

A kernel that runs `KERNEL` first takes any shape for whole, and converts in a child process that is this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Of the 270M's architecture, in a size that trains, converts and runs in seconds.
SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "intermediate_size": 128,
    "sliding_window": 512,
    "layer_types": ["sliding_attention", "full_attention"],
}
KERNEL = f"""
import json, sys
from fgkit.export import conversion
from dataclasses import replace
from fgkit.models import spec
spec.register(replace(spec.GEMMA_3_270M, shape={{}}))
conversion._command = lambda request: [sys.executable, {str(Path(__file__).resolve())!r}, json.dumps(request)]
"""
TOOLS = '''
def ping():
    """Sounds the bell."""


def pong():
    """Stops the bell."""
'''
TRAINING = {
    "base": "base",
    "num_train_epochs": 40,
    "learning_rate": 5e-3,
    "precision": "fp32",
    "per_device_train_batch_size": 6,
    "gradient_accumulation_steps": 3,
}


def inputs(folder: Path) -> dict[str, Any]:
    """Write rows, tools and a base that learns them with `TRAINING` into a folder; gives the parameters that name them."""
    import tiny

    (folder / "tools.py").write_text(TOOLS, encoding="utf-8")
    for name, words in (("rows", "abcdefghijkl"), ("eval", ("now", "please"))):
        (folder / f"{name}.jsonl").write_text(
            "".join(
                json.dumps(
                    {"user_content": text.format(word), "tool_name": tool, "tool_arguments": "{}"}
                )
                + "\n"
                for word in words
                for text, tool in (("ring {}", "ping"), ("hush {}", "pong"), ("ring it {}", "ping"))
            ),
            encoding="utf-8",
        )
    tiny.model_folder(folder / "base", **SHAPE)
    return {"output": "run", "data": "rows.jsonl", "eval_data": "eval.jsonl", "tools": "tools.py"}


def main(request: str) -> None:
    from fgkit.export import conversion_worker
    from fgkit.files import read_json

    conversion_worker.import_lora_layers()
    from litert_torch.generative.examples.gemma3 import decoder
    from litert_torch.generative.layers import model_config

    shape = read_json(Path(json.loads(request)["model_dir"]) / "config.json")
    config = decoder.get_decoder_config_270m()
    config.num_layers, config.max_seq_len = shape["num_hidden_layers"], 2048
    config.embedding_dim, config.embedding_scale = shape["hidden_size"], shape["hidden_size"] ** 0.5
    config.block_configs = config.block_configs[: shape["num_hidden_layers"]]
    for block in config.block_configs:
        block.attn_config.head_dim, block.attn_config.sliding_window_size = (
            shape["head_dim"],
            shape["sliding_window"],
        )
        block.ff_config.intermediate_size = shape["intermediate_size"]
    attention = config.block_configs[-1].attn_config
    attention.attn_type, attention.rotary_base = model_config.AttentionType.GLOBAL, 1_000_000
    decoder.get_decoder_config_270m = lambda: config
    conversion_worker.run(request)


if __name__ == "__main__":
    sys.path.append(
        str(Path(__file__).resolve().parents[1])
    )  # at the end: an fgkit that is installed is the one to test
    main(sys.argv[1])
