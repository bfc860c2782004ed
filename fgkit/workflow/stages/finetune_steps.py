"""The steps of the notebook `finetune`: cut the vocabulary, report on the data, train."""

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
from fgkit.dataset.tokenize import TokenizedExample
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
    """Return the base to train from, with a vocabulary of `vocab_size` pieces.

    Args:
        settings: `vocab_size`, `style`, `system_message` and the output folder are used; with a
            `vocab_size` of 0 the base is returned unchanged.
        base: the base with the complete vocabulary.
        rows: the rows of the run, whose pieces are kept.
    Raises:
        ConfigError, DataError, ModelError: as for `cut_base.cut_vocabulary`.
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
    """Show a report on the data files and write it to `report.json` and `report.png`.

    Args:
        settings: the settings of the notebook.
        base: the model to train, whose tokenizer counts the tokens.
    Returns:
        the path of `report.png`.
    Raises:
        DataError: the data would spoil the training or the score; the message lists all errors.
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
    """Fine-tune the base on the training rows and write the model folder and `loss.png`.

    An interrupted training resumes from its newest checkpoint, which is about a minute old, and
    ends with the same weights as an uninterrupted one. Checkpoints are removed when the model is
    complete. Of several processes only the main one writes.

    Args:
        settings: the settings of the notebook.
        base: the model to start from.
        rows: the rows of the run.
        monitor: sees every training step and may stop the training. The model is then saved as it
            is, and the newest checkpoint stays, so that the same call resumes the training.
    Returns:
        the model folder.
    Raises:
        DataError: rows do not fit into `max_length`.
    """
    tokenizer = load_tokenizer(base.folder)
    setup = rows.setup(settings.system_message, styles.split(settings.style))
    if compared := tokenize.check_template(tokenizer, rows.train + rows.held_out, setup):
        progress.note(f"{compared} prompts equal the text of the model's own chat template.")
    train, held_out = (
        part.tokenized(tokenizer, max_length=settings.max_length, seed=settings.seed)
        for part in (rows.rendered(setup).train, rows.rendered(setup).held_out)
    )
    facts = _training_facts(settings, base, rows, setup)
    target = settings.model_folder
    if _is_complete_result(target, facts):
        progress.note(
            f"{target} was tuned from the same inputs with the same settings: it is kept."
        )
    else:
        _train_and_save(settings, base, rows, setup, facts, train, held_out, monitor)
    if devices.main_process():
        _report_training(settings, base, facts)
    return target


def _training_facts(
    settings: FinetuneConfig, base: Base, rows: RunData, setup: PromptSetup
) -> dict[str, Any]:
    """Collect the fields of `fgkit.json` that identify a training: equal facts, equal weights."""
    return {
        "base": base.name,
        "base_sha256": sha256(base.folder / "model.safetensors"),
        "rows": len(rows.train),
        "rows_sha256": rows_hash(rows.train),
        "style": styles.join(setup.styles),
        "tools_hash": hash_of(rows.tools),
        "settings": asdict(settings) | asdict(settings.recipe(base.recipe)),
        "versions": summary.versions(),
        # The number of the last step if the monitor stopped the training.
        "stopped_after": None,
    }


def _train_and_save(
    settings: FinetuneConfig,
    base: Base,
    rows: RunData,
    setup: PromptSetup,
    facts: dict[str, Any],
    train: list[TokenizedExample],
    held_out: list[TokenizedExample],
    monitor: TrainingMonitor | None,
) -> None:
    from fgkit.training import tuning

    # With a reduced vocabulary, the model also has to see words split into other pieces than those
    # that were chosen for them; without these rows it copies unknown words wrongly.
    spelt = augmentation.unseen_spellings(
        base.folder,
        rows.rendered(setup).train,
        train,
        max_length=settings.max_length,
        seed=settings.seed,
    )
    if spelt:
        progress.note(
            f"{len(spelt)} rows are trained a second time, split like words that are not in the "
            "vocabulary."
        )
    with summary.timed(settings.folder, "training"):
        model, log = tuning.train(
            base.folder,
            train + spelt,
            held_out,
            TrainingOptions(
                recipe=settings.recipe(base.recipe),
                lr_scheduler_type=settings.lr_scheduler_type,
                warmup_ratio=settings.warmup_ratio,
                seed=settings.seed,
            ),
            checkpoints=checkpoints.checkpoint_folder(settings.folder, facts),
            monitor=monitor,
        )
    if not devices.main_process():
        return
    details = {
        "tools": rows.tools,
        "system_message": setup.developer_text,
        "vocabulary": vocabulary_size(base.folder),
        "modifications": _modifications(base, len(rows.train)),
        "log": log,
        "stopped_after": monitor and monitor.stopped_after,
    }
    tuning.save(model, base.folder, settings.model_folder, facts | details)


def _report_training(settings: FinetuneConfig, base: Base, facts: dict[str, Any]) -> None:
    """Draw the loss, remove the checkpoints of a complete training and update the summary."""
    target = settings.model_folder
    copy_vocabulary_record(base.folder, target)
    plot_loss(model_facts(target).get("log", []), settings.folder / "loss.png")
    if stopped := model_facts(target).get("stopped_after"):
        progress.note(
            f"Stopped after step {stopped}: {target} holds the model as it was then. The same "
            "call resumes the training."
        )
    else:
        checkpoints.remove(settings.folder)
    summary.update(
        settings.folder,
        settings={"finetune": facts["settings"]},
        files={"model/model.safetensors": summary.describe_file(target / "model.safetensors")},
    )


def _modifications(base: Base, count: int) -> str:
    """Describe what was changed since the original model, as its licence asks."""
    earlier = base.origin.modifications
    return (
        (f"{earlier}; " if earlier else "")
        + modification(base.folder)
        + f"all weights fine-tuned with fgkit on {count} rows"
    )


def _is_complete_result(folder: Path, facts: dict[str, Any]) -> bool:
    """Tell whether a model folder is complete and the result of this very training."""
    return (
        facts.items() <= model_facts(folder).items()
        and not weight_problems(folder)
        and not checksums.problems(folder)
    )
