"""`accelerate launch` with two processes: the loss curve and the weights of one process with the same effective batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from fgkit.cli.main import main
from fgkit.files import read_json
from fgkit.locations import shipped

safetensors = pytest.importorskip("safetensors.torch")


@pytest.mark.slow
def test_two_processes_train_what_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.known(monkeypatch)
    base = tiny.model_folder(tmp_path / "base")
    for name, lines in (
        ("training_data", 7),
        ("eval_data", 2),
    ):  # 7 rows, 4 a step: the last step has 3 for 2 processes
        text = shipped("data", f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:lines]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(text), encoding="utf-8")
    arguments = [
        "--base",
        str(base),
        "--data",
        str(tmp_path / "training_data.jsonl"),
        "--eval",
        str(tmp_path / "eval_data.jsonl"),
        "-p",
        "learning_rate",
        "1e-3",
        "-p",
        "max_length",
        "4096",
        "-p",
        "gradient_accumulation_steps",
        "1",
        "-p",
        "precision",
        "fp32",
        "-p",
        "num_train_epochs",
        "2",
    ]
    launched = subprocess.run(
        [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--cpu",
            "--num_processes",
            "2",
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
            "-m",
            "fgkit",
            "finetune",
            "--output",
            str(tmp_path / "two"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.environ["PYTHONPATH"], "OMP_NUM_THREADS": "1"},
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    assert launched.stdout.count("the tuned model is in") == 1  # one of them speaks
    assert main(["finetune", "--output", str(tmp_path / "one"), *arguments]) == 0
    assert "next: python -m fgkit run" in capsys.readouterr().out
    one, two = (
        {
            entry["step"]: entry["loss"]
            for entry in read_json(tmp_path / name / "model" / "fgkit.json")["log"]
            if "loss" in entry
        }
        for name in ("one", "two")
    )
    assert list(one) == [1, 2, 3, 4]
    assert two == pytest.approx(one, rel=1e-5)
    weights, others, start = (
        safetensors.load_file(folder / "model.safetensors")
        for folder in (tmp_path / "one" / "model", tmp_path / "two" / "model", base)
    )
    errors = {
        name: float((value - others[name]).float().norm() / value.float().norm())
        for name, value in weights.items()
    }
    moved = {
        name: float((value - start[name]).float().norm() / value.float().norm())
        for name, value in weights.items()
    }
    assert (
        max(errors.values()) < 2e-3 < max(moved.values()) / 5
    )  # bfloat16 on disk rounds to 3 digits
    assert read_json(tmp_path / "two" / "summary.json")["tuned"]["n"] == 2
    assert not (tmp_path / "two" / "checkpoints").exists()
