"""Supervised fine-tuning of every weight, on the answers only, with TRL's trainer and shared prefixes.

In: token rows and a model folder. Out: the tuned model's folder, the loss curve and its picture.

Rows of a batch share one copy of what they begin with (`prefix_tree`); loss and gradients are those of separate rows.
The files hold bfloat16, as FunctionGemma's do, whatever the precision of training.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import checksums, devices, plots as plot_look
from fgkit.config import FinetuneConfig
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import FgkitError
from fgkit.files import read_json, replacing, require_space, write_json
from fgkit.models.spec import Recipe

from . import trainer
from .monitor import Watch
from .tree_model import trained_in_trees


def train(
    folder: Path,
    rows: Sequence[TokenizedExample],
    held_out: Sequence[TokenizedExample],
    *,
    recipe: Recipe,
    config: FinetuneConfig,
    checkpoints: Path,
    watch: Watch | None = None,
) -> tuple[Any, list[dict[str, float]]]:
    """Fine-tune the model in `folder`; a run that was cut off goes on from its newest checkpoint.

    Args:
        folder: base model folder.
        rows: training rows.
        held_out: rows whose loss is logged after each epoch.
        recipe: hyperparameters, see `FinetuneConfig.recipe`.
        config: the other settings (`warmup_ratio`, `lr_scheduler_type`, `seed`).
        checkpoints: folder for the newest checkpoint; the caller removes it when the model is saved.
        watch: who looks on; where they stop it, the model is the one after that step.
    Returns:
        (model in bfloat16 and evaluation mode, log: one dict a logged step with `step`, `epoch` and `loss`, or `eval_loss`
        and `eval_exact`, the share of held-out answers that greedy decoding gives), the same in every process.
    Raises:
        FgkitError: the disk is too full; ConfigError: the precision is not to be had on this device.
    """
    import torch

    from fgkit.models.base import load

    devices.require_precision(recipe.precision)
    model, tokenizer = load(folder)
    require_space(checkpoints, trainer.model_bytes(model), "the tuned model")
    if recipe.precision != "bf16_weights":
        model = model.float()
    with trained_in_trees(model), watch.interruptible() if watch else contextlib.nullcontext():
        run = trainer.build(
            model,
            tokenizer,
            rows,
            held_out,
            recipe=recipe,
            config=config,
            checkpoints=checkpoints,
            watch=watch,
        )
        newest = devices.from_main(
            trainer.newest_whole(checkpoints) if devices.main_process() else None
        )
        run.train(resume_from_checkpoint=newest)
    # A checkpoint sorts each entry's keys; whoever went on from one is to end with the same bytes as whoever did not.
    log = [dict(sorted(entry.items())) for entry in run.state.log_history if trainer.logged(entry)]
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise FgkitError(
            "Training ended with weights that are not numbers. Lower learning_rate, or use precision fp32."
        )
    return model.to(torch.bfloat16).eval(), log


def save(model: Any, base_folder: Path, target: Path, record: dict[str, Any]) -> Path:
    """Write a tuned model's folder, whole or not at all.

    Args:
        model: the tuned model in bfloat16.
        base_folder: where the tokenizer files, chat template and generation settings are taken from.
        target: the folder to write; one that is there is replaced.
        record: what `fgkit.json` tells about the training (base, style, tools, settings, versions, ...).
    """
    from safetensors import SafetensorError

    from fgkit.licence import notice_text

    with replacing(target) as part:
        part.mkdir()
        try:
            model.save_pretrained(part)
        except SafetensorError as error:
            raise FgkitError(
                f"{target}: cannot be written: {error}. Free some space and run the same command again: it goes "
                "on from the newest checkpoint."
            ) from error
        for name in (
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
            "generation_config.json",
            "chat_template.jinja",
        ):
            shutil.copyfile(base_folder / name, part / name)
        names = read_json(part / "tokenizer_config.json")
        write_json(
            part / "special_tokens_map.json",
            {
                key: names[key]
                for key in ("bos_token", "eos_token", "pad_token", "unk_token")
                if key in names
            },
        )
        (part / "NOTICE-GEMMA.txt").write_text(notice_text(), encoding="utf-8")
        write_json(part / "fgkit.json", record)
        checksums.write(part)
    return target


def checkpoint_folder(folder: Path, facts: dict[str, Any]) -> Path:
    """The checkpoint folder of exactly this training; others of the same run folder are removed."""
    key = hashlib.sha256(repr(sorted(facts.items(), key=str)).encode()).hexdigest()[:12]
    for other in (folder / "checkpoints").glob("*"):
        if other.name != key and devices.main_process():
            shutil.rmtree(other)
    return folder / "checkpoints" / key


def plot_loss(log: list[dict[str, float]], path: Path) -> Path:
    """Draw a training's curves (`curves`) into a PNG file and return its path."""
    return plot_look.save(curves(log), path)


def curves(log: list[dict[str, float]]) -> Any:
    """A figure of the loss of training and held-out rows against steps and, where it is known, of held-out answers right.

    Args:
        log: what `train` returned, or a part of it.
    """
    scored = [(entry["step"], 100 * entry["eval_exact"]) for entry in log if "eval_exact" in entry]
    figure, axes = plot_look.new(
        7,
        4.6 if scored else 3.4,
        rows=1 + bool(scored),
        squeeze=False,
        sharex=True,
        height_ratios=(2, 1) if scored else (1,),
    )
    loss = axes[0, 0]
    for key, label, style in (
        ("loss", "training rows", {"color": plot_look.BLUE, "linewidth": 1.4}),
        (
            "eval_loss",
            "held-out rows",
            {"color": plot_look.VERMILION, "marker": "o", "linestyle": "--"},
        ),
    ):
        points = [(entry["step"], entry[key]) for entry in log if key in entry]
        if points:
            loss.plot(*zip(*points), label=label, **style)
    values = [entry.get("loss", entry.get("eval_loss")) for entry in log]
    if values and max(values) > 10 * min(values) > 0:
        loss.set_yscale("log")
    loss.set_ylabel("loss per answer token (nats)")
    if log:
        loss.legend(frameon=False)
    if scored:
        axes[1, 0].plot(*zip(*scored), color=plot_look.GREEN, marker="s")
        axes[1, 0].set_ylim(-5, 105)
        axes[1, 0].set_ylabel("held-out answers\nword for word (%)")
    axes[-1, 0].set_xlabel("optimizer step")
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    return figure
