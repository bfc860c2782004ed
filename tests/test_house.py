"""The house: what installs, what imports, what ships, and that every page and list says the same as the code."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import own_wheel
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fgkit
from fgkit.cli import init, main as command_line

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for path in (ROOT / "fgkit").rglob("*.py") if path.parent.name != "starter")
MODULES = sorted(".".join(path.relative_to(ROOT / "fgkit").with_suffix("").parts) for path in FILES)
NOTEBOOKS = ("finetune", "to_tflite", "to_task")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
SOURCE = SETUP["fgkit"]["source"]
RUN_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -r requirements/all.txt "
    "&& .venv/bin/python -m fgkit run"
)
TEST_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -r requirements/test.txt "
    "&& .venv/bin/python -m pytest"
)
GEMMA_LINE = "Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms"
HEAVY = (
    "torch",
    "tensorflow",
    "mediapipe",
    "transformers",
    "trl",
    "datasets",
    "litert_torch",
    "litert_lm",
    "ai_edge_litert",
    "papermill",
    "google.colab",
)
# Modules that import torch, transformers and trl at their top, because they cannot work without: networks, autograd
# functions and trainer callbacks are classes of those packages. Nothing else may import them at its top.
HEAVY_MODULES = {
    "training.attention_blocks",
    "training.callbacks",
    "training.generation",
    "training.loss",
    "training.prefix_cache",
    "training.recompute",
    "training.trainer",
    "training.tree_attention",
    "training.tree_model",
    "training.tuning",
}
# What the Colab runtime of August 2026 has: the first row stays, the second has to move.
COLAB_KEEPS = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "ipywidgets": "7.7.1",
    "ipykernel": "6.17.1",
    "transformers": "5.15.0",
    "huggingface-hub": "1.27.0",
    "accelerate": "1.14.0",
    "matplotlib": "3.10.0",
    "filelock": "3.32.3",
    "jsonschema": "4.26.0",
    "tqdm": "4.67.3",
    "nbclient": "0.10.4",
    "sentencepiece": "0.2.2",
}
COLAB_MOVES = {"protobuf": "5.29.6", "pyarrow": "18.1.0", "datasets": "4.0.0", "torchao": "0.10.0"}


def lines_of(text: str) -> list[str]:
    return [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]


def requirements(value: str) -> dict[str, Requirement]:
    """Canonical name -> requirement of a setup.cfg value or a file's text; no name stands there twice."""
    if value.strip().startswith("file:"):
        value = "\n".join(
            (ROOT / name.strip()).read_text() for name in value.strip()[len("file:") :].split(",")
        )
    parsed = [Requirement(line) for line in lines_of(value) if not line.startswith("-r ")]
    names = [canonicalize_name(requirement.name) for requirement in parsed]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    return dict(zip(names, parsed, strict=True))


def ranges(*extras: str) -> dict[str, list[Requirement]]:
    """Canonical name -> every range that the core and these extras give."""
    found: dict[str, list[Requirement]] = {}
    values = [
        SETUP["options"]["install_requires"],
        *(SETUP["options.extras_require"][extra] for extra in extras),
    ]
    for value in values:
        for name, requirement in requirements(value).items():
            found.setdefault(name, []).append(requirement)
    return found


def pins(file: str) -> dict[str, str]:
    found = requirements((ROOT / "requirements" / file).read_text())
    versions = {
        name: re.fullmatch(r"==([0-9][0-9a-z.]*)", str(entry.specifier))
        for name, entry in found.items()
    }
    assert all(versions.values()), [name for name, match in versions.items() if not match]
    return {name: match[1] for name, match in versions.items()}


RUNTIME_EXTRAS = ("finetune", "export", "bundle", "notebooks")


# ---- what imports


def test_every_module_imports_without_the_heavy_packages():
    assert len(MODULES) > 10 and set(MODULES) > HEAVY_MODULES
    light = [name for name in MODULES if name not in HEAVY_MODULES]
    program = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == heavy or name.startswith(heavy + ".") for heavy in {HEAVY!r}):
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Absent())
try:
    import torch
except ModuleNotFoundError:
    for name in {light!r}:
        importlib.import_module(("fgkit." + name).removesuffix(".__init__"))
        print(name)
    for name in {sorted(HEAVY_MODULES)!r}:
        try:
            importlib.import_module("fgkit." + name)
        except ModuleNotFoundError as error:
            assert error.name in {HEAVY!r}, error
        else:
            raise AssertionError(name + " is light and should not be in the list")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == light


def test_every_package_that_is_imported_is_declared():
    declared = set(ranges(*RUNTIME_EXTRAS))
    imported = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            imported |= {name: path.name for name in names}
    own = {*sys.stdlib_module_names, "fgkit"}
    third_party = {
        name: where
        for name, where in imported.items()
        if name.split(".")[0] not in own and not name.startswith("google.colab")
    }
    assert len(third_party) > 10
    owners = importlib.metadata.packages_distributions()
    owners["litert_lm"] = [
        "litert-lm"
    ]  # it pins litert-lm-api, which holds the module, to its own version
    undeclared = {
        f"{where}: {name}"
        for name, where in third_party.items()
        if not declared & {canonicalize_name(owner) for owner in owners.get(name.split(".")[0], [])}
    }
    assert not undeclared


# ---- what installs


def test_pins_satisfy_every_range_and_nothing_else_is_pinned():
    wanted, pinned = ranges(*RUNTIME_EXTRAS), pins("all.txt")
    assert len(pinned) > 20 and "fgkit" not in pinned
    assert set(pinned) == set(wanted)
    outside = [
        f"{name}=={pinned[name]} and {entry}"
        for name, entries in wanted.items()
        for entry in entries
        if not entry.specifier.contains(pinned[name])
    ]
    assert not outside


def test_the_test_environment_is_all_and_the_test_extra():
    text = (ROOT / "requirements" / "test.txt").read_text()
    extra, pinned = requirements(SETUP["options.extras_require"]["test"]), pins("test.txt")
    assert lines_of(text)[0] == "-r all.txt"
    assert set(pinned) == set(extra) and not set(pinned) & set(pins("all.txt"))
    assert all(extra[name].specifier.contains(version) for name, version in pinned.items())


def test_ranges_are_ranges():
    for name, entries in ranges(*RUNTIME_EXTRAS, "test").items():
        for entry in entries:
            assert any(part.operator == ">=" for part in entry.specifier), (
                f"{name} has no lower end"
            )
            assert not any(part.operator in ("==", "===") for part in entry.specifier), (
                f"{name} is pinned"
            )


def test_the_extra_all_is_all_of_them():
    (entry,) = requirements(SETUP["options.extras_require"]["all"]).values()
    assert entry.name == "fgkit" and entry.extras == set(RUNTIME_EXTRAS)


def test_this_environment_has_the_pinned_versions():
    wanted = pins("all.txt") | pins("test.txt")
    found = {name: Version(importlib.metadata.version(name)).public for name in wanted}
    assert found == wanted


def test_colab_files_move_what_must_move_and_touch_nothing_else():
    assert sorted(path.name for path in (ROOT / "requirements").glob("colab-*.txt")) == sorted(
        f"colab-{name}.txt" for name in NOTEBOOKS
    )
    moved = set()
    for name in NOTEBOOKS:
        assert (
            SETUP["options.extras_require"][f"colab-{name}".replace("_", "-")]
            == f"file: requirements/colab-{name}.txt"
        )
        added = requirements((ROOT / "requirements" / f"colab-{name}.txt").read_text())
        assert len(added) >= 5 and "protobuf" in added
        assert not set(added) & {"torch", "numpy", "ipywidgets", "tensorflow", "tensorflow-cpu"}
        for package in set(added) & set(COLAB_MOVES):
            assert not added[package].specifier.contains(COLAB_MOVES[package]), (
                f"Colab's {package} would stay"
            )
            moved.add(package)
    assert moved == set(COLAB_MOVES)
    declared = ranges(*RUNTIME_EXTRAS)
    for package, version in COLAB_KEEPS.items():
        assert package in declared
        assert all(entry.specifier.contains(version) for entry in declared[package]), (
            f"Colab's {package} would move"
        )


# ---- what ships


def test_the_wheel_carries_notebooks_data_template_and_notice(tmp_path):
    wheel = own_wheel.build(tmp_path)
    assert wheel.name == f"fgkit-{fgkit.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    info = f"fgkit-{fgkit.__version__}.dist-info"
    assert {f"fgkit/{name.replace('.', '/')}.py" for name in MODULES} <= names
    assert {"fgkit/prompts/chat_template.jinja", "fgkit/hub/model_card.md"} <= names
    assert {f"fgkit/notebooks/{name}.ipynb" for name in NOTEBOOKS} <= names
    for folder in ("data", "data/home"):
        assert {
            f"fgkit/{folder}/{name}"
            for name in ("tools.py", "training_data.jsonl", "eval_data.jsonl")
        } <= names
    assert "fgkit/notebooks/params/home.yaml" in names
    assert {f"fgkit/starter/{name}" for name in init.FILES} <= names
    assert {"fgkit/app/function_calls.dart", "fgkit/app/FunctionCalls.kt"} <= names
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE-GEMMA.txt"} <= names
    assert {name.split("/")[0] for name in names} == {"fgkit", info}

    metadata = importlib.metadata.PathDistribution(tmp_path / "site" / info)
    assert metadata.metadata["Requires-Python"] == "<3.14,>=3.11"
    shipped = [Requirement(line) for line in metadata.requires]
    core = {entry.name for entry in shipped if entry.marker is None}
    assert core == {
        entry.name for entry in requirements(SETUP["options"]["install_requires"]).values()
    }
    tflite = {
        entry.name
        for entry in shipped
        if entry.marker and entry.marker.evaluate({"extra": "colab-to-tflite"})
    }
    assert "litert-torch" in tflite and "torch" not in tflite

    program = (
        "from fgkit import licence, locations; from fgkit.workflow import run as pipeline; print(licence.notice_text().splitlines()[0]); "
        "print(locations.shipped('data', 'tools.py')); print(pipeline.notebook_path('to_task'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        GEMMA_LINE,
        str(tmp_path / "site/fgkit/data/tools.py"),
        str(tmp_path / "site/fgkit/notebooks/to_task.ipynb"),
    ]


def test_licences():
    assert GEMMA_LINE in " ".join(README.split())
    licence = (ROOT / "LICENSE").read_text()
    assert (
        "Apache License" in licence
        and "END OF TERMS AND CONDITIONS" in licence
        and len(licence) > 11_000
    )
    notice = (ROOT / "NOTICE-GEMMA.txt").read_text()
    for part in (
        GEMMA_LINE,
        "https://ai.google.dev/gemma/prohibited_use_policy",
        "Modified files",
        "copy of the Terms of Use",
    ):
        assert part in notice


def test_one_version_and_one_source():
    repository, tag = re.fullmatch(r"git\+(https://github\.com/\S+)@v(\S+)", SOURCE).groups()
    assert tag == fgkit.__version__ and SETUP["metadata"]["version"] == "attr: fgkit.__version__"
    assert (
        re.search(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
        == tag
    )
    assert f"git clone {repository} && cd fgkit" in README
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == sorted(NOTEBOOKS)
    slug = repository.removeprefix("https://github.com/")
    for path in notebooks:
        badge = f"https://colab.research.google.com/github/{slug}/blob/v{tag}/notebooks/{path.name}"
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"git\+https[^\"'\\ ]+", text)) == {SOURCE}, path.name
        assert set(re.findall(r"https://colab\.research\.google\.com/github/[^)\"\\]+", text)) == {
            badge
        }, path.name
        assert f"({badge})" in README
    everywhere = README + "".join(path.read_text(encoding="utf-8") for path in notebooks)
    assert set(
        re.findall(r"github(?:\.com)?/fgkit/fgkit(?:/blob/|@)v([\d.]+[\da-z])", everywhere)
    ) == {tag}


# ---- what the pages say


def test_readme_is_short_finished_and_holds_the_two_commands():
    assert len(README.split()) <= 1500
    blocks = [block.strip() for block in re.findall(r"^```\n(.*?)^```$", README, re.M | re.S)]
    assert blocks.count(RUN_COMMAND) == blocks.count(TEST_COMMAND) == 1
    for name in re.findall(r"requirements/([\w-]+\.txt)", README):
        assert (ROOT / "requirements" / name).is_file()
    for extras in re.findall(r'"\.\[([\w,-]+)\]"', README):
        assert all(extra in SETUP["options.extras_require"] for extra in extras.split(","))
    assert not re.findall(r"@@\w+@@", README), "figures that were not filled in"


def test_ci_runs_the_readme_line():
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK) and "set -euo pipefail" in text and '"$command"' in text
    subprocess.run(["bash", "-n", str(script)], check=True)
    read = re.search(r"^command=\$\((grep -E .+ README\.md)\)$", text, re.M)[1]
    found = subprocess.run(
        ["bash", "-c", read], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines() == [TEST_COMMAND]


def test_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ".ci/docs_pages.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr + "run: python .ci/docs_pages.py"
    tree = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    for name in MODULES:
        path = name.removesuffix(".__init__")
        assert path.split(".")[-1] in tree
        if not name.endswith(("__init__", "__main__")):
            assert f"::: fgkit.{name}\n" in reference, name


def test_every_link_of_a_page_has_a_target_and_every_page_is_reachable():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    links = {}
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        targets = re.findall(r"\]\(((?!https?:|#)[^)# ]+)", text)
        links[page] = {(page.parent / target).resolve() for target in targets}
        missing = [str(target) for target in links[page] if not target.exists()]
        assert not missing, f"{page}: {missing}"
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        waiting += [target for target in links.get(page, ()) if target not in seen]
    assert not [str(page) for page in pages if page not in seen], "no link leads there"
    assert len(pages) > 20


def test_the_ten_changes_name_files_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index("## Ten changes") : page.index("## The tree")]
    files = re.findall(r"`(fgkit/[\w/.]+)`", table)
    assert len(re.findall(r"^\| \w", table, re.M)) - 1 == 10 and len(files) >= 10
    assert all((ROOT / name).exists() for name in files)


def test_every_fgkit_command_in_the_pages_is_accepted():
    pages = README + "".join(
        page.read_text(encoding="utf-8")
        for page in (
            ROOT / "CONTRIBUTING.md",
            *ROOT.glob("data/**/README.md"),
            *ROOT.glob("docs/**/*.md"),
        )
    )
    commands = re.findall(
        r"^(?:\S*&& )*(?:.* && )?(?:\.venv/bin/)?python -m fgkit (.+)$", pages, re.M
    )
    assert len(commands) >= 20
    for command in commands:
        assert callable(command_line.build_parser().parse_args(command.split()).execute)


def test_contributing_names_the_markers_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    declared = {line.split(":")[0] for line in lines_of(SETUP["tool:pytest"]["markers"])}
    assert declared == {"slow", "gpu"}
    for expression in re.findall(r'-m "?((?:not )?(?:slow|gpu)[^"`]*)', text):
        assert set(re.findall(r"\w+", expression)) - {"not", "and"} <= declared
    assert (
        'pytest -m "not slow and not gpu"' in text and "pytest -m gpu" in text and ".ci/run" in text
    )


def test_a_misspelt_marker_is_refused(tmp_path):
    (tmp_path / "test_it.py").write_text("import pytest\n@pytest.mark.slwo\ndef test_it(): pass\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-c",
            str(ROOT / "setup.cfg"),
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
    )  # workers end with other codes
    assert done.returncode == 2 and "'slwo' not found in `markers`" in done.stdout


@pytest.mark.parametrize(
    ("seen", "remedies"),
    [
        (
            "Model outputs garbage after conversion",
            ("`bfloat16` and `eager`", "BEFORE conversion", "re-run fine-tuning"),
        ),
        ("Model outputs `<pad>` tokens", ("`bfloat16`, not `float16`", "`eager`, not the default")),
        (
            "numpy binary incompatibility error",
            ("numpy<2.1", "ai-edge-torch/mediapipe", "RESTART RUNTIME", "one environment"),
        ),
        (
            "403 Forbidden on HuggingFace upload",
            ("Write access (not Fine-grained read-only)", "Create a new token"),
        ),
        ("ensurepip", ("apt install python3-venv",)),
        ("out of memory", ("7 GB",)),
        ("disk full", ("--output",)),
    ],
)
def test_troubleshooting_has_the_rows_of_the_guide_and_ours(seen, remedies):
    table = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    (row,) = [
        line for line in table.splitlines() if line.startswith("|") and seen in line.split("|")[1]
    ]
    assert all(remedy in row.split("|", 2)[2] for remedy in remedies), row
