"""What comes from others: pins with hashes, honest audits, no pickle and no code from a model folder."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import pickle
from pathlib import Path

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
    supply_chain.main(str(site), str(tmp_path))
    assert capsys.readouterr().out.splitlines() == [
        "audit: the advisory service did not answer in time: NOT AUDITED",
        "SBOM: could not be made in time",
        "lock: 1 packages installed, 1 not as in requirements/test.lock: jinja2 0.1",
    ]
    (tmp_path / "audit.json").write_text(
        '{"dependencies": [{"name": "jinja2", "version": "0.1", "vulns": []}]}'
    )
    (tmp_path / "sbom.json").write_text('{"specVersion": "1.6", "components": [{}, {}]}')
    supply_chain.main(str(site), str(tmp_path))
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


ALLOWED_TO_RUN = {"python_files.py"}  # a .py file that the user named as tools


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
