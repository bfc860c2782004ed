"""The scores of base and tuned model, taken once a run, and all of a run's scores side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgkit.config import FinetuneConfig, TaskConfig, TfliteConfig
from fgkit.dataset.rows import Rows
from fgkit.display import show_picture, show_table
from fgkit.evaluation import plots as score_plots, scores as evaluation, tables as score_table
from fgkit.evaluation.score_model import origin, score_model
from fgkit.models.base import Base
from fgkit.models.record import prompt_setup
from fgkit.prompts import styles
from fgkit.workflow import summary
from fgkit.workflow.manifest import step


@step
def score_base(settings: FinetuneConfig, base: Base, rows: Rows) -> dict[str, Any]:
    """Score the untouched base model on the held-out rows; it also starts a new summary."""
    (settings.folder / summary.NAME).unlink(missing_ok=True)
    setup = rows.setup(settings.system_message, styles.split(settings.style))
    score = score_model(base.folder, rows, setup, description="base model")
    summary.update(settings.folder, base=score, versions=summary.versions())
    return score


@step
def score_tuned(settings: FinetuneConfig | TfliteConfig | TaskConfig, rows: Rows) -> dict[str, Any]:
    """Score the tuned model, or give the score that stands in the summary for the same model and rows."""
    folder = settings.model_folder
    setup = prompt_setup(folder, rows.tools, settings.style)
    known = summary.read(settings.folder)["tuned"]
    same = origin(folder / "model.safetensors", rows) | {"style": setup.style}
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
    """Show the scores known so far side by side: tables, `scores.png`, and the last one's `confusion.png`.

    Returns:
        the path of `scores.png`.
    """
    found = summary.read(settings.folder)
    scores = {name: evaluation.completed(found[name]) for name in summary.SCORES if found[name]}
    for table in (score_table.compare, score_table.compare_pairs, score_table.compare_arguments):
        show_table(table(scores))
    show_picture(picture := score_plots.plot(scores, settings.folder / "scores.png"))
    *_, (name, last) = scores.items()
    if last.get("confusion"):
        show_picture(score_plots.plot_confusion(last, settings.folder / "confusion.png", name=name))
    return picture
