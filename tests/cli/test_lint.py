"""`python -m fgkit lint`: exit codes, one line a finding, and no input that ends in a traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny
from hypothesis import HealthCheck, example, given, settings, strategies as st

from fgkit import checksums
from fgkit.cli import main as command_line
from fgkit.data_report.rules import RULES
from fgkit.dataset.formats.detection import FORMATS
from fgkit.files import write_json
from fgkit.locations import cache_dir, shipped
from fgkit.models import base as base_model, download, offline_base

GOOD = (
    json.dumps(
        {
            "user_content": "make it red",
            "tool_name": "change_background_color",
            "tool_arguments": '{"color": "red"}',
        }
    )
    + "\n"
)
BAD = GOOD.replace("change_background_color", "change_background_colour").replace("red", "blue")
LINE = re.compile(r"(.+?):(\d+): ([DT]\d{3}) (error|warning|note): (.+)")


@pytest.fixture(autouse=True)
def no_base(monkeypatch, tmp_path):
    """A cache without an offline base, so that nothing depends on what this machine has built."""
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        offline_base,
        "build",
        lambda folder, name: pytest.fail("lint builds only what --base offline names"),
    )
    monkeypatch.setattr(base_model, "download", lambda name: pytest.fail("lint downloads nothing"))


@pytest.fixture
def lint(capsys):
    """Run lint; gives (exit code, findings as (line, rule, severity, message), stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, list[tuple[int, str, str, str]], str, str]:
        code = command_line.main(["lint", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        found = [
            match for line in out.split("\n\n")[0].splitlines() if (match := LINE.fullmatch(line))
        ]
        return code, [(int(hit[2]), hit[3], hit[4], hit[5]) for hit in found], out, err

    return run


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD)
    return path


def test_the_example_passes(lint):
    code, found, out, err = lint(
        shipped("data", "training_data.jsonl"), "--eval", shipped("data", "eval_data.jsonl")
    )
    assert (
        code == 0
        and err == ""
        and "change_background_color" in out
        and "0 errors, 2 warnings, 1 note." in out
    )
    assert [(line, rule) for line, rule, _, _ in found] == [
        (1, "D225"),
        (154, "D213"),
        (146, "D202"),
    ]
    assert (
        "Lengths are not checked: no base model is on this machine yet; `--base offline` makes one"
        in out
    )


def test_every_bad_line_is_named_first(lint, rows):
    rows.write_text(GOOD + BAD + "no json\n" + GOOD)
    code, found, out, err = lint(rows)
    assert code == 1 and err == ""
    lines = out.splitlines()
    assert (
        lines[0].startswith(f"{rows}:2: D101 error: ")
        and "did you mean 'change_background_color'" in lines[0]
    )
    assert lines[1].startswith(f"{rows}:3: D101 error: not JSON") and (4, "D102", "warning") in [
        hit[:3] for hit in found
    ]
    assert all(severity == "error" for _, _, severity, _ in found[:2]) and len(found) > 3


def test_warnings_do_not_fail(lint, rows):
    rows.write_text(GOOD * 2)
    code, found, _, _ = lint(rows)
    assert code == 0 and (2, "D102", "warning") in [hit[:3] for hit in found]


@pytest.mark.parametrize("content", [GOOD.encode("utf-16"), b"", b"\xef\xbb\xbf\r\n \n"])
def test_a_file_that_holds_no_rows_is_wrong_in_its_first_line(lint, rows, content):
    rows.write_bytes(content)
    code, found, _, _ = lint(rows)
    assert code == 1 and found[0][:3] == (1, "D101", "error")


def test_what_cannot_run_exits_2(lint, rows, tmp_path):
    code, found, out, err = lint(tmp_path / "none.jsonl")
    assert (code, out) == (2, "") and err.startswith(f"fgkit: {tmp_path / 'none.jsonl'}: ")
    assert lint(tmp_path)[0] == 2
    assert lint(rows, "--eval", tmp_path / "none.jsonl")[0] == 2
    assert lint(rows, "--json", rows / "x.json")[0] == 2
    (tmp_path / "tools.py").write_text("def broken(:\n")
    code, found, out, err = lint(rows, "--tools", tmp_path / "tools.py")
    assert (code, out) == (2, "") and str(tmp_path / "tools.py") in err
    code, _, _, err = lint(rows, "--max-length", 3)
    assert code == 2 and "max_length is 3, expected 16 to 32768" in err


def test_wrong_tools_are_listed_and_come_first(lint, rows, tmp_path):
    tools = tmp_path / "tools.json"
    tools.write_text(
        json.dumps(
            [
                {"name": "a b", "description": ""},
                {
                    "name": "go",
                    "description": "Goes.",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "type": {"type": "string"},
                            "n": {"description": "N.", "default": 3},
                        },
                    },
                },
            ]
        )
    )
    code, _, out, err = lint(rows, "--tools", tools)
    assert code == 1 and err == "" and str(rows) not in out
    rules = re.findall(rf"^{re.escape(str(tools))}: tool (\d): (T\d+) (error|warning): ", out, re.M)
    assert {
        ("1", "T202", "error"),
        ("1", "T301", "error"),
        ("2", "T206", "error"),
        ("2", "T401", "error"),
    } <= set(rules)
    assert "Correct the tools first; the rows are checked after that." in out
    tools.write_text(
        json.dumps(
            [
                {
                    "name": "change_background_color",
                    "description": "Changes it.",
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "color": {
                                "type": "string",
                                "default": "red",
                                "description": "The colour.",
                            }
                        },
                    },
                }
            ]
        )
    )
    code, _, out, _ = lint(rows, "--tools", tools)
    assert code == 0 and out.startswith(f"{tools}: tool 1: T501 warning: ")


def test_json_and_picture(lint, rows, tmp_path):
    rows.write_text(GOOD + BAD)
    code, _, out, _ = lint(rows, "--json", tmp_path / "r.json", "--plot", tmp_path / "r.png")
    assert (
        code == 1
        and f"written: {tmp_path / 'r.json'}" in out
        and f"written: {tmp_path / 'r.png'}" in out
    )
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["passed"] is False and found["errors"] == 1 and found["rules"]["D101"] == 1
    assert found["findings"][0]["line"] == 2 and found["tools"]["findings"] == []
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


# ---- whose tokenizer


def base_folder(folder: Path) -> Path:
    """A whole model folder as far as lint reads it."""
    folder.mkdir(parents=True)
    tiny.tokenizer_files(folder)
    write_json(folder / "config.json", {"model_type": "gemma3_text"})
    write_json(folder / "generation_config.json", {})
    header = json.dumps(
        {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    return folder


def test_the_built_offline_base_counts_without_being_named(lint, rows):
    checksums.write(base_folder(cache_dir("offline-base") / f"revision-{offline_base.REVISION}"))
    code, found, out, _ = lint(rows, "--max-length", 512)
    assert "tokens a row, longest" in out and "Limits in tokens: max_length 512" in out
    assert code == 1, "the tiny tokenizer takes a token a letter"
    assert [message for _, rule, _, message in found if rule == "D231"][0].startswith(
        "row longer than max_length: found "
    )
    assert lint(rows, "--max-length", 4096)[0] == 0


def test_a_damaged_offline_base_is_not_counted_with(lint, rows):
    folder = base_folder(cache_dir("offline-base") / f"revision-{offline_base.REVISION}")
    checksums.write(folder)
    (folder / "tokenizer.json").write_bytes(b"{}")
    _, _, out, err = lint(rows, "--max-length", 512)
    assert "tokens a row, longest" not in out and "Traceback" not in err
    assert "the offline base is damaged" in out + err and "`--base offline`" in out + err


def test_a_named_base_has_to_be_there(lint, rows, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(download, "local_copy", lambda name: asked.append(name))
    code, _, out, err = lint(rows, "--base", "google/functiongemma-270m-it")
    assert (
        (code, out) == (2, "")
        and "lint downloads nothing" in err
        and asked == ["google/functiongemma-270m-it"]
    )
    monkeypatch.undo()
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    for name in ("no such base", "~nobody-here/x", "x" * 5000, "nobody/nothing"):
        code, _, out, err = lint(rows, "--base", name)
        assert (code, out) == (2, "") and "lint downloads nothing" in err
    for name in ("~nobody-here/rows.jsonl", "x" * 5000):
        assert (
            lint(name)[0]
            == lint(rows, "--eval", name)[0]
            == lint(rows, "--tools", name + ".py")[0]
            == 2
        )
    assert lint(rows, "--base", base_folder(tmp_path / "model"), "--max-length", 4096)[0] == 0
    (tmp_path / "model" / "tokenizer.json").write_text('{"version": "1.0"}')
    code, _, _, err = lint(rows, "--base", tmp_path / "model")
    assert code == 2 and "its tokenizer cannot be read" in err
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert "tokenizer.json is missing" in lint(rows, "--base", tmp_path / "model")[3]


# ---- any input

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "user_content",
                    "tool_name",
                    "tool_arguments",
                    "messages",
                    "role",
                    "content",
                    "tools",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "metadata",
                    "query",
                    "answers",
                    "answer",
                    "group",
                    "prompt",
                    "tool",
                    "color",
                    "type",
                    "parameters",
                    "properties",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
NAMES = st.sampled_from(["change_background_color", "change_app_title", "show_alert", ""])
ROWS = st.fixed_dictionaries(
    {"user_content": st.text(), "tool_name": NAMES, "tool_arguments": JSON.map(json.dumps)}
)
CHATS = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "assistant", "tool", "developer"])},
                optional={"content": st.text() | JSON, "tool_calls": JSON, "name": NAMES},
            ),
            max_size=5,
        )
    },
    optional={"tools": JSON},
)
XLAM = st.fixed_dictionaries(
    {"query": st.text(), "answers": JSON.map(json.dumps), "tools": JSON.map(json.dumps)}
)
LINES = st.lists((JSON | ROWS | CHATS | XLAM).map(json.dumps), max_size=5).map(
    lambda lines: "\n".join(lines).encode()
)
CELLS = st.lists(st.lists(st.text(max_size=8), max_size=5).map(",".join), max_size=5).map(
    lambda lines: ("prompt,tool,arguments\n" + "\n".join(lines)).encode("utf-8", "surrogatepass")
)
ANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY
@given(
    st.binary(max_size=300) | LINES | CELLS,
    st.binary(max_size=100) | LINES,
    st.sampled_from(FORMATS),
    st.sampled_from(["jsonl", "csv"]),
)
@example(b"\xff\xfe", b"\xff\xfe\n", "csv", "csv")
@example(b"[" * 100_000, b"1" * 5000, "auto", "jsonl")
@example(
    b'"\\ud800"',
    b'{"user_content": "\\ud800", "tool_name": "\\udfff", "tool_arguments": "{}"}',
    "auto",
    "jsonl",
)
@example(b'prompt,tool,arguments\n"open', b"\0", "auto", "csv")
def test_no_data_file_ends_in_a_traceback(lint, tmp_path, data, held_out, kind, ending):
    path, other = tmp_path / f"data.{ending}", tmp_path / f"eval.{ending}"
    path.write_bytes(data)
    other.write_bytes(held_out)
    code, found, out, err = lint(
        path, "--eval", other, "--format", kind, "--json", tmp_path / "out.json"
    )
    assert code in (0, 1) and err == ""
    assert code == any(severity == "error" for _, _, severity, _ in found)
    assert all(rule in RULES for _, rule, _, _ in found) and all(line >= 1 for line, *_ in found)
    assert out.split("\n\n")[0].isprintable() or "\n" in out
    assert json.loads((tmp_path / "out.json").read_text())["passed"] == (code == 0)


@ANY
@given(
    st.binary(max_size=200)
    | JSON.map(json.dumps).map(str.encode)
    | st.lists(
        st.fixed_dictionaries(
            {"name": st.text(max_size=9), "description": st.text(max_size=9), "parameters": JSON}
        ),
        max_size=3,
    )
    .map(json.dumps)
    .map(str.encode)
)
def test_no_tools_file_ends_in_a_traceback(lint, tmp_path, tools):
    (tmp_path / "rows.jsonl").write_text(GOOD)
    (tmp_path / "tools.json").write_bytes(tools)
    code, _, out, err = lint(tmp_path / "rows.jsonl", "--tools", tmp_path / "tools.json")
    assert code in (0, 1, 2) and (code == 2) == bool(err)
