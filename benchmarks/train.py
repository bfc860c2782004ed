"""Compare the time of a training step of 32 rows in stock TRL and in fgkit.

    python benchmarks/train.py                 # about 20 minutes on 2 cores, most of it stock TRL
    python benchmarks/train.py --json          # one JSON object on stdout

Stock TRL runs with the guide's settings and with the fastest ones that we found.

Every configuration runs alone in a process of its own, on the same rows and the same offline base,
one after the other. `ratio_vs_guide` is the guide's literal call over fgkit in bf16 autocast;
`ratio_vs_best` is the fastest stock configuration over fgkit's; `fp32_ratio` compares fp32 with
fp32; `ratio_to_floor` is fgkit's step over its floor: the multiplications and the optimizer's
bytes, at the rates that the same process measures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROWS = 32
# name: (weights, autocast, attention, rows a device, accumulation, gradient checkpointing)
STOCK = {
    "guide": ("bfloat16", True, "eager", 4, 8, True),
    "stock fp32 sdpa": ("float32", False, "sdpa", 8, 4, False),
    "stock bf16 autocast sdpa": ("float32", True, "sdpa", 8, 4, False),
    "stock bf16 weights sdpa": ("bfloat16", True, "sdpa", 8, 4, False),
}
OURS = {"fgkit fp32": "fp32", "fgkit bf16 autocast": "bf16", "fgkit bf16 weights": "bf16_weights"}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else on stdout"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*STOCK, *OURS],
        metavar="NAME",
        help=f"configurations (default: all): {', '.join([*STOCK, *OURS])}",
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print("\n" + json.dumps(_measure(options.worker)))
        return 0
    results = {}
    for name in options.only or [*STOCK, *OURS]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        subprocesses = subprocess.run(
            [sys.executable, __file__, "--worker", name],
            capture_output=True,
            text=True,
            check=False,
        )
        if subprocesses.returncode:
            print(subprocesses.stderr, file=sys.stderr)
            raise SystemExit(f"{name} failed")
        results[name] = json.loads(subprocesses.stdout.splitlines()[-1])
        print(f"  {results[name]}", file=sys.stderr, flush=True)
    report = _report(results)
    print(json.dumps(report, indent=None if options.json else 2))
    return 0


def _report(results: dict[str, Any]) -> dict[str, Any]:
    report: dict[str, Any] = {"rows": ROWS, "cores": os.cpu_count(), "configurations": results}
    for name in OURS:
        if name in results:
            results[name]["ratio_to_floor"] = round(
                results[name]["seconds"] / results[name]["floor_seconds"], 2
            )
    seconds = {name: result["seconds"] for name, result in results.items()}
    stock, ours = [name for name in STOCK if name in results], "fgkit bf16 autocast"
    if stock and ours in results:
        report["best_stock"] = min(stock, key=seconds.__getitem__)
        report["ratio_vs_best"] = round(seconds[report["best_stock"]] / seconds[ours], 1)
        if "guide" in stock:
            report["ratio_vs_guide"] = round(seconds["guide"] / seconds[ours], 1)
    if "stock fp32 sdpa" in stock and "fgkit fp32" in results:
        report["fp32_ratio"] = round(seconds["stock fp32 sdpa"] / seconds["fgkit fp32"], 1)
        report["fp32_loss_difference"] = abs(
            results["stock fp32 sdpa"]["first_loss"] - results["fgkit fp32"]["first_loss"]
        )
    return report


def _measure(name: str) -> dict[str, Any]:
    from fgkit import subprocesses
    from fgkit.dataset import tokenize
    from fgkit.dataset.reading import read_records
    from fgkit.locations import shipped
    from fgkit.models import base as base_model
    from fgkit.models.spec import Recipe
    from fgkit.prompts import PromptSetup
    from fgkit.tools import load_tools
    from fgkit.training import trainer, tree_model
    from fgkit.training.options import TrainingOptions

    base = base_model.find_base("offline")
    tools = load_tools(shipped("data", "tools.py"))
    records = read_records(shipped("data", "training_data.jsonl"), tools)[:ROWS]
    model, tokenizer = base_model.load(base.folder)
    rows = tokenize.tokenize_records(records, PromptSetup(tools), tokenizer, max_length=1024)
    steps = _Steps()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if name in OURS:
            if OURS[name] != "bf16_weights":
                model = model.float()
            stack.enter_context(tree_model.tree_training(model))
            recipe = Recipe(
                num_train_epochs=6,
                learning_rate=1e-5,
                per_device_train_batch_size=4,
                gradient_accumulation_steps=8,
                precision=OURS[name],
            )
            run = trainer.build(
                model,
                tokenizer,
                rows,
                rows[:1],
                TrainingOptions(
                    recipe=recipe, lr_scheduler_type="cosine", warmup_ratio=0.1, seed=42
                ),
                checkpoints=Path(folder),
            )
            run.args.eval_strategy = "no"
        else:
            run = _stock(name, model, tokenizer, rows, Path(folder))
        run.add_callback(steps.callback())
        run.train()
    timed = (
        steps.seconds[1:] or steps.seconds
    )  # the first step allocates; a stock step is too long to repeat
    log = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    return {
        "seconds": round(min(timed), 2),
        "rows_per_second": round(ROWS / min(timed), 2),
        "all_seconds": [round(value, 2) for value in steps.seconds],
        "first_loss": log[0],
        "peak_memory_gb": subprocesses.peak_memory_gb(),
        **_floor(rows, model, name),
    }


def _stock(name: str, model: Any, tokenizer: Any, rows: list, folder: Path) -> Any:
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    weights, autocast, attention, batch, accumulation, checkpointing = STOCK[name]
    model = model.to(getattr(torch, weights))
    model.set_attn_implementation(attention)
    labels = [[-100] * row.prompt_length + list(row.tokens[row.prompt_length :]) for row in rows]
    arguments = SFTConfig(
        output_dir=str(folder),
        max_length=1024,
        packing=False,
        max_steps=1,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=1e-5,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        optim="adamw_torch_fused",
        bf16=autocast,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=checkpointing,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        dataset_kwargs={"skip_prepare_dataset": True},
        disable_tqdm=True,
    )
    return SFTTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict(
            {"input_ids": [list(row.tokens) for row in rows], "labels": labels}
        ),
    )


class _Steps:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def callback(self) -> Any:
        from transformers import TrainerCallback

        steps = self

        class Timer(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.start = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                steps.seconds.append(time.perf_counter() - self.start)

        return Timer()


def _floor(rows: list, model: Any, name: str) -> dict[str, float]:
    """Seconds that the shared-prefix step needs at least, at the rates that this process measures.

    Multiplications: forward once, backward twice, of shared tokens through the layers, of answer
    tokens through the head, and of every token with its ancestors. Bytes: AdamW reads four fp32
    numbers of every weight and writes three.
    """
    import torch

    from fgkit.training import attention_blocks, prefix_tree
    from fgkit.ui.estimate import fastest

    tree, config = prefix_tree.build(rows), model.config
    weights = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_input_embeddings().weight.numel()
    pairs = sum(
        attention_blocks.attended_pairs(
            tree.positions, config.sliding_window if kind.startswith("sliding") else None
        )
        for kind in config.layer_types
    )
    operations = 6 * (
        (weights - head) * len(tree.tokens)
        + head * len(tree.targets)
        + 2 * pairs * config.num_attention_heads * config.head_dim
    )
    kind = torch.bfloat16 if "bf16" in name or name == "guide" else torch.float32
    left = torch.randn(2048, 2048, device=model.device).to(kind)
    rate = 2 * 2048**3 / fastest(lambda: left @ left, times=8)
    block = torch.empty(64 * 2**20, device=model.device)
    bandwidth = 2 * block.nbytes / fastest(lambda: block.add_(1), times=8)
    multiply, move = operations / rate, 7 * 4 * weights / bandwidth
    return {
        "gflops_rate": round(rate / 1e9),
        "gb_per_s": round(bandwidth / 1e9, 1),
        "tree_tokens": len(tree.tokens),
        "row_tokens": sum(len(row.tokens) for row in rows),
        "floor_seconds": round(multiply + move, 2),
        "floor_multiplications": round(multiply, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
