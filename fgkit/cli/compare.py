"""`python -m fgkit compare`: runs side by side, with the settings that differ between them.

The table of two runs that differ in their learning rate:

    | run      | learning_rate | tuned: exact match | task: exact match | training |
    | -------- | ------------: | -----------------: | ----------------: | -------: |
    | run_1e-5 |         1e-05 |      71.2% (63–79) |     70.5% (62–78) |  3.9 min |
    | run_5e-5 |         5e-05 |     98.7% (96–100) |    98.7% (96–100) |  3.8 min |
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import tables
from fgkit.errors import FgkitError
from fgkit.evaluation import tables as score_table
from fgkit.record_types import Score, Summary
from fgkit.workflow import summary

HELP = "runs side by side: the settings that differ, the scores, the minutes"
EXAMPLE = "compare run_1e-5 run_5e-5"
_PATHS = {"output", "model"}  # these differ from run to run without saying anything


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument(
        "runs", nargs="+", metavar="RUN", help="output folders of runs with the same held-out rows"
    )


def execute(options: argparse.Namespace) -> int:
    """Print runs side by side."""
    print(table([Path(path).expanduser() for path in options.runs]))
    return 0


def table(folders: Sequence[Path]) -> str:
    """Compare runs that were scored on the same held-out rows.

    Args:
        folders: at least two output folders of `run`, each with its `summary.json`.
    Returns:
        A Markdown table with one line per run: the settings that differ, exact match and tool
        accuracy of everything that is scored, and minutes of training.
    Raises:
        FgkitError: a folder has no scores, or the runs were scored on different rows; all problems
            are named.
    """
    if len(folders) < 2:
        raise FgkitError(
            f"{len(folders)} run is named, expected two or more. Give the folders of several runs."
        )
    problems = [
        f"{folder}: has no {summary.NAME} with scores. Give the output folder of a finished run."
        for folder in folders
        if not _scores(summary.read(folder))
    ]
    if problems:
        raise FgkitError("\n".join(problems))
    summaries = [summary.read(folder) for folder in folders]
    row_hashes = {score.get("rows_sha256") for run in summaries for score in _scores(run).values()}
    if len(row_hashes) > 1:
        raise FgkitError(
            "The runs were scored on different held-out rows, so their scores cannot be compared: "
            f"{', '.join(map(str, folders))}. Give each the same --eval file, and tools."
        )
    settings = [
        {name: value for stage in run["settings"].values() for name, value in stage.items()}
        for run in summaries
    ]
    names = [
        name for name in dict.fromkeys(n for run in settings for n in run) if name not in _PATHS
    ]
    differing = [name for name in names if len({repr(run.get(name)) for run in settings}) > 1]
    scored = [name for name in summary.SCORES[1:] if any(name in _scores(run) for run in summaries)]
    header = [
        "run",
        *differing,
        *(f"{name}: {label}" for name in scored for label in ("exact match", "right tool")),
        "training",
    ]
    lines = [
        _line(folder, [_shown(own.get(name)) for name in differing], run, scored)
        for folder, own, run in zip(folders, settings, summaries, strict=True)
    ]
    return tables.markdown([header, *lines])


def _line(folder: Path, values: list[str], run: Summary, scored: list[str]) -> list[str]:
    """One run's line: folder, the settings that differ, rates, minutes of training."""
    rates = [
        score_table.rate(_scores(run).get(name), metric)
        for name in scored
        for metric in ("exact_match", "tool_accuracy")
    ]
    return [str(folder), *values, *rates, _minutes(run["seconds"].get("training"))]


def _scores(run: Summary) -> dict[str, Score]:
    return {name: score for name, score in summary.scores_of(run).items() if name != "base"}


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)


def _minutes(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 60:.1f} min"
