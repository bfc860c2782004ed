"""TRL's trainer with the loss of token trees and checkpoints by the clock.

In: a model, rows and options. Out: a trainer whose steps have the loss and the gradients of stock
TRL: the mean over the answer tokens of the step's rows, however these are cut into trees and
however many processes share them.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from datasets import Dataset
from safetensors import SafetensorError
from torch.utils.data import DataLoader
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from fgkit import checksums, devices, progress
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import FgkitError

from . import batches, checkpoints as checkpoint_files
from .callbacks import CheckpointTimer, MonitorCallback, ProgressBar
from .monitor import TrainingMonitor
from .options import TrainingOptions
from .tree_model import collate

if TYPE_CHECKING:
    from transformers import Gemma3ForCausalLM, PreTrainedTokenizerBase


def build(
    model: Gemma3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[TokenizedExample],
    held_out: Sequence[TokenizedExample],
    options: TrainingOptions,
    *,
    checkpoints: Path,
    monitor: TrainingMonitor | None = None,
) -> PrefixTreeTrainer:
    """Make the trainer; `train(resume_from_checkpoint=newest_complete(checkpoints))` runs it.

    Args:
        model: a model within `tree_model.tree_training`, in the precision of its weights.
        tokenizer: the model's tokenizer.
        rows: rows to train on.
        held_out: rows whose loss is logged after each epoch.
        options: hyperparameters. The rows of a step are those of all processes together.
        checkpoints: folder for checkpoints.
        monitor: is told of every step and may stop the training; with several processes leave it
            out.
    """
    trainer = PrefixTreeTrainer(
        rows,
        held_out,
        checkpoints,
        model=model,
        args=_arguments(options, checkpoints),
        processing_class=tokenizer,
        # transformers only counts these: batches come from `get_train_dataloader`.
        train_dataset=_dataset(rows),
        eval_dataset=_dataset(held_out),
        callbacks=[ProgressBar(), *([MonitorCallback(monitor)] if monitor else [])],
    )
    # transformers adds this callback where tqdm is off, and it prints a line for each step.
    trainer.remove_callback(PrinterCallback)
    return trainer


class PrefixTreeTrainer(SFTTrainer):
    """A trainer in which every process sees all rows of a step and takes its share of the trees.

    TRL's `compute_loss` shifts labels by one token and so knows one next token for each position.
    In a tree a shared token has several, so the loss is computed here.

    Args:
        rows: rows to train on.
        held_out: rows whose loss is logged after each epoch.
        checkpoints: folder for checkpoints.
        arguments: of `SFTTrainer`; the batch size of its `args` is the rows of a step.
    """

    def __init__(
        self,
        rows: Sequence[TokenizedExample],
        held_out: Sequence[TokenizedExample],
        checkpoints: Path,
        **arguments: Any,
    ):
        self.rows, self.held_out, self.checkpoints = rows, held_out, checkpoints
        self.checkpoint_timer = CheckpointTimer()
        super().__init__(**arguments)
        self.add_callback(self.checkpoint_timer)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of rows, in the same order in every process.

        transformers would split the batches among the processes. Here each one gets them undivided,
        because neighbours in the tree should stay in one process.
        """
        sampler = batches.Batches(self.rows, self.args.per_device_train_batch_size, self.args.seed)
        # Anything that has a length and items will do; PyTorch's types do not say so.
        dataset = cast("torch.utils.data.Dataset[TokenizedExample]", self.rows)
        return _EpochDataLoader(
            dataset, batch_sampler=sampler, collate_fn=lambda rows: {"rows": rows}
        )

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write none: a checkpoint is read by the next start only."""

    def floating_point_ops(self, inputs: object) -> int:
        """Return 0: transformers counts tokens of `input_ids`, which a batch of rows lacks."""
        return 0

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Compute the loss and the gradients of this process's share of a step, tree by tree.

        The gradients of the trees add up, so memory is bounded by one tree and not by the rows of a
        step.
        """
        model.train()
        total = torch.zeros((), device=self.args.device)
        trees = batches.packs(inputs["rows"], self.args.process_index, self.args.world_size)
        # The sum over all answer tokens of the step becomes their mean. PyTorch averages gradients
        # over the processes, where their sum is wanted, hence the factor `world_size`.
        weight = self.args.world_size / _answer_tokens(inputs["rows"])
        # A process without rows has to take part in the averaging: it contributes zeros.
        if not trees:
            trees, weight = [inputs["rows"][:1]], 0.0
        for number, tree in enumerate(trees, 1):
            # Gradients travel between the processes once a step, with the last tree.
            synchronize = number == len(trees)
            with contextlib.nullcontext() if synchronize else self.accelerator.no_sync(model):
                loss = self._tree_loss(model, tree) * weight
                self.accelerator.backward(loss)
            total += loss.detach()
        # The trainer logs the mean over the processes: with `world_size`, the loss of the step.
        return total

    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        """Log the loss of the held-out rows and the share of them that are answered word for word.

        Greedy decoding gives an answer word for word exactly if each of its tokens is the most
        likely one after those before it, so one forward pass is enough and nothing is generated.
        """
        self.model.eval()
        # Summed loss of all answer tokens, and the number of rows whose answer is right.
        total = torch.zeros(2, device=self.args.device)
        with torch.inference_mode():
            for tree in batches.packs(self.held_out, self.args.process_index, self.args.world_size):
                lengths = [_answer_tokens([row]) for row in tree]
                total += self._tree_loss(self.model, tree, answer_lengths=lengths)
        loss, right = self.accelerator.reduce(total).tolist()
        metrics = {
            "eval_loss": loss / _answer_tokens(self.held_out),
            "eval_exact": right / len(self.held_out),
        }
        self.log(metrics)
        return metrics

    def _tree_loss(
        self, model: torch.nn.Module, tree: Sequence[TokenizedExample], **options: object
    ) -> torch.Tensor:
        with self.compute_loss_context_manager():
            loss: torch.Tensor = model(**self._prepare_inputs(collate(tree)), **options)
        return loss

    def _save_checkpoint(self, *arguments: Any) -> None:
        """Write a checkpoint in place of the one before; if that fails, go on training."""
        start = time.monotonic()
        newest = self.checkpoints / f"checkpoint-{self.state.global_step}"
        # All processes write or none does.
        problem: object = devices.from_main(
            checkpoint_files.space_problem(self.checkpoints, self.model)
        )
        if not problem:
            # torch raises RuntimeError when the disk is full, safetensors its own error.
            try:
                super()._save_checkpoint(*arguments)
            except (OSError, RuntimeError, SafetensorError) as error:
                problem = error
        # Each process writes its own part. Checksums come last, so that they mark a complete
        # checkpoint, and the one before is removed only then.
        self.accelerator.wait_for_everyone()
        if self.args.should_save and not problem:
            try:
                checksums.write(newest)
                checkpoint_files.keep_only(newest, self.checkpoints)
            except (FgkitError, OSError) as error:
                problem = error
        if problem:
            shutil.rmtree(newest, ignore_errors=True)
        # Saving is tried again every minute; the user need not be told each time.
        if problem and not self.checkpoint_timer.failed:
            progress.note(
                f"{newest}: no checkpoint could be written: {str(problem).splitlines()[0][:200]}. "
                "The training goes on, and a stop would cost what came since the last one. Is the "
                "disk full?"
            )
        self.checkpoint_timer.failed = bool(problem)
        self.checkpoint_timer.restart(time.monotonic() - start)


class _EpochDataLoader(DataLoader[Any]):
    """Passes the number of the epoch on to the batch sampler.

    The trainer announces it to its data loader. That makes the order of a resumed epoch the order
    it had before the interruption.
    """

    def set_epoch(self, epoch: int) -> None:
        assert isinstance(self.batch_sampler, batches.Batches)
        self.batch_sampler.set_epoch(epoch)


def _arguments(options: TrainingOptions, checkpoints: Path) -> SFTConfig:
    """TRL's settings. Everything that has a default which could change the result is stated."""
    # The new name of this setting is unknown to older releases of transformers.
    warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated")
    recipe = options.recipe
    return SFTConfig(
        output_dir=str(checkpoints),
        # Rows come tokenized and checked for length; TRL must neither cut nor pack nor touch them.
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        num_train_epochs=recipe.num_train_epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=options.lr_scheduler_type,
        # A number below 1 is a share of all steps: transformers 5 has no `warmup_ratio` any more.
        warmup_steps=options.warmup_ratio,
        # `training_step` accumulates by itself, so the rows of a step are one batch.
        per_device_train_batch_size=options.rows_per_step,
        optim="adamw_torch_fused",
        # Autocast for bfloat16 arithmetic; with bfloat16 weights it changes nothing. Never fp16,
        # which overflows.
        bf16=recipe.precision != "fp32",
        fp16=False,
        use_cpu=not torch.cuda.is_available(),
        # On by default in TRL. `recompute` saves most of the memory at a fraction of the cost.
        gradient_checkpointing=False,
        eval_strategy="epoch",
        # `CheckpointTimer` decides.
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        seed=options.seed,
    )


def _dataset(rows: Sequence[TokenizedExample]) -> Dataset:
    return Dataset.from_dict({"input_ids": [list(row.tokens) for row in rows]})


def _answer_tokens(rows: Sequence[TokenizedExample]) -> int:
    return sum(len(row.tokens) - row.prompt_length for row in rows)
