"""The steps of the three notebooks; each is one call with the notebook's settings.

    finetune    load_rows, cut_vocabulary, report_data, score_base, finetune, score_tuned
                writes report.json, report.png, model/
    to_tflite   load_rows, validate, convert, compare_first_token
                writes <name>_<quantization>_ekv<context>.tflite and its .json
    to_task     load_rows, bundle_task, bundle_litertlm, check_bundles, score_bundles, judge
                writes <name>.task, <name>.litertlm and a .json beside each

All files lie in the run folder. A score is written into `summary.json` as soon as it is known.
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
