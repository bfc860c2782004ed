"""A run's folder as `fgkit run` leaves it, made in milliseconds: a model with one tensor, a bundle of a few bytes, real scores.

>>> folder = make(tmp_path / "run")            # passed the gate
>>> make(tmp_path / "bad", passed=False)
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import scored
import tiny

from fgkit import checksums, files, licence
from fgkit.dataset import rows
from fgkit.dataset.records import request
from fgkit.dataset.splits import load_data
from fgkit.evaluation import scores as evaluation
from fgkit.tools import tools_hash

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "paint",
            "description": "Paints it | in a `colour` <b>now</b>.",
            "parameters": {
                "type": "object",
                "required": ["color"],
                "properties": {
                    "color": {"type": "string", "enum": ["red", "blue"], "description": "Which"}
                },
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "alert",
            "description": "Shows an alert.",
            "parameters": {
                "type": "object",
                "required": ["title"],
                "properties": {
                    "title": {"type": "string", "description": "Text"},
                    "n": {"type": "integer", "description": "Times"},
                },
            },
        },
    },
]
PRIVATE = "Rosebud, said the user"  # a row's text, which must not be published by itself
BUNDLE = "my-functions.task"


def make(folder: Path, *, passed: bool = True, **facts: Any) -> Path:
    """Write the folder.

    Args:
        folder: where.
        passed: the gate's verdict.
        facts: other entries of fgkit.json.
    """
    model = folder / "model"
    model.mkdir(parents=True)
    tiny.tokenizer_files(model)
    (model / "config.json").write_text("{}\n", encoding="utf-8")
    (model / "generation_config.json").write_text("{}\n", encoding="utf-8")
    (model / "training_args.bin").write_bytes(b"a pickle")
    header = json.dumps(
        {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [8, 4], "data_offsets": [0, 64]}}
    ).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "optimizer.pt").write_bytes(b"a pickle")
    (folder / "finetune.ipynb").write_text("{}", encoding="utf-8")
    data, held_out = folder.parent / "rows.jsonl", folder.parent / "held_out.jsonl"
    for path in (data, held_out):
        path.write_text(
            "".join(
                json.dumps(
                    {
                        "user_content": text,
                        "tool_name": "paint",
                        "tool_arguments": json.dumps({"color": color}),
                    }
                )
                + "\n"
                for text, color in (
                    (f"{PRIVATE} {path.stem}", "red"),
                    (f"blue {path.stem}", "blue"),
                )
            ),
            encoding="utf-8",
        )
    loaded = load_data(data, held_out, TOOLS, seed=42)
    settings = {
        "output": str(folder),
        "data": str(data),
        "eval_data": str(held_out),
        "tools": "",
        "seed": 42,
    }
    weights = files.sha256(model / "model.safetensors")
    files.write_json(
        model / "fgkit.json",
        {
            "base": "offline",
            "rows": 2,
            "rows_sha256": rows.rows_hash(loaded.train),
            "style": "template",
            "tools": TOOLS,
            "system_message": "",
            "modifications": "all weights fine-tuned with fgkit on 2 rows",
            "settings": settings | {"num_train_epochs": 3, "learning_rate": 5e-5},
            "versions": {"fgkit": "0.1.0"},
            "log": [],
        }
        | facts,
    )
    checksums.write(model)
    task = folder / BUNDLE
    task.write_bytes(b"the bundle's bytes")
    records = [replace(request(1, PRIVATE, scored.RECORDS[0].calls), line=1), *scored.RECORDS[1:]]
    common = {
        "rows_sha256": rows.rows_hash(loaded.held_out),
        "tools_hash": tools_hash(TOOLS),
        "style": "template",
    }
    scores = {
        "base": evaluation.score(records, ["no"] * 4)
        | common
        | {"sha256": "0" * 64, "path": "/home/ada/base"},
        "tuned": evaluation.score(records, scored.perfect())
        | common
        | {"sha256": weights, "path": f"{model}/x"},
        "task": evaluation.score(records, [*scored.perfect()[:3], "no"])
        | common
        | {"sha256": files.sha256(task), "path": str(task)},
    }
    gate = {
        "passed": passed,
        "lines": [
            f"gate {'passed' if passed else 'FAILED'} on 4 rows",
            "exact match: model 4/4, bundle 3/4",
            f"  match lost: line 1 '{PRIVATE}': model 'x', bundle 'y'",
        ],
    }
    files.write_json(
        folder / f"{BUNDLE}.json",
        {
            "style": "template",
            "base": "offline",
            "sha256": files.sha256(task),
            "model_sha256": weights,
            "profile": "guide",
            "start_token": "<bos>",
            "stop_tokens": ["<eos>", "<end_function_call>"],
            "prompt_prefix": "<start_of_turn>user\n",
            "prompt_suffix": "<end_of_turn>\n",
            "gate": gate,
            "scores": {
                name: {key: value for key, value in one.items() if key != "rows"}
                for name, one in scores.items()
            },
        },
    )
    files.write_json(
        folder / "summary.json",
        scores
        | {
            "gate": gate,
            "files": {
                "model/model.safetensors": {"bytes": 64, "sha256": weights},
                BUNDLE: {"bytes": task.stat().st_size, "sha256": files.sha256(task)},
            },
            "settings": {
                "to_tflite": settings | {"quantize": "dynamic_int8", "kv_cache_max_len": 512},
                "to_task": settings | {"model": ""},
            },
        },
    )
    files.write_text(folder / licence.NOTICE, licence.notice_text())
    return folder


def change(path: Path, **entries: Any) -> None:
    """Replace entries of a JSON file."""
    files.write_json(path, files.read_json(path) | entries)
