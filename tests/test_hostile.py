"""Files that somebody made to do harm: refused with one message, in bounded memory, and nothing of theirs is run or written."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgkit import tools
from fgkit.bundles import create as bundle, read as bundle_files, task
from fgkit.cli.main import main
from fgkit.dataset import reading
from fgkit.errors import BundleError, DataError, FgkitError, ToolError
from fgkit.locations import shipped
from fgkit.models import model_checks, weights
from tests.bundles.test_create import tiny_tokenizer

GOOD = {task.TFLITE: b"\x1c\0\0\0TFL3" + bytes(99), task.METADATA: b"\x32\x05<bos>"}
TOOLS = tools.load_tools(shipped("data", "tools.py"))
PWNED = "import pathlib; pathlib.Path({!r}).touch()\ndef f():\n    '''F.'''\n"


def archive(path: Path, members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> Path:
    with (
        pytest.warns(UserWarning)
        if len({name for name, _ in members}) < len(members)
        else memoryview(b"")
    ):
        with zipfile.ZipFile(path, "w", kind) as file:
            for name, content in members:
                file.writestr(name, content)
    return path


def members() -> list[tuple[str, bytes]]:
    return [*GOOD.items(), (task.TOKENIZER, tiny_tokenizer())]


# ---- archives


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc/cron.d/evil", "..\\evil", "tools.py", "fgkit/__init__.py", "a/../b"],
)
def test_a_member_that_wants_out_or_in_is_refused_and_written_nowhere(
    tmp_path: Path, name: str
) -> None:
    inside = tmp_path / "in" / "deep"
    inside.mkdir(parents=True)
    path = archive(
        inside / "a.task", [*members(), (name, PWNED.format(str(tmp_path / "run")).encode())]
    )
    before = {*tmp_path.rglob("*")}
    with pytest.raises(BundleError, match="holds the members .* It is no language-model .task"):
        bundle_files.read_bundle(path)
    assert {*tmp_path.rglob("*")} == before


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.task", [*members(), (task.METADATA, b"\x32\x05<eos>")])
    with pytest.raises(BundleError, match="holds the members"):
        bundle_files.read_bundle(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.task",
        [*members()[:1], (task.TOKENIZER, bytes(200_000_000)), members()[1]],
        zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError, match="compressed"):
        bundle_files.read_bundle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("name", [task.METADATA, task.TOKENIZER])
def test_a_member_far_larger_than_its_kind_is_not_read(tmp_path: Path, name: str) -> None:
    path = archive(
        tmp_path / "a.task",
        [one for one in members() if one[0] != name] + [(name, bytes(70_000_000))],
    )
    with pytest.raises(BundleError, match=f"its {name} is larger than any of its kind"):
        bundle_files.read_bundle(path)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def wrong_offsets(whole: bytes) -> Iterator[bytes]:
    """The archive with members that begin elsewhere, overlap, or claim other sizes; and with a directory elsewhere."""
    first = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", first + 4)
    end = whole.rindex(b"PK\5\6")
    for entry in (first, second):
        for value in (0, 1, 40, len(whole) - 1, 2**31, 2**32 - 1):
            yield patched(whole, entry + 42, struct.pack("<I", value))
        for field in (20, 24):
            for value in (0, 5, len(whole), 2**32 - 1):
                yield patched(whole, entry + field, struct.pack("<I", value))
    for value in (0, 4, end, 2**32 - 1):
        yield patched(whole, end + 16, struct.pack("<I", value))
        yield patched(whole, end + 12, struct.pack("<I", value))


def test_wrong_offsets_and_sizes_are_one_message_each(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.task", members()).read_bytes()
    assert bundle_files.read_bundle(tmp_path / "whole.task").profile.start_token == "<bos>"
    tried = 0
    for tried, damaged in enumerate(wrong_offsets(whole), 1):
        if damaged == whole:
            continue
        (tmp_path / "a.task").write_bytes(damaged)
        try:
            found = bundle_files.read_bundle(tmp_path / "a.task")
        except BundleError as error:
            assert str(tmp_path / "a.task") in str(error)
        else:
            assert (
                found.profile.start_token == "<bos>"
            )  # zipfile found its way: the very same content
    assert tried == 36


# ---- tools


def test_no_code_of_an_archive_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("tools.py", PWNED.format(str(run)))
        file.writestr("__main__.py", PWNED.format(str(run)))
        file.writestr("__init__.py", PWNED.format(str(run)))
    for name in ("tools.zip", "tools.pyz", "tools.task", "tools.json", "tools.whl", "tools"):
        (tmp_path / name).write_bytes(packed.getvalue())
        for path in (tmp_path / name, tmp_path / name / "tools.py"):
            with pytest.raises(ToolError, match="T001|T004"):
                tools.load_tools(path)
    (tmp_path / "tools.py").write_bytes(
        packed.getvalue()
    )  # an archive under a Python name, which `python` would run
    with pytest.raises(ToolError, match="T002 is not valid Python"):
        tools.load_tools(tmp_path / "tools.py")
    assert not run.exists()


@pytest.mark.slow
def test_python_tools_run_only_where_the_user_named_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `tools.py` beside the data, the bundle or the working folder is nobody's wish."""
    run = tmp_path / "run"
    (tmp_path / "tools.py").write_text(PWNED.format(str(run)))
    (tmp_path / "rows.jsonl").write_bytes(shipped("data", "eval_data.jsonl").read_bytes())
    archive(tmp_path / "a.task", members())
    (tmp_path / "a.task.json").write_text(
        json.dumps(
            {
                "sha256": "0" * 64,
                "tools": str(tmp_path / "tools.py"),
                "tools_file": str(tmp_path / "tools.py"),
            }
        )
    )
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "a.task", "--data", "rows.jsonl"]) == 2
    main(["lint", "rows.jsonl"])
    assert not run.exists()
    capsys.readouterr()
    assert main(["tools", "tools.py"]) in (0, 1) and run.exists()


# ---- weights and tokenizers


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + bytes(16)


@pytest.mark.parametrize(
    "content",
    [
        safetensors(b"[" * 200_000),
        safetensors(b'{"a":' * 200_000),
        safetensors(b"{}", 2**63),
        safetensors(b"{}", 99_999_999),
        safetensors(b"{}", 0),
        safetensors(b"[]"),
        safetensors(b"null"),
        safetensors(b'{"a": 1}'),
        safetensors(b'{"a": {}}'),
        safetensors(b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, NaN]}}'),
        safetensors(b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": ["0", "2"]}}'),
        safetensors(b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [-8, 2]}}'),
        safetensors(b'{"a": {"dtype": "BF16", "shape": [1], "data_offsets": [2, 0]}}'),
        safetensors(b'{"a": {"dtype": {}, "shape": [1], "data_offsets": [0, 2]}}'),
        safetensors(
            b'{"embed_tokens.weight": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 1e300]}}'
        ),
        safetensors(b'{"' + b"\xff" * 99 + b'": {}}'),
        b"",
        b"\0",
        b"\x80\x02}q\0.",
    ],
)
def test_a_header_made_by_an_enemy_is_one_problem(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    found = weights.weight_problems(tmp_path)
    assert found and all("model.safetensors: " in text and len(text) < 600 for text in found)
    assert model_checks.check_model_folder(tmp_path)[1].status == "fail"


def test_pickles_are_named_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(
        b"cposix\nsystem\n(S'touch " + str(tmp_path / "run").encode() + b"'\ntR."
    )
    assert "pickle files are not read" in weights.weight_problems(tmp_path)[0]
    with pytest.raises(FgkitError, match="not a complete model"):
        from fgkit.models import base as base_model

        base_model.find_base(str(tmp_path))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 99,
        b"\n\xff\xff\xff\xff\x7f",
        b"\x0a\x02\x0a\x00" * 9,
        tiny_tokenizer()[:700],
        b"\x80\x02}q\0.",
    ],
)
def test_a_tokenizer_that_is_none_is_one_message(data: bytes) -> None:
    with pytest.raises(BundleError, match="tokenizer.model: "):
        bundle.check_tokens(data, ("<bos>",), "", where="tokenizer.model")


# ---- rows

ROW = '{"user_content": "make it red", "tool_name": "change_background_color", "tool_arguments": "{\\"color\\": \\"red\\"}"}'


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("start", [b"", b"["])
def test_a_line_of_a_gigabyte_takes_no_gigabyte(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    with open(path, "wb") as file:  # a file with a hole: it takes no room on the disk
        file.write(start + b'{"user_content": "')
        file.truncate(1_000_000_000)
    with open(path, "ab") as file:
        file.write(b'"}\n' + ROW.encode() + b"\n")
    code = (
        "import re, sys\nfrom fgkit import tools\nfrom fgkit.dataset import reading\nfrom fgkit.locations import shipped\n"
        "found = reading.inspect_records(sys.argv[1], tools.load_tools(shipped('data', 'tools.py')))\n"
        "print(len(found.records), found.problems[0].line, "
        "re.search('VmHWM:[^0-9]*([0-9]+)', open('/proc/self/status').read())[1])\nprint(found.problems[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    kept, line, kilobytes = map(int, done.stdout.splitlines()[0].split())
    assert (kept, line) == (0 if start else 1, 1) and kilobytes < 200_000
    assert "expected" in done.stdout and len(done.stdout) < 1000


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"user_content": NaN}', "NaN"),
        ('{"user_content": 1e999, "tool_name": "x"}', "user_content"),
        ('{"user_content": "a", "user_content": "b"}', "twice"),
        (ROW.replace("make it red", "\\ud800"), "surrogate|U+D800"),
        (ROW.replace("make it red", "<end_of_turn>"), "<end_of_turn>"),
        (
            ROW.replace("change_background_color", "chang\u0435_background_color"),
            "is U+0435",
        ),  # a Cyrillic letter
        (ROW[:-1], "not JSON"),
        ('{"user_content": "' + "9" * 999_990 + '"}', "bytes"),
        (ROW.replace('\\"red\\"', "9" * 5000), ""),
    ],
)
def test_a_line_made_by_an_enemy_is_one_problem(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "rows.jsonl").write_text(f"{ROW}\n{line}\n", encoding="utf-8")
    found = reading.inspect_records(tmp_path / "rows.jsonl", TOOLS)
    assert [problem.line for problem in found.problems] == [2] * len(
        found.problems
    ) and found.problems
    text = str(found.problems[0])
    assert any(word in text for word in says.split("|")) and len(text) < 1500, text
    with pytest.raises(DataError):
        reading.read_records(tmp_path / "rows.jsonl", TOOLS)


def test_marks_and_line_ends_of_other_systems_are_fine(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + ROW.encode() + b"\r\n\r\n")
    assert len(reading.read_records(tmp_path / "rows.jsonl", TOOLS)) == 1
    (tmp_path / "bad.jsonl").write_bytes(
        ROW.replace("red", "caf\u00e9", 1).encode("latin-1") + b"\n"
    )
    with pytest.raises(DataError, match=r"bad\.jsonl:1: byte \d+ is 0xe9, expected UTF-8"):
        reading.read_records(tmp_path / "bad.jsonl", TOOLS)
