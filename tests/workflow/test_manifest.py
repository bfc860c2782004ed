"""manifest: what counts as done, whoever ran it, and what takes it back."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from crash_points import crash_points

from fgkit import atomic_files, files
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset import rows as run_rows
from fgkit.errors import DataError, FgkitError, ModelError
from fgkit.workflow import manifest, recording


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_has_token", lambda: False)


@pytest.fixture
def settings(tmp_path: Path) -> TfliteConfig:
    """Settings of a conversion whose model is there."""
    (tmp_path / "out" / "model").mkdir(parents=True)
    (tmp_path / "out" / "model" / "model.safetensors").write_text("weights")
    return TfliteConfig(output=str(tmp_path / "out"))


@recording.step
def validate(settings: TfliteConfig) -> None:
    pass


@recording.step
def convert(
    settings: TfliteConfig, content: str = "network", name: str = "functiongemma-flutter_q8_ekv1024"
) -> None:
    files.write_text(settings.folder / f"{name}.tflite", content)


@recording.step
def compare_first_token(settings: TfliteConfig) -> None:
    pass


def by_hand(settings: TfliteConfig) -> None:
    for each in (validate, convert, compare_first_token):
        each(settings)


def done(settings: TfliteConfig) -> bool:
    return manifest.is_done(settings.folder, "to_tflite", settings)


def test_a_stage_is_done_when_all_its_steps_are(settings: TfliteConfig) -> None:
    states = []
    for each in (validate, convert, compare_first_token):
        states.append(done(settings))
        each(settings)
        states.append(manifest.read(settings.folder)["to_tflite"]["state"])
    assert states == [False, "running", False, "running", False, "done"] and done(settings)
    entry = manifest.read(settings.folder)["to_tflite"]
    assert entry["outputs"] == {
        "functiongemma-flutter_q8_ekv1024.tflite": files.sha256(
            settings.folder / "functiongemma-flutter_q8_ekv1024.tflite"
        )
    }
    assert str(settings.folder / "model" / "model.safetensors") in entry["inputs"]
    assert entry["settings"]["kv_cache_max_len"] == 1024 and entry["versions"]["fgkit"]
    assert [step["state"] for step in entry["steps"].values()] == ["done"] * 3
    assert entry["steps"]["convert"]["seconds"] >= 0 and "T" in entry["steps"]["convert"]["started"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s, out: replace(s, kv_cache_max_len=2048), []),
        (lambda s, out: (out / "model" / "model.safetensors").write_text("others"), []),
        (lambda s, out: (out / "model" / "tokenizer.model").write_text("a new file"), []),
        (
            lambda s, out: (out / "functiongemma-flutter_q8_ekv1024.tflite").write_text("netwerk"),
            ["has other bytes than"],
        ),
        (lambda s, out: (out / "functiongemma-flutter_q8_ekv1024.tflite").unlink(), ["is gone"]),
        (lambda s, out: manifest.forget(out, ["to_tflite"]), []),
        (lambda s, out: manifest.failed(out, "to_tflite", FgkitError("x")), []),
        (lambda s, out: (out / manifest.NAME).unlink(), []),
    ],
)
def test_whatever_changes_takes_it_back(settings: TfliteConfig, change, what: list[str]) -> None:
    by_hand(settings)
    assert done(settings)
    changed = change(settings, settings.folder)
    settings = changed if isinstance(changed, TfliteConfig) else settings
    assert not done(settings)
    found = manifest.changed(settings.folder, "to_tflite")
    assert len(found) == len(what) and all(part in text for part, text in zip(what, found))


def test_a_step_that_runs_again_takes_those_behind_it_back(settings: TfliteConfig) -> None:
    by_hand(settings)
    task = TaskConfig(output=settings.output)
    for step in manifest.STEPS["to_task"]:
        with recording.recorded(task, step):
            files.write_text(task.folder / "functiongemma-flutter.task", "bundle")
    assert manifest.is_done(task.folder, "to_task", task)
    convert(settings, "network")
    found = manifest.read(settings.folder)
    assert (
        list(found["to_tflite"]["steps"]) == ["validate", "convert"]
        and found["to_task"]["steps"] == {}
    )
    assert found["to_task"]["outputs"]  # which files it wrote stays known
    compare_first_token(settings)
    assert done(settings) and not manifest.is_done(task.folder, "to_task", task)


def test_other_settings_begin_anew_and_keep_the_files_that_are_there(
    settings: TfliteConfig,
) -> None:
    by_hand(settings)
    other = replace(settings, kv_cache_max_len=512)
    compare_first_token(other)  # by hand, anything can be run in any order
    entry = manifest.read(settings.folder)["to_tflite"]
    assert list(entry["steps"]) == ["compare_first_token"] and entry["state"] == "running"
    assert list(entry["outputs"]) == ["functiongemma-flutter_q8_ekv1024.tflite"]


def test_a_step_that_fails_says_so_and_tells_no_secret(settings: TfliteConfig) -> None:
    for error, text in (
        (ModelError("model: broken\nmore"), "ModelError: model: broken"),
        (RuntimeError("https://user:hf_secret@hub"), "RuntimeError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ):
        with pytest.raises(type(error)), recording.recorded(settings, "validate"):
            raise error
        entry = manifest.read(settings.folder)["to_tflite"]
        assert (entry["state"], entry["steps"]["validate"]["error"]) == ("failed", text)
    assert "hf_secret" not in (settings.folder / manifest.NAME).read_text()


def test_a_failed_verdict_and_a_stopped_training_are_not_done(tmp_path: Path) -> None:
    @recording.step
    def judge(settings: TaskConfig) -> SimpleNamespace:
        return SimpleNamespace(passed=False)

    @recording.step
    def finetune(settings: FinetuneConfig) -> Path:
        files.write_json(settings.model_folder / "fgkit.json", {"stopped_after": 7})
        return settings.model_folder

    judge(TaskConfig(output=str(tmp_path)))
    finetune(FinetuneConfig(output=str(tmp_path), base="offline"))
    found = manifest.read(tmp_path)
    assert (
        found["finetune"]["state"] == "failed"
        and found["finetune"]["steps"]["finetune"]["state"] == "failed"
    )


def test_rows_of_files_that_changed_are_refused(settings: TfliteConfig, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("1")
    settings = replace(settings, data=str(data))
    rows = run_rows.RunData(
        [], (), (), run_rows.sources(settings.data, settings.eval_data, settings.tools)
    )
    with recording.recorded(settings, "validate", rows):
        pass
    data.write_text("2")
    with pytest.raises(
        DataError,
        match=r"rows\.jsonl: changed after its rows were read.\nRun the cell with load_rows",
    ):
        with recording.recorded(settings, "convert", rows):
            pytest.fail("it ran")


@pytest.mark.parametrize(
    "content",
    [
        *(
            json.dumps({"to_tflite": {"outputs": {name: "0" * 64}}})
            for name in (
                "../mine.tflite",
                "/etc/passwd",
                "model/../../x",
                "a\\..\\b",
                "",
                "a" * 300,
                "a\0",
                "C:/x",
            )
        ),
        '{"to_tflite": {"outputs": {"a": 1}}}',
        '{"to_tflite": {"steps": {"convert": 1}}}',
        "[]",
        '{"to_tflite": 1}',
        '{"to_tflite": {"steps": []}}',
        "{",
        "\0" * 99,
    ],
)
def test_a_damaged_manifest_is_one_message(settings: TfliteConfig, content: str) -> None:
    files.write_text(settings.folder / manifest.NAME, content)
    with pytest.raises(
        FgkitError, match=r"(?s)manifest\.json: .*(no manifest of stages. Delete it|is not JSON)"
    ):
        by_hand(settings)


def test_a_manifest_that_was_changed_is_named_before_anything_is_written(
    settings: TfliteConfig,
) -> None:
    by_hand(settings)
    path = settings.folder / manifest.NAME
    path.write_text("{")
    with pytest.raises(FgkitError, match=r"manifest\.json: was changed since .*\n.*move these"):
        by_hand(settings)
    assert path.read_text() == "{"
    path.unlink()
    by_hand(settings)
    assert done(settings)


def test_the_manifest_of_an_older_fgkit_only_tells_whose_files_they_are(
    settings: TfliteConfig,
) -> None:
    files.write_json(
        settings.folder / manifest.NAME,
        {"to_tflite": {"fingerprint": "x", "seconds": 1.0, "outputs": {"old_q8.tflite": "0" * 64}}},
    )
    (settings.folder / "old_q8.tflite").touch()
    assert not done(settings)
    by_hand(settings)
    assert done(settings) is False and manifest.changed(settings.folder, "to_tflite") == [
        "old_q8.tflite has other bytes than to_tflite wrote"
    ]


@pytest.mark.slow
def test_a_killed_step_is_never_done_and_running_it_again_is(settings: TfliteConfig) -> None:
    """Killed before each change of the disk, one after the other: in the manifest, in the output, in between."""

    def prepare() -> None:
        for path in settings.folder.glob("*.*"):
            path.unlink()
        atomic_files.tidy(settings.folder)

    count = 0
    for count in crash_points(lambda: by_hand(settings), prepare):
        assert (
            not done(settings)
            or (settings.folder / "functiongemma-flutter_q8_ekv1024.tflite").read_text()
            == "network"
        )
        by_hand(settings)
        assert done(settings) and not list(settings.folder.glob("*.part"))
    assert count > 20


def test_the_time_of_day_does_not_matter(
    settings: TfliteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand(settings)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert done(settings)
    convert(settings, "another network")
    compare_first_token(settings)
    assert (
        done(settings)
        and manifest.read(settings.folder)["to_tflite"]["steps"]["convert"]["seconds"] < 60
    )
