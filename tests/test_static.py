"""The house is held by tools: format, lint, layers, types, docs, examples, sizes; each is shown to fail once when broken."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "fgkit").rglob("*.py"))
SOURCES = [path for path in FILES if path.parent.name != "starter"]
BIN = Path(sys.executable).parent
RUFF_CHECK = [sys.executable, "-m", "ruff", "check", "."]
RUFF_FORMAT = [sys.executable, "-m", "ruff", "format", "--check", "."]
LAYERS = [str(BIN / "lint-imports"), "--config", ".importlinter", "--no-cache"]
MYPY = [sys.executable, "-m", "mypy"]
MKDOCS = [sys.executable, "-m", "mkdocs", "build", "--strict"]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | {"PYTHONPATH": str(folder), "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the tools read, to break."""
    folder = tmp_path_factory.mktemp("checkout")
    names = ["fgkit", "docs", ".ci", "pyproject.toml", ".importlinter", "mkdocs.yml"]
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


CASES = [
    pytest.param(RUFF_CHECK, "fgkit/text.py", "import os\n", "F401", id="lint"),
    pytest.param(
        RUFF_FORMAT, "fgkit/text.py", "x = {  'a':1}\n", "would be reformatted", id="format"
    ),
    pytest.param(
        LAYERS,
        "fgkit/prompts/format.py",
        "import fgkit.workflow.run  # noqa\n",
        "BROKEN",
        id="layers",
    ),
    pytest.param(
        MYPY,
        "fgkit/text.py",
        "\n\ndef broken() -> int:\n    return 'text'\n",
        "Incompatible return value",
        id="types",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        MKDOCS,
        "docs/index.md",
        "\n[nowhere](nowhere.md)\n",
        "nowhere.md",
        id="docs",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("command", "file", "fault", "says"), CASES)
def test_the_house_passes_and_a_fault_does_not(command, file, fault, says, checkout) -> None:
    done = run(command, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    path = checkout / file
    content = path.read_text(encoding="utf-8")
    path.write_text(content + fault, encoding="utf-8")
    if command == MYPY:
        command = [*MYPY, file]  # one module is enough for a fault, and much faster
    try:
        done = run(command, checkout)
    finally:
        path.write_text(content, encoding="utf-8")
    assert done.returncode != 0 and says in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_exceptions_to_the_layers_are_few_and_explained() -> None:
    text = (ROOT / ".importlinter").read_text()
    ignored = re.findall(r"^    (fgkit\S+ -> fgkit\S+)$", text, re.M)
    assert len(ignored) <= 5
    for line in ignored:
        assert re.search(rf"^ *# .+\n(?:    fgkit.+\n)*    {re.escape(line)}$", text, re.M), line


# ---- sizes and types, counted


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_no_file_is_over_300_lines_and_no_function_over_60() -> None:
    assert len(SOURCES) > 100
    long_files = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long_files
    long_functions = {
        f"{path.relative_to(ROOT)}: {node.name}": length
        for path in SOURCES
        for node in functions(path)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert not long_functions


def test_any_is_rare_and_the_public_functions_are_annotated_and_documented() -> None:
    lines = anys = 0
    problems = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        lines += len(text.splitlines())
        anys += len(re.findall(r"\bAny\b", re.sub(r"^(from|import) .*$", "", text, flags=re.M)))
        for node in ast.parse(text).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    problems.append(f"{path.name}: {node.name} has no docstring")
                if isinstance(node, ast.FunctionDef) and node.returns is None:
                    problems.append(f"{path.name}: {node.name} does not say what it returns")
    assert not problems
    assert 100 * anys / lines < 1.5, f"{100 * anys / lines:.2f} Any per 100 lines"


# ---- examples


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if ">>>" in path.read_text(encoding="utf-8")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_examples_in_docstrings_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted and not result.failed
    assert not list(tmp_path.iterdir()), "an example that writes files is shown, not run"
