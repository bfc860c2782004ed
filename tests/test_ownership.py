"""ownership: only what fgkit wrote, with the bytes it wrote, is replaced or removed; everything else is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from fgkit import atomic_files, files, locations, outputs, ownership
from fgkit.errors import FgkitError


@pytest.fixture(params=["in a run folder", "anywhere"])
def folder(request, tmp_path: Path) -> Path:
    """A folder with fgkit's record in it, and one whose record is in the cache."""
    if request.param == "in a run folder":
        ownership.mark(tmp_path)
    return tmp_path


def test_ours_is_replaced_and_removed(folder) -> None:
    path = files.write_text(folder / "a.json", "1")
    files.write_text(path, "2")
    assert path.read_text() == "2"
    assert atomic_files.remove(path) and not path.exists()
    assert not atomic_files.remove(path)
    path.write_text("2")  # the record was forgotten with the file
    assert not atomic_files.remove(path) and path.read_text() == "2"


def test_somebody_elses_file_is_refused_and_intact(folder) -> None:
    mine = folder / "report.json"
    mine.write_text("mine")
    with pytest.raises(FgkitError, match=r"report\.json: was not written by fgkit\nNothing was"):
        files.write_json(mine, {})
    assert mine.read_text() == "mine" and not atomic_files.remove(mine)


def test_a_file_that_was_edited_is_refused(folder) -> None:
    path = files.write_text(folder / "a", "ours")
    path.write_text("edited")
    with pytest.raises(FgkitError, match="a: was changed since fgkit wrote it"):
        files.write_text(path, "new")
    assert not atomic_files.remove(path) and path.read_text() == "edited"


def make_model(folder: Path) -> Path:
    with atomic_files.replacing(folder / "model") as part:
        (part / "deep").mkdir(parents=True)
        files.write_text(part / "config.json", "1")
        files.write_text(part / "config.json", "2")  # inside a temporary folder nothing is foreign
        (part / "deep" / "weights").write_text("w")
    return folder / "model"


@pytest.mark.parametrize("name", ["thesis.txt", "deep/thesis.txt", "new/thesis.txt"])
def test_a_folder_with_a_file_of_somebody_else_is_refused(folder, name) -> None:
    model = make_model(folder)
    make_model(folder)  # unchanged, it is replaced
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("mine")
    with pytest.raises(FgkitError, match="thesis.txt: was not written by fgkit"):
        make_model(folder)
    assert not atomic_files.remove(model) and (model / name).read_text() == "mine"
    (model / name).unlink()
    assert atomic_files.remove(model) and not model.exists()


@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_links_are_never_followed_or_replaced(folder, tmp_path_factory, target) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_text("mine")
    (outside / "folder").mkdir()
    link = folder / "a"
    link.symlink_to(outside / target)
    with pytest.raises(FgkitError, match="a: is a symbolic link"):
        files.write_text(link, "new")
    assert not atomic_files.remove(link) and link.is_symlink()
    assert (outside / "file").read_text() == "mine"


def test_a_crafted_record_reaches_nothing_outside(tmp_path) -> None:
    outside, inside = tmp_path / "home", tmp_path / "run"
    outside.mkdir()
    (outside / ".bashrc").write_text("mine")
    ownership.mark(inside)
    (inside / "link").symlink_to(outside)
    digest = files.sha256(outside / ".bashrc")
    record = json.loads((inside / ownership.RECORD).read_text())
    for name in (
        "link/.bashrc",
        "../home/.bashrc",
        str(outside / ".bashrc"),
        "a/../../home/.bashrc",
    ):
        crafted = record | {"files": {name: [digest]}, "temporary": [name]}
        (inside / ownership.RECORD).write_text(json.dumps(crafted))
        try:
            atomic_files.tidy(inside)
            atomic_files.remove(inside / "link")
            atomic_files.remove(inside / "link" / ".bashrc")
        except FgkitError as error:
            assert "is not a record of fgkit's files" in str(error)
        assert (outside / ".bashrc").read_text() == "mine", name


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["made_by", "files", "temporary", "x"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    )
)
def test_a_record_of_any_shape_is_read_or_refused(tmp_path_factory, value) -> None:
    folder = tmp_path_factory.mktemp("shape")
    (folder / ownership.RECORD).write_text(json.dumps(value))
    with pytest.raises(FgkitError, match=r"\.fgkit\.json: is not a record of fgkit's files"):
        files.write_text(folder / "a", "x")
    assert not (folder / "a").exists()


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="needs device nodes")
def test_devices_and_pipes_are_written_through(tmp_path, capfd) -> None:
    files.write_json("/dev/null", {"a": 1})
    assert Path("/dev/null").is_char_device()
    files.write_text("/dev/stdout", "through\n")
    done = subprocess.run(
        [sys.executable, "-c", "from fgkit import files; files.write_text('/dev/stdout', 'it')"],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == b"it"


def test_an_output_that_is_an_input_is_refused(tmp_path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}")
    (tmp_path / "link").symlink_to(rows)
    os.link(rows, tmp_path / "hard")
    for output in (
        rows,
        tmp_path / "link",
        tmp_path / "hard",
        tmp_path / "x" / ".." / "rows.jsonl",
    ):
        with pytest.raises(
            FgkitError, match=r"--json .*: is the input --data. Choose another name"
        ):
            outputs.require_outputs({"--json": str(output)}, {"--data": str(rows)})
    outputs.require_outputs({"--json": str(tmp_path / "new"), "--plot": ""}, {"--data": str(rows)})
    assert rows.read_text() == "{}"


def test_a_run_folder_that_moves_keeps_its_record(tmp_path) -> None:
    first = tmp_path / "first"
    ownership.mark(first)
    make_model(first)
    first.rename(tmp_path / "second")
    make_model(tmp_path / "second")


# ---- records of several folders


def test_what_was_recorded_before_the_folder_was_marked_stays_ours(tmp_path) -> None:
    path = files.write_text(tmp_path / "run" / "a.json", "1")
    deep = files.write_text(tmp_path / "run" / "model" / "b.json", "1")
    ownership.mark(tmp_path / "run")
    for ours in (path, deep):
        files.write_text(ours, "2")
        assert ours.read_text() == "2"
    path.write_text("1")  # the hash from before the mark was forgotten
    with pytest.raises(FgkitError, match="a.json: was changed since"):
        files.write_text(path, "3")
    deep.unlink()
    assert atomic_files.remove(tmp_path / "run" / "model")


def test_a_file_of_a_folder_that_was_written_as_a_whole_is_ours(folder) -> None:
    model = make_model(folder)
    files.write_text(model / "config.json", "3")
    files.write_text(model / "config.json", "4")
    make_model(folder)
    assert (model / "config.json").read_text() == "2"
    assert atomic_files.remove(model / "config.json") and atomic_files.remove(model)


def test_putting_a_folder_in_order_leaves_the_folders_around_it_alone(tmp_path) -> None:
    with atomic_files.replacing(tmp_path / "bundle") as part:
        part.write_text("half")
        (tmp_path / "run").mkdir()
        atomic_files.tidy(tmp_path / "run")
        ownership.mark(tmp_path / "run")
        atomic_files.tidy(tmp_path / "run")
        assert part.read_text() == "half"
    assert (tmp_path / "bundle").read_text() == "half"


def test_a_writer_that_is_killed_again_and_again_leaves_a_file_that_is_ours(folder) -> None:
    path = files.write_text(folder / "a", "first")
    for number in range(3):  # killed after the record was written and before the rename
        part = folder / "part"
        part.write_text(str(number))
        ownership.Owner(path, locations.cache_dir()).record(part)
        part.unlink()
    files.write_text(path, "last")
    assert path.read_text() == "last"
    path.write_text("first")
    with pytest.raises(FgkitError, match="a: was changed since"):
        files.write_text(path, "new")
