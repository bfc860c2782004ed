"""Run the steps of `finetune.ipynb` without a notebook, on one device or several.

This is `python -m fgkit finetune`. It takes the parameters of the notebooks and writes the same
model folder as the notebook. A notebook is one process; to train on several devices, launch this
command in several processes. For example:

    accelerate launch --num_processes 2 -m fgkit finetune --output my_run
    python -m fgkit run --output my_run --model my_run/model

The rows of each training step are divided among the processes. The settings, the loss curve and
the weights are therefore those of one process, up to the order of fp32 additions.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from fgkit import devices

from . import locks, run as pipeline
from .claims import claim, require_free


def finetune(parameters: dict[str, Any]) -> Path:
    """Check the data, score the base, train, and score again; every launched process calls this.

    Args:
        parameters: as for `run.run`; those of the later notebooks are checked, but not used.
    Returns:
        the tuned model's folder.
    Raises:
        FgkitError: what the cells of the notebook raise.
    """
    settings = pipeline.plan(parameters)["finetune"]
    if devices.main_process():
        if not locks.are_there(settings.folder):
            require_free({"finetune": settings}, notebooks=False)
        with locks.only_run(settings.folder):
            claim({"finetune": settings}, notebooks=False)
            return _finetune(settings)
    # Only the main process prints, or every line would appear once per process.
    with contextlib.redirect_stdout(io.StringIO()):
        return _finetune(settings)


def _finetune(settings: Any) -> Path:
    import torch
    from accelerate import PartialState

    from fgkit.models import base as base_model

    from . import stages

    state = PartialState(cpu=not torch.cuda.is_available())
    rows = stages.load_rows(settings)
    # Downloads and builds happen once, in the main process; the others then read the results.
    with state.main_process_first():
        base = base_model.find_base(settings.base)
        start = stages.cut_vocabulary(settings, base, rows)
    print(rows, base.announcement, sep="\n")
    if state.is_main_process:
        stages.report_data(settings, start)
        stages.score_base(settings, base, rows)
    folder = stages.finetune(settings, start, rows)
    if state.is_main_process:
        stages.score_tuned(settings, rows)
        stages.show_scores(settings)
    return folder
