"""Estimate the steps, minutes and memory of a training before it starts.

In: token rows, a recipe, the base's folder. Out: an `Estimate`. Example:

    print(estimate(train, held_out, recipe, base.folder, seed=42))
    54 steps of 16 rows, about 5 minutes and 7.4 GB of the 25 GB of memory (2 cores, bf16)

- The number of steps is exact.
- The time is a floor times a factor. The floor is the multiplications of a step, and the bytes that
  the optimizer moves, at the rates that this process measures in half a second. The factor is what
  a real step takes over that floor (docs/measurements/speed.md). A shared machine is slower.
- The memory is that of weights, gradients, optimizer state, activations and logits.
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

# How many batches are laid out as trees and counted; the others are assumed to be like them.
SAMPLED_BATCHES = 8
# Measured seconds of a step over its floor: the last column of the first table in
# docs/measurements/speed.md.
_OVER_FLOOR = {"fp32": 1.2, "bf16": 1.4, "bf16_weights": 1.6}
# Bytes per weight: the weight, its gradient and Adam's two moments.
_BYTES = {"fp32": 16, "bf16": 16, "bf16_weights": 8}
# GB that Python, torch and transformers take with the buffers that they keep.
_LIBRARIES = 1.6


@dataclass(frozen=True)
class Estimate:
    """What a training will take.

    Args:
        steps: optimizer steps.
        rows: rows per step.
        seconds: from the first step to the last evaluation of the held-out rows.
        memory_gb: the peak of the process, or of the GPU where one is used.
        available_gb: the memory of the machine or GPU; None where the system does not report it.
        device: a description of the device, such as `2 cores`.
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
        """Tell whether the memory is enough; True where the available memory is unknown."""
        return self.available_gb is None or self.memory_gb < self.available_gb

    def __str__(self) -> str:
        available = f" of the {self.available_gb:.0f} GB" if self.available_gb else ""
        text = (
            f"{self.steps} steps of {self.rows} rows, {duration(self.seconds)} and "
            f"{self.memory_gb:.1f} GB{available} of memory ({self.device}, {self.precision})"
        )
        if self.fits:
            return text
        return (
            f"{text}. That is too much: precision 'bf16_weights' halves it, "
            "fewer rows per step help a little"
        )


def estimate(
    train: Sequence[TokenizedExample],
    held_out: Sequence[TokenizedExample],
    recipe: Recipe,
    folder: Path,
    *,
    seed: int,
) -> Estimate:
    """Estimate what training these rows will take on this machine.

    Args:
        train: tokenized training rows, at least one.
        held_out: tokenized held-out rows, at least one.
        recipe: the hyperparameters.
        folder: the base model's folder, whose `config.json` has the shape of the network.
        seed: the seed that orders the rows.
    """
    size = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    sampler = batches.Batches(train, size, seed)
    chosen = list(sampler)
    sample = random.Random(seed).sample(chosen, min(SAMPLED_BATCHES, len(chosen)))
    shape = _Shape(read_json(folder / "config.json"))
    packs = [pack for batch in sample for pack in batches.packs([train[index] for index in batch])]
    steps = len(chosen) * recipe.num_train_epochs
    multiply, move = rates(recipe.precision)
    # Two operations per multiplication, and the backward pass costs twice the forward pass.
    work = 6 * sum(map(shape.operations, packs)) / len(sample)
    # AdamW reads weight, gradient and two moments, and writes all but the gradient: 7 numbers.
    moved = 7 * (2 if recipe.precision == "bf16_weights" else 4) * shape.weights
    seconds = steps * (work / multiply + moved / move)
    evaluated = held_out[:256]
    forward = 2 * sum(map(shape.operations, batches.packs(evaluated)))
    seconds += recipe.num_train_epochs * forward * len(held_out) / len(evaluated) / multiply
    answers = max(map(_answers, packs))
    tokens = max(len(prefix_tree.build(pack).tokens) for pack in packs)
    gpu, name, available = _device()
    number = 4 if recipe.precision == "fp32" else 2
    memory = (
        _BYTES[recipe.precision] * shape.weights
        + number * shape.vocabulary * answers
        # Autocast multiplies with a bfloat16 copy of the head.
        + 2 * shape.head * (recipe.precision == "bf16")
        # What the layers keep for the backward pass, in fp32.
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
    """Put seconds into words: `some seconds`, `about 5 minutes`, `about 2 hours`."""
    if seconds < 50:
        return "about half a minute" if seconds > 15 else "some seconds"
    number, unit = (seconds / 60, "minute") if seconds < 5400 else (seconds / 3600, "hour")
    return f"about {number:.0f} {unit}{'s' * (round(number) != 1)}"


@lru_cache
def rates(precision: str) -> tuple[float, float]:
    """Measure how fast this device multiplies and moves memory; takes half a second, once.

    Args:
        precision: one of `devices.PRECISIONS`.

    Returns:
        (operations, bytes) per second; a multiplication with its addition is two operations.
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
    """Return the seconds of the fastest of several calls, after one that warms up.

    Args:
        work: the function to time.
        times: how many calls are timed.
    """
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
    """The sizes of a Gemma 3 network, from its `config.json`."""

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
        """Count the multiplications of a forward pass over a pack of rows.

        All tokens of the tree go through the layers, but only answer tokens through the head.
        """
        return self.body * len(prefix_tree.build(pack).tokens) + self.head * _answers(pack)


def _answers(rows: Sequence[TokenizedExample]) -> int:
    """Count the answer tokens of some rows."""
    return sum(len(row.tokens) - row.prompt_length for row in rows)


def _device() -> tuple[bool, str, float | None]:
    """Return whether the device is a GPU, its name, and its memory in GB."""
    import torch

    if torch.cuda.is_available():
        return (
            True,
            torch.cuda.get_device_name(),
            torch.cuda.get_device_properties(0).total_memory / 1e9,
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory: float | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        memory = None
    return False, f"{cores} cores", memory
