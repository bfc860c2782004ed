"""Tools files that attack the process that reads them: one ToolError, or the tools, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgkit.errors import ToolError
from fgkit.tools import load_tools
from fgkit.tools.docstrings import split_docstring

GO = "\ndef go():\n    '''Goes.'''\n"
ENDED = r"tools\.py: T003 ended its process before its functions could be read \(exit code {}\)"
ATTACKS = {
    "exit with success": ("import os\nos._exit(0)", ENDED.format(0)),
    "exit with text": (
        "import os, sys\nprint('bye', flush=True)\nos._exit(3)",
        ENDED.format(3) + r"\. Its last output: bye",
    ),
    "abort": ("import os\nos.abort()", r"\(signal 6\)"),
    "SIGKILL": ("import os\nos.kill(os.getpid(), 9)", r"\(signal 9\)"),
    "BaseException": (
        "class E(BaseException): pass\nraise E('x')",
        r"tools\.py:2: T003 stopped with E: x\. The file is run once",
    ),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", r"tools\.py:1: T003 stopped with Keyboard"),
    "GeneratorExit": ("raise GeneratorExit", r"tools\.py:1: T003 stopped with GeneratorExit"),
    "an exception without text": (
        "class E(Exception):\n    def __str__(self): 1 / 0\nraise E",
        r"tools\.py:3: T003 stopped with E: \(its text cannot be shown\)",
    ),
    "an exception with endless text": ("raise ValueError('x' * 10**7)", r"T003 .{900,2000}$"),
    "an exception with half a surrogate": ("raise ValueError('\\ud800')", r"T003 stopped"),
    "recursion": ("def f(): f()\nf()", r"T003 stopped with RecursionError"),
    "memory": ("x = [0] * 10**15", r"T003 stopped with MemoryError"),
    "deep source": ("x = " + "(" * 300 + ")" * 300, r"T002 is not valid Python"),
    "deep source without brackets": ("x = " + "-" * 20_000 + "1", r"T002|T003"),
    "a module attribute that raises": (
        "def __getattr__(name): raise KeyboardInterrupt",
        r"T005 holds no tools",
    ),
    "keyboard": ("input()", r"T003 stopped with EOFError"),
    "closed pipes": ("import os\nos.closerange(3, 99)", r"T003 ended its process"),
    "JSON replaced": ("import json\njson.dumps = None", r"T003"),
    "write replaced": ("import os\nos.write = lambda *x: 1 / 0", r"T003 ended its process"),
    "an answer of its own": (
        "import os\nfor n in range(3, 20):\n    try: os.write(n, b'[]\\n')\n    except OSError: pass",
        r"T003 wrote into fgkit's own pipe",
    ),
    "a tool of a class": ("class T: pass\nTOOLS = [T]", r"TOOLS\[0\]: T201 this is a type that"),
    "a set inside a schema": (
        "TOOLS = [{'name': 'f', 'description': 'F', 'parameters': {'x': {1}}}]",
        r"TOOLS\[0\]: T201 parameters\.x is a set that JSON cannot hold",
    ),
    "a name that is no text": ("TOOLS = [{1: 2}]", r"T201 this is a dict that JSON cannot hold"),
    "a number of 5,000 digits": ("TOOLS = [{'name': 10**5000}]", r"T201 name is a int that JSON"),
    "a schema that contains itself": ("x = {}\nx['x'] = x\nTOOLS = [x]", r"T412 .* too deeply"),
    "wrapped in a circle": ("def f(): pass\nf.__wrapped__ = f\nTOOLS = [f]", r"T003 stopped with"),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "tools.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_one_message(attack: str, tmp_path: Path, capfd) -> None:
    text, message = ATTACKS[attack]
    path = write(tmp_path, f"{text}\n")
    before = set(sys.modules)
    with pytest.raises(ToolError, match=message) as caught:
        load_tools(path)
    text = str(caught.value)
    assert "Traceback" not in text and len(text) < 3000
    assert capfd.readouterr() == ("", "") and [*tmp_path.iterdir()] == [path]
    assert not [name for name in set(sys.modules) - before if "fgkit_tools" in name]


HARMLESS = {
    "prints": "print('hello')\nimport sys, os\nsys.stderr.write('x')\nos.system('echo hello')",
    "prints without end": "import os\nfor _ in range(200):\n    os.write(1, b'x' * 65536)",
    "a thread that never ends": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()"
    ),
    "a process that never ends": "import subprocess\nsubprocess.Popen(['sleep', '999'])",
    "at exit": "import atexit\natexit.register(input)",
    "every attribute": "def __getattr__(name): return 'x'",
    "removes itself": "import sys\ndel sys.modules[__name__]",
    "replaces itself": "import sys\nsys.modules[__name__] = None",
    "removes everything": "import sys\nsys.modules.clear()",
    "changes directory": "import os\nos.chdir('/')",
    "replaces output": "import sys\nsys.stdout = sys.stderr = None",
}


@pytest.mark.parametrize("trick", HARMLESS)
def test_a_trick_changes_nothing(trick: str, tmp_path: Path, capfd) -> None:
    start = time.monotonic()
    (found,) = load_tools(write(tmp_path, f"{HARMLESS[trick]}\n{GO}"))
    assert found["function"]["name"] == "go"
    assert capfd.readouterr() == ("", "") and time.monotonic() - start < 30


@pytest.mark.parametrize(
    "text",
    [
        "while True: pass",
        "import time\ntime.sleep(999)",
        "import threading\nthreading.Event().wait()",
    ],
)
def test_a_file_that_never_ends_is_stopped(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FGKIT_TOOLS_TIMEOUT", "1.5")
    text = f"import os\nopen({str(tmp_path / 'id')!r}, 'w').write(str(os.getpid()))\n{text}\n"
    with pytest.raises(
        ToolError, match=r"T003 did not finish within 1\.5 s\..*TIMEOUT to more sec"
    ):
        load_tools(write(tmp_path, text))
    if (tmp_path / "id").exists():  # a slow machine may not have come so far
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "id").read_text()), 0)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", "\u0661x"])
def test_the_time_limit_has_to_be_a_number(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FGKIT_TOOLS_TIMEOUT", value)
    with pytest.raises(ToolError, match="FGKIT_TOOLS_TIMEOUT is .* expected the seconds"):
        load_tools(write(tmp_path, GO))


def test_functions_behind_a_cache_are_tools(tmp_path: Path) -> None:
    text = (
        "import functools\n"
        "def _traced(f):\n    @functools.wraps(f)\n    def inner(*a, **k): return f(*a, **k)\n"
        "    return inner\n"
        "def one(x: int):\n    '''One.\n\n    Args:\n        x: X\n    '''\n"
        "@functools.cache\n" + GO.strip().replace("go", "two") + "\n"
        "@functools.lru_cache(maxsize=3)\n@_traced\ndef three(y: str = ''):\n"
        "    '''Three.\n\n    Args:\n        y: Y\n    '''\n"
    )
    found = load_tools(write(tmp_path, text))
    assert [tool["function"]["name"] for tool in found] == ["one", "two", "three"]
    assert found[2]["function"]["parameters"]["properties"]["y"]["type"] == "string"
    listed = load_tools(write(tmp_path, f"{text}TOOLS = [three, two]\n"))
    assert listed == [found[2], found[1]]


def test_the_file_imports_what_this_process_could(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules come from `sys.path` of this process; the working folder is not on it."""
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "shades.py").write_text("from typing import Literal\nShade = Literal['red']\n")
    for name in ("json", "fgkit", "typing", "shades"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the working folder')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(beside), *filter(None, sys.path)])
    text = "import shades\ndef go(s: shades.Shade):\n    '''Goes.\n\n    Args:\n        s: S\n    '''\n"
    (found,) = load_tools(write(tmp_path, text))
    assert found["function"]["parameters"]["properties"]["s"]["enum"] == ["red"]


def test_the_child_of_a_killed_parent_ends(tmp_path: Path) -> None:
    """The pipe that only the parent holds tells it."""
    path = write(
        tmp_path,
        f"import os, time\nopen({str(tmp_path / 'id')!r}, 'w').write(f'{{os.getpid()}} ')\n"
        "time.sleep(999)\n",
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from fgkit.tools import load_tools; load_tools({str(path)!r})"]
    )
    deadline = time.monotonic() + 60
    while not ((tmp_path / "id").exists() and (tmp_path / "id").read_text().endswith(" ")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = int((tmp_path / "id").read_text())
    while time.monotonic() < deadline and Path(f"/proc/{child}").exists():
        if Path(f"/proc/{child}/stat").read_text().split(") ")[1][0] == "Z":
            break
        time.sleep(0.05)
    assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "text",
    [
        "Paints.",
        "",
        "Paints\nthe wall.\n\nArgs:\n    a: One\n        more.\n    b: Two: three\n\n    c: x\n",
        "Paints.\nArgs:\n  a: One\nReturns:\n  nothing\nRaises:\n  E: no",
        "Args:\n    a: One",
        "Paints.\n\nReturns:\n    x: y\n\nArgs:\n    a: One",
        "Args:\nReturns: Args:\n  a: b",
        "Paints.\n\nArgs:\n    a:\n        first: no\n        second: no\n    b: Two",
    ],
)
def test_docstrings_are_split_as_transformers_does(text: str) -> None:
    from transformers.utils.chat_template_utils import parse_google_format_docstring

    description, described, _ = parse_google_format_docstring(f"\n{text}")
    assert split_docstring(text) == (description or "", described or {})
