"""progress: bars and notes of a headless kernel reach the terminal that waits for it, whole and in order."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fgkit import progress

ROOT = Path(progress.__file__).parent.parent


@pytest.fixture(autouse=True)
def no_relay(monkeypatch):
    monkeypatch.delenv(progress.VARIABLE, raising=False)


def child(code: str) -> subprocess.CompletedProcess:
    """Run code as a kernel would: another process, output caught."""
    return subprocess.run(
        [sys.executable, "-c", f"from fgkit import progress\n{code}"],
        cwd=ROOT,
        text=True,
        check=True,
        capture_output=True,
    )


def test_bars_of_another_process_come_to_stderr(capsys) -> None:
    with progress.relayed():
        done = child(
            "for _ in progress.bar(range(3), desc='training', unit='step'): pass\n"
            "bar = progress.bar(total=2, desc='scoring'); bar.update(2); bar.close()"
        )
    relayed = capsys.readouterr()
    assert (
        "training" in relayed.err
        and "3/3" in relayed.err
        and "2/2" in relayed.err
        and relayed.out == ""
    )
    assert relayed.err.index("3/3") < relayed.err.index("scoring")
    assert "\r" in relayed.err, "a bar redraws its line"
    assert done.stdout == done.stderr == "", "an executed notebook stays free of bars"


def test_it_is_shown_while_it_happens(capsys) -> None:
    with progress.relayed():
        progress.note("first")
        deadline = time.monotonic() + 5
        while "first" not in (seen := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "first" in seen
        progress.note("last")
    assert "last\n" in capsys.readouterr().err, "what comes just before the end is not lost"


def test_a_note_is_in_the_notebook_and_in_the_terminal() -> None:
    script = (
        "import sys\nwith progress.relayed():\n"
        "    import subprocess\n"
        "    code = 'from fgkit import progress; progress.note(\"284 \\u00e9\")'\n"
        "    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)\n"
        "    print(done.stdout.upper())\n"
    )
    done = child(script)
    assert done.stdout.strip() == "284 \u00c9" and done.stderr == "284 \u00e9\n"


def test_a_note_without_a_relay_is_printed(capsys) -> None:
    progress.note("hello")
    assert capsys.readouterr() == ("hello\n", "")


def test_a_bar_without_a_relay_is_tqdms(capsys) -> None:
    assert list(progress.bar(range(3), desc="here")) == [0, 1, 2]
    assert "here" in capsys.readouterr().err


def test_half_a_character_waits_for_its_other_half(capsys) -> None:
    with progress.relayed():
        with open(os.environ[progress.VARIABLE], "ab", buffering=0) as relay:
            relay.write("50% \u2588".encode()[:-1])
            time.sleep(0.5)
            relay.write("\u2588".encode()[-1:] + b" done\n")
    assert capsys.readouterr().err == "50% \u2588 done\n"


@pytest.mark.parametrize("before", [None, "/somewhere/else"])
def test_the_variable_is_as_before_even_after_an_error(monkeypatch, before) -> None:
    if before:
        monkeypatch.setenv(progress.VARIABLE, before)
    threads = threading.active_count()
    with pytest.raises(KeyError), progress.relayed():
        relay = Path(os.environ[progress.VARIABLE])
        assert relay.is_file() and str(relay) != before
        raise KeyError
    assert os.environ.get(progress.VARIABLE) == before
    assert not relay.exists() and threading.active_count() == threads


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
@pytest.mark.parametrize("relay", ["/dev/full", "/no/such/folder/progress"])
def test_a_bar_that_cannot_be_written_ends_nothing(monkeypatch, relay, capsys) -> None:
    monkeypatch.setenv(progress.VARIABLE, relay)
    assert list(progress.bar(range(3), desc="training")) == [0, 1, 2]
    progress.note("still there")
    assert capsys.readouterr().out == "still there\n"
