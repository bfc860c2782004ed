"""Files that are no files, have no end, or grow when they are read: one message, at once, in little memory."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fgkit import checksums, files, schema, tools
from fgkit.bundles import checks as bundle_checks, create, litertlm, read as bundle_files
from fgkit.cli.main import main
from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset import reading
from fgkit.dataset.formats import xlam
from fgkit.errors import BundleError, ConfigError, DataError, FgkitError
from fgkit.evaluation import scores
from fgkit.locations import shipped
from fgkit.models import model_checks, weights
from fgkit.prompts import render
from fgkit.workflow import parameters, run as pipeline

TOOLS = tools.load_tools(shipped("data", "tools.py"))
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "rows": ("rows.jsonl", lambda path: reading.inspect_records(path, TOOLS)),
    "CSV": ("rows.csv", lambda path: reading.inspect_records(path, TOOLS)),
    "tools .py": ("tools.py", tools.load_tools),
    "tools .json": ("tools.json", tools.load_tools),
    "parameters": ("p.yaml", parameters.read_parameters),
    "score": ("score.json", scores.read_score),
    "record": ("fgkit.json", lambda path: schema.read(path, dict, remedy="Restore it.")),
    "task": ("a.task", bundle_files.read_bundle),
    "litertlm": ("a.litertlm", bundle_files.read_bundle),
    "tokenizer": ("tokenizer.model", create._file_bytes),
    "text": ("a.txt", files.read_text),
}
# These say it in their own words instead of raising.
REPORTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "check": ("a.task", bundle_checks.check_bundle),
    "weights": ("model.safetensors", lambda path: weights.weight_problems(path.parent)),
    "config.json": ("config.json", lambda path: model_checks.shape_problems(path.parent)),
    "tokenizer.json": (
        "tokenizer.json",
        lambda path: model_checks.check_model_folder(path.parent),
    ),
    "sums": ("SHA256SUMS", lambda path: checksums.recorded(path.parent)),
}


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """No test of these may wait for a pipe, or take a gigabyte."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500_000  # kB


@pytest.mark.parametrize("kind", ["pipe", "device", "kernel", "folder", "loop", "hole"])
@pytest.mark.parametrize("reader", [*READERS, *REPORTS])
def test_what_is_no_regular_file_is_refused_at_once(reader: str, kind: str, tmp_path: Path) -> None:
    name, read = (READERS | REPORTS)[reader]
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "kernel":
        path.symlink_to("/proc/kmsg")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.touch()
        os.truncate(path, 40 << 30)
    if reader in REPORTS:
        with contextlib.suppress(FgkitError):
            read(path)
        return
    with pytest.raises(FgkitError) as caught:
        read(path)
    text = str(caught.value)
    assert name in text and "\n" not in text and len(text) < 600


@pytest.mark.parametrize("name", ["", ".", "a\0b", "\udcff.jsonl", "x" * 5000, "~nobody/x"])
@pytest.mark.parametrize("reader", READERS)
def test_names_that_no_file_has(reader: str, name: str) -> None:
    with pytest.raises(FgkitError) as caught:
        READERS[reader][1](Path(name))
    assert len(str(caught.value)) < 6000


@pytest.mark.parametrize("command", ["lint", "check"])
@pytest.mark.parametrize("name", ["", ".", "\udcff.jsonl", "a\nb"])
def test_the_command_line_gives_one_message(
    command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([command, name])
    out, err = capsys.readouterr()
    assert "should not happen" not in err and "Traceback" not in out + err
    if command == "lint" or name in ("", "."):
        assert code == 2 and err.startswith("fgkit: ") and not out
    else:
        assert code == 1 and not err  # the checks say what is wrong


def test_text_of_another_encoding_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbfoutput: a\ndata: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:2: is not UTF-8 \(byte 22 is 0xe9\).*Save it"):
        parameters.read_parameters(path)
    (tmp_path / "s.json").write_bytes(b'{"a":\n"\xe9"}')
    with pytest.raises(FgkitError, match=r"s\.json:2: is not UTF-8"):
        files.read_json(tmp_path / "s.json")


def test_the_name_of_a_file_that_is_no_utf_8_can_be_written(tmp_path: Path) -> None:
    written = files.write_json(tmp_path / "a.json", {"path": "caf\udce9"})
    assert json.loads(written.read_bytes()) == {"path": "caf\udce9"}


# ---- YAML

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n"
    for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BOMB}output: *i\n", r"p\.yaml:2: no YAML: the alias \*a repeats a list or mapping"),
        ("output: &x [*x]\n", r"p\.yaml:1: no YAML: the alias \*x repeats"),
        ("a: &x {seed: 1}\n<<: *x\n", r"p\.yaml:2: no YAML: the alias"),
        (f"seed: {'9' * 6000}\n", r"p\.yaml: no YAML: Exceeds the limit"),
        (f"seed: 0x{'f' * 6000}\n", r"seed is a int that is too large to be shown, expected at"),
        (f"seed: {':'.join(['1'] * 3000)}\n", r"seed is a int that is too large|Exceeds the limit"),
        (f"seed: {'9' * 4000}\n", r"seed is 9+\.\.\., expected at most 18 digits"),
        (f"output: [{', '.join(['x'] * 9999)}]\n", r"output is \['x'"),
        ('output: "a\\0b"\n', r"output is 'a\\x00b', expected text that UTF-8 can hold"),
        ('output: "\\ud800"\n', r"output is '\\ud800', expected text|no YAML"),
        ("output: " + "[" * 5000, r"no YAML"),
        ("output: !!python/object:os.system x\n", r"no YAML: could not determine a constructor"),
        ("? [a]\n: b\n", r"no YAML|expected text"),
        ("seed: .nan\n", r"seed is nan, expected int"),
        ("seed: 2026-06-31\n", r"p\.yaml: no YAML: day is out of range"),
        ("seed: !!int x\n", r"no YAML"),
        ("seed: !!int ''\n", r"no YAML"),
        ("seed: !!timestamp x\n", r"no YAML"),
        ("seed: !!bool x\n", r"no YAML"),
    ],
)
def test_a_parameter_file_made_by_an_enemy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        pipeline.plan(parameters.read_parameters(path))
    assert len(str(caught.value)) < 3000


def test_an_alias_of_a_single_value_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("output: &x run\nname: *x\n")
    assert parameters.read_parameters(path) == {"output": "run", "name": "run"}


@pytest.mark.parametrize(
    "values",
    [
        {"output": "a\0b"},
        {"output": "\ud800"},
        {"output": "caf\udce9"},
        {"data": "\0"},
        {"seed": 10**6000},
        {"seed": -(10**6000)},
        {"output": [[10**6000]]},
        {"learning_rate": 10**6000},
    ],
)
def test_settings_that_nothing_can_hold(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig(**values)
    str(caught.value).encode()


# ---- bundles


def test_a_section_of_40_gib_is_not_allocated(tmp_path: Path) -> None:
    """The file has 4 kB on the disk, and a hole; its header lists the metadata with 40 GiB."""
    pytest.importorskip("litert_lm_builder")
    path = tmp_path / "a.litertlm"
    whole = (Path(__file__).parent / "fuzz" / "corpus" / "litertlm" / "whole").read_bytes()
    path.write_bytes(whole)
    sections = litertlm.read(path).sections
    for name in (litertlm.LLM_METADATA, litertlm.TOKENIZER):
        begun, end = sections[name]
        last = 40 << 30
        assert whole.count(struct.pack("<Q", end)) >= 1
        grown = whole.replace(struct.pack("<Q", end), struct.pack("<Q", last))
        # The sections behind it begin later.
        for other, (begin, stop) in sections.items():
            if other != name and begin >= end:
                for number in (begin, stop):
                    grown = grown.replace(
                        struct.pack("<Q", number), struct.pack("<Q", number + last)
                    )
        path.write_bytes(grown)
        os.truncate(path, (40 << 30) + len(whole) * 2 + (40 << 30))
        with pytest.raises(
            BundleError, match=f"its section {name} lies at bytes {begun} to {last} of"
        ):
            litertlm.read(path)


# ---- rows


@pytest.mark.parametrize("word", ["optional[", "Optional[List[", "list["])
def test_a_type_without_end_is_one_problem(word: str) -> None:
    for times in (1000, 50_000):
        type_name = word * times + "int" + "]" * times * word.count("[")
        _, problems = xlam.tools_of(
            [{"name": "f", "description": "F", "parameters": {"x": {"type": type_name}}}]
        )
        assert len(problems) == 1 and "type is 'optional[" in problems[0].replace(
            word, "optional[", 1
        )


def nested(depth: int, inner: str, before: str, after: str) -> str:
    return before * depth + inner + after * depth


@pytest.mark.parametrize("depth", [60, 64, 65, 99, 100, 101, 200, 330, 480, 700, 990, 3000])
@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a": ', "}")])
def test_rows_nested_deeply_are_read_or_refused(
    depth: int, before: str, after: str, tmp_path: Path
) -> None:
    value = nested(depth, "1", before, after)
    schema_of_value = nested(
        depth,
        '{"type": "integer", "description": "x"}',
        '{"type": "object", "description": "x", "properties": {"a": ',
        "}}",
    )
    calls = (
        '{"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", '
        '"arguments": {"a": %s}}}]}' % value
    )
    tool = (
        '{"type": "function", "function": {"name": "f", "description": "F", "parameters": '
        '{"type": "object", "properties": {"a": %s}}}}'
    )
    loose = '{"type": "%s", "description": "x"}' % ("array" if before == "[" else "object")
    rows = [
        '{"user_content": "x", "tool_name": "show_alert", "tool_arguments": {"a": %s}}' % value,
        '{"user_content": "x", "tool_name": "show_alert", "tool_arguments": %s}'
        % json.dumps(f'{{"a": {value}}}'),
        '{"user_content": %s, "tool_name": %s, "tool_arguments": %s}' % (value, value, value),
        '{"messages": [{"role": "user", "content": %s}]}' % value,
        '{"messages": [{"role": "user", "content": "x"}, %s]}' % calls,
        '{"messages": [{"role": "user", "content": "x"}, %s], "tools": [%s]}'
        % (calls, tool % schema_of_value),
        '{"messages": [{"role": "user", "content": "x"}, %s], "tools": [%s]}'
        % (calls, tool % loose),
        '{"query": "x", "answers": [{"name": "f", "arguments": {"a": %s}}], "tools": [{"name": "f",'
        ' "description": "F", "parameters": {"a": {"type": "dict", "description": "x", '
        '"default": %s}}}]}' % (value, value),
        value,
    ]
    for row in rows:
        path = tmp_path / "rows.jsonl"
        path.write_text(f"{row}\n")
        try:
            found = reading.inspect_records(path, TOOLS)
            assert found.problems or found.records
            for problem in found.problems:
                assert len(str(problem)) < 3000
            for record in found.records:
                render(record.messages, record.tools or TOOLS)
                schema.check({"rows": [{"calls": record.messages}]}, dict, "score", remedy="")
        except DataError:
            pass
