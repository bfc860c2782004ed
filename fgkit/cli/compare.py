"""Run folders go in, one table comes out: what differs in their settings, what they score, how long they trained.

>>> print(table([Path("run_1e-5"), Path("run_5e-5")]))
| run      | learning_rate | tuned: exact match | task: exact match | training |
| -------- | ------------: | -----------------: | ----------------: | -------: |
| run_1e-5 |         1e-05 |      71.2% (63–79) |     70.5% (62–78) |  3.9 min |
| run_5e-5 |         5e-05 |     98.7% (96–100) |    98.7% (96–100) |  3.8 min |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import tables
from fgkit.errors import FgkitError
from fgkit.evaluation import tables as score_table
from fgkit.workflow import summary

_PLACES = {"output", "model"}  # differ from run to run and say nothing


def table(folders: Sequence[Path]) -> str:
    """Compare runs of the same held-out rows.

    Args:
        folders: at least two output folders of `run`, each with its `summary.json`.
    Returns:
        a Markdown table, a line a run: the settings that are not the same in all of them, exact match and tool accuracy
        of what is scored, and minutes of training.
    Raises:
        FgkitError: a folder has no scores, or the runs held other rows out; all are named.
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
    found = [summary.read(folder) for folder in folders]
    rows = {one.get("rows_sha256") for run in found for one in _scores(run).values()}
    if len(rows) > 1:
        raise FgkitError(
            "The runs held other rows out, so their scores say nothing about each other: "
            f"{', '.join(map(str, folders))}. Give each the same --eval file, and tools."
        )
    settings = [
        {name: value for stage in run["settings"].values() for name, value in stage.items()}
        for run in found
    ]
    names = list(dict.fromkeys(name for one in settings for name in one if name not in _PLACES))
    names = [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]
    scored = [name for name in summary.SCORES[1:] if any(run[name] for run in found)]
    header = [
        "run",
        *names,
        *(f"{name}: {label}" for name in scored for label in ("exact match", "right tool")),
        "training",
    ]
    return tables.markdown(
        [
            header,
            *(
                [
                    str(folder),
                    *(_shown(one.get(name)) for name in names),
                    *(
                        score_table.rate(run[name] or {}, metric)
                        for name in scored
                        for metric in ("exact_match", "tool_accuracy")
                    ),
                    _minutes(run["seconds"].get("training")),
                ]
                for folder, one, run in zip(folders, settings, found, strict=True)
            ),
        ]
    )


def _scores(run: dict[str, Any]) -> dict[str, dict]:
    return {name: run[name] for name in summary.SCORES[1:] if run[name]}


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)


def _minutes(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 60:.1f} min"
