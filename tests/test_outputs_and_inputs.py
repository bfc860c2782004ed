"""Outputs against inputs, devices, links, signals and the cache: what is no plain file of fgkit's is never replaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fgkit import atomic_files, files, ownership
from fgkit.cli import chat, main as command_line
from fgkit.errors import FgkitError
from fgkit.workflow import locks, run as pipeline

TESTS = Path(__file__).resolve().parent
TOOLS = 'def go():\n    """Goes."""\n'
posix = pytest.mark.skipif(os.name != "posix", reason="needs devices and signals")
root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs to make devices")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FGKIT_CACHE", str(cache))
    return cache


@pytest.fixture
def tools(tmp_path) -> Path:
    path = tmp_path / "t.py"
    path.write_text(TOOLS)
    return path


def run(*words: object) -> int:
    return command_line.main([str(word) for word in words])


# ---- devices


@posix
@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/fd/1"])
def test_devices_stay_devices(tools, path) -> None:
    before = os.stat(path).st_mode, os.stat(path).st_rdev
    assert run("tools", tools, "--json", path) == 0
    assert (os.stat(path).st_mode, os.stat(path).st_rdev) == before


@posix
@root
@pytest.mark.parametrize("kind", ["character", "block"])
def test_a_device_of_any_name(tmp_path, tools, capsys, kind) -> None:
    device = tmp_path / "device"
    try:
        if kind == "character":  # another /dev/null
            os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        else:  # of no driver, so that not even a mistake could harm
            os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(254, 250))
    except OSError as error:
        pytest.skip(f"no device can be made here: {error}")
    before = device.stat()
    code = run("tools", tools, "--json", device)
    assert (device.stat().st_mode, device.stat().st_rdev) == (before.st_mode, before.st_rdev)
    assert code == (0 if kind == "character" else 2)
    if kind == "block":
        assert "is no regular file" in capsys.readouterr().err


@posix
def test_a_name_in_dev_is_no_stream() -> None:
    # Any path directly in /dev was once written through, block devices and new names included.
    assert not atomic_files.is_stream(Path("/dev/a-disk"))
    assert atomic_files.is_stream(Path("/dev/null")) and atomic_files.is_stream(Path("/dev/stdout"))


@posix
def test_a_pipe_is_written_through(tmp_path, tools) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE)
    assert run("tools", tools, "--json", tmp_path / "pipe") == 0
    assert "go" in json.dumps(json.loads(reader.communicate(timeout=20)[0]))
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


# ---- names and links


def test_an_output_is_replaced_only_while_it_is_ours(tmp_path, tools) -> None:
    out = tmp_path / "out.json"
    assert run("tools", tools, "--json", out) == run("tools", tools, "--json", out) == 0
    out.write_text("mine")
    assert run("tools", tools, "--json", out) == 2 and out.read_text() == "mine"


@pytest.mark.parametrize("name", ["summary.json", "model/fgkit.json", "x.task.json"])
def test_a_runs_own_file_is_no_output(tmp_path, tools, capsys, name) -> None:
    ownership.mark(tmp_path / "run")
    files.write_text(tmp_path / "run" / name, "a result")
    assert run("tools", tools, "--json", tmp_path / "run" / name) == 2
    assert "belongs to the run in" in capsys.readouterr().err
    assert (tmp_path / "run" / name).read_text() == "a result"
    for _ in range(2):  # another name there is one that the user gave
        assert run("tools", tools, "--json", tmp_path / "run" / "mine.json") == 0


def test_links_of_every_kind(tmp_path, tools) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    assert run("tools", tools, "--json", tmp_path / "linked" / "out.json") == 0
    assert (tmp_path / "real" / "out.json").is_file() and (tmp_path / "linked").is_symlink()
    for target in ("real/out.json", "t.py", "nothing", "real", "loop"):
        link = tmp_path / "loop"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert run("tools", tools, "--json", link) == 2, target
        assert link.is_symlink() and os.readlink(link) == target
    assert tools.read_text() == TOOLS


@pytest.mark.parametrize("name", [".lock", ".step.lock", ".fgkit.json", ".fgkit.json.part"])
def test_a_link_at_a_bookkeeping_name_is_refused(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(pipeline, "_execute", lambda *_: pytest.fail("the work began"))
    (tmp_path / ".bashrc").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / ".bashrc")
    for marked in (False, True):
        if marked and name != ownership.RECORD:
            (tmp_path / "run" / name).unlink()
            ownership.mark(tmp_path / "run")
            (tmp_path / "run" / name).symlink_to(tmp_path / ".bashrc")
        with pytest.raises(FgkitError, match=name.replace(".", r"\.")):
            pipeline.run({"output": str(tmp_path / "run")})
        assert (tmp_path / ".bashrc").read_text() == "mine"
        assert (tmp_path / "run" / name).is_symlink()


def test_an_output_folder_that_is_a_link_is_fine(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        pipeline, "_execute", lambda name, folder, _: files.write_text(folder / name, "x")
    )
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to("disk")
    for _ in range(2):
        pipeline.run({"output": str(tmp_path / "run")})
    assert (tmp_path / "run").is_symlink() and (tmp_path / "disk" / "summary.json").is_file()


@pytest.mark.parametrize(
    ("source", "out"),
    [("~no-such-user-here/t.py", "out.json"), ("t.py", "~no-such-user-here/t.json")],
)
def test_a_home_that_nobody_has(tmp_path, tools, monkeypatch, capsys, source, out) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("tools", source, "--json", out) == (2 if "~" in source else 0)
    assert "should not happen" not in capsys.readouterr().err


@posix
def test_names_that_are_no_utf_8(tmp_path) -> None:
    ownership.mark(tmp_path)
    path = tmp_path / os.fsdecode(b"caf\xe9.json")
    files.write_text(path, "1")
    files.write_text(path, "2")
    assert path.read_text() == "2" and atomic_files.remove(path)


# ---- the cache


@posix
def test_two_processes_share_a_cache(tmp_path, own_cache) -> None:
    code = (
        "import sys; from fgkit import files\n"
        "for n in range(25): files.write_text(f'{sys.argv[1]}/{sys.argv[2]}{n}', sys.argv[2])"
    )
    commands = [[sys.executable, "-c", code, str(tmp_path), name] for name in ("a", "b")]
    writers = [subprocess.Popen(command, cwd=TESTS.parent) for command in commands]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    for name in ("a", "b"):
        for number in range(25):
            assert atomic_files.remove(tmp_path / f"{name}{number}"), "it was not recorded"
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_cache(tmp_path, own_cache, tools, capsys) -> None:
    (own_cache / "written").write_text("")  # no folder can be made there, not even by root
    assert run("tools", tools, "--json", tmp_path / "out.json") == 2
    assert "Set FGKIT_CACHE to a folder you may write to" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
    ownership.mark(tmp_path / "run")  # a run needs no cache for its record
    for content in ("1", "2"):
        files.write_text(tmp_path / "run" / "summary.json", content)
    assert (tmp_path / "run" / "summary.json").read_text() == "2"
    assert atomic_files.remove(tmp_path / "run" / "summary.json")


# ---- signals


WORK = """
import argparse, sys, time, types
from fgkit import atomic_files
from fgkit.cli import doctor, main
from fgkit.workflow import locks

def execute(options):
    folder = __import__("pathlib").Path(sys.argv[1])
    with locks.only_run(folder), atomic_files.replacing(folder / "report.json") as part:
        part.write_text("half")
        print("begun", flush=True)
        time.sleep(60)

doctor.execute = execute
sys.exit(main.main(["doctor"]))
"""


def started(folder: Path, **options) -> subprocess.Popen:
    """A command that is half through the replacement of a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
        **options,
    )
    assert process.stdout and process.stdout.readline() == "begun\n", process.communicate()
    return process


@posix
def test_signals_end_a_command_in_order(tmp_path) -> None:
    numbers = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
    for name in numbers:
        ownership.mark(tmp_path / name)
        files.write_text(tmp_path / name / "report.json", "whole")
    processes = {
        # A shell's background job ignores Ctrl-C, and so would its children.
        name: started(
            tmp_path / name,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        for name in numbers
    }
    for name, process in processes.items():
        process.send_signal(getattr(signal, name))
    for name, process in processes.items():
        said = process.communicate(timeout=60)[1]
        assert process.returncode == numbers[name], said
        assert "fgkit: stopped. The same command goes on where it can." in said
        assert "Traceback" not in said
        left = {path.name for path in (tmp_path / name).iterdir()}
        assert left == {"report.json", ownership.RECORD, locks.LOCK, locks.STEP_LOCK}
        assert (tmp_path / name / "report.json").read_text() == "whole"
        with locks.only_run(tmp_path / name):  # the lock is free
            files.write_text(tmp_path / name / "report.json", "next")


@posix
def test_nohup_stays_nohup(tmp_path) -> None:
    ownership.mark(tmp_path)
    process = started(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.kill()
    process.communicate()
    with locks.only_run(tmp_path):  # what the kill left is put in order
        assert {path.name for path in tmp_path.iterdir()} == {
            ownership.RECORD,
            locks.LOCK,
            locks.STEP_LOCK,
        }


@posix
@pytest.mark.slow
def test_signals_during_each_stage(tmp_path) -> None:
    """A tiny run that is asked to end in each stage ends, and the same command ends with the same files."""
    psutil = pytest.importorskip("psutil")
    from faults_job import STAGES, Job

    job = Job(tmp_path)
    job.undisturbed()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Each run takes a minute, so each stage gets one of the signals; FGKIT_EVERY_SIGNAL=1 tries all.
    every = bool(os.environ.get("FGKIT_EVERY_SIGNAL"))
    for index, stage in enumerate(STAGES):
        for number in signals if every else (signals[index % 3],):
            job.before(stage)
            process = job.start(job.run())
            begun = job.output / f"{stage}.ipynb"
            earlier = begun.stat().st_mtime_ns if begun.exists() else 0
            while process.poll() is None and not (
                begun.exists() and begun.stat().st_mtime_ns != earlier
            ):
                time.sleep(0.05)
            process.work(process.spent + 0.4 * job.seconds[stage])
            children = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, number)
            said = process.communicate(timeout=300)[0]
            assert process.returncode == 128 + number, f"{stage}, {number}: {said[-2000:]}"
            _, alive = psutil.wait_procs(children, timeout=40)
            assert not alive, f"{stage}, {number}: {alive}"
            code, said = job.finish(job.run())
            assert code == 0, f"{stage}, {number}: {said[-2000:]}"
            assert job.differences() == [], f"{stage}, {number}"


# ---- chat and run


class Bundle:
    """Stands in for a bundle: refuses one question as the runtime does."""

    def __init__(self, *_) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def ask(self, record):
        if "bad" in record.messages[-1]["content"]:
            raise FgkitError("too long")
        return type(
            "Answer", (), {"raw": "call", "calls": [1], "lines": lambda _: [], "seconds": 1}
        )()


def test_chat_goes_on_after_a_bad_line(tmp_path, tools, monkeypatch, capsys) -> None:
    from fgkit.runtime import ask

    monkeypatch.setattr(ask, "AskBundle", Bundle)
    lines = tmp_path / "lines"
    lines.write_bytes(b"good\nthis is bad\nno \xff text\n\xed\xa0\x80\ngood again\n\n")
    with open(lines, encoding="utf-8") as handle:
        monkeypatch.setattr(sys, "stdin", handle)
        assert chat.chat(tmp_path / "x.task", tools, []) == 0
    out, err = capsys.readouterr()
    assert out.count("raw:  call") == 2
    assert "fgkit: too long" in err and err.count("is not UTF-8") == 2


@pytest.mark.parametrize("option", ["-f", "--parameters"])
def test_an_empty_parameter_file_starts_nothing(monkeypatch, capsys, option) -> None:
    monkeypatch.setattr(pipeline, "run", lambda _: pytest.fail("the example was started"))
    assert run("run", option, "") == 2
    assert "Give the path of a parameter file" in capsys.readouterr().err


# ---- two users


@posix
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_two_users_and_one_cache(tmp_path_factory, monkeypatch, mode) -> None:
    """A second user writes where the cache allows it, is told where not, and replaces nothing of the first's."""
    import filelock  # noqa: F401  (another user may not be able to read this Python's folders)

    base = Path(tempfile.mkdtemp(dir="/tmp"))
    base.chmod(0o1777)
    cache = base / "cache"
    cache.mkdir()
    cache.chmod(mode)
    monkeypatch.setenv("FGKIT_CACHE", str(cache))
    first = files.write_json(base / "first.json", {"user": 1})
    if mode == 0o1777 and (cache / "written").exists():
        (cache / "written").chmod(mode)
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        codes = 0
        for path in (base / "second.json", first):
            try:
                files.write_json(path, {"user": 2})
            except FgkitError:
                codes += 1
            except BaseException:
                os._exit(9)
        os._exit(codes)
    refused = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        assert refused in (1, 2), "the first user's file is refused, and never with another error"
        assert files.read_json(first) == {"user": 1}
        assert (base / "second.json").exists() == (refused == 1)
    finally:
        shutil.rmtree(base)
