"""summary: parts are merged, the file is whole at every moment, the table says what was measured."""

from __future__ import annotations

import hashlib
import json

import pytest

from fgkit.errors import FgkitError
from fgkit.workflow import summary

EMPTY = {
    "base": None,
    "tuned": None,
    "task": None,
    "litertlm": None,
    "gate": None,
    "files": {},
    "speed": {},
    "variants": {},
    "seconds": {},
    "peak_memory_gb": {},
    "settings": {},
    "versions": {},
}


def score(exact: float) -> dict:
    return {
        "n": 4,
        "parse_rate": 1.0,
        "tool_accuracy": 0.75,
        "exact_match": exact,
        "per_tool": {"f": {"n": 4, "tool_accuracy": 0.75, "exact_match": exact}},
    }


def test_an_empty_summary(tmp_path) -> None:
    assert summary.read(tmp_path) == EMPTY and list(tmp_path.iterdir()) == []
    first, second = summary.read(tmp_path), summary.read(tmp_path)
    first["files"]["x"] = 1
    assert second == summary.read(tmp_path) == EMPTY


def test_parts_are_merged_or_replaced(tmp_path) -> None:
    summary.update(tmp_path, base=score(0.0), seconds={"finetune": 60.0}, files={"a": {"bytes": 1}})
    found = summary.update(
        tmp_path,
        tuned=score(1.0),
        seconds={"to_tflite": 30.0},
        files={"a": {"bytes": 2}, "b": {"bytes": 3}},
    )
    assert found["seconds"] == {"finetune": 60.0, "to_tflite": 30.0}
    assert found["files"] == {"a": {"bytes": 2}, "b": {"bytes": 3}}
    assert found["base"] == score(0.0) and found["tuned"] == score(1.0) and found["task"] is None
    assert (
        found
        == summary.read(tmp_path)
        == json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    )
    other = {"n": 4, "tool_accuracy": 0.5, "exact_match": 0.5}
    assert summary.update(tmp_path, base=other)["base"] == other, "a score is replaced, not merged"
    assert summary.update(tmp_path, base=None, gate={"passed": True})["base"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_failed_update_keeps_the_old_one(tmp_path) -> None:
    summary.update(tmp_path, base=score(0.5))
    with pytest.raises(ValueError):
        summary.update(tmp_path, base=score(float("nan")))
    assert summary.read(tmp_path)["base"] == score(0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("content", ["{", "[]", "7"])
def test_a_damaged_summary_is_named(tmp_path, content) -> None:
    (tmp_path / "summary.json").write_text(content, encoding="utf-8")
    with pytest.raises(FgkitError, match=r"summary\.json"):
        summary.update(tmp_path, base=None)
    assert (tmp_path / "summary.json").read_text(encoding="utf-8") == content


def test_a_file_is_described(tmp_path) -> None:
    (tmp_path / "a.task").write_bytes(b"abc")
    assert summary.describe_file(tmp_path / "a.task") == {
        "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }


def test_versions_of_what_is_installed(monkeypatch) -> None:
    import platform

    import numpy

    from fgkit import __version__

    monkeypatch.setattr(summary, "_PACKAGES", ("numpy", "no-such-package"))
    assert summary.versions() == {
        "python": platform.python_version(),
        "fgkit": __version__,
        "numpy": numpy.__version__,
    }


def test_the_table(tmp_path) -> None:
    found = summary.update(
        tmp_path,
        base=score(0.25),
        task=score(1.0),
        files={"x.task": {"bytes": 284_012_345, "sha256": "0"}},
        gate={
            "passed": False,
            "lines": ["gate FAILED on 4 rows", "exact match: lost", "tool: lost", "row 1"],
        },
        seconds={"finetune": 600.0, "to_task": 90.0},
    )
    lines = [" ".join(line.split()) for line in summary.table(found).splitlines()]
    assert lines[0] == "| | base | task |" and "| exact match | 25.0% | 100.0% |" in lines
    assert (
        "gate FAILED on 4 rows" in lines and "exact match: lost" in lines and "row 1" not in lines
    )
    assert "x.task 284.0 MB" in lines and lines[-1] == "time: finetune 10.0 min, to_task 1.5 min"


def test_the_table_of_nothing(tmp_path) -> None:
    assert summary.table(summary.read(tmp_path)).strip() == ""
