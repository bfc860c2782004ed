"""What the cells of one notebook do, without a notebook, for `faults_job`.

python faults_steps.py to_task '{"output": "run"}'
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from fgkit.errors import FgkitError
from fgkit.models import base as base_model
from fgkit.workflow import run as pipeline, stages


def cells(name: str, parameters: dict[str, Any]) -> None:
    """Take the steps of a stage; an error of fgkit ends the process as it ends the command line."""
    settings = pipeline.plan(parameters)[name]
    try:
        rows = stages.load_rows(settings)
        if name == "finetune":
            base = base_model.find_base(settings.base)
            stages.report_data(settings, base)
            stages.score_base(settings, base, rows)
            stages.finetune(settings, stages.cut_vocabulary(settings, base, rows), rows)
            stages.score_tuned(settings, rows)
        elif name == "to_tflite":
            stages.validate(settings, rows)
            stages.compare_first_token(settings, rows, stages.convert(settings, rows))
        else:
            bundles = stages.bundle_task(settings, rows), stages.bundle_litertlm(settings, rows)
            stages.check_bundles(settings, rows, *bundles)
            stages.score_bundles(settings, rows, *bundles)
            stages.judge(settings, rows, *bundles).require()
    except FgkitError as error:
        sys.exit(f"fgkit: {error}")


def forked(
    said: str, folder: str, environment: dict[str, str], name: str, parameters: dict[str, Any]
) -> None:
    """The same in a process that was forked for it: what it says goes into a file."""
    with open(said, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    os.chdir(folder)
    cells(name, parameters)


if __name__ == "__main__":
    cells(sys.argv[1], json.loads(sys.argv[2]))
