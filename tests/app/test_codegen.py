"""`fgkit glue`: what it reads, what it writes, and that nothing of the user's is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fgkit import config, files
from fgkit.app import codegen, generated_files
from fgkit.app.model_source import Source, read_source
from fgkit.bundles import create as bundle, read as bundle_files
from fgkit.cli import main as command_line
from fgkit.dataset import rows as run_rows, splits
from fgkit.errors import FgkitError, ModelError, ToolError
from fgkit.prompts import PromptSetup
from fgkit.tools import load_tools, tools_hash

DATA = Path(__file__).parents[2] / "data"
TOOLS = load_tools(DATA / "home" / "tools.py")
FUNCTIONS = "dart/lib/functions/functions.dart"
MINE = ("dart/lib/functions/my_functions.dart", "kotlin/src/main/kotlin/functions/MyFunctions.kt")


@pytest.fixture
def run(tmp_path) -> Path:
    """A run folder as finetune leaves it, without weights."""
    folder = tmp_path / "run"
    files.write_json(
        folder / "model" / "fgkit.json",
        {
            "tools": TOOLS,
            "tools_hash": tools_hash(TOOLS),
            "style": "flutter_gemma,template",
            "system_message": "",
            "settings": {
                "data": str(DATA / "home/training_data.jsonl"),
                "eval_data": str(DATA / "home/eval_data.jsonl"),
                "seed": 42,
                "data_format": "auto",
                "tools": str(DATA / "home/tools.py"),
            },
        },
    )
    return folder


def change(folder: Path, **facts: object) -> None:
    record = folder / "model" / "fgkit.json"
    files.write_json(record, files.read_json(record) | facts)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def made(folder: Path, **rest: object) -> list[Path]:
    return codegen.make(
        read_source(DATA / "tools.py", data=str(DATA / "eval_data.jsonl")),
        folder,
        count=5,
        **rest,
    )


def test_a_run_tells_tools_style_and_rows(run):
    for path in (run, run / "model"):
        source = read_source(path)
        assert (
            source.setup == PromptSetup(TOOLS, styles=("flutter_gemma",)) and len(source.rows) > 200
        )
    assert read_source(run, style="template").setup.style == "template"


def test_a_run_without_held_out_file_splits_them_off_as_the_run_did(run):
    change(
        run, settings={"data": str(DATA / "home/training_data.jsonl"), "eval_data": "", "seed": 7}
    )
    wanted = splits.load_data(
        DATA / "home/training_data.jsonl", "", TOOLS, seed=7, format="auto"
    ).held_out
    assert read_source(run).rows == wanted and 0 < len(wanted) < 745


def test_rows_that_are_gone_are_no_vectors_and_said(run):
    change(run, settings={"data": "gone.jsonl", "eval_data": "", "seed": 7})
    source = read_source(run)
    assert source.rows == () and "no rows" in codegen.notes(source)[-1]


def test_a_task_tells_its_style_and_finds_its_tools_beside_it(run, monkeypatch):
    sidecar = {"style": "template", "tools_hash": tools_hash(TOOLS), "system_message": "Be brief."}
    monkeypatch.setattr(
        bundle_files,
        "read_bundle",
        lambda path: bundle_files.BundleInfo(path, bundle.PROFILES["guide"], {}, sidecar=sidecar),
    )
    (run / "app.task").touch()
    (run / "app.task.json").touch()
    for path in (run / "app.task", run / "app.task.json"):
        source = read_source(path)
        assert source.setup == PromptSetup(TOOLS, "Be brief.", ("template",))
    files.write_json(run / "model" / "fgkit.json", {"tools": TOOLS[:1], "tools_hash": "another"})
    with pytest.raises(
        FgkitError, match="does not say which tools it was trained with. Give the file"
    ):
        read_source(run / "app.task")
    assert read_source(run / "app.task", tools=str(DATA / "home/tools.py")).setup.tools == TOOLS
    with pytest.raises(ModelError, match="was trained with other tools than"):
        read_source(run / "app.task", tools=str(DATA / "tools.py"))
    monkeypatch.setattr(
        bundle_files,
        "read_bundle",
        lambda path: bundle_files.BundleInfo(path, bundle.PROFILES["guide"], {}),
    )
    with pytest.raises(FgkitError, match="app.task.json: is not there"):
        read_source(run / "app.task")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", "is not there. Give a run folder"),
        (".", "is neither a run folder nor a model folder"),
        ("some.txt", "expected a run folder, a model folder, a .task or a tools file"),
    ],
)
def test_what_tells_nothing_is_refused(tmp_path, path, message):
    (tmp_path / "some.txt").touch()
    with pytest.raises(FgkitError, match=message):
        read_source(tmp_path / path)


def test_wrong_tools_in_a_model_folder_are_refused(run):
    change(run, tools=[TOOLS[0], TOOLS[0]], tools_hash=None)
    with pytest.raises(ToolError, match="T203"):
        read_source(run)
    change(run, tools=[])
    with pytest.raises(FgkitError, match="every row of its training brought its own"):
        read_source(run)
    with pytest.raises(ModelError, match="'litert_lm' is asked for"):
        change(run, tools=TOOLS)
        read_source(run, style="litert_lm")


def test_everything_is_written_and_the_same_again(tmp_path):
    paths = made(tmp_path / "one")
    assert len(paths) == 13 and all(path.is_file() for path in paths)
    made(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert json.loads((tmp_path / "one/tools.json").read_text()) == load_tools(DATA / "tools.py")
    golden = (tmp_path / "one/golden.json").read_bytes()
    assert len(json.loads(golden)["vectors"]) == 5
    assert golden == (tmp_path / "one/dart/test/golden.json").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}
    made(tmp_path / "one")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("*")}


def test_other_tools_replace_what_was_generated_and_keep_what_is_the_users(tmp_path):
    made(tmp_path)
    for name in MINE:
        (tmp_path / name).write_text("mine")
    codegen.make(read_source(DATA / "home/tools.py"), tmp_path)
    assert "waterGarden" in (tmp_path / FUNCTIONS).read_text()
    assert [(tmp_path / name).read_text() for name in MINE] == ["mine", "mine"]


@pytest.mark.parametrize("record", ["kept", "lost", "[]", '{"files": {"tools.json": 1}}'])
def test_a_changed_file_stops_everything_before_a_byte_is_written(tmp_path, record):
    made(tmp_path)
    (tmp_path / FUNCTIONS).write_text("changed by hand")
    (tmp_path / "tools.json").write_bytes(b"\xff")
    if record == "lost":
        (tmp_path / generated_files.RECORD).unlink()
    elif record != "kept":
        (tmp_path / generated_files.RECORD).write_text(record)
    before = contents(tmp_path)
    with pytest.raises(FgkitError) as caught:
        codegen.make(read_source(DATA / "home/tools.py"), tmp_path)
    assert contents(tmp_path) == before
    lines = str(caught.value).splitlines()
    assert lines[:-1].count(f"{tmp_path / FUNCTIONS}: is not as fgkit glue wrote it") == 1
    assert (
        f"{tmp_path / 'tools.json'}: is not as fgkit glue wrote it" in lines
        and "Nothing was written" in lines[-1]
    )


def test_a_stop_half_way_is_no_change_of_the_users(tmp_path, monkeypatch):
    made(tmp_path)
    write, left = files.write_text, iter(range(4))

    def stopping(path, text):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return write(path, text)

    home = read_source(DATA / "home/tools.py")
    monkeypatch.setattr(files, "write_text", stopping)
    with pytest.raises(KeyboardInterrupt):
        codegen.make(home, tmp_path)
    monkeypatch.undo()
    codegen.make(home, tmp_path)
    fresh = tmp_path / "fresh"
    codegen.make(home, fresh)
    assert {
        name: text
        for name, text in contents(tmp_path).items()
        if not name.startswith("fresh") and name not in MINE
    } == {name: text for name, text in contents(fresh).items() if name not in MINE}


def test_straight_into_a_flutter_project_and_a_gradle_module(tmp_path):
    paths = made(
        tmp_path / "unused",
        dart=tmp_path / "my_app",
        kotlin=tmp_path / "app",
        kotlin_package="com.example.home",
    )
    assert not (tmp_path / "unused").exists() and len(paths) == 11
    assert (tmp_path / "my_app/lib/functions/functions.dart").is_file()
    functions = tmp_path / "app/src/main/kotlin/com/example/home/Functions.kt"
    assert functions.read_text().splitlines()[2] == "package com.example.home"


@pytest.mark.parametrize(
    "wrong",
    [
        {"dart_package": "a'; import 'x"},
        {"kotlin_package": "a b"},
        {"kotlin_package": "../x"},
        {"kotlin_package": ""},
        {"kotlin_package": "com.in.app"},
        {"dart_package": "a\n"},
    ],
)
def test_packages_are_names(tmp_path, wrong):
    with pytest.raises(FgkitError, match="packages are"):
        made(tmp_path / "app", **wrong)
    assert not (tmp_path / "app").exists()


def test_a_run_gets_its_app_and_goes_on_where_it_cannot(run):
    settings = config.TaskConfig(output=str(run))
    rows = run_rows.RunData(TOOLS, (), read_source(run).rows)
    assert codegen.make_for_run(
        settings.folder, settings.model_folder, rows, name=settings.name
    ) == str(run / "app")
    assert json.loads((run / "app/golden.json").read_text())["style"] == "flutter_gemma"
    (run / "app" / FUNCTIONS).write_text("changed by hand")
    assert codegen.make_for_run(
        settings.folder, settings.model_folder, rows, name=settings.name
    ).startswith(f"not written: {run / 'app' / FUNCTIONS}: is not as")
    assert codegen.make_for_run(
        settings.folder, settings.model_folder, run_rows.RunData([], (), rows.held_out), name="x"
    ).startswith("not written: every row brings")


def test_notes_name_other_prompts_and_what_is_not_checked(tmp_path):
    tools = json.loads(json.dumps(TOOLS[:1]))
    tools[0]["function"]["parameters"]["properties"]["on"]["format"] = "x"
    found = codegen.notes(Source("x", PromptSetup(tools, styles=("flutter_gemma",)), ()))
    assert len(found) == 3
    assert found[0].startswith(
        "LiteRT-LM's conversation interface writes prompts of style litert_lm"
    )
    assert found[1] == "not checked by the generated code: switch_light.on: format"


def test_the_command(tmp_path, capsys):
    out = tmp_path / "app"
    assert (
        command_line.main(
            [
                "glue",
                str(DATA / "home/tools.py"),
                "--output",
                str(out),
                "--rows",
                "3",
                "--data",
                str(DATA / "home/eval_data.jsonl"),
                "--style",
                "litert_lm",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert str(out / FUNCTIONS) in printed
    assert sum(line.startswith("note: flutter_gemma writes") for line in printed) == 1
    assert len(json.loads((out / "golden.json").read_text())["vectors"]) == 3
    (out / FUNCTIONS).write_text("x")
    assert command_line.main(["glue", str(DATA / "home/tools.py"), "--output", str(out)]) == 2
    assert "Nothing was written" in capsys.readouterr().err
    assert (
        command_line.main(
            ["glue", str(DATA / "home/tools.py"), "--output", str(out), "--rows", "-1"]
        )
        == 2
    )
