"""A folder of somebody's files: each name that fgkit writes is taken by a user's file, which every command leaves intact."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import finished_run
import pytest

from fgkit import atomic_files, files, licence, ownership
from fgkit.app import codegen, generated_files
from fgkit.cli import main as command_line
from fgkit.cli.init import FILES as STARTER
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.errors import FgkitError
from fgkit.evaluation import report, score_model
from fgkit.training import checkpoints
from fgkit.ui import colab
from fgkit.workflow import (
    claims,
    locks,
    manifest,
    quantization_study as study,
    run as pipeline,
    stages,
    summary,
)

NAME = "functiongemma-flutter"
ROW = '{"user_content": "go", "tool_name": "go", "tool_arguments": "{}"}\n'
# As they were found to be lost: names that look like those of fgkit's temporary or old files.
LEFT_ALONE = (
    ".movie.mkv.12.part",
    ".notes.2024.old",
    ".summary.json.12-0123abcd.part",
    ".model.12-0123abcd.old/thesis.txt",
    ".work.12-0123abcd.part/data",
    ".tflite-mine/network.tflite",
    "base-512/mine.txt",
    "app/lib/main.dart",
    "variants/mine.task",
    "thesis.txt",
    "SHA256SUMS",
    "model.old/thesis.txt",
    f"{NAME}2_q8.tflite",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def nothing_works(monkeypatch) -> None:
    """Fail where the work of a command begins."""

    def work(*_, **__):
        pytest.fail("the work began")

    monkeypatch.setattr(pipeline, "_execute", work)
    for name in ("score_folder", "score_file"):
        monkeypatch.setattr(score_model, name, work)
    monkeypatch.setattr(study, "_study", work)


def put(folder: Path, *names: str) -> None:
    """Write a user's file with random bytes under each name, with an old time and a mode of its own."""
    dice = random.Random(" ".join(names))
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(100))
        path.chmod(0o640)
        os.utime(path, (1e9, 1e9))


def everything(folder: Path) -> dict[str, tuple]:
    """What must not change: names, kinds, modes, times and bytes of all that a folder holds."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None,
        )
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture
def attack(capsys):
    """Run a command over somebody's files: it must end with one message, and leave everything as it was."""

    def run(folder: Path, *command: object, code: int = 2) -> str:
        before = everything(folder)
        assert command_line.main([str(word) for word in command]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err and "should not happen" not in err
        assert everything(folder) == before
        return err

    return run


def inputs(folder: Path) -> list[str]:
    """Options that name a run's rows and tools, written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text(ROW)
    (folder / "tools.json").write_text(json.dumps(finished_run.TOOLS))
    return ["--data", f"{folder}/rows.jsonl", "--tools", f"{folder}/tools.json"]


def names_of_a_run() -> list[str]:
    """Every name that a run writes, by the code's own lists."""
    output = Path("/none")
    plans = pipeline.plan({"output": str(output), "vocab_size": 2048})
    written = [path for settings in plans.values() for path in claims.written_by(settings)]
    patterns = [pattern for stage in manifest.STEPS for pattern in manifest._OUTPUTS[stage]]
    return sorted(
        {
            *(str(path.relative_to(output)) for path in written),
            *(pattern.format(name=NAME).replace("*", "mine") for pattern in patterns),
            *(f"{stage}.ipynb" for stage in manifest.NOTEBOOKS),
            *claims._SHARED,
            locks.LOCK,
            locks.STEP_LOCK,
            ownership.RECORD,
            f"{ownership.RECORD}.part",
            licence.NOTICE,
            "model/thesis.txt",
            "checkpoints/mine/best.pt",
            f"{NAME}_q8_ekv1024.tflite",
        }
        - {"model"}
    )


def test_the_names_of_a_run_are_all_known() -> None:
    assert len(names_of_a_run()) >= 24
    assert {"summary.json", "manifest.json", "report.json", "loss.png"} <= {*names_of_a_run()}


@pytest.mark.parametrize("name", [*names_of_a_run(), "model"])
def test_a_run_refuses_before_any_work(tmp_path, attack, name) -> None:
    options = inputs(tmp_path / "in")
    put(tmp_path / "proj", name, *LEFT_ALONE)
    said = attack(
        tmp_path, "run", *options, "-p", "vocab_size", 2048, "--output", tmp_path / "proj"
    )
    assert f"{tmp_path / 'proj' / name.removesuffix('/mine/best.pt')}: " in said


@pytest.mark.parametrize("command", ["run", "finetune"])
def test_a_run_lists_everything_in_the_way(tmp_path, attack, command) -> None:
    options = inputs(tmp_path / "in")
    names = ["model/thesis.txt", "report.json", "loss.png", "summary.json", ".lock", "scores.png"]
    put(tmp_path / "proj", "checkpoints/mine/best.pt", *names)
    said = attack(tmp_path, command, *options, "--output", tmp_path / "proj")
    assert all(f"proj/{name}: was not written by fgkit" in said for name in names)
    assert "proj/checkpoints: was not made by fgkit" in said
    assert said.rstrip().endswith(atomic_files.NOTHING_CHANGED)


def step_calls():
    """Each stage's steps as a notebook calls them; the other arguments are not reached."""
    for stage, config in (
        ("finetune", FinetuneConfig),
        ("to_tflite", TfliteConfig),
        ("to_task", TaskConfig),
    ):
        for step in ("report_data", *manifest.STEPS[stage]):
            if step != "report_data" or stage == "finetune":
                yield pytest.param(config, step, id=f"{stage}-{step}")


@pytest.mark.parametrize(("config", "step"), [*step_calls()])
@pytest.mark.parametrize("without", [(), (locks.LOCK, locks.STEP_LOCK, ownership.RECORD)])
def test_a_step_by_hand_refuses_before_any_work(tmp_path, config, step, without) -> None:
    names = [name for name in names_of_a_run() if not name.startswith(without or ("/",))]
    put(tmp_path / "proj", *names, *LEFT_ALONE)
    count = {"score_tuned": 1, "finetune": 2, "score_base": 2, "compare_first_token": 2}
    before = everything(tmp_path)
    with pytest.raises(FgkitError):
        getattr(stages, step)(config(output=str(tmp_path / "proj")), *[None] * count.get(step, 1))
    after = everything(tmp_path)
    assert {name: after.get(name) for name in before if name != "proj"} == {
        name: kept for name, kept in before.items() if name != "proj"
    }
    assert {*after} - {*before} <= {"proj/.lock"}


class Stages:
    """Stands in for the notebooks: writes what each leaves, as the stages do, without models."""

    def __call__(self, stage, folder, values) -> None:
        settings = pipeline.NOTEBOOKS[stage](**values)
        if stage == "finetune":
            with atomic_files.replacing(folder / "model") as part:
                part.mkdir()
                (part / "model.safetensors").write_text(str(values["seed"]))
            for name in ("report.json", "report.png", "loss.png"):
                files.write_text(folder / name, str(values["seed"]))
            checkpoints.checkpoint_folder(folder, {"a": values["seed"]}).mkdir()
            checkpoints.remove(folder)
        elif stage == "to_tflite":
            for ending in (".tflite", ".tflite.json"):
                files.write_text(folder / f"{NAME}_q8_ekv1024{ending}", str(values["seed"]))
        else:
            for path in claims.written_by(settings):
                files.write_text(path, str(values["seed"]))
        files.write_text(folder / f"{stage}.ipynb", "{}")


def test_a_run_beside_somebodys_files_leaves_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "_execute", Stages())
    put(tmp_path, *LEFT_ALONE)
    before = {
        name: kept for name, kept in everything(tmp_path).items() if "/" in name or name != "."
    }
    for seed in (1, 2):  # the second replaces what the first wrote
        pipeline.run({"output": str(tmp_path), "seed": seed})
        after = everything(tmp_path)
        assert {name: after.get(name) for name in before} == before
        assert (tmp_path / f"{NAME}.task").read_text() == str(seed)
    put(tmp_path, "model/thesis.txt")
    before = everything(tmp_path / "model")
    with pytest.raises(FgkitError, match="model/thesis.txt: was not written by fgkit"):
        pipeline.run({"output": str(tmp_path), "seed": 3})
    assert everything(tmp_path / "model") == before


def test_what_the_user_changed_since_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "_execute", Stages())
    pipeline.run({"output": str(tmp_path)})
    (tmp_path / "report.json").write_text("mine")
    with pytest.raises(FgkitError, match="report.json: was changed since fgkit wrote it"):
        pipeline.run({"output": str(tmp_path), "seed": 3})
    assert (tmp_path / "report.json").read_text() == "mine"


def test_a_file_that_appears_during_the_work_is_intact(tmp_path) -> None:
    ownership.mark(tmp_path)
    with (
        pytest.raises(FgkitError, match="loss.png: was not written by fgkit"),
        atomic_files.replacing(tmp_path / "loss.png") as part,
    ):
        part.write_text("ours")
        (tmp_path / "loss.png").write_text("mine")
    assert (tmp_path / "loss.png").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"loss.png", ownership.RECORD}


def test_a_checkpoint_of_somebody_else_stays(tmp_path) -> None:
    folder = checkpoints.checkpoint_folder(tmp_path, {"a": 1})
    put(folder, "checkpoint-mine/weights", "mine.txt")
    (folder / "checkpoint-7").symlink_to(tmp_path)
    (folder / "checkpoint-8").mkdir()
    put(tmp_path / "checkpoints", "mine/best.pt")
    assert checkpoints.newest_complete(folder) is None
    checkpoints.remove(tmp_path)
    kept = {str(path.relative_to(tmp_path / "checkpoints")) for path in folder.parent.rglob("*")}
    assert {f"{folder.name}/checkpoint-mine/weights", f"{folder.name}/mine.txt"} <= kept
    assert {"mine/best.pt", f"{folder.name}/checkpoint-7"} <= kept
    assert f"{folder.name}/checkpoint-8" not in kept


# ---- the examples of issue 17, each by name


def test_example_rows_in_the_model_folder(tmp_path, attack) -> None:
    inputs(tmp_path / "proj" / "model")
    said = attack(
        tmp_path,
        "run",
        "--data",
        f"{tmp_path}/proj/model/rows.jsonl",
        "--output",
        f"{tmp_path}/proj",
    )
    assert (
        "--data" in said and "lies where the run writes" in said and "rows.jsonl: was not" in said
    )


def test_example_rows_called_report(tmp_path, attack) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "report.json").write_text(ROW)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "proj" / "report.json")
    for data in ("proj/report.json", "link.jsonl"):
        said = attack(tmp_path, "run", "--data", tmp_path / data, "--output", tmp_path / "proj")
        assert f"--data {tmp_path / data}: lies where the run writes" in said


def test_example_notebooks_of_a_checkout(tmp_path, attack) -> None:
    shutil.copytree(pipeline.notebook_path("finetune").parent, tmp_path / "notebooks")
    said = attack(tmp_path, "run", "--output", tmp_path / "notebooks")
    assert all(f"{name}.ipynb: was not written" in said for name in manifest.NOTEBOOKS)


def test_example_a_network_with_the_name_of_the_run(tmp_path, attack) -> None:
    put(tmp_path / "D", f"{NAME}_mine.tflite", "model.safetensors")
    said = attack(tmp_path, "run", "--model", tmp_path / "D", "--output", tmp_path / "D")
    assert f"{NAME}_mine.tflite: was not written by fgkit" in said


def test_example_the_base_in_the_output(tmp_path, attack) -> None:
    put(tmp_path / "X" / "model", "model.safetensors")
    said = attack(tmp_path, "run", "--base", tmp_path / "X/model", "--output", tmp_path / "X")
    assert f"--base {tmp_path / 'X/model'}: lies where the run writes" in said


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("evaluate", "model", "--data", "e", "--json", "e"), "e"),
        (("evaluate", "model", "--data", "d", "--tools", "t", "--json", "t"), "t"),
        (("evaluate", "model", "--json", "model/new.json"), "model"),
        (("lint", "rows.jsonl", "--json", "rows.jsonl"), "rows.jsonl"),
        (("lint", "rows.jsonl", "--plot", "rows.jsonl"), "rows.jsonl"),
        (("lint", "rows.jsonl", "--eval", "e", "--json", "e"), "e"),
        (("lint", "rows.jsonl", "--json", "a", "--plot", "./a"), "a"),
        (("tools", "t.py", "--json", "t.py"), "t.py"),
        (("tools", "t.py", "--json", "link"), "link"),
        (("check", "x.task", "--json", "x.task"), "x.task"),
        (("check", "x.task", "--model", "model", "--json", "model/config.json"), "model"),
    ],
)
def test_example_an_output_that_is_an_input(tmp_path, attack, monkeypatch, command, name) -> None:
    put(tmp_path, "e", "d", "t", "rows.jsonl", "t.py", "x.task", "model/config.json")
    (tmp_path / "link").symlink_to("t.py")
    monkeypatch.chdir(tmp_path)
    said = attack(tmp_path, *command)
    assert name in said and ("is the input" in said or "lies in" in said or "is --json" in said)


@pytest.mark.parametrize("marked", [False, True])
def test_example_a_crafted_manifest(tmp_path, monkeypatch, marked) -> None:
    monkeypatch.setattr(pipeline, "_execute", Stages())
    home, folder = tmp_path / "home", tmp_path / "run"
    put(home, ".bashrc")
    put(folder, "thesis.txt", "deep/thesis.txt")
    (folder / "link").symlink_to(home)
    if marked:
        ownership.mark(folder)
    outputs = {
        name: files.sha256(folder / name)
        for name in ("link/.bashrc", "thesis.txt", "deep/thesis.txt")
    } | {"link": "0" * 64}
    files.write_json(
        folder / manifest.NAME,
        {stage: {"state": "done", "outputs": outputs} for stage in manifest.STEPS},
    )
    before = everything(home), everything(folder / "deep"), (folder / "thesis.txt").read_bytes()
    pipeline.run({"output": str(folder)})
    after = everything(home), everything(folder / "deep"), (folder / "thesis.txt").read_bytes()
    assert after == before and (folder / "link").is_symlink()


# ---- the other commands


@pytest.mark.parametrize("option", ["--json", *(path.name for path in report.paths("."))])
def test_evaluate_refuses_before_the_score(tmp_path, attack, option) -> None:
    options = inputs(tmp_path / "in")
    put(tmp_path, "model/model.safetensors", "out.json", f"report/{option}")
    named = ("--json", tmp_path / "out.json") if option == "--json" else ()
    named = named or ("--report", tmp_path / "report")
    said = attack(tmp_path, "evaluate", tmp_path / "model", *options, *named)
    assert "was not written by fgkit" in said


@pytest.mark.parametrize(
    "command",
    [
        ("check", "x.task", "--json"),
        ("lint", "in/rows.jsonl", "--json"),
        ("lint", "in/rows.jsonl", "--plot"),
        ("tools", "in/tools.json", "--json"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "link", "dangling", "folder", "below a file"])
def test_an_output_is_refused_before_the_work(tmp_path, attack, monkeypatch, command, kind) -> None:
    inputs(tmp_path / "in")
    put(tmp_path, "x.task", "mine", "folder/mine")
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    target = {"file": "mine", "below a file": "mine/out.json"}.get(kind, kind)
    assert attack(tmp_path, *command, target).count("\n") <= 2


def test_init_refuses_any_folder_with_files(tmp_path, attack) -> None:
    for name in (*STARTER, ".git/config"):
        put(tmp_path / name.replace("/", ""), name)
        assert "expected a new or empty folder" in attack(
            tmp_path, "init", tmp_path / name.replace("/", "")
        )


def names_of_glue(folder: Path) -> list[str]:
    inputs(folder / "in")
    command = ["glue", f"{folder}/in/tools.json", "--data", f"{folder}/in/rows.jsonl"]
    (folder / "in" / "rows.jsonl").write_text("")
    assert command_line.main([*command[:2], "--output", f"{folder}/names"]) == 0
    return sorted(
        str(path.relative_to(folder / "names"))
        for path in (folder / "names").rglob("*")
        if path.is_file()
    )


MINE = ("my_functions.dart", "myfunctions.kt")


def test_glue_refuses_each_name_and_writes_nothing(tmp_path, attack, monkeypatch) -> None:
    seen: list[dict] = []
    refuse = codegen.refuse_changed
    monkeypatch.setattr(
        codegen, "refuse_changed", lambda parts: seen.append(parts) or refuse(parts)
    )
    names = names_of_glue(tmp_path)
    assert len(names) > 12 and generated_files.RECORD in names
    # The user fills these two in, so they are left as they are.
    names = [name for name in names if Path(name).name.lower() not in MINE]
    for option, inner in (("--output", "."), ("--dart", "dart"), ("--kotlin", "kotlin")):
        output = tmp_path / f"app{option}"
        put(output, *names)
        said = attack(tmp_path, "glue", tmp_path / "in/tools.json", option, output / inner)
        inside = [name for name in names if inner in (".", Path(name).parts[0])]
        assert all(str(output / name) in said for name in inside)
    (parts,) = seen[0].values()
    for name in names:
        put(tmp_path / "one" / name.replace("/", "_"), name)
        before = everything(tmp_path / "one")
        with pytest.raises(FgkitError):
            refuse({tmp_path / "one" / name.replace("/", "_"): parts})
        assert everything(tmp_path / "one") == before


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "dangling"])
def test_glue_meets_no_plain_file(tmp_path, attack, kind) -> None:
    inputs(tmp_path / "in")
    output = tmp_path / "app"
    put(output, "tools.txt")
    target = output / "tools.json"
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        put(output, "tools.json/mine")
    else:
        target.symlink_to("tools.txt" if kind == "link" else "nowhere")
    assert str(target) in attack(tmp_path, "glue", tmp_path / "in/tools.json", "--output", output)


def test_glue_knows_its_files_on_another_machine(tmp_path, monkeypatch) -> None:
    names_of_glue(tmp_path)
    shutil.copytree(tmp_path / "names", tmp_path / "clone")
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "another cache"))
    tools = json.loads((tmp_path / "in" / "tools.json").read_text())[:1]
    (tmp_path / "in" / "tools.json").write_text(json.dumps(tools))
    glue = ["glue", f"{tmp_path}/in/tools.json", "--output", f"{tmp_path}/clone"]
    assert command_line.main(glue) == 0
    assert json.loads((tmp_path / "clone" / "tools.json").read_text()) == tools
    (tmp_path / "clone" / "tools.json").write_text("mine")
    assert command_line.main(glue) == 2 and (tmp_path / "clone/tools.json").read_text() == "mine"


def test_quantize_refuses_each_name_before_any_work(tmp_path, attack, monkeypatch) -> None:
    run = finished_run.make(tmp_path / "run")
    seen: list[Path] = []
    with monkeypatch.context() as patched:
        patched.setattr(claims, "require_no_problems", lambda *parts: seen.extend(parts[2]))
        study._require_free(study.settings_of(run), study.MENU)
    names = [path.relative_to(run) for path in seen if path != run / summary.NAME]
    (tmp_path / "tools.json").write_text(json.dumps(finished_run.TOOLS))
    assert len(names) > 12
    names = [*names, f"variants/{NAME}_f32_ekv512.tflite", "variants/NOTICE-GEMMA.txt"]
    for name in map(str, names):
        put(run, name)
        with pytest.raises(FgkitError, match=f"{name}: was not written by fgkit"):
            study.study(study.settings_of(run), None, study.MENU)
        (run / name).unlink()
    put(run, *map(str, names))
    said = attack(tmp_path, "quantize", run, "--tools", tmp_path / "tools.json")
    assert said.count(": was not written by fgkit") == 20 and "... and " in said
    shutil.rmtree(run / "variants")
    put(tmp_path, "elsewhere/mine")
    (run / "variants").symlink_to(tmp_path / "elsewhere")
    assert "variants: is a symbolic link" in attack(
        tmp_path, "quantize", run, "--tools", tmp_path / "tools.json"
    )


def test_publish_writes_nothing_here(tmp_path, attack) -> None:
    run = finished_run.make(tmp_path / "run")
    put(run, *(name for name in names_of_a_run() if not (run / name).exists()), *LEFT_ALONE)
    shutil.rmtree(run / "model.safetensors", ignore_errors=True)
    before = everything(tmp_path)
    command_line.main(["publish", str(run), "--repo", "me/mine", "--dry-run"])
    assert everything(tmp_path) == before


@pytest.mark.parametrize("direction", ["keep", "fetch"])
def test_colab_copies_over_nobodys_files(tmp_path, monkeypatch, direction) -> None:
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    monkeypatch.setattr(colab, "in_colab", lambda: True)
    drive, run = tmp_path / "drive/MyDrive/fgkit/run", tmp_path / "run"
    source, target = (run, drive) if direction == "keep" else (drive, run)
    ownership.mark(source)
    for name in ("summary.json", "new.txt", "deep/x.json"):
        files.write_text(source / name, "ours")
    put(target, "summary.json", "deep/x.json")
    drive.parent.mkdir(parents=True, exist_ok=True)
    before = everything(target)
    with pytest.raises(FgkitError, match=r"(?s)summary\.json: was not written.*x\.json: was not"):
        getattr(colab, direction)(run)
    assert everything(target) == before
    shutil.rmtree(target)
    for _ in range(2):
        getattr(colab, direction)(run)
        assert (target / "deep" / "x.json").read_text() == "ours"


def test_a_report_is_written_twice_and_not_over_an_edited_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(report, "sections", lambda _: [("Scores", "1")])
    for name in ("plot", "plot_confusion"):
        monkeypatch.setattr(report, name, lambda _, path, **__: files.write_text(path, "picture"))
    monkeypatch.setattr(
        report, "card_data", lambda *_, **__: SimpleNamespace(to_yaml=lambda: "a: 1")
    )
    for _ in range(2):
        report.write(tmp_path / "r", {"tuned": {}}, data="x")
    (tmp_path / "r" / "scores.md").write_text("my notes")
    before = everything(tmp_path)
    with pytest.raises(FgkitError, match="scores.md: was changed"):
        report.write(tmp_path / "r", {"tuned": {}}, data="x")
    assert everything(tmp_path) == before
