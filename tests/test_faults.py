"""One kill in each stage, seeded, on a tiny model made here. All of it, and every other fault: tests/faults.py."""

from __future__ import annotations

import importlib.util
import os
import random
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")]
NEEDED = ("torch", "trl", "litert_torch", "mediapipe", "litert_lm", "psutil")


@pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in NEEDED), reason=f"needs {', '.join(NEEDED)}")
def test_a_stage_killed_anywhere_ends_with_the_same_files(tmp_path: Path) -> None:
    import faults
    from faults_job import STAGES, Job

    folder = tmp_path / "a job \u00e9\u6e2c"
    folder.mkdir()
    job = Job(folder)
    job.undisturbed()
    assert {"functiongemma-flutter.task", "functiongemma-flutter.litertlm", "functiongemma-flutter_q8_ekv512.tflite",
            "model/model.safetensors", "model/SHA256SUMS"} <= job.wanted.keys()
    assert job.differences() == []
    (job.output / ".x.1.part").touch()
    (job.output / "model" / "model.safetensors").write_bytes(b"others")
    assert job.differences() == ["model/model.safetensors differs", ".x.1.part is left over"]  # it would be noticed
    results = list(faults.kills(job, 3, random.Random(4), 0))
    assert [result.what for result in results if not result.survived] == [] and len(results) == len(STAGES)
