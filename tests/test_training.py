"""Training on shared prefixes is training on separate rows: loss, gradients, weights after three steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgkit import base_model, examples, prefix_tree, training
from fgkit.config import FinetuneConfig, Recipe
from fgkit.errors import ConfigError, FgkitError, ModelError
from fgkit.files import read_json, shipped
from fgkit.prefix_tree import Row
from fgkit.records import read_records
from fgkit.tools import load_tools

torch = pytest.importorskip("torch")
PREFIX = tuple(range(120, 160))  # longer than the tiny model's window of 24
ROWS = [Row((2, *PREFIX, *range(200 + i, 205 + i), *range(300, 306 + i % 3)), 46) for i in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model_folder(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture
def model(folder: Path) -> Any:
    model = base_model.load(folder)[0].float()
    with torch.no_grad():  # weights as they start hardly attend to anything, which would hide a wrong mask
        for parameter in model.parameters():
            parameter.mul_(1.0 if parameter.ndim == 1 else 5.0)
    return model


def separate_loss(model: Any, rows: list[Row]) -> Any:
    """Summed loss of rows run one by one through the model's own masks.

    Only the softmax is taken in fp64: PyTorch's own in fp32 is off by 4e-6 over 262,144 pieces, ours by 6e-8.
    """
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        logits = model(input_ids=torch.tensor([row.tokens[:-1]])).logits[0, row.prompt_length - 1:]
        answer = torch.tensor(row.tokens[row.prompt_length:])
        total = total + torch.nn.functional.cross_entropy(logits.double(), answer, reduction="sum")
    return total


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def relative_error(got: Any, wanted: Any) -> float:
    return float(((got - wanted).norm() / wanted.norm().clamp(min=1e-12)).detach())


def test_loss_and_gradients_equal_separate_rows(model: Any) -> None:
    wanted_loss = separate_loss(model, ROWS)  # eager, as the model is loaded
    wanted = gradients(model, wanted_loss)
    with training.trained_in_trees(model):
        loss = model(**training.collate(ROWS))
        got = gradients(model, loss)
    assert relative_error(loss.detach(), wanted_loss.detach()) < 1e-5
    assert len(got) > 20
    assert {name: error for name in got if (error := relative_error(got[name], wanted[name])) >= 1e-4} == {}


@pytest.mark.slow
def test_the_real_network_gives_the_gradients_of_separate_rows() -> None:
    tools = load_tools(shipped("data", "tools.py"))
    base = base_model.find_base("offline")
    model, tokenizer = base_model.load(base.folder)
    model = model.float()
    rows = examples.tokenize_records(read_records(shipped("data", "training_data.jsonl"), tools)[:4], tools, tokenizer,
                                     max_length=1024)
    wanted_loss = torch.zeros(())
    model.zero_grad()
    for row in rows:  # one backward pass a row, because the head's logits of all rows would not fit beside each other
        loss = separate_loss(model, [row])
        loss.backward()
        wanted_loss += loss.detach()
    wanted = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    with training.trained_in_trees(model):
        loss = model(**training.collate(rows))
        got = gradients(model, loss)
    assert relative_error(loss.detach(), wanted_loss) < 1e-4
    assert len(got) == 236
    assert {name: error for name in got if (error := relative_error(got[name], wanted[name])) >= 1e-4} == {}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(109, 112), min_size=2, max_size=40).flatmap(
    lambda tokens: st.integers(1, len(tokens) - 1).map(lambda n: Row((2, *tokens), n))), min_size=1, max_size=6))
def test_any_tree_equals_separate_rows(model: Any, rows: list[Row]) -> None:
    wanted_loss = separate_loss(model, rows)
    wanted = gradients(model, wanted_loss)["model.embed_tokens.weight"]
    with training.trained_in_trees(model):
        loss = model(**training.collate(rows))
        assert relative_error(loss.detach(), wanted_loss.detach()) < 1e-5
        assert relative_error(gradients(model, loss)["model.embed_tokens.weight"], wanted) < 1e-4


@pytest.mark.parametrize("broken", ["window", "siblings", "positions"])
def test_a_wrong_mask_or_position_is_noticed(model: Any, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    wanted = gradients(model, separate_loss(model, ROWS))
    batch = training.collate(ROWS)
    if broken == "window":
        monkeypatch.setattr(model.config, "sliding_window", 10_000)
    elif broken == "siblings":
        batch["last_descendants"] = torch.full_like(batch["last_descendants"], len(batch["last_descendants"]))
    else:
        batch["position_ids"] = torch.arange(batch["position_ids"].shape[1])[None]
    with training.trained_in_trees(model):
        got = gradients(model, model(**batch))
    errors = {name: relative_error(got[name], wanted[name]) for name in wanted if "proj" in name}
    assert len(errors) > 20 and min(errors.values()) > 1e-3  # ten times what exact gradients may differ by


def test_a_model_is_afterwards_as_it_was(model: Any) -> None:
    before = model(input_ids=torch.tensor([ROWS[0].tokens])).logits
    with pytest.raises(KeyboardInterrupt), training.trained_in_trees(model):
        assert model(**training.collate(ROWS)).ndim == 0
        raise KeyboardInterrupt
    assert model.config._attn_implementation == "eager"
    assert torch.equal(model(input_ids=torch.tensor([ROWS[0].tokens])).logits, before)


def test_a_model_that_caps_its_logits_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.config, "final_logit_softcapping", 30.0)
    with pytest.raises(ModelError, match="caps its logits"), training.trained_in_trees(model):
        pass


def config(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig(base="offline", warmup_ratio=0.0, lr_scheduler_type="constant_with_warmup", **changes)


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"num_train_epochs": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 2,
                     "gradient_accumulation_steps": 4, "precision": "fp32"} | changes)


def test_weights_after_three_steps_equal_stock_adamw(folder: Path, tmp_path: Path) -> None:
    model = base_model.load(folder)[0].float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    answers = sum(len(row.tokens) - row.prompt_length for row in ROWS)
    for _ in range(3):  # the whole data is one batch of 8, so order does not matter
        optimizer.zero_grad()
        (separate_loss(model, ROWS) / answers).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    tuned, log = training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "c")
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3]
    start = dict(base_model.load(folder)[0].named_parameters())
    moved = {name: relative_error(parameter.detach().float(), start[name].float())
             for name, parameter in tuned.named_parameters()}
    assert max(moved.values()) > 1e-3
    wanted = dict(model.named_parameters())
    errors = {name: relative_error(parameter.detach().float(), wanted[name].detach().to(torch.bfloat16).float())
              for name, parameter in tuned.named_parameters()}
    assert {name: error for name, error in errors.items() if error > 2e-3} == {}  # bfloat16 on disk rounds to 3 digits


def test_accumulated_packs_equal_one_pack(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "a")
    monkeypatch.setattr(training, "PACK_ANSWERS", 34)  # four rows of at most 8 answer tokens
    assert training.rows_per_pack(ROWS, 8) == 4
    split, _ = training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "b")
    for name, parameter in split.named_parameters():
        assert relative_error(parameter.float(), dict(whole.named_parameters())[name].float()) < 2e-3, name


def test_an_interrupted_run_ends_with_the_same_weights(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, _ = training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "a")
    calls = []

    def interrupted(*arguments: Any, **inputs: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:  # one step and one evaluation an epoch: this is in the second epoch's end
            raise KeyboardInterrupt
        return tree_loss(*arguments, **inputs)

    tree_loss = training.tree_loss
    monkeypatch.setattr(training, "tree_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "b")
    monkeypatch.setattr(training, "tree_loss", tree_loss)
    assert len(list((tmp_path / "b").glob("checkpoint-*"))) == 1
    resumed, log = training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "b")
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3]
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, dict(wanted.named_parameters())[name]), name


def test_saved_folder_is_whole_and_bfloat16(folder: Path, tmp_path: Path) -> None:
    model = base_model.load(folder)[0]
    target = training.save(model, folder, tmp_path / "model", {"base": "offline"})
    assert {path.name for path in target.iterdir()} >= {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "NOTICE-GEMMA.txt", "fgkit.json"}
    assert read_json(target / "special_tokens_map.json")["bos_token"] == "<bos>"
    base_model.check_folder(target)
    assert {parameter.dtype for parameter in base_model.load(target)[0].parameters()} == {torch.bfloat16}


def test_loss_picture_is_a_png(tmp_path: Path) -> None:
    log = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]
    assert training.plot_loss(log, tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_is_refused_before_training(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
    with pytest.raises(FgkitError, match="GB are needed for two checkpoints"):
        training.train(folder, ROWS, ROWS[:2], recipe=recipe(), config=config(), checkpoints=tmp_path / "c")


def test_bf16_on_a_gpu_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(ConfigError, match="Tesla T4 does not have. Use precision 'fp32'"):
        training._check_device("bf16")


def test_weights_that_are_not_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FgkitError, match="not numbers"):
        training.train(folder, ROWS, ROWS[:2], recipe=recipe(learning_rate=1e38), config=config(),
                       checkpoints=tmp_path / "c")


def test_packs_divide_the_batch_and_stay_within_bounds() -> None:
    long = [Row((2, *[5 + i] * 700), 600) for i in range(8)]
    assert training.rows_per_pack(ROWS, 8) == 8
    assert training.rows_per_pack(long, 8) == 4  # 4 x 700 tokens fit 4,096; 8 x 700 do not
    tree = prefix_tree.build(long[:4])
    assert len(tree.tokens) <= training.PACK_TOKENS
