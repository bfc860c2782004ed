"""One kill in each stage, seeded, on a tiny model made here, and what is published of it. Every other fault: tests/faults.py."""

from __future__ import annotations

import importlib.util
import os
import random
from typing import Any

import pytest

NEEDED = ("torch", "trl", "litert_torch", "mediapipe", "litert_lm", "psutil")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason=f"needs {', '.join(NEEDED)}",
    ),
]
TASK, LITERTLM = "functiongemma-flutter.task", "functiongemma-flutter.litertlm"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from faults_job import Job

    job = Job(tmp_path_factory.mktemp("a job \u00e9\u6e2c"))
    job.undisturbed()
    return job


def test_what_is_published_holds_both_bundles_as_they_were_made(job: Any) -> None:
    from fgkit.hub import model_card
    from fgkit.hub.publication import gather

    found = gather(job.output)
    card = model_card.write(found, "ada/lights", public=False)
    for name in (TASK, LITERTLM):
        assert name in found.bundles and name in found.scores
        assert [file.sha256 for file in found.files if file.name == name] == [job.wanted[name]]
        assert job.wanted[name] in card and f"[`{name}`]" in card
    assert "model-index:" in card and "engine" in card


def test_a_run_writes_only_names_that_it_claims(job: Any) -> None:
    """What a run writes is what it looks at before it begins; `tests/test_somebodys_files.py` tries these names."""
    from fgkit import ownership
    from fgkit.workflow import claims, locks, run as pipeline

    claimed = {ownership.RECORD, locks.LOCK, locks.STEP_LOCK, *claims._SHARED}
    for settings in pipeline.plan(job.parameters).values():
        claimed |= {str(path.relative_to(job.output)) for path in claims.written_by(settings)}
    # The files of `app` are claimed by glue.
    assert {name for name in job.names if name.partition("/")[0] not in claimed | {"app"}} == set()


def test_a_stage_killed_anywhere_ends_with_the_same_files(job: Any) -> None:
    import faults
    from faults_job import STAGES

    assert {
        TASK,
        LITERTLM,
        "functiongemma-flutter_q8_ekv512.tflite",
        "model/model.safetensors",
        "model/SHA256SUMS",
    } <= job.wanted.keys()
    assert job.differences() == []
    (job.output / ".x.1.part").touch()
    (job.output / "model" / "model.safetensors").write_bytes(b"others")
    assert job.differences() == [
        "model/model.safetensors differs",
        ".x.1.part is left over",
    ]  # it would be noticed
    results = list(faults.kills(job, 3, random.Random(4), 0))
    assert [result.what for result in results if not result.survived] == [] and len(results) == len(
        STAGES
    )
