"""What is printed and published of scores: every section, every file."""

from __future__ import annotations

from pathlib import Path

import yaml
from scored import RECORDS, perfect

from fgkit.evaluation.report import CHANGED, against, sections, write
from fgkit.evaluation.scores import score


def test_sections_leave_out_what_is_empty() -> None:
    tuned = score(RECORDS, perfect())
    assert [heading for heading, _ in sections({"tuned": tuned})] == ["Scores", "Arguments"]
    task = score(RECORDS, [*perfect()[:3], "no"])
    found = dict(sections({"tuned": tuned, "task": task}))
    assert list(found) == ["Scores", "Differences", "Arguments", "Mistakes of task", CHANGED]
    assert "tool lost: line 9 'two': tuned" in found[CHANGED]
    assert dict(sections({"tuned": tuned, "task": tuned}))[CHANGED] == "none"
    old = {"n": 4, "parse_rate": 1.0, "tool_accuracy": 1.0, "exact_match": 0.5, "per_tool": {}}
    assert [heading for heading, _ in sections({"old": old})] == ["Scores"]
    assert [heading for heading, _ in sections({"old": old, "tuned": tuned})] == [
        "Scores",
        "Arguments",
    ]


def test_a_report_is_written(tmp_path: Path) -> None:
    scores = {"tuned": score(RECORDS, perfect()), "task": score(RECORDS, [*perfect()[:3], "no"])}
    files = write(tmp_path / "new" / "report", scores, data="eval.jsonl")
    assert [path.name for path in files] == [
        "scores.md",
        "scores.png",
        "confusion.png",
        "model-index.yaml",
    ]
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == sorted(
        path.name for path in files
    )
    page = files[0].read_text(encoding="utf-8")
    assert (
        page.startswith("## Scores\n\n|")
        and page.count("```") == 2
        and "  tool lost: line 9" in page
    )
    index = yaml.safe_load(files[3].read_text(encoding="utf-8"))["model-index"]
    assert index[0]["name"] == "task" and index[0]["results"][0]["dataset"]["type"] == "eval.jsonl"


def test_against_holds_differences_and_rows() -> None:
    tuned, task = score(RECORDS, perfect()), score(RECORDS, [*perfect()[:3], "no"])
    found = against(tuned, task)
    assert found["differences"]["exact_match"]["difference"] == -0.25
    assert [row["change"] for row in found["changed_rows"]] == ["tool lost"]
