"""The steps of `finetune.ipynb` without a notebook, on one device or several: `python -m fgkit finetune`.

In: the notebooks' parameters. Out: the tuned model's folder, as the notebook writes it. A notebook is one process, so
several devices are trained on from here:

    accelerate launch --num_processes 2 -m fgkit finetune --output my_run
    python -m fgkit run --output my_run --model my_run/model

The rows of a step are shared out among the processes, so the settings, the loss curve and the weights stay what they are
with one, up to the order in which fp32 numbers are added.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from fgkit import devices

from . import locks, run as pipeline
from .claims import claim


def finetune(parameters: dict[str, Any]) -> Path:
    """Check the data, score the base, train, and score again; every process of a launch calls this.

    Args:
        parameters: as for `pipeline.run`; those of the later notebooks are checked and left alone.
    Returns:
        The tuned model's folder.
    Raises:
        FgkitError: as the notebook's cells raise it.
    """
    settings = pipeline.plan(parameters)["finetune"]
    if devices.main_process():
        with locks.only_run(settings.folder):
            claim({"finetune": settings}, notebooks=False)
            return _finetune(settings)
    with contextlib.redirect_stdout(io.StringIO()):  # one process speaks for all
        return _finetune(settings)


def _finetune(settings: Any) -> Path:
    import torch
    from accelerate import PartialState

    from fgkit.models import base as base_model

    from . import stages

    state = PartialState(cpu=not torch.cuda.is_available())
    rows = stages.load_rows(settings)
    with state.main_process_first():  # what has to be downloaded or built is, once
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
