"""A training that is cut off anywhere, and run again, ends with the weights of one that was not, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from separate_rows import ROWS

from fgkit.models import base as base_model
from fgkit.models.spec import Recipe
from fgkit.training import checkpoints as checkpoint_files, tree_model, tuning
from fgkit.training.monitor import TrainingMonitor
from fgkit.training.options import TrainingOptions

RECIPE = Recipe(
    num_train_epochs=2,
    learning_rate=1e-3,
    per_device_train_batch_size=3,
    gradient_accumulation_steps=1,
    precision="fp32",
)  # 8 rows: three steps an epoch
OPTIONS = TrainingOptions(recipe=RECIPE, lr_scheduler_type="cosine", warmup_ratio=0.1, seed=42)
STEPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_folder(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def wanted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list]:
    return train(folder, tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture
def saved_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint_files, "SAVE_SHARE", float("inf"))


def train(folder: Path, checkpoints: Path) -> tuple[Any, list]:
    return tuning.train(folder, ROWS, ROWS[:2], OPTIONS, checkpoints=checkpoints)


def cut_off(monkeypatch: pytest.MonkeyPatch, folder: Path, checkpoints: Path, call: int) -> None:
    """Train until the forward pass of that number, from 1; each epoch has three of steps and one of held-out rows."""
    calls, loss = [], tree_model.tree_loss

    def interrupted(*arguments: Any, **inputs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return loss(*arguments, **inputs)

    with monkeypatch.context() as patch:
        patch.setattr(tree_model, "tree_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(folder, checkpoints)


def assert_same(got: tuple[Any, list], wanted: tuple[Any, list]) -> None:
    (model, log), (other, other_log) = got, wanted
    state = other.state_dict()
    assert len(state) > 20
    assert [
        name for name, value in model.state_dict().items() if not torch.equal(value, state[name])
    ] == []
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, STEPS + 1))
    assert json.dumps(log) == json.dumps(other_log)  # fgkit.json has the same bytes, too


@pytest.mark.usefixtures("saved_at_every_step")
@pytest.mark.parametrize(
    "call", [3, 4, 7]
)  # within an epoch, while held-out rows are looked at, in the next epoch
def test_a_run_cut_off_at_any_step_ends_the_same(
    folder: Path, wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    cut_off(monkeypatch, folder, tmp_path, call)
    steps = {3: 2, 4: 2, 7: 5}[
        call
    ]  # an epoch's checkpoint is written when its held-out rows have been looked at
    assert [path.name for path in tmp_path.iterdir()] == [f"checkpoint-{steps}"]  # one is kept
    for name, state in (
        ("checkpoint-8", None),
        ("checkpoint-9", '{"global_step": 9, "ep'),
    ):  # cut off while written
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
        if state:
            (tmp_path / name / "trainer_state.json").write_text(state, encoding="utf-8")
    assert_same(train(folder, tmp_path), wanted)


@pytest.mark.usefixtures("saved_at_every_step")
def test_a_stopped_run_that_goes_on_ends_the_same(
    folder: Path, wanted: Any, tmp_path: Path
) -> None:
    monitor = TrainingMonitor(
        show=lambda monitor: setattr(monitor, "stop", monitor.step > 0)
    )  # which is within an epoch
    _, log = tuning.train(folder, ROWS, ROWS[:2], OPTIONS, checkpoints=tmp_path, monitor=monitor)
    assert monitor.stopped_after == 2 and [
        entry["step"] for entry in log if "eval_loss" in entry
    ] == [2]
    assert_same(train(folder, tmp_path), wanted)  # without the held-out loss of the stop


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_one_goes_on_from(
    folder: Path, wanted: Any, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]!r}
from tests.training import test_trainer
from pathlib import Path
from fgkit.training import checkpoints
from transformers import TrainerState
checkpoints.SAVE_SECONDS, checkpoints.SAVE_SHARE = 0.0, float("inf")
save = TrainerState.save_to_json

def killed(state, path):  # the weights of the fourth checkpoint are there, its end is not
    if state.global_step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    save(state, path)

TrainerState.save_to_json = killed
test_trainer.train(Path({str(folder)!r}), Path({str(tmp_path)!r}) / "checkpoints")
""",
        encoding="utf-8",
    )
    ended = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True)
    if os.name == "posix":
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "checkpoint-3",
        "checkpoint-4",
    ]
    assert_same(train(folder, tmp_path / "checkpoints"), wanted)


@pytest.mark.usefixtures("saved_at_every_step")
def test_a_checkpoint_that_a_full_disk_refuses_ends_no_training(
    folder: Path, wanted: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainerState

    save = TrainerState.save_to_json

    def full(state: Any, path: str) -> None:
        if state.global_step > 2:
            raise RuntimeError(
                "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"
            )  # torch's "disk full"
        save(state, path)

    monkeypatch.setattr(TrainerState, "save_to_json", full)
    assert_same(train(folder, tmp_path), wanted)
    assert [path.name for path in tmp_path.iterdir()] == [
        "checkpoint-2"
    ]  # the last that could be written
    assert "checkpoint-3: no checkpoint could be written: [enforce fail" in capsys.readouterr().out


@pytest.mark.usefixtures("saved_at_every_step")
def test_no_checkpoint_takes_the_room_of_the_tuned_model(
    folder: Path, wanted: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = sum(weights.numel() for weights in base_model.load(folder)[0].parameters())
    needed = parameters * (
        3 * 4 + 2
    )  # fp32 weights and AdamW's two moments, then the model in bfloat16
    room = iter([needed, needed + 1, *[needed] * 100])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": next(room)})())
    assert_same(train(folder, tmp_path), wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    said = capsys.readouterr().out
    assert (
        "checkpoint-2: no checkpoint could be written: 0.0 GB are needed for it and the tuned model"
        in said
    )
    assert said.count("no checkpoint could be written") == 1


@pytest.mark.usefixtures("saved_at_every_step")
def test_a_checkpoint_with_a_flipped_bit_is_passed_over(
    folder: Path, wanted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(monkeypatch, folder, tmp_path, 3)
    (checkpoint,) = tmp_path.iterdir()
    data = bytearray((checkpoint / "optimizer.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (checkpoint / "optimizer.pt").write_bytes(data)
    assert checkpoint_files.newest_complete(tmp_path) is None and list(tmp_path.iterdir()) == []
    assert_same(train(folder, tmp_path), wanted)


def test_checkpoints_take_their_share_of_the_time_and_no_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainerState

    now, saved = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    loss, save = tree_model.tree_loss, TrainerState.save_to_json

    def slow_step(*arguments: Any, **inputs: Any) -> Any:
        now[0] += 40.0
        return loss(*arguments, **inputs)

    def slow_save(state: Any, path: str) -> None:
        saved.append(state.global_step)
        now[0] += 6.0  # 20 times as long until the next: 120 s, three steps
        save(state, path)

    monkeypatch.setattr(tree_model, "tree_loss", slow_step)
    monkeypatch.setattr(TrainerState, "save_to_json", slow_save)
    train(folder, tmp_path)
    assert saved == [
        2,
        4,
    ]  # after 80 s; after 120 s more, of which held-out rows take 40; the last step needs none
