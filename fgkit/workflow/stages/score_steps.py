"""Steps that score the base and the tuned model and show the scores of a run side by side."""

from __future__ import annotations

from pathlib import Path

from fgkit import atomic_files
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset.rows import RunData
from fgkit.display import show_picture, show_table
from fgkit.evaluation import plots as score_plots, scores as evaluation, tables as score_table
from fgkit.evaluation.score_model import provenance, score_model
from fgkit.models.base import Base
from fgkit.models.record import prompt_setup
from fgkit.prompts import styles
from fgkit.record_types import Score
from fgkit.workflow import summary
from fgkit.workflow.recording import step


@step
def score_base(settings: FinetuneConfig, base: Base, rows: RunData) -> Score:
    """Score the base model on the held-out rows and start a new summary with this score.

    Args:
        settings: the prompt style and the developer text are used.
        base: the base model.
        rows: the rows of the run.
    """
    atomic_files.remove(settings.folder / summary.NAME)
    setup = rows.setup(settings.system_message, styles.split(settings.style))
    score = score_model(base.folder, rows, setup, description="base model")
    summary.update(settings.folder, base=score, versions=summary.versions())
    return score


@step
def score_tuned(settings: FinetuneConfig | TfliteConfig | TaskConfig, rows: RunData) -> Score:
    """Score the tuned model on the held-out rows, in every style that it was trained in.

    If `summary.json` has a score of the same model, rows and styles, that score is returned.

    Args:
        settings: the settings of any notebook; the model folder and the style are used.
        rows: the rows of the run.
    Raises:
        ModelError: the model was not trained in a style of the settings.
    """
    folder = settings.model_folder
    setup = prompt_setup(folder, rows.tools, settings.style)
    known = summary.read(settings.folder)["tuned"]
    same = {**provenance(folder / "model.safetensors", rows), "style": setup.style}
    if (
        known
        and same.items() <= known.items()
        and set(setup.styles) <= {setup.style, *known.get("per_style", {})}
    ):
        return known
    score = score_model(folder, rows, setup, description="tuned model")
    summary.update(settings.folder, tuned=score, versions=summary.versions())
    return score


@step
def show_scores(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> Path:
    """Show the scores known so far side by side, in tables and in `scores.png`.

    The confusion matrix of the last score is drawn into `confusion.png`.

    Args:
        settings: the settings of any notebook; only the folder is used.
    Returns:
        the path of `scores.png`.
    """
    known = summary.scores_of(summary.read(settings.folder))
    scores = {name: evaluation.completed(score) for name, score in known.items()}
    for table in (score_table.compare, score_table.compare_pairs, score_table.compare_arguments):
        show_table(table(scores))
    show_picture(picture := score_plots.plot(scores, settings.folder / "scores.png"))
    *_, (name, last) = scores.items()
    if last.get("confusion"):
        show_picture(score_plots.plot_confusion(last, settings.folder / "confusion.png", name=name))
    return picture
