"""docs/app.md: its Python runs, its Dart and Kotlin parse, and its files are those that are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from app_tools import tree

from fgkit.app import codegen
from fgkit.app.model_source import read_source

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(dart|kotlin|python)\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    exec(next(code for language, code in BLOCKS if language == "python"), names)
    assert names["done"] == ["Title set to Hello"]


@pytest.mark.parametrize("language", ["dart", "kotlin"])
def test_the_code_parses(language):
    found = [code for name, code in BLOCKS if name == language]
    assert len(found) == {"dart": 1, "kotlin": 2}[language]
    assert not any(tree(code, language).has_error for code in found)


def test_the_files_are_those_that_are_written(tmp_path):
    paths = codegen.make(read_source(ROOT / "data" / "tools.py"), tmp_path)
    written = {str(path.relative_to(tmp_path)) for path in paths}
    named = {
        name
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^` ]+\.\w+)`", line.split("|")[1])
    }
    named |= {"dart/test/golden.json", "kotlin/src/test/resources/golden.json"}
    assert named - {"src/test/resources/golden.json"} == written
