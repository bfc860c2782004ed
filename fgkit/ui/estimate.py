"""What a training will take, before it starts: steps, minutes and memory, from the rows and from what this machine does.

In: token rows, a recipe, the base's folder. Out: an `Estimate`. Steps are exact. Seconds are the multiplications and the
optimizer's bytes at the rates that this process measures in half a second, times what a real step takes over that floor
(docs/speed.md); a machine that others share is slower. Memory is what weights, gradients, optimizer and logits hold.

>>> print(estimate(train, held_out, recipe, base.folder, seed=42))
54 steps of 16 rows, about 5 minutes and 7.4 GB of the 25 GB of memory (2 cores, bf16)
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fgkit.dataset.tokenize import TokenizedExample
from fgkit.files import read_json
from fgkit.models.spec import Recipe
from fgkit.training import batches, prefix_tree

SAMPLED_BATCHES = 8  # whose trees are measured; the others are taken to be like them
_OVER_FLOOR = {
    "fp32": 1.2,
    "bf16": 1.4,
    "bf16_weights": 1.6,
}  # the last column of docs/speed.md's first table
_BYTES = {
    "fp32": 16,
    "bf16": 16,
    "bf16_weights": 8,
}  # of a weight: itself, its gradient, Adam's two numbers
_LIBRARIES = 1.6  # GB of Python, torch and transformers, and of buffers that they keep


@dataclass(frozen=True)
class Estimate:
    """What a training will take.

    Args:
        steps: optimizer steps.
        rows: rows of a step.
        seconds: from the first step to the last look at held-out rows.
        memory_gb: at the peak, of the process or of the GPU.
        available_gb: how much there is; None where the system does not tell.
        device: on what, in words.
        precision: one of `devices.PRECISIONS`.
    """

    steps: int
    rows: int
    seconds: float
    memory_gb: float
    available_gb: float | None
    device: str
    precision: str

    @property
    def fits(self) -> bool:
        """Whether the memory is enough, as far as it is known."""
        return self.available_gb is None or self.memory_gb < self.available_gb

    def __str__(self) -> str:
        there = f" of the {self.available_gb:.0f} GB" if self.available_gb else ""
        return (
            f"{self.steps} steps of {self.rows} rows, {duration(self.seconds)} and {self.memory_gb:.1f} GB{there} "
            f"of memory ({self.device}, {self.precision})"
            + (
                ""
                if self.fits
                else ". That is too much: precision 'bf16_weights' halves "
                "it, fewer rows a step help a little"
            )
        )


def estimate(
    train: Sequence[TokenizedExample],
    held_out: Sequence[TokenizedExample],
    recipe: Recipe,
    folder: Path,
    *,
    seed: int,
) -> Estimate:
    """Say what training these rows will take on this machine.

    Args:
        train, held_out: token rows, at least one each.
        recipe: hyperparameters.
        folder: the base model's, whose `config.json` tells the shape.
        seed: of the rows' order.
    """
    size = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    sampler = batches.Batches(train, size, seed)
    chosen = list(sampler)
    sample = random.Random(seed).sample(chosen, min(SAMPLED_BATCHES, len(chosen)))
    shape = _Shape(read_json(folder / "config.json"))
    packs = [pack for batch in sample for pack in batches.packs([train[place] for place in batch])]
    steps = len(chosen) * recipe.num_train_epochs
    multiply, move = rates(recipe.precision)
    work = 6 * sum(map(shape.operations, packs)) / len(sample)
    seconds = steps * (
        work / multiply
        + 7 * (2 if recipe.precision == "bf16_weights" else 4) * shape.weights / move
    )
    looked_at = held_out[:256]
    look = 2 * sum(map(shape.operations, batches.packs(looked_at))) * len(held_out) / len(looked_at)
    seconds += recipe.num_train_epochs * look / multiply
    answers, tokens = (
        max(map(_answers, packs)),
        max(len(prefix_tree.build(pack).tokens) for pack in packs),
    )
    gpu, name, available = _device()
    number = 4 if recipe.precision == "fp32" else 2
    memory = (
        _BYTES[recipe.precision] * shape.weights
        + number * shape.vocabulary * answers
        + 2 * shape.head * (recipe.precision == "bf16")  # autocast multiplies with a copy
        + 4 * tokens * shape.layers * (8 * shape.hidden + 3 * shape.inner)
    ) / 1e9 + (0.6 if gpu else _LIBRARIES)
    return Estimate(
        steps,
        min(size, len(train)),
        _OVER_FLOOR[recipe.precision] * seconds,
        memory,
        available,
        name,
        recipe.precision,
    )


def duration(seconds: float) -> str:
    """Seconds in the words of an estimate: `some seconds`, `about 5 minutes`, `about 2 hours`."""
    if seconds < 50:
        return "about half a minute" if seconds > 15 else "some seconds"
    number, unit = (seconds / 60, "minute") if seconds < 5400 else (seconds / 3600, "hour")
    return f"about {number:.0f} {unit}{'s' * (round(number) != 1)}"


@lru_cache
def rates(precision: str) -> tuple[float, float]:
    """What this device does: (operations, bytes) a second, measured in half a second and kept.

    Args:
        precision: one of `devices.PRECISIONS`.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    width = 4096 if device == "cuda" else 1536
    left = torch.randn(width, width, device=device).to(
        torch.float32 if precision == "fp32" else torch.bfloat16
    )
    block = torch.empty(32 * 2**20, device=device)
    return 2 * width**3 / fastest(lambda: left @ left), 2 * block.nbytes / fastest(
        lambda: block.add_(1)
    )


def fastest(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the fastest of some calls after a first."""
    import torch

    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


class _Shape:
    """A Gemma 3 network's sizes, from its `config.json`."""

    def __init__(self, config: dict[str, Any]):
        self.layers, self.hidden, self.inner = (
            config[key] for key in ("num_hidden_layers", "hidden_size", "intermediate_size")
        )
        heads = config["head_dim"] * (
            2 * config["num_attention_heads"] + 2 * config["num_key_value_heads"]
        )
        self.vocabulary = config["vocab_size"]
        self.body = self.layers * self.hidden * (heads + 3 * self.inner)
        self.head = self.vocabulary * self.hidden
        self.weights = self.body + self.head

    def operations(self, pack: Sequence[TokenizedExample]) -> int:
        """Multiplications of a forward pass: tree tokens through the layers, answer tokens through the head."""
        return self.body * len(prefix_tree.build(pack).tokens) + self.head * _answers(pack)


def _answers(rows: Sequence[TokenizedExample]) -> int:
    return sum(len(row.tokens) - row.prompt_length for row in rows)


def _device() -> tuple[bool, str, float | None]:
    """Whether it is a GPU, its name, and its memory in GB."""
    import torch

    if torch.cuda.is_available():
        return (
            True,
            torch.cuda.get_device_name(),
            torch.cuda.get_device_properties(0).total_memory / 1e9,
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        memory = None
    return False, f"{cores} cores", memory
