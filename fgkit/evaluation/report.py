"""Reports of named scores, to print and to publish: tables, charts, changed rows, model index.

For example:

    write("report", {"tuned": tuned, "task": task}, data="eval_data.jsonl")
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgkit.atomic_files import require_ours
from fgkit.files import write_text
from fgkit.record_types import Score

from .model_index import card_data
from .paired import change_lines, changed_rows, comparable, differences
from .plots import plot, plot_confusion
from .tables import NamedScores, compare, compare_arguments, compare_pairs, mistakes

CHANGED = "Rows that changed, worst first"


def sections(named_scores: NamedScores) -> Iterator[tuple[str, str]]:
    """Yield (heading, text) of each table that is not empty.

    Args:
        named_scores: as for `tables.compare`, in the order base, tuned, bundles. The mistakes are
            those of the last score; where there are two or more, the changed rows are those
            between the last two.
    """
    names = list(named_scores)
    last = named_scores[names[-1]]
    yield "Scores", compare(named_scores)
    for heading, text in (
        ("Differences", compare_pairs(named_scores)),
        ("Arguments", compare_arguments(named_scores)),
        (f"Mistakes of {names[-1]}", mistakes(last)),
    ):
        if text:
            yield heading, text
    if len(names) > 1 and comparable(named_scores[names[-2]], last):
        changed = changed_rows(named_scores[names[-2]], last)
        yield CHANGED, "\n".join(change_lines(changed, *names[-2:])) or "none"


def against(before: Score, after: Score) -> dict[str, Any]:
    """Compare two scores on the same rows; the result can be written as JSON.

    Args:
        before, after: as for `paired.differences`.
    """
    return {"differences": differences(before, after), "changed_rows": changed_rows(before, after)}


def paths(folder: str | Path) -> list[Path]:
    """List the files that `write` makes in a folder."""
    folder = Path(folder).expanduser()
    return [
        folder / name for name in ("scores.md", "scores.png", "confusion.png", "model-index.yaml")
    ]


def write(folder: str | Path, named_scores: NamedScores, *, data: str) -> list[Path]:
    """Write tables, charts and model index into a folder and return the paths of the files.

    Args:
        folder: created if missing; files of an earlier report are replaced.
        named_scores: as for `sections`; confusion matrix and model index describe the last score.
        data: a name for the rows, for the model index.
    Raises:
        FgkitError: files of these names were not written by fgkit; nothing is written then.
    """
    name = list(named_scores)[-1]
    text_path, picture, confusion, index = paths(folder)
    require_ours(paths(folder))
    last = named_scores[name]
    text = "\n\n".join(
        f"## {heading}\n\n" + (f"```\n{body}\n```" if heading == CHANGED else body)
        for heading, body in sections(named_scores)
    )
    return [
        write_text(text_path, text + "\n"),
        plot(named_scores, picture),
        plot_confusion(last, confusion, name=name),
        write_text(index, card_data(last, name, data=data).to_yaml() + "\n"),
    ]
