"""Training: the weights that stock AdamW gives on separate rows, saved whole, refused where it cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from separate_rows import ROWS, relative_error, separate_loss

from fgkit.errors import FgkitError
from fgkit.files import read_json
from fgkit.models import base as base_model
from fgkit.models.spec import Recipe
from fgkit.training import batches, plots, tuning
from fgkit.training.options import TrainingOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_folder(tmp_path_factory.mktemp("model") / "base")


def options(**changes: Any) -> TrainingOptions:
    recipe = Recipe(
        **{
            "num_train_epochs": 3,
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 4,
            "precision": "fp32",
        }
        | changes
    )
    return TrainingOptions(
        recipe=recipe, lr_scheduler_type="constant_with_warmup", warmup_ratio=0.0, seed=42
    )


def test_weights_after_three_steps_equal_stock_adamw(folder: Path, tmp_path: Path) -> None:
    model = base_model.load(folder)[0].float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    answers = sum(len(row.tokens) - row.prompt_length for row in ROWS)
    for _ in range(3):  # the whole data is one batch of 8, so order does not matter
        optimizer.zero_grad()
        (separate_loss(model, ROWS) / answers).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    tuned, log = tuning.train(folder, ROWS, ROWS[:2], options(), checkpoints=tmp_path / "c")
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3]
    start = dict(base_model.load(folder)[0].named_parameters())
    moved = {
        name: relative_error(parameter.detach().float(), start[name].float())
        for name, parameter in tuned.named_parameters()
    }
    assert max(moved.values()) > 1e-3
    wanted = dict(model.named_parameters())
    errors = {
        name: relative_error(
            parameter.detach().float(), wanted[name].detach().to(torch.bfloat16).float()
        )
        for name, parameter in tuned.named_parameters()
    }
    assert {
        name: error for name, error in errors.items() if error > 2e-3
    } == {}  # bfloat16 on disk rounds to 3 digits


def test_accumulated_packs_equal_one_pack(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = tuning.train(folder, ROWS, ROWS[:2], options(), checkpoints=tmp_path / "a")
    monkeypatch.setattr(batches, "PACK_ANSWERS", 21)  # rows of 6 to 8 answer tokens
    assert [len(pack) for pack in batches.packs(ROWS)] == [3, 3, 2]
    split, _ = tuning.train(folder, ROWS, ROWS[:2], options(), checkpoints=tmp_path / "b")
    for name, parameter in split.named_parameters():
        assert (
            relative_error(parameter.float(), dict(whole.named_parameters())[name].float()) < 2e-3
        ), name


def test_saved_folder_is_whole_and_bfloat16(folder: Path, tmp_path: Path) -> None:
    model = base_model.load(folder)[0]
    target = tuning.save(model, folder, tmp_path / "model", {"base": "offline"})
    assert {path.name for path in target.iterdir()} >= {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "NOTICE-GEMMA.txt",
        "fgkit.json",
    }
    assert read_json(target / "special_tokens_map.json")["bos_token"] == "<bos>"
    base_model.check_folder(target)
    assert {parameter.dtype for parameter in base_model.load(target)[0].parameters()} == {
        torch.bfloat16
    }


def test_loss_picture_is_a_png(tmp_path: Path) -> None:
    log = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]
    assert plots.plot_loss(log, tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_is_refused_before_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
    with pytest.raises(FgkitError, match="GB are needed for the tuned model"):
        tuning.train(folder, ROWS, ROWS[:2], options(), checkpoints=tmp_path / "c")


def test_weights_that_are_not_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FgkitError, match="not numbers"):
        tuning.train(
            folder,
            ROWS,
            ROWS[:2],
            options(learning_rate=1e38),
            checkpoints=tmp_path / "c",
        )
