"""compare: what differs between runs, beside what they score."""

from __future__ import annotations

import pytest

from fgkit.cli import compare, main as command_line
from fgkit.errors import FgkitError
from fgkit.workflow import summary


@pytest.fixture
def runs(tmp_path):
    for name, rate, share in (("slow", 1e-5, 0.5), ("fast", 5e-5, 0.9)):
        score = {
            "n": 10,
            "exact_match": share,
            "tool_accuracy": 1.0,
            "rows_sha256": "same",
            "intervals": {"exact_match": [share - 0.1, share + 0.1], "tool_accuracy": [0.9, 1.0]},
        }
        summary.update(
            tmp_path / name,
            tuned=score,
            seconds={"training": 90.0},
            settings={"finetune": {"output": name, "learning_rate": rate, "seed": 42}},
        )
    summary.update(tmp_path / "fast", task=score)
    return [tmp_path / "slow", tmp_path / "fast"]


def test_a_table_of_what_differs_and_what_it_scores(runs, capsys):
    assert command_line.main(["compare", *map(str, runs)]) == 0
    header, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert header == [
        "run",
        "learning_rate",
        "tuned: exact match",
        "tuned: right tool",
        "task: exact match",
        "task: right tool",
        "training",
    ]
    assert lines == [
        [str(runs[0]), "1e-05", "50.0% (40–60)", "100.0% (90–100)", "–", "–", "1.5 min"],
        [
            str(runs[1]),
            "5e-05",
            "90.0% (80–100)",
            "100.0% (90–100)",
            "90.0% (80–100)",
            "100.0% (90–100)",
            "1.5 min",
        ],
    ]


def test_runs_without_scores_are_all_named(runs, tmp_path):
    with pytest.raises(FgkitError) as caught:
        compare.table([runs[0], tmp_path / "a", tmp_path / "b"])
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    ]
    with pytest.raises(FgkitError, match="1 run is named, expected two"):
        compare.table(runs[:1])


def test_runs_of_other_rows_are_refused(runs):
    score = summary.read(runs[0])["tuned"]
    summary.update(runs[0], tuned=score | {"rows_sha256": "others"})
    with pytest.raises(FgkitError, match="different held-out rows.*the same --eval file"):
        compare.table(runs)
