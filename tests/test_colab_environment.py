"""Colab's packages of August 2026 in an environment of their own: what the install cell moves, and what runs in it.

torch is this environment's: its wheels differ by platform. The runtime's Python is the one that runs the tests. Wheels for
Python 3.11, 3.12 and 3.13 are asked of pip's resolver alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import own_wheel
import pytest
import tiny_conversion

from fgkit.files import read_json
from fgkit.workflow import run as pipeline

ROOT = Path(__file__).resolve().parents[1]
FREEZE = Path(__file__).with_name("colab_2026_08.txt")
pytestmark = pytest.mark.slow


def pip(
    *arguments: object,
    python: Path | str = sys.executable,
    path: Path | None = None,
    timeout: int = 600,
) -> str:
    """Run a Python's pip, or the one in `path`."""
    done = subprocess.run(
        [str(python), "-m", "pip", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def versions(listed: str) -> dict[str, str]:
    """What `pip list --format json` printed, by names as they are compared."""
    return {item["name"].lower().replace("_", "-"): item["version"] for item in json.loads(listed)}


def stub_of_torch(folder: Path, version: str) -> None:
    """A wheel that stands for torch, so that no CUDA libraries are looked at."""
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_every_requirements_file_resolves_to_wheels(tmp_path):
    """test.txt, which holds all.txt, alone; the three of Colab in one, because one runtime may run all notebooks."""
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "requirements/all.txt").read_text(), re.M)[1]
    stub_of_torch(tmp_path, f"{pinned}+stub")
    colab = sorted((ROOT / "requirements").glob("colab-*.txt"))
    assert len(colab) == 3
    pip(
        "install", "--quiet", "--target", tmp_path / "pip", "pip>=25.1"
    )  # before that a dry run downloads every wheel

    def resolve(version: str, files: list[Path]) -> list[str]:
        report = tmp_path / f"{version}-{len(files)}.json"
        pip(
            "install",
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--report",
            report,
            "--target",
            tmp_path / "none",
            "--python-version",
            version,
            "--only-binary=:all:",
            "--find-links",
            tmp_path,
            "torch==" + pinned + "+stub",
            *(part for file in files for part in ("-r", file)),
            path=tmp_path / "pip",
        )
        return [item["download_info"]["url"] for item in json.loads(report.read_text())["install"]]

    asked = [
        (version, files)
        for version in ("3.11", "3.12", "3.13")
        for files in ([ROOT / "requirements/test.txt"], colab)
    ]
    with ThreadPoolExecutor(len(asked)) as pool:  # each waits for the index
        for urls in pool.map(resolve, *zip(*asked)):
            assert len(urls) > 20 and all(url.endswith(".whl") for url in urls)


def install_as(name: str, folder: Path, python: Path) -> None:
    """Do what the `%pip` lines of a notebook's install cell do, with fgkit from its wheel in `folder`."""
    cells = read_json(pipeline.notebook_path(name))["cells"]
    lines = re.findall(
        r"^ +%pip (install .*)$", "\n".join("".join(cell["source"]) for cell in cells), re.M
    )
    assert lines
    (wheel,) = folder.glob("fgkit-*.whl")
    for line in lines:
        pip(*shlex.split(line.replace("{source}", wheel.as_uri())), python=python)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> Iterator[Path]:
    """The environment's Python, after the install cell's pip; what was there before lies in `before.json`."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True, timeout=120)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env" / "lib").glob("python3*/site-packages")
    torch = Path(importlib.util.find_spec("torch").origin).parents[1]
    for path in (
        *(torch / name for name in ("torch", "torchgen", "functorch")),
        *torch.glob("torch-*.dist-info"),
    ):
        (site / path.name).symlink_to(path)
    pip("install", "--quiet", "--no-deps", "-r", FREEZE, python=python)
    (folder / "before.json").write_text(pip("list", "--format", "json", python=python))
    own_wheel.build(folder)
    install_as("finetune", folder, python)
    yield python
    subprocess.Popen(
        ["rm", "-rf", str(folder)]
    )  # gigabytes, which later tests may need; minutes, which nobody waits for


def test_the_install_cell_keeps_what_colab_keeps(runtime):
    before = versions((runtime.parents[2] / "before.json").read_text())
    after = versions(pip("list", "--format", "json", python=runtime))
    moved = {name for name, version in before.items() if after[name] != version}
    assert {"protobuf", "pyarrow", "datasets", "torchao"} <= moved
    assert not moved & {
        "torch",
        "numpy",
        "ipywidgets",
        "ipykernel",
        "ipython",
        "traitlets",
        "transformers",
        "pandas",
        "matplotlib",
        "accelerate",
    }
    assert after["ipywidgets"] == "7.7.1"


def test_the_panels_work_there(runtime, tmp_path):
    done = subprocess.run(
        [str(runtime), str(ROOT / "tests/panel_clicks.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "ipywidgets 7.7.1 all panels"


@pytest.fixture(scope="module")
def execute(runtime, tmp_path_factory) -> Callable[[str], Path]:
    """Execute a notebook as it is, in a kernel of that environment, with the fgkit that pip installed there."""
    import papermill

    folder = tmp_path_factory.mktemp("notebooks")
    parameters = (
        tiny_conversion.inputs(folder)
        | tiny_conversion.TRAINING
        | {"max_exact_match_loss": 100.0, "max_tool_accuracy_loss": 100.0}
    )
    (folder / "first.py").write_text(tiny_conversion.KERNEL, encoding="utf-8")
    spec = folder / "data" / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps(
            {
                "display_name": "Colab",
                "language": "python",
                "argv": [
                    str(runtime),
                    "-m",
                    "ipykernel_launcher",
                    "-f",
                    "{connection_file}",
                    f"--IPKernelApp.exec_files={folder}/first.py",
                ],
            }
        )
    )

    def execute(name: str) -> Path:
        known = pipeline.declared_parameters(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JUPYTER_PATH", str(folder / "data"))
            patch.setenv("OMP_NUM_THREADS", "1")
            patch.delenv("PYTHONPATH", raising=False)
            papermill.execute_notebook(
                str(pipeline.notebook_path(name)),
                str(folder / f"{name}.ipynb"),
                kernel_name="colab",
                cwd=str(folder),
                progress_bar=False,
                parameters={key: value for key, value in parameters.items() if key in known},
            )
        return folder / "run"

    return execute


def test_the_training_notebook_runs_there(execute):
    summary = read_json(execute("finetune") / "summary.json")
    assert summary["tuned"]["n"] == 6 and summary["versions"]["transformers"] == "5.15.0"


def test_the_other_notebooks_run_there_too(runtime, execute):
    """In the runtime that has trained: what their install cells add moves nothing that a kernel has loaded."""
    before = versions(pip("list", "--format", "json", python=runtime))
    install_as("to_tflite", runtime.parents[2], runtime)
    execute("to_tflite")
    install_as("to_task", runtime.parents[2], runtime)
    after = versions(pip("list", "--format", "json", python=runtime))
    assert {name for name, version in before.items() if after[name] != version} <= {"certifi"}
    subprocess.run(
        [str(runtime), "-c", "import pydantic; pydantic.BaseModel"], check=True, timeout=120
    )
    summary = read_json(execute("to_task") / "summary.json")
    assert summary["task"]["n"] == summary["litertlm"]["n"] == 6 and summary["gate"]["passed"]
    assert (
        summary["versions"]["transformers"] == "5.15.0"
        and summary["versions"]["litert-lm"] == after["litert-lm"]
    )
