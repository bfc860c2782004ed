"""environment: what is declared is compared with what is there, and each lack has its remedy."""

from __future__ import annotations

import collections

import pytest

from fgkit.checks import Check
from fgkit.errors import FgkitError
from fgkit.workflow import doctor


@pytest.fixture
def declared(monkeypatch):
    from packaging.requirements import Requirement

    declared = [Requirement("pytest>=1"), Requirement("fgkit-absent>=2")]
    monkeypatch.setattr(doctor, "_requirements", lambda extras: declared)


def by_name(results: list[Check]) -> dict[str, Check]:
    assert [result.number for result in results] == list(range(1, len(results) + 1)) and results
    return {result.name: result for result in results}


def test_packages_are_compared_with_what_is_declared(declared):
    found = by_name(doctor.check_environment("to_task"))
    assert found["pytest"].status == "pass"
    assert found["fgkit-absent"].status == "fail"
    assert "found nothing, expected >=2" in found["fgkit-absent"].reason
    assert found["fgkit-absent"].remedy == 'pip install "fgkit-absent>=2"'


def test_python_platform_memory_and_disk(declared, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Windows")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(doctor.sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(doctor.os, "sysconf", lambda name: 1024, raising=False)
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage(10**8))
    found = by_name(doctor.check_environment("to_tflite", tmp_path / "not" / "yet"))
    assert {
        name: found[name].status for name in ("Python", "platform", "memory", "disk")
    } == dict.fromkeys(("Python", "platform", "memory", "disk"), "fail")
    assert "WSL2" in found["platform"].remedy and "training alone works" in found["platform"].reason
    assert by_name(doctor.check_environment("finetune"))["platform"].status == "pass"
    with pytest.raises(FgkitError, match="step is 'cook'"):
        doctor.check_environment("cook")


def test_requirements_come_from_setup_cfg_in_a_checkout(monkeypatch, tmp_path):
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    numpy>=1\n[options.extras_require]\n"
        "export = file: a.txt, b.txt\nbundle =\n    # why\n    mediapipe\n"
    )
    (tmp_path / "a.txt").write_text("# why\nlitert-torch>=0.10,<0.11\n")
    (tmp_path / "b.txt").write_text("torch\n")
    monkeypatch.setattr(doctor, "PACKAGE", tmp_path / "fgkit")
    exporting = [str(found) for found in doctor._requirements(["export"])]
    assert exporting == ["numpy>=1", "litert-torch<0.11,>=0.10", "torch"]
    assert [str(found) for found in doctor._requirements(["bundle"])] == ["numpy>=1", "mediapipe"]
    (tmp_path / "setup.cfg").unlink()
    monkeypatch.setattr(
        doctor.importlib.metadata,
        "requires",
        lambda name: [
            "numpy>=1",
            'litert-torch>=0.10; extra == "export"',
            'mediapipe; extra == "bundle"',
        ],
    )
    assert [requirement.name for requirement in doctor._requirements(["export"])] == [
        "numpy",
        "litert-torch",
    ]


def test_no_declared_packages_is_a_failure(monkeypatch):
    monkeypatch.setattr(doctor, "_requirements", lambda extras: [])
    assert by_name(doctor.check_environment("all"))["packages"].status == "fail"


def test_the_whole_job_needs_papermill_and_a_single_notebook_does_not():
    assert {"papermill", "ipykernel"} <= set(by_name(doctor.check_environment("all")))
    assert "papermill" not in by_name(doctor.check_environment("to_task"))
