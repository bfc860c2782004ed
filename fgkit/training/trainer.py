"""TRL's trainer with batches that share prefixes, the loss of a token tree, and checkpoints by the clock.

In: a model, rows and the settings. Out: a trainer whose steps have the loss and the gradients of stock TRL: the mean over
the answer tokens of the whole batch, however it is cut into trees and however many processes share it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import checksums, devices, progress
from fgkit.config import FinetuneConfig
from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import FgkitError
from fgkit.models.spec import Recipe

from . import batches
from .monitor import Watch
from .tree_model import collate

SAVE_SECONDS = 60.0  # least time between two checkpoints
_SAVE_SHARE = 0.05  # most of the time that goes into checkpoints


def build(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TokenizedExample],
    held_out: Sequence[TokenizedExample],
    *,
    recipe: Recipe,
    config: FinetuneConfig,
    checkpoints: Path,
    watch: Watch | None = None,
) -> Any:
    """Make the trainer; `train(resume_from_checkpoint=newest_whole(checkpoints))` runs it.

    Args:
        model: in a block of `tree_model.trained_in_trees`, in the precision of its weights.
        tokenizer: the model's.
        rows, held_out: rows to train on, and rows whose loss is logged after each epoch.
        recipe: hyperparameters; rows a device times accumulation are the rows of a step, over all processes together.
        config: `warmup_ratio`, `lr_scheduler_type` and `seed`.
        checkpoints: folder for them.
        watch: who looks on and may ask it to stop, of one process.
    """
    import torch
    from datasets import Dataset
    from safetensors import SafetensorError
    from torch.utils.data import DataLoader
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Loader(DataLoader):
        def set_epoch(self, epoch: int) -> None:
            self.batch_sampler.set_epoch(epoch)

    class PrefixTreeTrainer(SFTTrainer):
        """Every process sees the whole batch of a step and takes its share of the trees."""

        def get_train_dataloader(self) -> Any:
            return Loader(
                rows,
                batch_sampler=batches.Batches(rows, size, config.seed),
                collate_fn=lambda rows: {"rows": rows},
            )

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Checkpoints are for the next start, not for readers."""

        def floating_point_ops(self, inputs: Any) -> int:
            return (
                0  # transformers counts tokens of `input_ids`, which a batch of rows does not have
            )

        def training_step(self, model: Any, inputs: dict, num_items_in_batch: Any = None) -> Any:
            model.train()
            total = torch.zeros((), device=self.args.device)
            trees = batches.packs(inputs["rows"], self.args.process_index, self.args.world_size)
            # A process without rows has to take part in averaging the gradients, with zeros.
            weight = self.args.world_size / _answers(inputs["rows"]) if trees else 0.0
            trees = trees or [inputs["rows"][:1]]
            for number, tree in enumerate(trees, 1):
                with (
                    contextlib.nullcontext()
                    if number == len(trees)
                    else self.accelerator.no_sync(model)
                ):
                    loss = self.tree_loss(model, tree) * weight
                    self.accelerator.backward(loss)
                total += loss.detach()
            return total  # the trainer logs the mean over the processes

        def tree_loss(self, model: Any, tree: Sequence[TokenizedExample], **options: Any) -> Any:
            with self.compute_loss_context_manager():
                return model(**self._prepare_inputs(collate(tree)), **options)

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            self.model.eval()
            total = torch.zeros(
                2, device=self.args.device
            )  # loss of all answer tokens, whole answers right
            with torch.inference_mode():
                for tree in batches.packs(held_out, self.args.process_index, self.args.world_size):
                    total += self.tree_loss(
                        self.model, tree, answer_lengths=[_answers([row]) for row in tree]
                    )
            loss, right = self.accelerator.reduce(total).tolist()
            metrics = {"eval_loss": loss / _answers(held_out), "eval_exact": right / len(held_out)}
            self.log(metrics)
            return metrics

        def _save_checkpoint(self, *arguments: Any) -> None:
            start = time.monotonic()
            newest = checkpoints / f"checkpoint-{self.state.global_step}"
            problem: Any = devices.from_main(_lack_of_room(checkpoints, self.model))
            if not problem:
                try:
                    super()._save_checkpoint(*arguments)
                except (
                    OSError,
                    RuntimeError,
                    SafetensorError,
                ) as error:  # torch and safetensors have their own for a full disk
                    problem = error
            self.accelerator.wait_for_everyone()  # each process has written its part
            if self.args.should_save and not problem:
                try:
                    checksums.write(newest)
                    _keep_only(newest, checkpoints)
                except (FgkitError, OSError) as error:
                    problem = error
            if problem:
                shutil.rmtree(newest, ignore_errors=True)
            if problem and not clock.told:  # once is enough: it is tried again every minute
                progress.note(
                    f"{newest}: no checkpoint could be written: {str(problem).splitlines()[0][:200]}. The training "
                    "goes on, and a stop would cost what came since the last one. Is the disk full?"
                )
            clock.saved(time.monotonic() - start)
            clock.told = bool(problem)

    class Clock(TrainerCallback):
        """Asks for a checkpoint when a minute has passed, or longer where writing one takes long."""

        told = False  # that the last one could not be written

        def __init__(self) -> None:
            self.saved(0.0)

        def saved(self, seconds: float) -> None:
            self.due = time.monotonic() + max(SAVE_SECONDS, seconds / _SAVE_SHARE)

        def on_step_end(
            self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any
        ) -> None:
            if state.global_step % len(
                train_dataloader
            ):  # an epoch's last step waits for the loss of held-out rows
                control.should_save = self.is_due(state)

        def on_epoch_end(
            self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any
        ) -> None:
            # A training that is stopped within an epoch looks at the held-out rows then; one that goes on would not have.
            if state.global_step % len(train_dataloader) == 0:
                control.should_save = self.is_due(state)

        def is_due(self, state: Any) -> bool:
            return (
                devices.from_main(time.monotonic() >= self.due)
                and state.global_step < state.max_steps
            )

    class Progress(TrainerCallback):
        """One bar for the whole training, where fgkit shows its bars."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = progress.bar(
                total=state.max_steps,
                initial=state.global_step,
                desc="training",
                unit="step",
                disable=not devices.main_process(),
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any
        ) -> None:
            self.bar.set_postfix(
                {key: f"{logs[key]:.3f}" for key in ("loss", "eval_loss") if key in (logs or {})}
            )

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    class Watched(TrainerCallback):
        """Tells who looks on, and stops where they ask for it."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.begin(
                state.global_step,
                state.max_steps,
                [entry for entry in state.log_history if logged(entry)],
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop |= watch.after_step(state.global_step)

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict | None = None, **_: Any
        ) -> None:
            if logged(logs or {}):
                watch.entry({"epoch": state.epoch, **(logs or {}), "step": state.global_step})

    size = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    warnings.filterwarnings(
        "ignore", "`gradient_checkpointing` is deprecated"
    )  # its new name is unknown to older releases
    arguments = SFTConfig(
        output_dir=str(checkpoints),
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        num_train_epochs=recipe.num_train_epochs,
        learning_rate=recipe.learning_rate,
        per_device_train_batch_size=size,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_ratio,
        optim="adamw_torch_fused",
        bf16=recipe.precision != "fp32",
        fp16=False,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=1,
        remove_unused_columns=False,
        report_to="none",
        seed=config.seed,
        disable_tqdm=True,
    )

    def dataset(rows: Sequence[TokenizedExample]) -> Any:
        return Dataset.from_dict({"input_ids": [list(row.tokens) for row in rows]})

    clock = Clock()
    trainer = PrefixTreeTrainer(
        model=model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=dataset(rows),
        eval_dataset=dataset(held_out),
        callbacks=[clock, Progress(), *([Watched()] if watch else [])],
    )
    trainer.remove_callback(PrinterCallback)  # it prints a line a step where tqdm is off
    return trainer


def newest_whole(checkpoints: Path) -> str | None:
    """The newest checkpoint whose files all have the sums written down last; None where there is none. The others go."""
    found = sorted(
        (path for path in checkpoints.glob("checkpoint-*") if (path / checksums.NAME).is_file()),
        key=lambda path: int(path.name.removeprefix("checkpoint-")),
        reverse=True,
    )
    newest = next((path for path in found if not checksums.problems(path)), None)
    _keep_only(newest, checkpoints)
    return str(newest) if newest else None


def _lack_of_room(checkpoints: Path, model: Any) -> str:
    """What a checkpoint, written before the last one goes, would leave too little room for; "" where it fits."""
    needed = 3 * sum(weights.nbytes for weights in model.parameters()) + model_bytes(
        model
    )  # AdamW has two moments
    free = shutil.disk_usage(checkpoints).free
    return (
        ""
        if free > needed
        else f"{needed / 1e9:.1f} GB are needed for it and the tuned model, {free / 1e9:.1f} GB are free"
    )


def model_bytes(model: Any) -> int:
    """Bytes of the tuned model's file, which holds bfloat16."""
    return sum(2 * weights.numel() for weights in model.parameters())


def _keep_only(newest: Path | None, checkpoints: Path) -> None:
    for other in checkpoints.glob("checkpoint-*"):
        if other != newest:
            shutil.rmtree(other)


def logged(entry: dict[str, Any]) -> bool:
    """Whether an entry of the trainer's history is a point of the curve."""
    return "loss" in entry or "eval_loss" in entry


def _answers(rows: Sequence[TokenizedExample]) -> int:
    return sum(len(row.tokens) - row.prompt_length for row in rows)
