"""Check that a saved model, loaded by a new Python process, gives the same answers again.

For example:

    print(reload_check(settings, rows))
    # loaded in a fresh process: 8 of 8 answers are the same as here

The check finds weights, tokenizer files or settings that exist only in the memory of the kernel
that trained the model and are missing from its folder. The new process runs this module: it reads
prompts as JSON from stdin and writes answers as JSON to stdout.
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

# How many rows are compared: enough to notice a difference, answered in seconds.
ROWS = 8


def reload_check(settings: FinetuneConfig, rows: RunData) -> str:
    """Compare the answers of a fresh process to the first held-out rows with the recorded answers.

    Args:
        settings: the settings of the run, whose `summary.json` holds the score of the tuned model.
        rows: the rows of that score.
    Returns:
        one line with the result.
    Raises:
        CheckFailed: answers differ; the message names each.
        FgkitError: there is no score of these rows, or the process failed.
    """
    from fgkit.training import generation

    score = summary.read(settings.folder)["tuned"]
    if not score or score.get("rows_sha256") != run_rows.rows_hash(rows.held_out):
        raise FgkitError(
            f"{settings.folder / summary.NAME}: has no score of the tuned model on these rows. "
            "Run the cell that scores it first."
        )
    compared = rows.held_out[:ROWS]
    here = [row["text"] for row in score.get("rows", [])[:ROWS]]
    setup = record.prompt_setup(settings.model_folder, rows.tools, score.get("style"))
    texts = tokenize.prompt_texts(compared, setup)
    longest = generation.longest_answer(load_tokenizer(settings.model_folder), rows.held_out)
    there = _ask(settings.model_folder, {"texts": texts, "max_new_tokens": longest})
    different = [
        f"  line {row.line}: here {old!r}, there {new!r}"
        for row, old, new in zip(compared, here, there, strict=True)
        if old != new
    ]
    if different:
        raise CheckFailed(
            "\n".join(
                [
                    f"{settings.model_folder}: a fresh process gives other answers than this one:",
                    *different,
                    "The folder does not hold the model that was scored. Train again.",
                ]
            )
        )
    count = len(compared)
    return f"loaded in a fresh process: {count} of {count} answers are the same as here"


def _ask(folder: Path, request: dict[str, Any]) -> list[str]:
    """Start a fresh process, send it the arguments of `generation.generate`, return its answers."""
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
    # Libraries may print on stdout while they load; the answers are the last line.
    return json.loads(done.stdout.splitlines()[-1])


def _answer(folder: Path) -> None:
    """Answer the request on stdin, in the fresh process."""
    from fgkit.training import generation

    model, tokenizer = generation.load_for_generation(folder)
    print(json.dumps(generation.generate(model, tokenizer, **json.load(sys.stdin))))


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
