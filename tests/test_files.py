"""files: what is written is whole or absent, whatever fails in between, and each failure has its message."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from crash_points import crash_points
from hypothesis import given, settings, strategies as st

from fgkit import atomic_files, files, locations, ownership
from fgkit.errors import FgkitError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Stop(Exception):
    """Any error inside the block."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- replacing ----


def test_a_file_appears_only_when_it_is_whole(tmp_path) -> None:
    target = tmp_path / "new" / "deep" / "a.txt"
    with atomic_files.replacing(target) as part:
        part.write_text("half", encoding="utf-8")
        assert not target.exists() and part.parent == target.parent
        part.write_text("whole", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "whole" and names(target.parent) == ["a.txt"]


@pytest.mark.parametrize(
    "error",
    [Stop("x"), KeyboardInterrupt(), FgkitError("mine"), OSError(errno.ENOSPC, "disk full")],
)
def test_a_failure_keeps_what_was_there(tmp_path, error) -> None:
    target = files.write_text(tmp_path / "a.txt", "old")
    raised = FgkitError if isinstance(error, OSError) else type(error)
    with pytest.raises(raised) as info, atomic_files.replacing(target) as part:
        part.write_text("half", encoding="utf-8")
        raise error
    assert target.read_text(encoding="utf-8") == "old" and names(tmp_path) == ["a.txt"]
    if isinstance(error, OSError):
        assert str(info.value) == (
            f"{target}: cannot be written: disk full. "
            "Choose a folder you may write to, with space left."
        )


def test_a_failure_leaves_no_new_file(tmp_path) -> None:
    with pytest.raises(Stop), atomic_files.replacing(tmp_path / "a") as part:
        part.mkdir()
        (part / "inside").touch()
        raise Stop
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end(tmp_path, monkeypatch, call) -> None:
    target = files.write_text(tmp_path / "a.txt", "old")

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FgkitError, match=r"a\.txt: cannot be written: Input/output error"):
        files.write_text(target, "new")
    assert target.read_text(encoding="utf-8") == "old" and names(tmp_path) == ["a.txt"]


def test_every_file_is_synced_before_the_name_is_given(tmp_path, monkeypatch) -> None:
    order: list[str] = []
    replace, sync = os.replace, atomic_files.sync
    monkeypatch.setattr(atomic_files, "sync", lambda path: order.append(path.name) or sync(path))

    def named(source: Path, target: Path) -> None:
        if Path(target).parent == tmp_path:
            order.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "replace", named)
    with atomic_files.replacing(tmp_path / "model") as part:
        (part / "deep").mkdir(parents=True)
        for name in ("a", "deep/b"):
            (part / name).write_text(name, encoding="utf-8")
    assert len(order) == 6 and order[4] == "replace"
    assert set(order[:4]) == {"a", "b", "deep", part.name}
    assert order[5] == tmp_path.name  # the new name, too


# ---- killed

posix = pytest.mark.skipif(os.name != "posix", reason="processes are forked")


@posix
def test_a_file_whose_writer_is_killed_anywhere_is_old_or_new(tmp_path) -> None:
    target, seen = tmp_path / "a b \u00e9.json", []
    for number in crash_points(
        lambda: files.write_json(target, "new"), lambda: files.write_json(target, "old")
    ):
        seen.append(files.read_json(target))
        files.write_json(
            target, "again"
        )  # nothing but the next writing is needed to put things in order
        assert files.read_json(target) == "again" and names(tmp_path) == [target.name]
    assert seen == sorted(seen, reverse=True) and seen[:2] == ["old"] * 2  # "old", then "new"
    assert files.read_json(target) == "new" and names(tmp_path) == [target.name]


def fresh_folder(target: Path) -> None:
    atomic_files.tidy(target.parent)
    with atomic_files.replacing(target) as part:
        part.mkdir()
        (part / "old").touch()


@posix
@pytest.mark.parametrize(
    "put_in_order",
    [atomic_files.tidy, lambda folder: files.write_text(folder / "model" / "x", "x")],
)
def test_a_folder_whose_writer_is_killed_anywhere_is_old_or_new(tmp_path, put_in_order) -> None:
    target, seen = tmp_path / "model", []

    def work() -> None:
        with atomic_files.replacing(target) as part:
            (part / "deep").mkdir(parents=True)
            for name in ("new", "deep/new"):
                (part / name).write_text(name)

    for number in crash_points(work, lambda: fresh_folder(target)):
        if put_in_order is not atomic_files.tidy:
            with atomic_files.replacing(target) as part:
                part.mkdir()
            assert names(tmp_path) == ["model"] and names(target) == []
            continue
        atomic_files.tidy(tmp_path)
        seen.append(names(target))
        assert names(tmp_path) == ["model"]
    assert all(found in (["old"], ["deep", "new"]) for found in seen)
    assert put_in_order is not atomic_files.tidy or (["old"] in seen and ["deep", "new"] in seen)


def test_tidy_leaves_what_is_the_users(tmp_path) -> None:
    ownership.mark(tmp_path)
    mine = [
        ".a.12.part",
        ".movie.mkv.12.part",
        ".notes.2024.old",
        ".work.1-00000000.part",
        ".x.99999-0123abcd.old",
        "x.part",
    ]
    for name in mine:
        (tmp_path / name).write_text(name)
    (tmp_path / ".tflite-mine").mkdir()
    atomic_files.tidy(tmp_path)
    files.write_text(tmp_path / "x", "fgkit's")
    assert names(tmp_path) == sorted([*mine, ".tflite-mine", ownership.RECORD, "x"])
    assert all((tmp_path / name).read_text() == name for name in mine)


@posix
def test_tidy_removes_what_killed_processes_left(tmp_path) -> None:
    ownership.mark(tmp_path)

    def work() -> None:
        with atomic_files.working_folder(tmp_path) as folder:
            (folder / "big").write_text("x")
            with atomic_files.replacing(tmp_path / "deep" / "a") as part:
                part.with_name(part.name + ".task").write_text("a bundler's own name")
                part.write_text("new")

    left = 0
    for _ in crash_points(work):
        left = max(left, len(names(tmp_path)))
        atomic_files.tidy(tmp_path)
        assert set(names(tmp_path)) <= {ownership.RECORD, "deep"}
        if (tmp_path / "deep").exists():
            assert set(names(tmp_path / "deep")) <= {"a"}
    assert left >= 2
    assert names(tmp_path / "deep") == ["a"]


def test_what_a_living_process_writes_is_left_alone(tmp_path) -> None:
    mine = f".a.{os.getppid()}-00000000.part"
    with ownership.Owner(tmp_path / "a", locations.cache_dir()).temporary(mine):
        (tmp_path / mine).touch()
        files.write_text(tmp_path / "a", "x")
        assert names(tmp_path) == [mine, "a"]


def test_a_copy_is_whole_and_keeps_its_times(tmp_path) -> None:
    source = tmp_path / "a"
    source.write_text("x")
    os.utime(source, (1, 1))
    assert files.copy(source, tmp_path / "b").stat().st_mtime == 1
    with pytest.raises(FgkitError, match="b: cannot be written"):
        files.copy(tmp_path / "absent", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x" and names(tmp_path) == ["a", "b"]


def test_a_folder_replaces_the_whole_old_folder(tmp_path) -> None:
    target = tmp_path / "model"
    fresh_folder(target)
    with atomic_files.replacing(target) as part:
        part.mkdir()
        (part / "new").touch()
        assert names(target) == ["old"]
    assert names(target) == ["new"] and names(tmp_path) == ["model"]


def test_a_block_that_writes_nothing(tmp_path) -> None:
    files.write_text(tmp_path / "a", "old")
    with (
        pytest.raises(FgkitError, match="cannot be written"),
        atomic_files.replacing(tmp_path / "a"),
    ):
        pass
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "a.json"
    with pytest.raises(FgkitError) as info:
        files.write_json(place, {})
    assert str(info.value).startswith(f"{place}: cannot be written: ")
    assert "Choose a folder you may write to" in str(info.value)


@pytest.mark.skipif(
    not os.path.ismount("/sys"), reason="needs a file system that refuses writing to root, too"
)
def test_a_file_system_that_cannot_be_written() -> None:
    with pytest.raises(FgkitError, match="/sys/kernel/a.json: cannot be written: "):
        files.write_json("/sys/kernel/a.json", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(FgkitError, match="Permission denied"):
            files.write_text(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o755)


# ---- text and JSON ----


@settings(max_examples=25)  # every one waits for the disk
@given(value=JSON)
def test_json_comes_back(tmp_path_factory, value) -> None:
    path = files.write_json(tmp_path_factory.getbasetemp() / "value.json", value)
    assert files.read_json(path) == value


def test_text_is_utf8_with_unix_lines(tmp_path) -> None:
    assert files.write_text(str(tmp_path / "a"), "\u00e9\n\r\n").read_bytes() == b"\xc3\xa9\n\r\n"
    written = files.write_json(tmp_path / "b", {"\u00e9": [1]})
    assert written.read_bytes() == '{\n  "\u00e9": [\n    1\n  ]\n}\n'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")], {"a": object()}])
def test_what_json_cannot_say_is_refused_and_keeps_the_old(tmp_path, value) -> None:
    path = files.write_json(tmp_path / "a.json", 1)
    with pytest.raises((ValueError, TypeError)):
        files.write_json(path, value)
    assert files.read_json(path) == 1 and names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "1: is not UTF-8 (byte 0 is 0xff), expected a JSON file. Save it as UTF-8."),
        (b"[" * 100_000, "is not JSON"),
        (b"{} {}", "is not JSON"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, content, says) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FgkitError) as info:
        files.read_json(path)
    assert str(info.value).startswith((f"{path}: {says}", f"{path}:{says}"))
    with pytest.raises(FgkitError, match="cannot be read: Is a directory"):
        files.read_json(tmp_path)


@posix
def test_an_input_that_is_no_regular_file_is_refused_and_never_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name, says in (
        (tmp_path / "pipe", "is a pipe, expected a tools file"),
        (tmp_path / "link", "is a pipe"),
        (tmp_path / "folder", "is a folder"),
        ("/dev/zero", "is a device"),
        (tmp_path / "absent", "cannot be read: No such file"),
        ("nul\0", "cannot be read"),
        ("", "is a folder"),
    ):
        with pytest.raises(FgkitError, match=says):
            files.require_regular(name, "a tools file")
    with pytest.raises(FgkitError, match="pipe: is a pipe"):
        files.read_json(tmp_path / "pipe")


def test_text_is_read_whole_or_refused(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf\xc3\xa9")
    assert files.read_text(path) == "\u00e9"
    with pytest.raises(FgkitError, match="has more than 4 bytes"):
        files.read_text(path, limit=4)
    path.write_bytes(b"ab\xff")
    with pytest.raises(FgkitError, match=r"is not UTF-8 \(byte 2 is 0xff\), expected a YAML file"):
        files.read_text(path, "a YAML file")


def test_sha256(tmp_path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


# ---- space and places ----


def test_space(tmp_path, monkeypatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(
        "shutil.disk_usage",
        lambda folder: asked.append(folder) or SimpleNamespace(free=2_000_000_000),
    )
    files.require_space(tmp_path / "not" / "yet", 2_000_000_000, "training")
    assert asked == [tmp_path]
    with pytest.raises(FgkitError) as info:
        files.require_space(tmp_path, 3_500_000_000, "training")
    assert str(info.value) == (
        f"{tmp_path}: 3.5 GB are needed for training, 2.0 GB are free. "
        "Free some space or choose another output folder."
    )


def test_space_of_a_relative_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.require_space("run", 1, "a test")
    with pytest.raises(FgkitError, match="GB are needed for a test"):
        files.require_space("run", 10**18, "a test")


def test_cache_dir(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert (
        locations.cache_dir("a", "b") == tmp_path / "mine" / "a" / "b"
        and (tmp_path / "mine" / "a" / "b").is_dir()
    )
    monkeypatch.setenv("FGKIT_CACHE", "~/tilde")
    assert locations.cache_dir() == tmp_path / "home" / "tilde"
    monkeypatch.setenv("FGKIT_CACHE", "")
    assert locations.cache_dir("a") == tmp_path / "xdg" / "fgkit" / "a"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert locations.cache_dir() == tmp_path / "home" / ".cache" / "fgkit"


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        FgkitError, match=r"file/a: the cache folder cannot be made: .*Set FGKIT_CACHE"
    ):
        locations.cache_dir("a")


def test_shipped_files_exist() -> None:
    found = [
        locations.shipped("data", "tools.py"),
        locations.shipped("notebooks", "finetune.ipynb"),
        locations.shipped("errors.py"),
    ]
    assert [path.name for path in found if path.is_file()] == [
        "tools.py",
        "finetune.ipynb",
        "errors.py",
    ]
