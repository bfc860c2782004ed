"""The wheel of this checkout, as `pip install` from the repository would make it.

>>> path = build(tmp_path)                     # .../fgkit-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("fgkit", "data", "notebooks", "requirements")


def build(folder: Path) -> Path:
    """Build it in a copy inside `folder`: setuptools writes build/, and ships what an earlier build left there."""
    copy = folder / "source"
    copy.mkdir(parents=True)
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name,
            copy / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "run"),
        )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--quiet",
            "--wheel-dir",
            str(folder),
            str(copy),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("fgkit-*.whl")
    return found
