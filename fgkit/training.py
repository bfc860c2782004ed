"""Supervised fine-tuning of every weight, on the answers only, with TRL's trainer and shared prefixes.

In: token rows and a model folder. Out: the tuned model's folder, the loss curve and its picture.

Rows of a batch share one copy of what they begin with (`prefix_tree`); loss and gradients are those of separate rows.
Master weights are fp32, whatever the precision of the arithmetic; the files hold bfloat16, as FunctionGemma's do.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import prefix_tree, progress, tree_attention
from .answer_loss import answer_loss
from .config import FinetuneConfig, Recipe
from .errors import ConfigError, FgkitError, ModelError
from .files import read_json, replacing, require_space, write_json
from .prefix_tree import Row

PACK_TOKENS = 4096  # most tokens of a tree, which bounds attention
PACK_ANSWERS = 1024  # most answer tokens of a tree, which bounds the logits: 1 MB each with 262,144 pieces in fp32


def train(folder: Path, rows: Sequence[Row], held_out: Sequence[Row], *, recipe: Recipe, config: FinetuneConfig,
          checkpoints: Path) -> tuple[Any, list[dict[str, float]]]:
    """Fine-tune the model in `folder`; a run that was cut off goes on from its last epoch.

    Args:
        folder: base model folder.
        rows: training rows.
        held_out: rows whose loss is logged after each epoch.
        recipe: hyperparameters, see `FinetuneConfig.recipe`.
        config: the other settings (`warmup_ratio`, `lr_scheduler_type`, `seed`).
        checkpoints: folder for the newest checkpoint; the caller removes it when the model is saved.
    Returns:
        (model in bfloat16 and evaluation mode, log: one dict a logged step with `step`, `epoch` and `loss` or
        `eval_loss`).
    Raises:
        FgkitError: the disk is too full; ConfigError: the precision is not to be had on this device.
    """
    import torch

    from .base_model import load

    parameters = (folder / "model.safetensors").stat().st_size // 2
    require_space(checkpoints, (2 * 12 + 2) * parameters, "two checkpoints (the old one goes when the new one is whole)")
    _check_device(recipe.precision)
    model, tokenizer = load(folder)
    model = model.float()
    with trained_in_trees(model):
        trainer = _trainer(model, tokenizer, rows, held_out, recipe, config, checkpoints)
        trainer.train(resume_from_checkpoint=_whole_checkpoint(checkpoints))
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise FgkitError("Training ended with weights that are not numbers. Lower learning_rate, or use precision fp32.")
    return model.to(torch.bfloat16).eval(), log


@contextlib.contextmanager
def trained_in_trees(model: Any) -> Iterator[None]:
    """Have a model's forward pass take what `collate` gives and return its `tree_loss`.

    Going through `forward` keeps autocast and the gradient hooks of several processes in force.

    Args:
        model: a Gemma 3 causal language model; when the block ends it is as it was.
    Raises:
        ModelError: it caps its logits, which the loss here does not.
    """
    if model.config.final_logit_softcapping is not None:
        raise ModelError("The base model caps its logits (final_logit_softcapping), which no Gemma 3 does and training "
                         "here leaves out. Use FunctionGemma, another Gemma 3 or the offline base.")
    tree_attention.register()
    implementation = model.config._attn_implementation
    model.set_attn_implementation(tree_attention.IMPLEMENTATION)
    model.forward = types.MethodType(tree_loss, model)
    try:
        with _memory_kept():
            yield
    finally:
        model.__dict__.pop("forward")
        model.set_attn_implementation(implementation)


def rows_per_pack(rows: Sequence[Row], batch_size: int) -> int:
    """Largest divisor of the effective batch whose tree stays within the memory bounds for any choice of rows.

    Args:
        rows: all training rows.
        batch_size: rows of one optimizer step.
    """
    shared = min(prefix_tree.common_prefix_length(rows[0].tokens, row.tokens[:row.prompt_length]) for row in rows)
    own = max(len(row.tokens) for row in rows) - shared
    answer = max(len(row.tokens) - row.prompt_length for row in rows)
    fits = [count for count in range(1, batch_size + 1) if batch_size % count == 0
            and shared + count * own <= PACK_TOKENS and count * answer <= PACK_ANSWERS]
    return max(fits, default=1)


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """One batch as one tree, in the form `model` and the trainer take it."""
    import torch

    tree = prefix_tree.build(rows)
    targets = torch.tensor([tree.targets])
    return {
        "input_ids": torch.tensor([tree.tokens]), "position_ids": torch.tensor([tree.positions]),
        "last_descendants": torch.tensor(tree.last_descendants), "predictors": torch.tensor(tree.predictors),
        "labels": targets, "shift_labels": targets,  # the trainer counts the answer tokens of a step in these
    }


def tree_loss(model: Any, *, input_ids: Any, position_ids: Any, last_descendants: Any, predictors: Any, labels: Any,
              **_: Any) -> Any:
    """Summed cross-entropy of a tree's answer tokens.

    Args:
        model: a Gemma 3 causal language model in a block of `trained_in_trees`.
        input_ids, position_ids: shape (1, tokens).
        last_descendants: shape (tokens,).
        predictors: shape (answers,), the places whose states predict answer tokens.
        labels: shape (1, answers), those tokens.
    """
    blocks = tree_attention.blocks(position_ids[0].tolist(), last_descendants.tolist(), model.config.sliding_window,
                                   device=input_ids.device)
    states = model.model(inputs_embeds=_embedded(model.get_input_embeddings(), input_ids), position_ids=position_ids,
                         attention_mask=blocks, use_cache=False).last_hidden_state[0]
    return answer_loss(states[predictors], model.lm_head.weight, labels[0])


def _embedded(embedding: Any, input_ids: Any) -> Any:
    """The tokens' embeddings; their gradient is added to what the tied head left, row by row.

    PyTorch would add a matrix of the vocabulary's size that is zero but for some hundred rows: a second at every step.
    Several processes need it all the same, because their gradients are averaged as soon as PyTorch has them.
    """
    import torch

    weight = embedding.weight
    if not (weight.requires_grad and torch.is_grad_enabled()) or torch.distributed.is_initialized():
        return embedding(input_ids)
    rows = torch.nn.functional.embedding(input_ids, weight.detach()).requires_grad_()

    def add(gradient: Any) -> None:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, input_ids.flatten(), gradient.flatten(0, 1).to(weight.dtype))

    rows.register_hook(add)
    return rows * embedding.embed_scale.to(weight.dtype)


@contextlib.contextmanager
def _memory_kept() -> Iterator[None]:
    """Let the C library keep what a step frees for the next one, where it is glibc.

    By default it returns large blocks to the system, which hands them out again page by page: 0.6 s of a step of 7.
    """
    import ctypes

    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    glibc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if glibc:
        glibc.mallopt(mmap_max, 0)
        glibc.mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        if glibc:
            glibc.mallopt(mmap_max, 65536)
            glibc.mallopt(trim_threshold, 128 * 1024)
            glibc.malloc_trim(0)


def save(model: Any, base_folder: Path, target: Path, record: dict[str, Any]) -> Path:
    """Write a tuned model's folder, whole or not at all.

    Args:
        model: the tuned model in bfloat16.
        base_folder: where the tokenizer files, chat template and generation settings are taken from.
        target: the folder to write; one that is there is replaced.
        record: what `fgkit.json` tells about the training (base, style, tools, settings, versions, ...).
    """
    from .bundle import notice_text

    with replacing(target) as part:
        part.mkdir()
        model.save_pretrained(part)
        for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "generation_config.json",
                     "chat_template.jinja"):
            shutil.copyfile(base_folder / name, part / name)
        names = read_json(part / "tokenizer_config.json")
        write_json(part / "special_tokens_map.json",
                   {key: names[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token") if key in names})
        (part / "NOTICE-GEMMA.txt").write_text(notice_text(), encoding="utf-8")
        write_json(part / "fgkit.json", record)
    return target


def plot_loss(log: list[dict[str, float]], path: Path) -> Path:
    """Draw training and held-out loss against steps into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="optimizer step", ylabel="loss per answer token (nats)", title="Training")
    for key, label, style in (("loss", "training rows", {"color": "#0072B2"}),
                              ("eval_loss", "held-out rows", {"color": "#D55E00", "marker": "o"})):
        points = [(entry["step"], entry[key]) for entry in log if key in entry]
        if points:
            axes.plot(*zip(*points), label=label, **style)
    losses = [entry.get("loss", entry.get("eval_loss")) for entry in log]
    if losses and max(losses) > 10 * min(losses) > 0:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if log:
        axes.legend(frameon=False)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=144)
    return path


def _check_device(precision: str) -> None:
    import torch

    if precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(f"precision is 'bf16', which {torch.cuda.get_device_name()} does not have. Use precision "
                          "'fp32' (slower; fp16 overflows in this model).")


def _whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint whose last-written file is there."""
    found = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    return str(found[-1].parent) if found else None


def _trainer(model: Any, tokenizer: Any, rows: Sequence[Row], held_out: Sequence[Row], recipe: Recipe,
             config: FinetuneConfig, checkpoints: Path) -> Any:
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class PrefixTreeTrainer(SFTTrainer):
        """TRL's trainer with the loss of a token tree."""

        def compute_loss(self, model: Any, inputs: dict, return_outputs: bool = False,
                         num_items_in_batch: Any = None) -> Any:
            loss = model(**inputs)
            if num_items_in_batch is None:
                loss = loss / inputs["labels"].numel()
            else:
                loss = loss * self.accelerator.num_processes / num_items_in_batch
            return (loss, None) if return_outputs else loss

    effective = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    pack = rows_per_pack(rows, effective)
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated")  # its new name is unknown to older releases
    arguments = SFTConfig(
        output_dir=str(checkpoints), max_length=None, packing=False, dataset_kwargs={"skip_prepare_dataset": True},
        num_train_epochs=recipe.num_train_epochs, learning_rate=recipe.learning_rate,
        per_device_train_batch_size=pack, gradient_accumulation_steps=effective // pack, per_device_eval_batch_size=pack,
        lr_scheduler_type=config.lr_scheduler_type, warmup_steps=config.warmup_ratio, optim="adamw_torch_fused",
        bf16=recipe.precision == "bf16", fp16=False, use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False, eval_strategy="epoch", save_strategy="epoch", save_total_limit=1,
        prediction_loss_only=True, logging_steps=1, remove_unused_columns=False, report_to="none", seed=config.seed,
        data_seed=config.seed, dataloader_pin_memory=False, disable_tqdm=True,
    )

    def dataset(rows: Sequence[Row]) -> Any:
        return Dataset.from_dict({"input_ids": [list(row.tokens) for row in rows],
                                  "prompt_length": [row.prompt_length for row in rows]})

    class Progress(TrainerCallback):
        """One bar for the whole training, where fgkit shows its bars."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = progress.bar(total=state.max_steps, initial=state.global_step, desc="training", unit="step")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any) -> None:
            self.bar.set_postfix({key: f"{logs[key]:.3f}" for key in ("loss", "eval_loss") if key in (logs or {})})

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    trainer = PrefixTreeTrainer(
        model=model, args=arguments, processing_class=tokenizer, train_dataset=dataset(rows),
        eval_dataset=dataset(held_out), callbacks=[Progress()],
        data_collator=lambda batch: collate([Row(tuple(item["input_ids"]), item["prompt_length"]) for item in batch]))
    trainer.remove_callback(PrinterCallback)  # it prints a line a step where tqdm is off
    return trainer
