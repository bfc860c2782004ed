"""checksums: what sha256sum reads and writes, and a flipped bit anywhere in an artifact that names itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import tiny

from fgkit import checksums, files
from fgkit.errors import BundleError, FgkitError, ModelError
from fgkit.models import base as base_model

NAMES = ("model.safetensors", "tokenizer.model", "\u00fc b.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three files, with their sums, and one that came later."""
    found = tmp_path / "a model"
    found.mkdir()
    for name in NAMES:
        (found / name).write_bytes(name.encode() * 99)
    checksums.write(found)
    (found / "later").touch()
    return found


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs coreutils")
def test_sha256sum_agrees(folder: Path) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", checksums.NAME],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    ours = checksums.recorded(folder)
    theirs = subprocess.run(
        ["sha256sum", *NAMES], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    (folder / checksums.NAME).write_text(theirs, encoding="utf-8")
    assert checksums.recorded(folder) == ours and set(ours) == {folder / name for name in NAMES}


def test_a_good_folder_and_one_without_sums(folder: Path) -> None:
    checksums.require(folder)
    (folder / checksums.NAME).unlink()
    (folder / NAMES[0]).write_text("anything")
    checksums.require(folder)
    assert checksums.recorded(folder) == {}


@pytest.mark.parametrize("name", NAMES)
def test_one_flipped_bit_names_its_file_and_no_other(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 8
    (folder / name).write_bytes(data)
    (found,) = checksums.problems(folder)
    assert found.startswith(f"{folder / name}: has other bytes than were written")
    with pytest.raises(
        ModelError, match="copy or make it again. If you changed it on purpose, delete .*SHA256SUMS"
    ):
        checksums.require(folder)


def test_every_problem_is_named_at_once(folder: Path) -> None:
    (folder / NAMES[0]).unlink()
    (folder / NAMES[1]).write_text("x")
    with pytest.raises(ModelError) as caught:
        checksums.require(folder)
    assert "model.safetensors: cannot be read" in str(
        caught.value
    ) and "tokenizer.model: has other" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x  a",
        "0" * 63 + "  a",
        "0" * 64 + "  ../../etc/passwd",
        "0" * 64 + "  ",
        "0" * 64 + "  a\\b",
        "\ufeff" + "0" * 64 + "  a",
    ],
)
def test_a_record_that_is_no_record_is_one_message(folder: Path, line: str) -> None:
    (folder / checksums.NAME).write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"SHA256SUMS:1: found .*, expected a SHA-256"):
        checksums.recorded(folder)
    assert len(checksums.problems(folder)) == 1
    (folder / checksums.NAME).write_bytes(b"\xff\xff\n")
    with pytest.raises(ModelError, match="SHA256SUMS: cannot be read"):
        checksums.recorded(folder)


def test_a_file_is_compared_with_the_json_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_text("network")
    checksums.require(path)  # nobody wrote anything down
    files.write_json(f"{path}.json", {"sha256": files.sha256(path)})
    checksums.require(path)
    path.write_text("netwerk")
    with pytest.raises(
        BundleError,
        match=r"a\.tflite: has other bytes .*\n.*put the new hash into .*a\.tflite\.json",
    ):
        checksums.require(path)
    for odd in ("[]", "{}", '{"sha256": 1}'):
        Path(f"{path}.json").write_text(odd)
        checksums.require(path)
    Path(f"{path}.json").write_text("{")
    with pytest.raises(FgkitError, match="is not JSON"):
        checksums.require(path)


def test_a_base_with_a_flipped_bit_is_refused_before_anything_is_trained_from_it(
    tmp_path: Path,
) -> None:
    tiny.untrained(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    checksums.write(tmp_path)
    assert base_model.find_base(str(tmp_path)).folder == tmp_path
    (tmp_path / "model.safetensors").write_bytes(whole[:-1] + b"\1")
    with pytest.raises(ModelError, match="model.safetensors: has other bytes than were written"):
        base_model.find_base(str(tmp_path))
