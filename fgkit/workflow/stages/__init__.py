"""The steps of the three notebooks, each one call: what comes in from the settings, what goes out into the run's folder.

    finetune    load_rows, cut_vocabulary, report_data, score_base, finetune, score_tuned -> report.json, report.png, model/
    to_tflite   load_rows, validate, convert, compare_first_token -> *.tflite
    to_task     load_rows, bundle_task, bundle_litertlm, check_bundles, score_bundles, judge -> *.task, *.litertlm, .json

Every score goes into `summary.json` as soon as it is known.
"""

from __future__ import annotations

from fgkit.dataset.rows import RunData

from .data_steps import load_rows
from .finetune_steps import cut_vocabulary, finetune, report_data
from .score_steps import score_base, score_tuned, show_scores
from .to_task_steps import (
    bundle_litertlm,
    bundle_task,
    check_bundles,
    judge,
    score_bundles,
)
from .to_tflite_steps import compare_first_token, convert, validate

__all__ = [
    "RunData",
    "bundle_litertlm",
    "bundle_task",
    "check_bundles",
    "compare_first_token",
    "convert",
    "cut_vocabulary",
    "finetune",
    "judge",
    "load_rows",
    "report_data",
    "score_base",
    "score_bundles",
    "score_tuned",
    "show_scores",
    "validate",
]
