"""What comes from others: pins with hashes, honest audits, no pickle and no code from a model folder."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import finished_run
import pytest
import tiny
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fgkit.errors import ModelError
from fgkit.hub import publication
from fgkit.models import base as base_model

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("supply_chain", ROOT / ".ci" / "supply_chain.py")
supply_chain = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(supply_chain)
MODULES = sorted((ROOT / "fgkit").rglob("*.py")) + sorted((ROOT / "benchmarks").glob("*.py"))


def pins() -> dict[str, str]:
    lines = [
        line
        for name in ("all.txt", "test.txt")
        for line in (ROOT / "requirements" / name).read_text().splitlines()
    ]
    return {
        canonicalize_name(one.name): str(one.specifier)
        for line in lines
        if line and line[0] not in "#-"
        for one in [Requirement(line)]
    }


# ---- the lock ----


def test_the_lock_has_every_pin_and_a_hash_of_every_file() -> None:
    lock, wanted = supply_chain.locked(supply_chain.LOCK.read_text()), pins()
    assert len(lock) > 150 and len(wanted) > 30
    for name, version in wanted.items():
        entries = [entry for entry, _ in lock[name]]
        assert [str(entry.specifier) for entry in entries] == [version] and entries[
            0
        ].marker is None, f"run .ci/supply-chain lock: {name}"
    for name, entries in lock.items():
        for entry, hashes in entries:
            assert str(entry.specifier).startswith("=="), name
            assert hashes and all(
                one.startswith("sha256:") and len(one.split()[0]) == 71 for one in hashes
            ), name


def test_the_lock_speaks_of_torch() -> None:
    text = supply_chain.LOCK.read_text()
    version = pins()["torch"].removeprefix("==")
    assert f"torch is {version} in PyPI's builds" in text and f"{version}+cpu" in text, (
        "its head names another version"
    )
    lock = supply_chain.locked(text)
    gpu = [
        entry
        for name, entries in lock.items()
        if name.startswith("nvidia-")
        for entry, _ in entries
    ]
    assert len(gpu) > 5 and all(
        not entry.marker.evaluate({"sys_platform": "darwin", "platform_machine": "arm64"})
        for entry in gpu
    )


# ---- the audit ----


def test_an_audit_that_was_not_made_never_sounds_like_one() -> None:
    skipped = {
        "name": "b",
        "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)",
    }
    fine, bad = (
        {"name": "a", "version": "1", "vulns": []},
        {"name": "c", "version": "2", "vulns": [{"id": "CVE-1"}]},
    )
    assert (
        supply_chain.audited([fine])
        == "audit: 1 of 1 packages audited, none with a known vulnerability"
    )
    assert supply_chain.audited([fine, skipped]).endswith(
        "none with a known vulnerability; NOT AUDITED: b"
    )
    assert "1 VULNERABLE: c 2 (CVE-1)" in supply_chain.audited([fine, bad, skipped])
    for nothing in (None, [], [skipped] * 9):
        text = supply_chain.audited(nothing)
        assert "NOT AUDITED" in text and "none with" not in text and "clean" not in text
    assert "and 4 more" in supply_chain.audited([skipped | {"name": f"b{n}"} for n in range(9)])


def test_a_report_is_made_from_whatever_is_there(tmp_path, capsys) -> None:
    site = tmp_path / "site"
    (site / "jinja2-0.1.dist-info").mkdir(parents=True)
    (site / "jinja2-0.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: jinja2\nVersion: 0.1\n"
    )
    assert supply_chain.main(str(site), str(tmp_path)) == 1, "it is not in the lock"
    assert capsys.readouterr().out.splitlines() == [
        "audit: the advisory service did not answer in time: NOT AUDITED",
        "SBOM: could not be made in time",
        "lock: 1 packages installed, 1 not as in requirements/test.lock: jinja2 0.1",
    ]
    (tmp_path / "audit.json").write_text(
        '{"dependencies": [{"name": "jinja2", "version": "0.1", "vulns": []}]}'
    )
    (tmp_path / "sbom.json").write_text('{"specVersion": "1.6", "components": [{}, {}]}')
    assert supply_chain.main(str(site), str(tmp_path)) == 1
    assert (
        "1 of 1 packages audited" in (out := capsys.readouterr().out)
        and "SBOM: 2 components" in out
    )


def test_another_build_is_named() -> None:
    line = supply_chain.against_lock(
        {"torch": "2.13.0+cpu"}, {"torch": [(Requirement("torch==2.13.0"), ["sha256:0"])]}
    )
    assert (
        "0 not as in" in line
        and "builds whose files the lock has no hash of: torch 2.13.0+cpu" in line
    )


# ---- what fails ----


def environment(folder: Path, version: str, vulnerabilities: list | None) -> tuple[str, str]:
    """An environment with one package, and a folder with what pip-audit said of it."""
    info = folder / "site" / "jinja2.dist-info"
    info.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: Jinja2\nVersion: {version}\n"
    (info / "METADATA").write_text(text)
    if vulnerabilities is not None:
        package = {"name": "jinja2", "version": version, "vulns": vulnerabilities}
        (folder / "audit.json").write_text(json.dumps({"dependencies": [package]}))
    return str(folder / "site"), str(folder)


@pytest.mark.parametrize(
    ("version", "vulnerabilities", "code", "says"),
    [
        ("locked", [], 0, "none with a known vulnerability"),
        ("locked", None, 0, "NOT AUDITED"),
        ("locked", [{"id": "CVE-1"}], 1, "1 VULNERABLE"),
        ("0.1", [], 1, "1 not as in requirements/test.lock: jinja2 0.1"),
        ("0.1", None, 1, "NOT AUDITED"),
    ],
)
def test_the_audit_fails_on_what_is_known(
    tmp_path, capsys, version, vulnerabilities, code, says
) -> None:
    if version == "locked":
        version = pins()["jinja2"].removeprefix("==")
    assert supply_chain.main(*environment(tmp_path, version, vulnerabilities)) == code
    assert says in capsys.readouterr().out


def test_the_script_ends_with_the_reports_code(tmp_path) -> None:
    """The script itself, in a copy whose tools are stand-ins: with a vulnerability, without, and without any tools."""
    ci, tools = tmp_path / ".ci", tmp_path / "build" / "supply-chain" / "tools" / "bin"
    for path in (ci, tools, tmp_path / "requirements", tmp_path / "env" / "bin"):
        path.mkdir(parents=True)
    for name in (".ci/supply-chain", ".ci/supply_chain.py", "requirements/test.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    site, _ = environment(tmp_path, pins()["jinja2"].removeprefix("=="), None)

    def script(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    # What it asks for the folder of the packages gets ours; all else is this Python.
    script(
        tmp_path / "env/bin/python",
        f'[ "$1" = -c ] && echo "{site}" || exec "{sys.executable}" "$@"',
    )
    script(tools / "uv", "exit 0")
    script(tools / "cyclonedx-py", "exit 0")
    answer = {"dependencies": [{"name": "jinja2", "version": "1", "vulns": [{"id": "CVE-1"}]}]}
    output = tmp_path / "build/supply-chain/audit.json"
    results = []
    for text in (f"echo '{json.dumps(answer)}' > {output}", "exit 1"):
        script(tools / "pip-audit", text)
        done = subprocess.run(
            [ci / "supply-chain", tmp_path / "env"], capture_output=True, text=True, check=False
        )
        results.append((done.returncode, "NOT AUDITED" in done.stdout, "CVE-1" in done.stdout))
    assert results == [(1, False, True), (0, True, False)], done.stdout + done.stderr


def pip_report(**changes: Any) -> dict[str, Any]:
    """What `pip install --report` writes of one package of the lock, with changes."""
    lock = supply_chain.locked(supply_chain.LOCK.read_text())
    values = {
        "name": "Jinja2",
        "version": pins()["jinja2"].removeprefix("=="),
        "sha256": lock["jinja2"][0][1][0].removeprefix("sha256:"),
    } | changes
    return {
        "install": [
            {
                "metadata": {"name": values["name"], "version": values["version"]},
                "download_info": {"archive_info": {"hashes": {"sha256": values["sha256"]}}},
            }
        ]
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "all are in it"),
        ({"sha256": "0" * 64}, "has no file with sha256 000"),
        ({"sha256": None}, "has no file with sha256 None"),
        ({"version": "0.1"}, "the lock has =="),
        ({"name": "typo-of-jinja2"}, "the lock has nothing"),
        ({"version": "3.1.6+evil", "sha256": "0" * 64}, "has no file"),
        ({"name": "torch", "version": "0.1+cpu"}, "the lock has =="),
    ],
)
def test_every_installed_file_is_compared_with_the_lock(tmp_path, capsys, changes, says) -> None:
    report = tmp_path / "installed.json"
    report.write_text(json.dumps(pip_report(**changes)))
    assert supply_chain.verify(str(report)) == int(bool(changes))
    assert says in capsys.readouterr().out


def test_a_report_of_nothing_verifies_nothing(tmp_path) -> None:
    report = tmp_path / "installed.json"
    report.write_text('{"install": []}')
    assert supply_chain.verify(str(report)) == 1


def test_a_build_of_torch_alone_may_be_another_file(tmp_path) -> None:
    version = pins()["torch"].removeprefix("==")
    report = pip_report(name="torch", version=f"{version}+cpu", sha256="0" * 64)
    lock = supply_chain.locked(supply_chain.LOCK.read_text())
    assert supply_chain.wrong_files(report, lock) == []
    report = pip_report(name="torch", version=version, sha256="0" * 64)
    assert len(supply_chain.wrong_files(report, lock)) == 1, "PyPI's own build is compared"


def test_ci_installs_with_the_lock_and_can_fail() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    install = script.index("PIP_CONSTRAINT=")
    compared, tested = script.index("supply_chain.py verify"), script.index('bash -c "$tests"')
    assert install < compared < tested < script.index('.ci/supply-chain" "$fresh/.venv"')
    assert "set -euo pipefail" in script and "|| true" not in script[install:]
    # The versions that the sed in it writes are those of the lock.
    line = next(line for line in script.splitlines() if line.startswith("sed "))
    command = line.partition(" > ")[0]
    written = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    lock = supply_chain.locked(supply_chain.LOCK.read_text())
    assert {
        (canonicalize_name(one.name), str(one.specifier), str(one.marker))
        for one in map(Requirement, written)
    } == {
        (name, str(entry.specifier), str(entry.marker))
        for name, entries in lock.items()
        for entry, _ in entries
    }


# ---- no pickle, no code ----


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_module_trusts_remote_code_or_reads_a_pickle() -> None:
    assert len(MODULES) > 60
    forbidden = {"pickle", "dill", "cloudpickle", "shelve", "joblib", "marshal"}
    trusting, loads = 0, 0
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        imported |= {
            (node.module or "").partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        assert not imported & forbidden, f"{path}: {imported & forbidden}"
        for name, call in calls(tree):
            given = {word.arg: word.value for word in call.keywords}
            where = f"{path}:{call.lineno}"
            if "trust_remote_code" in given:
                assert ast.unparse(given["trust_remote_code"]) == "False", where
            if name.endswith("from_pretrained"):
                trusting += 1
                assert "trust_remote_code" in given or path.parent.name == "benchmarks", where
                assert ast.unparse(given.get("use_safetensors", ast.Constant(True))) == "True", (
                    where
                )
            if name in ("torch.load", "numpy.load", "np.load"):
                loads += 1
                assert "weights_only" in given and ast.unparse(given["weights_only"]) == "True", (
                    where
                )
            assert name not in ("eval", "exec") or path.name in ALLOWED_TO_RUN, where
    assert trusting >= 3, "the loading calls were not seen"


def test_the_trainer_of_this_version_reads_its_own_files_as_weights_only() -> None:
    source = Path(importlib.util.find_spec("transformers").origin).with_name("trainer.py")
    loading = [
        call
        for name, call in calls(ast.parse(source.read_text(encoding="utf-8")))
        if name == "torch.load"
    ]
    assert len(loading) >= 5, "optimizer, schedule and random states are read elsewhere now"
    for call in loading:
        assert {word.arg: ast.unparse(word.value) for word in call.keywords}.get(
            "weights_only"
        ) == "True", call.lineno


ALLOWED_TO_RUN = {"python_files.py", "python_worker.py"}  # a .py file that the user named as tools


class Bomb:
    """What a pickle does when it is read: leaves a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_folder_with_only_a_pickle_is_refused_unread(tmp_path) -> None:
    folder, fuse = tiny.model_folder(tmp_path / "model"), tmp_path / "it was read"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(fuse)))
    base_model.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="model.safetensors is missing"):
        base_model.find_base(str(folder))
    with pytest.raises(Exception, match="safetensors"):
        base_model.load(folder)
    assert not fuse.exists()
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert fuse.exists(), "the bomb is none"


def test_no_pickle_is_ever_published(tmp_path) -> None:
    run = finished_run.make(tmp_path / "run")
    (run / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "no")))
    names = [file.name for file in publication.gather(run).files]
    assert names and not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert json.loads((run / "summary.json").read_text())["files"], "the run was a run"
