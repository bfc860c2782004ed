"""The steps of the notebook `finetune` that have no home of their own: the report on the data, the training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgkit import checksums, data_report, devices, progress
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.data_report import TokenLimits
from fgkit.dataset import tokenize
from fgkit.dataset.rows import RunData, data_files, hash_of, rows_hash
from fgkit.display import show_table, show_text
from fgkit.files import sha256
from fgkit.models.base import Base, load_tokenizer
from fgkit.models.record import model_facts
from fgkit.models.vocabulary import augmentation, cut_base
from fgkit.models.vocabulary.record import (
    copy_vocabulary_record,
    modification,
    vocabulary_size,
)
from fgkit.models.weights import weight_problems
from fgkit.prompts import PromptSetup, styles
from fgkit.tools import lint_tools, load_tools
from fgkit.training import checkpoints
from fgkit.training.monitor import TrainingMonitor
from fgkit.training.options import TrainingOptions
from fgkit.training.plots import plot_loss
from fgkit.workflow import summary
from fgkit.workflow.recording import step


def cut_vocabulary(settings: FinetuneConfig, base: Base, rows: RunData) -> Base:
    """Return the base to train from: with `vocab_size` pieces, or unchanged where that is 0.

    Args:
        settings: of the run; `vocab_size`, `style`, `system_message` and the output folder count.
        base: the base with the complete vocabulary.
        rows: the run's.
    Raises:
        ConfigError, DataError, ModelError: as `cut_base.cut_vocabulary` does.
    """
    return cut_base.cut_vocabulary(
        base,
        rows,
        size=settings.vocab_size,
        output=settings.folder,
        style=settings.style,
        system_message=settings.system_message,
    )


@step
def report_data(settings: FinetuneConfig, base: Base) -> Path:
    """Show what the data files hold and what is odd about them; `report.json` and `report.png` keep it.

    Raises:
        DataError: something would spoil the training or the score; every error in one message.
    """
    data, eval_data, tools_file = data_files(settings.data, settings.eval_data, settings.tools)
    tools = load_tools(tools_file)
    tokenizer = load_tokenizer(base.folder)
    report = data_report.inspect(
        data,
        tools,
        eval_data,
        tokenizer=tokenizer,
        limits=TokenLimits(
            settings.max_length, TfliteConfig.prefill_seq_len, TfliteConfig.kv_cache_max_len
        ),
        setup=PromptSetup(tools, settings.system_message, styles.split(settings.style)),
        seed=settings.seed,
        format=settings.data_format,
        tool_report=lint_tools(tools_file, tokenizer),
    )
    show_text(report.lines())
    show_table(report.table())
    picture = data_report.save(report, settings.folder)
    report.raise_errors()
    return picture


@step
def finetune(
    settings: FinetuneConfig, base: Base, rows: RunData, monitor: TrainingMonitor | None = None
) -> Path:
    """Tune the base on the training rows and write the model folder; the loss curve is drawn into `loss.png`.

    A run that was cut off goes on from its newest checkpoint, a minute or so back, and ends with the weights that it would
    have had. Checkpoints are removed when the model is saved. Of several processes only the main one writes.

    Args:
        settings, base, rows: what to train.
        monitor: is told of every step and may stop the training. The model is then kept as it is, and so is the newest
            checkpoint: the same call again goes on.
    """
    from fgkit.training import tuning

    tokenizer = load_tokenizer(base.folder)
    setup = rows.setup(settings.system_message, styles.split(settings.style))
    if compared := tokenize.check_template(tokenizer, rows.train + rows.held_out, setup):
        progress.note(f"{compared} prompts equal the text of the model's own chat template.")
    rendered = rows.rendered(setup)
    train, held_out = (
        part.tokenized(tokenizer, max_length=settings.max_length, seed=settings.seed)
        for part in (rendered.train, rendered.held_out)
    )
    recipe = settings.recipe(base.recipe)
    facts = {
        "base": base.name,
        "base_sha256": sha256(base.folder / "model.safetensors"),
        "rows": len(rows.train),
        "rows_sha256": rows_hash(rows.train),
        "style": styles.join(setup.styles),
        "tools_hash": hash_of(rows.tools),
        "settings": asdict(settings) | asdict(recipe),
        "versions": summary.versions(),
        "stopped_after": None,
    }
    target = settings.model_folder
    if _is_whole_result(target, facts):
        progress.note(
            f"{target} was tuned from the same inputs with the same settings: it is kept."
        )
        if not devices.main_process():
            return target
    else:
        spelt = augmentation.unseen_spellings(
            base.folder,
            rendered.train,
            train,
            max_length=settings.max_length,
            seed=settings.seed,
        )
        if spelt:
            progress.note(
                f"{len(spelt)} rows are trained once more, spelt as words that the vocabulary does not hold."
            )
        with summary.timed(settings.folder, "training"):
            model, log = tuning.train(
                base.folder,
                train + spelt,
                held_out,
                TrainingOptions(
                    recipe=recipe,
                    lr_scheduler_type=settings.lr_scheduler_type,
                    warmup_ratio=settings.warmup_ratio,
                    seed=settings.seed,
                ),
                checkpoints=checkpoints.checkpoint_folder(settings.folder, facts),
                monitor=monitor,
            )
        if not devices.main_process():
            return target
        tuning.save(
            model,
            base.folder,
            target,
            facts
            | {
                "tools": rows.tools,
                "system_message": setup.developer_text,
                "vocabulary": vocabulary_size(base.folder),
                "modifications": _modifications(base, len(rows.train)),
                "log": log,
                "stopped_after": monitor and monitor.stopped_after,
            },
        )
    copy_vocabulary_record(base.folder, target)
    plot_loss(model_facts(target).get("log", []), settings.folder / "loss.png")
    if stopped := model_facts(target).get("stopped_after"):
        progress.note(
            f"Stopped after step {stopped}: {target} holds the model as it was then. The same call goes on."
        )
    else:
        checkpoints.remove(settings.folder)
    summary.update(
        settings.folder,
        settings={"finetune": facts["settings"]},
        files={"model/model.safetensors": summary.describe_file(target / "model.safetensors")},
    )
    return target


def _modifications(base: Base, count: int) -> str:
    earlier = base.origin.modifications
    return (
        (f"{earlier}; " if earlier else "")
        + modification(base.folder)
        + f"all weights fine-tuned with fgkit on {count} rows"
    )


def _is_whole_result(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether a model folder is what this training would give."""
    return (
        facts.items() <= model_facts(folder).items()
        and not weight_problems(folder)
        and not checksums.problems(folder)
    )
