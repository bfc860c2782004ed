"""Does a saved model answer the same in a fresh kernel? A new Python process loads it and is asked some rows again.

>>> print(reload_check(settings, rows))
loaded in a fresh process: 8 of 8 answers are the same as here

What this catches: weights, tokenizer or settings that live in the memory of the kernel that trained them and not in the
folder. The process is this file: prompts come in as JSON on stdin, answers go out as JSON on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset import rows as run_rows, tokenize
from fgkit.dataset.rows import RunData
from fgkit.errors import CheckFailed, FgkitError
from fgkit.models import record
from fgkit.models.base import load_tokenizer
from fgkit.subprocesses import python_path

from . import summary

ROWS = 8


def reload_check(settings: FinetuneConfig, rows: RunData) -> str:
    """Ask a fresh process the first held-out rows and compare with what the tuned model answered here.

    Args:
        settings: of the run whose `summary.json` holds the score of the tuned model.
        rows: the held-out rows of that score.
    Returns:
        one line that says what was found.
    Raises:
        CheckFailed: answers differ, each is named; FgkitError: there is no score, or the process failed.
    """
    from fgkit.training import generation

    score = summary.read(settings.folder)["tuned"]
    if not score or score.get("rows_sha256") != run_rows.rows_hash(rows.held_out):
        raise FgkitError(
            f"{settings.folder / summary.NAME}: has no score of the tuned model on these rows. Run the cell "
            "that scores it first."
        )
    asked = rows.held_out[:ROWS]
    here = [row["text"] for row in score.get("rows", [])[:ROWS]]
    setup = record.prompt_setup(settings.model_folder, rows.tools, score.get("style"))
    texts = tokenize.prompt_texts(asked, setup)
    longest = generation.longest_answer(load_tokenizer(settings.model_folder), rows.held_out)
    there = _ask(settings.model_folder, {"texts": texts, "max_new_tokens": longest})
    different = [
        f"  line {record.line}: here {old!r}, there {new!r}"
        for record, old, new in zip(asked, here, there, strict=True)
        if old != new
    ]
    if different:
        raise CheckFailed(
            "\n".join(
                [
                    f"{settings.model_folder}: a fresh process answers otherwise than this one did:",
                    *different,
                    "The folder is not the model that was scored. Train again.",
                ]
            )
        )
    return f"loaded in a fresh process: {len(asked)} of {len(asked)} answers are the same as here"


def _ask(folder: Path, request: dict[str, Any]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fgkit.workflow.reload_check", str(folder)],
        input=json.dumps(request),
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": python_path()},
    )
    if done.returncode:
        raise FgkitError(
            f"{folder}: a fresh process could not load the model:\n{done.stderr[-1500:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _answer(folder: Path) -> None:
    """Answer the request on stdin, in the fresh process."""
    from fgkit.training import generation

    model, tokenizer = generation.load_for_generation(folder)
    print(json.dumps(generation.generate(model, tokenizer, **json.load(sys.stdin))))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
