"""The command line: exit codes, one message instead of a traceback, help that names every option."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fgkit
from fgkit import checks
from fgkit.cli import main as command_line, options as cli_options
from fgkit.errors import CheckFailed, FgkitError
from fgkit.evaluation import score_model, scores as evaluation
from fgkit.workflow import doctor, run as pipeline, summary

ROOT = Path(__file__).resolve().parents[2]
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
BAD = GOOD.replace("change_background_color", "change_background_colour")


@pytest.fixture
def main(capsys):
    """Run one command; gives (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = command_line.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD)
    return path


# ---- help


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "run",
            [
                "--output",
                "--base",
                "--model",
                "--data",
                "--eval",
                "--tools",
                "-p NAME VALUE",
                "-f FILE, --parameters FILE",
            ],
        ),
        ("evaluate", ["path", "--data", "--tools", "--json", "--style"]),
        (
            "lint",
            ["DATA", "--eval", "--tools", "--format", "--base", "--max-length", "--json", "--plot"],
        ),
        ("doctor", ["--step", "--output"]),
        ("chat", ["BUNDLE", "question", "--tools"]),
    ],
)
def test_help_of_each_command(command, options, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    described = text[
        text.index("positional arguments:" if "positional arguments:" in text else "options:") :
    ]
    for option in (
        *options,
        "--debug",
        f"example: python -m fgkit {command}",
        "0 fine; 1 a check found problems; 2 could not run",
    ):
        assert option in described


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(
        f"\n    {command} " in text for command in ("run", "evaluate", "lint", "doctor", "chat")
    )


@pytest.mark.parametrize(
    "arguments", [[], ["runn"], ["lint"], ["run", "--outptu", "x"], ["run", "-p", "seed"]]
)
def test_a_command_line_that_is_none_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m fgkit" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--version"])
    assert capsys.readouterr().out == f"fgkit {fgkit.__version__}\n"


# ---- doctor


def test_doctor_exit_code_is_the_checks_verdict(main, monkeypatch):
    asked = []

    def check_environment(step, folder):
        asked.append((step, folder))
        return found

    monkeypatch.setattr(doctor, "check_environment", check_environment)
    found = [checks.Check(1, "Python", "pass", "3.12"), checks.Check(2, "GPU", "skipped", "none")]
    code, out, _ = main("doctor", "--step", "to_task", "--output", "there")
    assert code == 0 and "everything is there" in out and asked == [("to_task", "there")]
    found = [*found, checks.Check(3, "disk", "fail", "1 GB free.", "Free some.")]
    code, out, _ = main("doctor")
    assert (
        code == 1
        and "1 of 3 checks failed" in out
        and "-> Free some." in out
        and asked[1] == ("all", ".")
    )


def test_doctor_here(main):
    code, out, _ = main("doctor", "--step", "to_task")
    assert "Python" in out and code == (1 if " fail " in out else 0)
    code, out, err = main("doctor", "--step", "nonsense")
    assert (code, out) == (
        2,
        "",
    ) and "step is 'nonsense', expected one of all, finetune, to_tflite, to_task" in err


# ---- evaluate and chat


def refused(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    (tmp_path / "model.bin").write_text("x")
    (tmp_path / "cut.task").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "cut.litertlm").write_bytes(b"nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text("{}")
    return {
        "missing": (tmp_path / "none.task", "no such model folder or bundle"),
        "suffix": (tmp_path / "model.bin", "expected a model folder, a .task or a .litertlm"),
        "task": (tmp_path / "cut.task", "is no readable .task archive"),
        "litertlm": (tmp_path / "cut.litertlm", "is no .litertlm"),
        "folder": (
            tmp_path / "folder",
            "not a complete model: generation_config.json is missing; model.safetensors is missing",
        ),
    }


@pytest.mark.parametrize("case", ["missing", "suffix", "task", "litertlm", "folder"])
def test_evaluate_refuses_what_is_no_model(main, tmp_path, rows, case, monkeypatch):
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    path, message = refused(tmp_path)[case]
    code, _, err = main("evaluate", path, "--data", rows, "--json", tmp_path / "out.json")
    assert code == 2 and err.startswith(f"fgkit: {path}: ") and message in err
    assert not (tmp_path / "out.json").exists()


def test_evaluate_refuses_bad_rows_and_an_empty_file(main, tmp_path, rows):
    (tmp_path / "model").mkdir()
    rows.write_text(BAD)
    assert main("evaluate", tmp_path / "model", "--data", rows)[0] == 2
    rows.write_text("")
    assert main("evaluate", tmp_path / "model", "--data", rows)[0] == 2
    code, _, err = main("evaluate", tmp_path / "model", "--data", tmp_path / "none.jsonl")
    assert code == 2 and "none.jsonl" in err


def test_evaluate_hands_rows_and_style_on_and_writes_the_score(main, tmp_path, rows, monkeypatch):
    seen = {}
    score = {
        "n": 1,
        "parse_rate": 1.0,
        "tool_accuracy": 1.0,
        "exact_match": 0.5,
        "per_tool": {"change_background_color": {"n": 1, "tool_accuracy": 1.0, "exact_match": 0.5}},
    }

    def score_file(path, rows, style, constrained):
        seen.update(path=path, rows=rows, style=style, constrained=constrained)
        return score

    monkeypatch.setattr(score_model, "score_file", score_file)
    (tmp_path / "x.litertlm").write_bytes(b"LITERTLM")
    code, out, _ = main(
        "evaluate",
        tmp_path / "x.litertlm",
        "--data",
        rows,
        "--style",
        "template",
        "--json",
        tmp_path / "o.json",
    )
    assert code == 0 and re.search(r"^\| exact match +\| +50\.0% \|$", out, re.M)
    assert json.loads((tmp_path / "o.json").read_text()) == score
    assert seen["path"] == tmp_path / "x.litertlm" and seen["style"] == "template"
    assert [row.user_content for row in seen["rows"].held_out] == ["make it red"] and len(
        seen["rows"].tools
    ) == 3
    assert not seen["constrained"]
    assert (
        main("evaluate", tmp_path / "x.litertlm", "--constrained")[0] == 0
    )  # without --data: the example's held-out rows
    assert len(seen["rows"].held_out) >= 150 and seen["constrained"]
    assert main("evaluate", tmp_path, "--constrained")[::2] == (
        2,
        f"fgkit: {tmp_path}: expected a .litertlm.\n",
    )


def test_evaluate_against_another_score(main, tmp_path, rows, monkeypatch):
    from fgkit.prompts import completion

    right, asked = [], []

    def score_file(path, found, style, constrained):
        asked.append(path)
        return evaluation.score(
            found.held_out, [completion(row.calls) if right else "no" for row in found.held_out]
        )

    monkeypatch.setattr(score_model, "score_file", score_file)
    (tmp_path / "x.task").write_bytes(b"task")
    assert (
        main("evaluate", tmp_path / "x.task", "--data", rows, "--json", tmp_path / "old.json")[0]
        == 0
    )
    right.append(True)
    code, out, _ = main(
        "evaluate",
        tmp_path / "x.task",
        "--data",
        rows,
        "--against",
        tmp_path / "old.json",
        "--json",
        tmp_path / "new.json",
        "--report",
        tmp_path / "report",
    )
    assert code == 0 and re.search(
        r"^\| exact match +\| +0\.0% \(0–100\) \| 100\.0% \(0–100\) \|$", out, re.M
    )
    assert re.search(r"^\| points gained +\| +x\.task - old\.json \|$", out, re.M)
    assert "tool gained: line 1 'make it red': old.json 'no', x.task" in out
    found = json.loads((tmp_path / "new.json").read_text())
    assert (
        found["exact_match"] == 1.0
        and found["against"]["differences"]["exact_match"]["difference"] == 1.0
    )
    assert [row["change"] for row in found["against"]["changed_rows"]] == ["tool gained"]
    assert (tmp_path / "report" / "scores.md").exists() and str(
        tmp_path / "report" / "confusion.png"
    ) in out
    # its own output is read back, other rows and other files are refused before the model is asked
    assert (
        main("evaluate", tmp_path / "x.task", "--data", rows, "--against", tmp_path / "new.json")[0]
        == 0
    )
    asked.clear()
    code, _, err = main("evaluate", tmp_path / "x.task", "--against", tmp_path / "old.json")
    assert code == 2 and "different rows (1 and 156)" in err
    code, _, err = main("evaluate", tmp_path / "x.task", "--data", rows, "--against", rows)
    assert code == 2 and str(rows) in err and asked == []


def test_a_format_holds_for_evaluate_lint_and_run(main, tmp_path, rows, monkeypatch):
    (tmp_path / "rows.csv").write_text(
        'prompt,tool,arguments\nmake it red,change_background_color,"{""color"": ""red""}"\n'
    )
    seen = []
    monkeypatch.setattr(
        score_model,
        "score_file",
        lambda path, rows, **_: (
            seen.append(rows) or evaluation.score(rows.held_out, ["no"] * len(rows.held_out))
        ),
    )
    (tmp_path / "x.litertlm").write_bytes(b"LITERTLM")
    assert main("evaluate", tmp_path / "x.litertlm", "--data", tmp_path / "rows.csv")[0] == 0
    assert seen[0].held_out[0].user_content == "make it red" and seen[0].held_out[0].line == 2
    for command in (("evaluate", tmp_path / "x.litertlm", "--data"), ("lint",)):
        code, out, err = main(*command, rows, "--format", "messages")
        assert code > 0 and "has no 'messages', expected the keys messages" in out + err
    monkeypatch.setattr(
        pipeline, "run", lambda parameters: seen.append(parameters) or summary.read(tmp_path)
    )
    assert main("run", "--data", rows, "--format", "guide", "--output", tmp_path)[0] == 0
    assert seen[1]["data_format"] == "guide"


@pytest.mark.parametrize("case", ["missing", "suffix", "task", "litertlm", "folder"])
def test_chat_refuses_what_is_no_bundle(main, tmp_path, case, monkeypatch):
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    path = refused(tmp_path)[case][0]
    code, _, err = main("chat", path, "make it red")
    assert code == 2 and str(path) in err


# ---- run


@pytest.fixture
def parameters(monkeypatch, tmp_path):
    """What `run` gives the pipeline, which itself is not started."""
    seen = {}
    monkeypatch.setattr(
        pipeline, "run", lambda values: seen.update(values) or summary.read(tmp_path)
    )
    return seen


def test_run_takes_the_parameter_file_of_the_second_example(main, parameters, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, _ = main("run", "-f", "notebooks/params/home.yaml")
    assert code == 0 and "everything is in" in out and "run_home" in out
    assert parameters == {
        "output": "run_home",
        "data": "data/home/training_data.jsonl",
        "eval_data": "data/home/eval_data.jsonl",
        "tools": "data/home/tools.py",
        "name": "functiongemma-home",
        "profile": "google",
    }


def test_options_go_before_the_parameter_file(main, parameters, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("output: a\nname: '5'\nlearning_rate: 2e-5\nnum_train_epochs: 3\nseed: 1\n")
    assert (
        main("run", "--parameters", path, "--output", tmp_path, "-p", "num_train_epochs", "2")[0]
        == 0
    )
    assert parameters == {
        "output": str(tmp_path),
        "name": "5",
        "learning_rate": 2e-5,
        "num_train_epochs": 2,
        "seed": 1,
    }, "YAML itself reads 2e-5 as text"
    parameters.clear()
    path.write_text("# nothing yet\n")
    assert main("run", "-f", path)[0] == 0 and parameters == {}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"learning_rat: 1", "parameter 'learning_rat' does not exist"),
        (b"learning_rat: 1", "did you mean 'learning_rate'"),
        (b"seed: [1, 2]", "seed"),
        (b"name: 2026-01-01", "name"),
        (b"seed: 1\nname: x\nseed: 2\n", "my.yaml:3: 'seed' stands there twice"),
        (b"seed: 1\n5: x\n", "my.yaml:2: the name is '5'"),
        (b"- seed", "found list, expected a mapping"),
        (b"just text", "found str, expected a mapping"),
        (b"seed: 1\nname: [\n", "my.yaml:3: no YAML"),
        (b"name: !!python/object/apply:os.getcwd []", "my.yaml:1: no YAML"),
        (b"name: 2026-06-31", "no YAML"),
        (b"name: \xff", "my.yaml:1: is not UTF-8"),
        (b"? [a]\n: 1", "no YAML"),
        (b"name: " + 3000 * b"[", "no YAML"),
    ],
)
def test_a_bad_parameter_file_is_refused_before_anything(
    main, tmp_path, content, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_bytes(content)
    code, out, err = main("run", "-f", "my.yaml")
    assert (code, out) == (2, "") and message in err and err.startswith("fgkit: ")
    assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"], "nothing is written"


def test_a_parameter_file_that_is_not_there_is_named(main, tmp_path):
    code, _, err = main("run", "-f", tmp_path / "none.yaml")
    assert code == 2 and f"{tmp_path / 'none.yaml'}: cannot be read: No such file" in err


def test_run_refuses_bad_parameters_before_anything(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = main("run", "-p", "learning_rat", "1e-5", "-p", "precision", "fp16")
    assert (code, out) == (2, "")
    assert (
        "parameter 'learning_rat' does not exist" in err and "did you mean 'learning_rate'" in err
    )
    assert "precision is 'fp16'" in err
    assert list(tmp_path.iterdir()) == []


def test_run_refuses_model_and_base_together(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = main("run", "--model", tmp_path, "--base", "offline")
    assert code == 2 and "--model" in err and "--base" in err and "give one of them" in err


def test_run_hands_options_on_and_prints_the_table(main, tmp_path, monkeypatch):
    seen = {}
    summary = {
        "base": None,
        "tuned": None,
        "task": None,
        "litertlm": None,
        "speed": {},
        "gate": {"passed": True, "lines": ["gate passed on 2 rows"]},
        "files": {"x.task": {"bytes": 284_600_000}},
        "seconds": {"finetune": 90.0},
    }
    monkeypatch.setattr(pipeline, "run", lambda parameters: seen.update(parameters) or summary)
    code, out, _ = main(
        "run",
        "--output",
        tmp_path,
        "--base",
        "offline",
        "--data",
        "d",
        "--eval",
        "e",
        "--tools",
        "t",
        "-p",
        "num_train_epochs",
        "2",
        "-p",
        "learning_rate",
        "2e-5",
        "-p",
        "precision",
        "none",
        "-p",
        "profile",
        "google",
    )
    assert code == 0
    assert seen == {
        "output": str(tmp_path),
        "base": "offline",
        "data": "d",
        "eval_data": "e",
        "tools": "t",
        "num_train_epochs": 2,
        "learning_rate": 2e-5,
        "precision": None,
        "profile": "google",
    }
    assert type(seen["num_train_epochs"]) is int
    for part in (
        "gate passed on 2 rows",
        "x.task  284.6 MB",
        "finetune 1.5 min",
        f"everything is in {tmp_path}",
    ):
        assert part in out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FgkitError("model: no. Do this."), 2, "fgkit: model: no. Do this.\n"),
        (CheckFailed("gate FAILED"), 1, "fgkit: gate FAILED\n"),
        (
            ModuleNotFoundError("No module named 'trl'", name="trl"),
            2,
            "fgkit: the package 'trl' is not installed. `python -m fgkit doctor` says what is missing.\n",
        ),
        (KeyboardInterrupt(), 130, "\nfgkit: stopped. The same command goes on where it can.\n"),
    ],
)
def test_exit_codes_of_errors(main, capsys, monkeypatch, error, code, message):
    def fail(_):
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    assert main("run") == (code, "", message)
    if isinstance(error, Exception):  # the traceback comes on top; message and code stay
        assert command_line.main(["run", "--debug"]) == code
        text = capsys.readouterr().err
        assert text.startswith("Traceback (most recent call last):") and text.endswith(message)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("summary"), "fgkit: this should not happen: KeyError: 'summary' Run the command"),
        (RecursionError("maximum"), "fgkit: the input is nested too deeply"),
        (MemoryError(), "fgkit: there is not enough memory"),
    ],
)
def test_a_defect_is_one_message_and_a_traceback_only_with_debug(
    monkeypatch, capsys, error, message
):
    def fails(_):
        raise error

    monkeypatch.setattr(pipeline, "run", fails)
    assert command_line.main(["run"]) == 2
    text = capsys.readouterr().err
    assert text.startswith(message) and "Traceback" not in text
    assert command_line.main(["run", "--debug"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("Traceback") and message in text


def test_words_of_a_question_may_stand_behind_options(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("fgkit.cli.chat.chat", lambda *given: asked.append(given) or 0)
    assert command_line.main(["chat", "a.task", "--tools", "t.py", "make", "it", "red"]) == 0
    assert command_line.main(["chat", "a.task", "make", "--tools", "t.py", "it", "red"]) == 0
    assert [given[2] for given in asked] == [["make", "it", "red"]] * 2
    for wrong in (["chat", "a.task", "--toools", "t.py"], ["doctor", "more"]):
        with pytest.raises(SystemExit) as stop:
            command_line.main(wrong)
        assert stop.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err


def test_an_empty_parameter_file_name_is_refused(capsys):
    assert command_line.main(["run", "-f", ""]) == 2
    assert "Give the path of a parameter file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("2e-5", 2e-5),
        ("none", None),
        ("None", None),
        ("True", True),
        ("false", False),
        ("google", "google"),
        ("-1", -1),
        ("", ""),
        ("my/folder", "my/folder"),
    ],
)
def test_values_as_typed(text, value):
    found = cli_options.literal(text)
    assert found == value and type(found) is type(value)


# ---- as a process


@pytest.mark.slow
@pytest.mark.parametrize("debug", [False, True])
def test_python_m_fgkit_from_another_folder(tmp_path, debug):
    done = subprocess.run(
        [sys.executable, "-m", "fgkit", "lint", "none.jsonl", *["--debug"] * debug],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("fgkit: none.jsonl: ")
    assert ("Traceback" in done.stderr) is ("DataError: none.jsonl: " in done.stderr) is debug
    assert debug or len(done.stderr.splitlines()) == 1
