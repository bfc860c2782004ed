"""Supervised fine-tuning of all weights, on the answers only, with shared prefixes.

In: tokenized rows and a base model's folder. Out: the tuned model and its training curve, and the
tuned model's folder.

The rows of a batch share one copy of what they begin with (`prefix_tree`); loss and gradients are
those of separate rows. The files hold bfloat16, as FunctionGemma's do, whatever the precision of
the training.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from fgkit import checksums, devices
from fgkit.atomic_files import replacing
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import FgkitError
from fgkit.files import read_json, require_space, write_json
from fgkit.licence import notice_text
from fgkit.models import base as base_model

from . import checkpoints as checkpoint_files, trainer
from .callbacks import is_curve_point
from .monitor import LogEntry, TrainingMonitor
from .options import TrainingOptions
from .tree_model import tree_training

if TYPE_CHECKING:
    from transformers import Gemma3ForCausalLM

# What a tuned model takes from its base unchanged.
_BASE_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
)
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def train(
    folder: Path,
    rows: Sequence[TokenizedExample],
    held_out: Sequence[TokenizedExample],
    options: TrainingOptions,
    *,
    checkpoints: Path,
    monitor: TrainingMonitor | None = None,
) -> tuple[Gemma3ForCausalLM, list[LogEntry]]:
    """Fine-tune the model in `folder`, resuming an interrupted training from its newest checkpoint.

    A resumed training ends with the same weights and the same log as an uninterrupted one, on a CPU
    bit for bit: the checkpoint holds weights, optimizer, schedule and random state, and the order
    of the rows depends on seed and epoch only.

    Args:
        folder: folder of the base model.
        rows: training rows.
        held_out: rows whose loss is logged after each epoch.
        options: hyperparameters and seed.
        checkpoints: folder for the newest checkpoint; the caller removes it when the model is
            saved.
        monitor: is told of every step and may stop the training, which then returns the model after
            that step.
    Returns:
        (the model in bfloat16 and evaluation mode; the log, one dict for each logged step with
        `step`, `epoch` and either `loss` or `eval_loss` and `eval_exact`, the share of held-out
        rows that greedy decoding would answer word for word), the same in every process.
    Raises:
        FgkitError: the disk is too full, or the training diverged.
        ConfigError: this device does not have the precision.
    """
    precision = options.recipe.precision
    devices.require_precision(precision)
    model, tokenizer = base_model.load(folder)
    require_space(checkpoints, checkpoint_files.saved_model_bytes(model), "the tuned model")
    # Steps of a small learning rate vanish in bfloat16's 8 bits, so the weights are fp32 unless
    # asked otherwise.
    if precision != "bf16_weights":
        model = model.float()
    with tree_training(model), monitor.interruptible() if monitor else contextlib.nullcontext():
        run = trainer.build(
            model, tokenizer, rows, held_out, options, checkpoints=checkpoints, monitor=monitor
        )
        # One process looks for the checkpoint and removes the others; all resume from the one it
        # names.
        newest = devices.from_main(
            checkpoint_files.newest_complete(checkpoints) if devices.main_process() else None
        )
        run.train(resume_from_checkpoint=str(newest) if newest else None)
    # A checkpoint stores the keys of each entry in sorted order: sort them here too, so that
    # resumed and uninterrupted trainings write identical logs.
    log = [dict(sorted(entry.items())) for entry in run.state.log_history if is_curve_point(entry)]
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise FgkitError(
            "Training ended with weights that are not numbers. Lower learning_rate, or use "
            "precision fp32."
        )
    return model.to(torch.bfloat16).eval(), log


def save(
    model: Gemma3ForCausalLM, base_folder: Path, target: Path, record: Mapping[str, object]
) -> Path:
    """Write a tuned model's folder, completely or not at all, and return its path.

    Args:
        model: the tuned model in bfloat16.
        base_folder: folder of the base, from which the tokenizer files, chat template and
            generation settings come.
        target: folder to write; an existing one is replaced.
        record: content of `fgkit.json`, which describes the training (base, style, tools, settings,
            versions, ...).
    Raises:
        FgkitError: the disk is full.
    """
    with replacing(target) as part:
        part.mkdir()
        try:
            model.save_pretrained(part)
        except SafetensorError as error:
            raise FgkitError(
                f"{target}: cannot be written: {error}. Free some space and run the same command "
                "again: it goes on from the newest checkpoint."
            ) from error
        # `save_pretrained` of transformers 5 writes no tokenizer, and its tokenizers write neither
        # `tokenizer.model`, which every bundler needs, nor `special_tokens_map.json`.
        for name in _BASE_FILES:
            shutil.copyfile(base_folder / name, part / name)
        names = read_json(part / "tokenizer_config.json")
        write_json(
            part / "special_tokens_map.json",
            {key: names[key] for key in _SPECIAL_TOKENS if key in names},
        )
        (part / "NOTICE-GEMMA.txt").write_text(notice_text(), encoding="utf-8")
        write_json(part / "fgkit.json", record)
        checksums.write(part)
    return target
