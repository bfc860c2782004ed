"""The steps of the notebooks, with fake scores and files: what they refuse, store, reuse and say."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from fgkit import atomic_files, checks, checksums, files, locations, prompts, subprocesses
from fgkit.bundles import create as bundle, prompting
from fgkit.calls import Call
from fgkit.cli import chat
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset import rows as run_rows, tokenize
from fgkit.dataset.records import Record, request
from fgkit.errors import (
    BundleError,
    CheckFailed,
    ConfigError,
    DataError,
    FgkitError,
    ModelError,
)
from fgkit.evaluation import prompting_modes, score_model as scoring, scores as evaluation
from fgkit.export import conversion, first_token, kv_cache_fit
from fgkit.models import base as base_model, model_checks, record
from fgkit.models.spec import FUNCTIONGEMMA, base_named
from fgkit.prompts import PromptSetup, completion
from fgkit.runtime import conversations, session as runtime, speed
from fgkit.tools import load_tools, tools_hash
from fgkit.training import checkpoints, generation, tuning
from fgkit.workflow import stages, summary
from fgkit.workflow.stages import finetune_steps, score_steps, to_task_steps

TOOLS = load_tools(locations.shipped("data", "tools.py"))
RED = Call("change_background_color", {"color": "red"})
BLUE = Call("change_background_color", {"color": "blue"})

SPEED = {
    "prefill_tokens_per_second": 900.0,
    "decode_tokens_per_second": 53.0,
    "peak_memory_bytes": 500_000_000,
    "threads": 2,
}


def rows(count: int = 4, start: int = 1) -> stages.RunData:
    records = tuple(
        request(line, f"make it red {line}", (RED,)) for line in range(start, start + count)
    )
    return stages.RunData(TOOLS, records, records)


def fake_score(asked: stages.RunData, wrong: int = 0) -> dict:
    texts = [completion([BLUE])] * wrong + [completion([RED])] * (len(asked.held_out) - wrong)
    return evaluation.score(asked.held_out, texts)


def model(folder: Path, weights: str = "weights", **facts: object) -> Path:
    """A folder that looks like a model as far as hashes and records go."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(weights)
    if facts:
        files.write_json(folder / "fgkit.json", facts)
    return folder


@pytest.fixture
def scored(monkeypatch):
    """Replaces the network: notes each scoring and gives a fake score of that model and those rows."""
    done = []

    def score_model(folder, asked, setup, *, description):
        style = setup.styles
        done.append((folder, setup.system_message, *style))
        score = (
            fake_score(asked)
            | scoring.provenance(folder / "model.safetensors", asked)
            | {"style": style[0]}
        )
        rates = {"n": len(asked.held_out), "tool_accuracy": 1.0, "exact_match": 1.0}
        return score | ({"per_style": dict.fromkeys(style, rates)} if len(style) > 1 else {})

    monkeypatch.setattr(score_steps, "score_model", score_model)
    monkeypatch.setattr(scoring, "score_model", score_model)
    return done


# ---- the report


def test_report_data_shows_and_keeps_what_the_files_hold(tmp_path, capsys):
    folder = tmp_path / "base"
    folder.mkdir()
    tiny.tokenizer_files(folder)
    files.write_json(folder / "config.json", {"model_type": "gemma3_text"})
    base = base_model.Base("offline", folder, base_named("offline"), "")
    settings = FinetuneConfig(output=str(tmp_path / "out"), max_length=2000)
    picture = stages.report_data(settings, base)
    assert picture == tmp_path / "out" / "report.png" and picture.read_bytes().startswith(
        b"\x89PNG"
    )
    found = files.read_json(tmp_path / "out" / "report.json")
    assert (
        found["passed"]
        and found["files"]["held_out"]["rows"] == 156
        and found["limits"]["max_length"] == 2000
    )
    out = capsys.readouterr().out
    assert "D225 warning" in out and "tokens a row, longest" in out
    longest = found["files"]["training"]["tokens"]["longest"]
    with pytest.raises(DataError) as caught:
        stages.report_data(replace(settings, max_length=longest - 1), base)
    assert all(
        "D231 error: row longer than max_length" in line for line in str(caught.value).splitlines()
    )
    assert not files.read_json(tmp_path / "out" / "report.json")["passed"]


# ---- data


def test_data_files_defaults():
    example = tuple(
        locations.shipped("data", name)
        for name in ("training_data.jsonl", "eval_data.jsonl", "tools.py")
    )
    assert run_rows.data_files() == tuple(example) and all(path.is_file() for path in example)
    assert run_rows.data_files("my.jsonl") == (
        Path("my.jsonl"),
        "",
        example[2],
    )  # held out from the user's own rows
    assert run_rows.data_files("", "my_eval.jsonl") == (
        example[0],
        Path("my_eval.jsonl"),
        example[2],
    )
    assert run_rows.data_files("~/a", "~/b", "~/c.py") == tuple(
        Path.home() / name for name in ("a", "b", "c.py")
    )


def test_load_rows_reads_the_example_and_shows_its_counts(tmp_path):
    found = stages.load_rows(FinetuneConfig(output=str(tmp_path)))
    assert (len(found.train), len(found.tools)) == (284, 3) and len(found.held_out) >= 150
    lines = str(found).splitlines()
    assert lines[0].split() == ["tool", "training", "held", "out"] and len(lines) == 5
    assert [int(line.split()[1]) for line in lines[1:]] == [94, 95, 95, 284]
    assert int(lines[-1].split()[2]) == len(found.held_out)


def test_load_rows_splits_the_users_rows_by_the_seed_and_warns(tmp_path, capsys):
    lines = (
        locations.shipped("data", "training_data.jsonl")
        .read_text(encoding="utf-8")
        .splitlines(keepends=True)[:40]
    )
    (tmp_path / "mine.jsonl").write_text("".join([*lines, lines[0]]), encoding="utf-8")
    found = [
        stages.load_rows(
            FinetuneConfig(output=str(tmp_path), data=str(tmp_path / "mine.jsonl"), seed=seed)
        )
        for seed in (1, 1, 2)
    ]
    assert (len(found[0].train), len(found[0].held_out)) == (36, 4)
    assert found[0] == found[1] and found[0].held_out != found[2].held_out
    assert "warning: " in capsys.readouterr().out


def test_load_rows_raises_the_problems_of_both_files(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("no json\n")
    with pytest.raises(DataError) as caught:
        stages.load_rows(
            TaskConfig(
                output=str(tmp_path),
                data=str(tmp_path / "a.jsonl"),
                eval_data=str(tmp_path / "b.jsonl"),
            )
        )
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{tmp_path / 'a.jsonl'}:1",
        f"{tmp_path / 'b.jsonl'}:1",
    ]


def test_rows_count_kinds_where_there_are_several():
    plain = Record(9, request(9, "hi").messages, (), "Hello.")
    asked = stages.RunData(
        TOOLS, (*rows(3).train, request(4, "both", (RED, BLUE)), plain), rows(2).held_out
    )
    table = [re.split("  +", line) for line in str(asked).splitlines()]
    assert table[1] == ["change_background_color", "4", "2"]
    assert table[4:] == [
        ["rows: one call", "3", "2"],
        ["rows: several calls", "1", "0"],
        ["rows: no call", "1", "0"],
        ["rows", "5", "2"],
    ]
    assert "one call" not in str(rows()) and asked.parallel and not rows().parallel
    many = stages.RunData(
        [], tuple(request(n, f"t {n}", [Call(f"f{n}", {})]) for n in range(50)), ()
    )
    assert "... and 10 more tools" in str(many) and len(str(many).splitlines()) == 43


OWN = {"name": "ping", "description": "Pings."}


def own_row(text, *tools, call="ping"):
    return {
        "messages": [
            {"role": "user", "content": text},
            {"role": "assistant", "tool_calls": [{"function": {"name": call, "arguments": {}}}]},
        ],
        "tools": list(tools),
    }


def test_tools_that_every_row_brings_are_the_runs_own(tmp_path):
    def load(*written, **options):
        (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))
        return stages.load_rows(
            FinetuneConfig(output=str(tmp_path), data=str(tmp_path / "own.jsonl"), **options)
        )

    same = [own_row(text, OWN) for text in ("a", "b", "c")]
    assert [tool["function"]["name"] for tool in load(*same).tools] == ["ping"]
    tools_file = str(locations.shipped("data", "tools.py"))
    assert load(*same, tools=tools_file).tools == TOOLS  # named by the user, for rows without
    other = own_row("d", {"name": "pong", "description": "Pongs."}, call="pong")
    found = load(*same, other)
    assert found.tools == [] and run_rows.hash_of(found.tools) is None
    assert [line.split()[0] for line in str(found).splitlines()[1:3]] == ["ping", "pong"]
    record.require_same_tools(
        model(tmp_path / "model", tools_hash=tools_hash(TOOLS)), found
    )  # nothing to compare
    guide = {
        "user_content": "red",
        "tool_name": "change_app_title",
        "tool_arguments": '{"title": "x"}',
    }
    assert load(*same, guide).tools == TOOLS
    held_out = run_rows.load_held_out(str(tmp_path / "own.jsonl"), "", "auto")
    assert len(held_out.held_out) == 4 and held_out.train == ()
    with pytest.raises(DataError, match="has no 'user_content'"):
        load(*same, data_format="guide")


# ---- refusals


def test_other_tools_than_the_trained_ones_are_refused(tmp_path):
    folder = model(tmp_path / "model", tools_hash=tools_hash(TOOLS[:2]))
    with pytest.raises(
        ModelError, match=r"was trained with other tools than these.*\(--tools\)"
    ) as caught:
        record.require_same_tools(folder, rows())
    assert str(folder) in str(caught.value)
    record.require_same_tools(model(tmp_path / "same", tools_hash=tools_hash(TOOLS)), rows())
    record.require_same_tools(
        model(tmp_path / "elsewhere"), rows()
    )  # without a record nothing is known against it


def test_a_bundle_without_a_record_is_announced_and_one_with_other_tools_refused(
    tmp_path, monkeypatch, capsys
):
    class Info:
        sidecar = None

    monkeypatch.setattr(prompting.bundle_files, "read_bundle", lambda path: Info)
    assert prompting.bundle_setup(tmp_path / "x.task", TOOLS) == PromptSetup(
        TOOLS, "", ("template",)
    )
    assert (
        "x.task.json is not there: the prompt style is assumed to be 'template'"
        in capsys.readouterr().out
    )
    asked = prompting.bundle_setup(tmp_path / "x.task", TOOLS, "flutter_gemma")
    assert asked == PromptSetup(TOOLS, "", ("flutter_gemma",)) and capsys.readouterr().out == ""
    Info.sidecar = {
        "style": "litert_lm,template",
        "tools_hash": tools_hash(TOOLS),
        "system_message": "Do it.",
    }
    for style, expected in ((None, "litert_lm"), ("template", "template")):
        found = prompting.bundle_setup(tmp_path / "x.task", TOOLS, style)
        assert found == PromptSetup(TOOLS, "Do it.", (expected,))
    with pytest.raises(
        ModelError,
        match="was trained with prompt style 'litert_lm,template', but 'flutter_gemma' is asked",
    ):
        prompting.bundle_setup(tmp_path / "x.task", TOOLS, "flutter_gemma")
    with pytest.raises(ModelError, match="was trained with other tools"):
        prompting.bundle_setup(tmp_path / "x.task", TOOLS[:1])


def test_exactly_one_tflite_is_bundled(tmp_path):
    settings = TaskConfig(output=str(tmp_path), name="mine")
    (tmp_path / "other_q8_ekv1024.tflite").touch()
    with pytest.raises(
        ModelError, match=r"found 0 files mine_\*.tflite, expected one. Run to_tflite first"
    ):
        to_task_steps._tflite_of(settings)
    (tmp_path / "mine_q8_ekv1024.tflite").touch()
    assert to_task_steps._tflite_of(settings) == tmp_path / "mine_q8_ekv1024.tflite"
    (tmp_path / "mine_q8_ekv2048.tflite").touch()
    with pytest.raises(
        ModelError, match="found 2 .*Remove .*mine_q8_ekv1024.tflite, mine_q8_ekv2048.tflite"
    ):
        to_task_steps._tflite_of(settings)


# ---- scores and what is stored


def test_score_base_starts_a_new_summary(tmp_path, scored):
    summary.update(tmp_path, tuned={"n": 1}, gate={"passed": True}, seconds={"old": 1.0})
    base = base_model.Base("base", model(tmp_path / "base"), base_named("offline"), "")
    score = stages.score_base(
        FinetuneConfig(output=str(tmp_path), system_message="Act."), base, rows()
    )
    found = summary.read(tmp_path)
    assert (
        found["base"] == score
        and found["tuned"] is None
        and found["gate"] is None
        and found["seconds"] == {}
    )
    assert "python" in found["versions"] and scored == [(tmp_path / "base", "Act.", "template")]


@pytest.mark.parametrize("kind", [FinetuneConfig, TfliteConfig, TaskConfig])
def test_the_tuned_score_is_measured_once_for_the_same_model_and_rows(tmp_path, scored, kind):
    settings = kind(output=str(tmp_path))
    folder = model(tmp_path / "model", system_message="Act.")
    first = stages.score_tuned(settings, rows())
    assert scored == [(folder, "Act.", "template")] and summary.read(tmp_path)["tuned"] == first
    assert stages.score_tuned(settings, rows()) == first and len(scored) == 1
    stages.score_tuned(settings, rows(5))
    assert len(scored) == 2 and summary.read(tmp_path)["tuned"]["n"] == 5
    model(folder, "other weights")
    stages.score_tuned(settings, rows(5))
    assert len(scored) == 3


def task_of(tmp_path: Path) -> Path:
    path = tmp_path / "functiongemma-flutter.task"
    path.write_text("bundle")
    files.write_json(f"{path}.json", {"style": "template", "sha256": files.sha256(path)})
    return path


@pytest.mark.parametrize(("wrong", "passed"), [(1, True), (3, False)])
def test_judge_stores_verdict_and_scores(tmp_path, scored, wrong, passed):
    asked, settings, path = rows(20), TaskConfig(output=str(tmp_path)), task_of(tmp_path)
    model(tmp_path / "model")
    tuned = stages.score_tuned(settings, asked)
    summary.update(tmp_path, base=fake_score(asked, 20), task=fake_score(asked, wrong))
    verdict = stages.judge(settings, asked, path)
    assert verdict.passed is passed and len(scored) == 1
    found, beside = summary.read(tmp_path), files.read_json(f"{path}.json")
    assert (
        found["gate"]
        == beside["gate"]
        == {"passed": passed, "lines": list(verdict.lines), "differences": verdict.differences}
    )
    assert found["gate"]["differences"]["exact_match"]["difference"] == pytest.approx(-wrong / 20)
    assert found["tuned"] == tuned
    assert beside["style"] == "template" and beside["sha256"] == files.sha256(path)
    assert {name: score["exact_match"] for name, score in beside["scores"].items()} == {
        "base": 0.0,
        "tuned": 1.0,
        "task": 1 - wrong / 20,
    }
    assert not any("rows" in score for score in beside["scores"].values())


def test_judge_takes_the_users_limits_and_needs_no_base(tmp_path, scored):
    asked, path = rows(20), task_of(tmp_path)
    model(tmp_path / "model")
    summary.update(tmp_path, task=fake_score(asked, 3))
    settings = TaskConfig(output=str(tmp_path), max_exact_match_loss=15.0)
    assert stages.judge(settings, asked, path).passed
    assert files.read_json(f"{path}.json")["scores"]["base"] is None
    assert (
        summary.read(tmp_path)["tuned"]["exact_match"] == 1.0
    )  # measured here, because nothing had


def test_show_scores_prints_and_draws_what_is_known(tmp_path, capsys):
    summary.update(tmp_path, base=fake_score(rows(), 4), tuned=fake_score(rows()))
    picture = stages.show_scores(TaskConfig(output=str(tmp_path)))
    assert picture == tmp_path / "scores.png"
    printed = capsys.readouterr().out
    assert re.search(r"^\| +\| +base \| +tuned \|$", printed, re.M)
    assert re.search(
        r"^\| exact match +\| +0\.0% \(0–100\) \| +100\.0% \(0–100\) \|$", printed, re.M
    )
    assert "tuned - base" in printed and "| `change_background_color` | `color`  |" in printed
    for drawn in (picture, tmp_path / "confusion.png"):
        assert drawn.read_bytes().startswith(b"\x89PNG") and f"picture: {drawn}" in printed


def test_scores_of_an_older_fgkit_are_shown(tmp_path, capsys):
    old = {
        "n": 4,
        "parse_rate": 1.0,
        "tool_accuracy": 0.75,
        "exact_match": 0.5,
        "per_tool": {"paint": {"n": 4, "tool_accuracy": 0.75, "exact_match": 0.5}},
    }
    summary.update(tmp_path, base=old)
    stages.show_scores(TaskConfig(output=str(tmp_path)))
    assert re.search(r"^\| exact match +\| +50\.0% \|$", capsys.readouterr().out, re.M)
    assert (tmp_path / "scores.png").exists() and not (tmp_path / "confusion.png").exists()


def test_origin_tells_rows_models_and_tools_apart(tmp_path):
    path = model(tmp_path / "model") / "model.safetensors"
    first = scoring.provenance(path, rows())
    assert first == scoring.provenance(path, rows())
    assert first["rows_sha256"] != scoring.provenance(path, rows(start=2))["rows_sha256"]
    other = stages.RunData(
        TOOLS, (), tuple(request(row.line, row.user_content, (BLUE,)) for row in rows().held_out)
    )
    assert first["rows_sha256"] != scoring.provenance(path, other)["rows_sha256"]
    fewer = stages.RunData(TOOLS[:2], (), rows().held_out)
    assert first["tools_hash"] != scoring.provenance(path, fewer)["tools_hash"]


def test_seconds_of_a_step_are_added(tmp_path):
    for step in ("one", "two"):
        with summary.timed(tmp_path, step):
            pass
    assert set(summary.read(tmp_path)["seconds"]) == {"one", "two"}
    with pytest.raises(ZeroDivisionError), summary.timed(tmp_path, "three"):
        raise ZeroDivisionError
    assert "three" not in summary.read(tmp_path)["seconds"]
    assert 0.01 < subprocesses.peak_memory_gb() < 1000


# ---- training


def test_checkpoints_belong_to_exactly_one_training(tmp_path):
    facts = {"base": "offline", "rows": 3, "settings": {"seed": 1, "learning_rate": 1e-5}}
    mine = checkpoints.checkpoint_folder(tmp_path, facts)
    assert mine.parent == tmp_path / "checkpoints"
    (mine / "checkpoint-1").mkdir(parents=True)
    assert (
        checkpoints.checkpoint_folder(tmp_path, dict(reversed(facts.items()))) == mine
    )  # the order of the facts is none
    assert (mine / "checkpoint-1").is_dir()
    other = checkpoints.checkpoint_folder(
        tmp_path, facts | {"settings": {"seed": 2, "learning_rate": 1e-5}}
    )
    assert other != mine and not mine.exists()


def test_finetune_hands_everything_on_and_leaves_no_checkpoint(tmp_path, monkeypatch):
    """`train` and `save` have tests of their own: here, what arrives there and what is recorded."""
    folder = tiny.model_folder(tmp_path / "base")
    seen = {}

    def train(base, train_rows, held_out, options, *, checkpoints, monitor):
        seen.update(base=base, counts=(len(train_rows), len(held_out)), recipe=options.recipe)
        (checkpoints / "checkpoint-1").mkdir(parents=True)
        return "the model", [{"step": 1, "loss": 2.0}, {"step": 1, "eval_loss": 2.5}]

    def save(tuned, base, target, record):
        seen.update(saved=tuned, record=record)
        return model(target, "tuned")

    monkeypatch.setattr(tuning, "train", train)
    monkeypatch.setattr(tuning, "save", save)
    settings = FinetuneConfig(
        output=str(tmp_path / "out"),
        num_train_epochs=2,
        max_length=2048,
        style="template, litert_lm",
    )
    asked = stages.RunData(TOOLS, rows(6).train, rows(2).held_out)
    target = stages.finetune(
        settings, base_model.Base("offline", folder, base_named("offline"), ""), asked
    )
    assert target == tmp_path / "out" / "model" and seen["saved"] == "the model"
    assert seen["base"] == folder and seen["counts"] == (6, 2)
    assert (seen["recipe"].num_train_epochs, seen["recipe"].learning_rate) == (2, 5e-5)
    record = seen["record"]
    assert (
        record["base"],
        record["style"],
        record["tools"],
        record["tools_hash"],
        record["rows"],
    ) == ("offline", "template,litert_lm", TOOLS, tools_hash(TOOLS), 6)
    assert record["base_sha256"] == files.sha256(folder / "model.safetensors")
    assert record["settings"]["learning_rate"] == 5e-5 and record["settings"]["warmup_ratio"] == 0.1
    assert (
        "all weights fine-tuned with fgkit on 6 rows" in record["modifications"]
        and "; " in record["modifications"]
    )
    assert record["system_message"] == prompts.DEFAULT_SYSTEM_MSG and "python" in record["versions"]
    assert (tmp_path / "out" / "loss.png").is_file() and not list(
        (tmp_path / "out").rglob("checkpoint-*")
    )
    found = summary.read(tmp_path / "out")
    assert found["files"]["model/model.safetensors"]["sha256"] == files.sha256(
        target / "model.safetensors"
    )
    assert found["settings"]["finetune"]["num_train_epochs"] == 2 and "training" in found["seconds"]


def test_a_model_tuned_from_a_cut_base_says_so(tmp_path, monkeypatch):
    folder = tiny.model_folder(tmp_path / "base-32768")
    files.write_json(folder / "vocabulary.json", {"pieces": 32768, "of": 262144, "ids": [0, 1]})
    seen = {}
    monkeypatch.setattr(tuning, "train", lambda *_, **__: ("the model", [{"step": 1, "loss": 2.0}]))
    monkeypatch.setattr(
        tuning, "save", lambda tuned, base, target, record: seen.update(record) or model(target)
    )
    settings = FinetuneConfig(output=str(tmp_path / "out"), max_length=2048, vocab_size=32768)
    target = stages.finetune(
        settings, base_model.Base("offline", folder, base_named("offline"), ""), rows(2)
    )
    assert seen["vocabulary"] == {"pieces": 32768, "of": 262144}
    assert (
        "; vocabulary cut to 32,768 of 262,144 pieces; all weights fine-tuned"
        in seen["modifications"]
    )
    assert (target / "vocabulary.json").read_bytes() == (folder / "vocabulary.json").read_bytes()


def test_a_model_that_this_training_already_made_is_kept(tmp_path, monkeypatch):
    folder, trainings = tiny.model_folder(tmp_path / "base"), []

    def train(base, train_rows, held_out, options, *, checkpoints, monitor):
        trainings.append(options.seed)
        checkpoints.mkdir(parents=True)
        return "the model", [{"step": 1, "loss": 2.0}]

    def save(tuned, base, target, record):
        with atomic_files.replacing(target) as part:
            files.write_json(tiny.copy_of(base, part) / "fgkit.json", record)
        return target

    monkeypatch.setattr(tuning, "train", train)
    monkeypatch.setattr(tuning, "save", save)
    base = base_model.Base("offline", folder, base_named("offline"), "")
    settings = FinetuneConfig(output=str(tmp_path / "out"), max_length=2048)
    for _ in range(2):
        assert stages.finetune(settings, base, rows()) == tmp_path / "out" / "model"
    assert trainings == [42]
    stages.finetune(replace(settings, seed=1), base, rows())
    stages.finetune(replace(settings, seed=1), base, rows(5))
    assert trainings == [42, 1, 1]
    weights = tmp_path / "out" / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])  # damaged, or somebody's: it is named and stays
    with pytest.raises(FgkitError, match="model.safetensors: was changed since fgkit wrote it"):
        stages.finetune(replace(settings, seed=1), base, rows(5))
    assert weights.read_bytes() == whole[:-100]
    weights.unlink()
    stages.finetune(replace(settings, seed=1), base, rows(5))
    assert trainings[:3] == [42, 1, 1] and trainings[-1] == 1 and weights.exists()


def test_rows_that_are_too_long_stop_before_training(tmp_path, monkeypatch):
    folder = tmp_path / "base"
    folder.mkdir()
    tiny.tokenizer_files(folder)
    model(folder)
    files.write_json(folder / "config.json", {"model_type": "gemma3_text"})
    monkeypatch.setattr(tuning, "train", lambda *_, **__: pytest.fail("trained"))
    settings = FinetuneConfig(output=str(tmp_path / "out"), max_length=64)
    with pytest.raises(
        DataError, match=r"4 rows are longer than max_length \(64\): line 1: \d+ tokens"
    ):
        stages.finetune(
            settings, base_model.Base("b", folder, base_named(FUNCTIONGEMMA), ""), rows()
        )
    assert not (tmp_path / "out" / "checkpoints").exists()


# ---- conversion


def tokenizer_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tiny.tokenizer_files(folder)
    files.write_json(folder / "config.json", {"model_type": "gemma3_text"})
    return model(folder)


def test_budget_counts_the_longest_row_and_takes_the_next_size(tmp_path):
    tokenizer_folder(tmp_path / "model")
    long = request(9, "make it red " * 20, (RED,))
    asked = stages.RunData(TOOLS, (*rows().train, long), rows().held_out)
    longest = kv_cache_fit.longest(tmp_path / "model", asked, PromptSetup(TOOLS))
    check = kv_cache_fit.check(longest, 1024)
    context = 2048 if longest <= 2048 else 4096
    assert check.status == "pass" and 1024 < longest <= 4096
    assert check.reason == f"longest row {longest} tokens, KV cache {context} instead of 1024."
    exact = kv_cache_fit.check(longest, longest)
    assert exact.reason == f"longest row {longest} tokens, KV cache {longest}."


def test_validate_stops_at_a_broken_folder_before_scoring(tmp_path, scored):
    tokenizer_folder(tmp_path / "model")
    with pytest.raises(CheckFailed, match="checks failed:"):
        stages.validate(TfliteConfig(output=str(tmp_path)), rows())
    assert scored == []


def test_validate_scores_then_checks_answers_and_budget(tmp_path, scored, monkeypatch, capsys):
    tokenizer_folder(tmp_path / "model")
    whole = [checks.Check(1, "files", "pass", "all are there.")]
    monkeypatch.setattr(model_checks, "check_model_folder", lambda folder: whole)
    settings = TfliteConfig(output=str(tmp_path), kv_cache_max_len=4096)
    found = stages.validate(settings, rows())
    assert len(scored) == 1 and [check.number for check in found] == [1, 2, 3, 4, 5, 6]
    printed = capsys.readouterr().out
    assert "fits the KV cache" in printed and "all are there." in printed
    monkeypatch.setattr(kv_cache_fit, "longest", lambda *_: 5000)
    with pytest.raises(CheckFailed, match="fits the KV cache: longest row 5000 tokens"):
        stages.validate(TfliteConfig(output=str(tmp_path), kv_cache_max_len=512), rows())

    def broken(folder, asked, setup, **_):
        return evaluation.score(asked.held_out, ["<pad><pad>"] * 4) | {"path": "elsewhere"}

    monkeypatch.setattr(score_steps, "score_model", broken)
    (tmp_path / summary.NAME).unlink()
    with pytest.raises(CheckFailed, match="<pad>"):
        stages.validate(settings, rows())


def test_validate_looks_at_answers_only_where_a_call_is_due(tmp_path, monkeypatch):
    tokenizer_folder(tmp_path / "model")
    whole = [checks.Check(1, "files", "pass", "all are there.")]
    monkeypatch.setattr(model_checks, "check_model_folder", lambda folder: whole)
    plain = tuple(
        Record(line, request(line, "hi").messages, (), "Sorry, I only paint.") for line in (1, 2, 3)
    )

    def score_model(folder, asked, setup, **_):
        texts = [completion([RED]) if row.calls else "Sorry, no." for row in asked.held_out]
        return evaluation.score(asked.held_out, texts)

    monkeypatch.setattr(score_steps, "score_model", score_model)
    settings = TfliteConfig(output=str(tmp_path), kv_cache_max_len=4096)
    assert len(stages.validate(settings, stages.RunData(TOOLS, (), rows(2).held_out + plain))) == 6
    (tmp_path / summary.NAME).unlink()
    assert len(stages.validate(settings, stages.RunData(TOOLS, (), plain))) == 2  # files and budget


@pytest.mark.parametrize(
    ("agrees", "cosine", "passes"), [(True, 0.5, True), (False, 0.99, True), (False, 0.9, False)]
)
def test_first_token(tmp_path, monkeypatch, agrees, cosine, passes):
    """A near tie may fall the other way by rounding; other logits altogether may not."""
    model(tmp_path / "model", system_message="Act.")
    asked = {}
    monkeypatch.setattr(base_model, "load", lambda folder: ("model", "tokenizer"))
    monkeypatch.setattr(tokenize, "encode", lambda tokenizer, text: [2, 3])
    monkeypatch.setattr(
        generation, "first_logits", lambda model, tokenizer, text: asked.update(text=text)
    )
    monkeypatch.setattr(first_token, "logits_of", lambda path, ids: asked.update(ids=ids))
    monkeypatch.setattr(
        first_token, "compare", lambda reference, got: {"argmax_agrees": agrees, "cosine": cosine}
    )
    settings = TfliteConfig(output=str(tmp_path))
    if passes:
        assert (
            stages.compare_first_token(settings, rows(), tmp_path / "x.tflite")["cosine"] == cosine
        )
    else:
        with pytest.raises(CheckFailed, match="x.tflite: the first answer token differs"):
            stages.compare_first_token(settings, rows(), tmp_path / "x.tflite")
    assert asked["ids"] == [2, 3] and "Act." in asked["text"] and "make it red 1" in asked["text"]


def test_convert_hands_the_settings_on_and_records_the_file(tmp_path, monkeypatch):
    seen = {}

    def convert(folder, output, **options):
        seen.update(options, folder=folder, output=output)
        path = output / "mine_q8_ekv512.tflite"
        path.write_text("network")
        parameters = {"prefill_seq_len": 256, "kv_cache_max_len": 512}
        record = {"parameters": parameters, "model_sha256": "0", "seconds": 1.5}
        files.write_json(f"{path}.json", record | {"peak_memory_bytes": 6_800_000_000})
        return path

    monkeypatch.setattr(conversion, "convert", convert)
    monkeypatch.setattr(kv_cache_fit, "longest", lambda *_: 500)
    settings = TfliteConfig(
        output=str(tmp_path), name="mine", kv_cache_max_len=512, prefill_seq_len=128
    )
    path = stages.convert(settings, rows())
    assert seen == {
        "folder": tmp_path / "model",
        "output": tmp_path,
        "name": "mine",
        "quantize": "dynamic_int8",
        "prefill_seq_len": 128,
        "extra_prefill_seq_lens": [32],
        "kv_cache_max_len": 512,
    }
    found = summary.read(tmp_path)
    assert found["files"][path.name] == {"bytes": 7, "sha256": files.sha256(path)}
    assert found["peak_memory_gb"]["conversion"] == 6.8  # the converter's own process, not this one
    assert (
        found["settings"]["to_tflite"]["kv_cache_max_len"] == 512
        and "conversion" in found["seconds"]
    )


@pytest.mark.parametrize(
    ("longest", "asked", "context"),
    [
        (512, 512, 512),
        (513, 512, 2048),
        (2048, 1024, 2048),
        (2049, 1024, 4096),
        (4097, 1024, None),
        (5000, 6000, 6000),
    ],
)
def test_rows_that_do_not_fit_get_the_next_cache_aloud(
    tmp_path, monkeypatch, longest, asked, context
):
    tokenizer_folder(tmp_path / "model")
    monkeypatch.setattr(kv_cache_fit, "longest", lambda *_: longest)
    settings = TfliteConfig(output=str(tmp_path), kv_cache_max_len=asked)
    check = kv_cache_fit.check(longest, asked)
    assert check.status == ("fail" if context is None else "pass")
    if context is None:
        assert (
            "4097 tokens, 1 more than the largest KV cache that is chosen by itself (4096)"
            in check.remedy
        )
        with pytest.raises(CheckFailed, match="4097 tokens, 1 more than"):
            stages.convert(settings, rows())
    else:
        assert conversion.fitting_context(longest, asked) == context
        assert (f"KV cache {context} instead of {asked}" in check.reason) is (context != asked)


# ---- bundle


def test_bundle_records_where_it_comes_from(tmp_path, monkeypatch):
    folder = model(
        tmp_path / "tuned",
        style="template",
        base="offline",
        tools_hash=tools_hash(TOOLS),
        system_message="Act.",
        modifications="tuned",
    )
    (tmp_path / "mine_q8_ekv1024.tflite").touch()
    seen = {}

    def create_task(network, tokenizer, output, **options):
        seen.update(options, inputs=(network, tokenizer))
        output.write_text("bundle")
        return output

    monkeypatch.setattr(bundle, "create_task", create_task)
    settings = TaskConfig(output=str(tmp_path), model=str(folder), name="mine", profile="google")
    path = stages.bundle_task(settings, rows())
    assert path == tmp_path / "mine.task" and seen["profile"] == "google"
    assert seen["inputs"] == (tmp_path / "mine_q8_ekv1024.tflite", folder / "tokenizer.model")
    sidecar = seen["sidecar"]
    assert sidecar.pop("versions")
    assert sidecar == {
        "style": "template",
        "base": "offline",
        "tools_hash": tools_hash(TOOLS),
        "system_message": "Act.",
        "modifications": "tuned",
        "vocabulary": None,
        "model_sha256": files.sha256(folder / "model.safetensors"),
    }
    assert summary.read(tmp_path)["files"]["mine.task"]["bytes"] == 6


@pytest.mark.parametrize(
    ("asked", "parallel", "found"),
    [
        ("", False, "guide"),
        ("", True, "google"),
        ("google", True, "google"),
        ("google", False, "google"),
        ("guide", False, "guide"),
        ("flutter_gemma", False, "flutter_gemma"),
        ("guide", True, None),
        ("flutter_gemma", True, None),
    ],
)
def test_the_profile_follows_the_rows_and_never_cuts_a_call(
    tmp_path, capsys, asked, parallel, found
):
    settings = TaskConfig(output=str(tmp_path), profile=asked)
    data = stages.RunData(
        TOOLS, rows().train, (request(1, "both", [RED, BLUE] if parallel else [RED]),)
    )
    if found is None:
        with pytest.raises(
            ConfigError, match=f"profile is '{asked}', which stops .*Choose 'google', or leave"
        ):
            prompting_modes.profile_for(settings.profile, data)
        return
    assert prompting_modes.profile_for(settings.profile, data) == found
    assert (f"Profile '{found}': " in capsys.readouterr().out) is (asked == "")


class FakeRuntime:
    """A runtime that gives one answer to everything and notes what it was asked."""

    asked: list[str] = []
    answer = completion([RED]).replace("<end_function_call><start_function_response>", "")
    end_tag_cut = True
    profile = ""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def generate(self, text, *, max_new_tokens):
        self.asked.append(text)
        return self.answer

    def generate_all(self, texts, max_new_tokens):
        assert max_new_tokens >= len("call:change_background_color")
        return [self.generate(text, max_new_tokens=max_new_tokens) for text in texts]


@pytest.fixture
def fake_runtime(monkeypatch):
    monkeypatch.setattr(runtime, "Runtime", FakeRuntime)
    monkeypatch.setattr(FakeRuntime, "asked", [])
    monkeypatch.setattr(scoring.prompting_modes, "probe_modes", lambda *_, **__: {})
    monkeypatch.setattr(
        prompting,
        "bundle_setup",
        lambda path, tools, style=None: PromptSetup(tools, "Act.", (style or "litert_lm",)),
    )
    return FakeRuntime


def test_a_bundle_is_scored_with_whole_prompts_and_cut_end_tags(
    tmp_path, fake_runtime, monkeypatch
):
    path = task_of(tmp_path)
    score = scoring.score_file(path, rows(3))
    assert score["exact_match"] == 1.0 and score["n"] == 3 and score["sha256"] == files.sha256(path)
    assert len(fake_runtime.asked) == 3 and len(set(fake_runtime.asked)) == 3
    assert all(
        text.startswith("<bos>") and "Act." in text and "declaration:show_alert" in text
        for text in fake_runtime.asked
    )
    monkeypatch.setattr(
        fake_runtime, "end_tag_cut", False
    )  # a bundle that does not stop there has to write the tag
    assert scoring.score_file(path, rows(3))["parse_rate"] == 0.0
    with pytest.raises(
        ConfigError,
        match="functiongemma-flutter.task: constrained decoding was asked for, .*in conversations only",
    ):
        scoring.score_file(path, rows(3), constrained=True)


@pytest.mark.parametrize("constrained", [False, True])
def test_conversations_are_constrained_when_asked_and_the_score_says_so(
    tmp_path, fake_runtime, monkeypatch, constrained
):
    def ask_all(runtime, asked, setup, texts, **options):
        assert options["constrained"] is constrained
        return [completion([RED])] * len(asked), len(asked)

    monkeypatch.setattr(conversations, "ask_all", ask_all)
    (tmp_path / "x.litertlm").write_bytes(b"LITERTLM")
    score = scoring.score_file(tmp_path / "x.litertlm", rows(3), constrained=constrained)
    assert score["sent"] == "conversation" and score.get("constrained", False) is constrained


def test_the_score_of_a_bundle_goes_into_the_summary(tmp_path, fake_runtime, monkeypatch):
    monkeypatch.setattr(speed, "measure", lambda path: SPEED)
    tokenizer_folder(tmp_path / "model")
    files.write_json(tmp_path / "model" / "fgkit.json", {"system_message": "Act."})
    path = task_of(tmp_path)
    scores = stages.score_bundles(TaskConfig(output=str(tmp_path)), rows(2), path)
    found = summary.read(tmp_path)
    assert {"task": found["task"]} == scores and f"{path.name} on the held-out rows" in found[
        "seconds"
    ]
    assert found["speed"] == {path.name: SPEED} and found["litertlm"] is None
    assert (
        found["versions"] == summary.versions()
    )  # a notebook may run where the ones before it did not
    assert all("Act." in text for text in fake_runtime.asked)


@pytest.mark.parametrize(
    ("answer", "code", "printed"),
    [
        (FakeRuntime.answer, 0, "call: change_background_color(color='red')"),
        ("I am sorry", 1, "raw:  I am sorry"),
        ("<start_function_call>call:f{", 1, "not a valid call: "),
    ],
)
def test_chat_with_one_question(tmp_path, fake_runtime, monkeypatch, capsys, answer, code, printed):
    monkeypatch.setattr(fake_runtime, "answer", answer)
    assert (
        chat.chat(tmp_path / "x.task", locations.shipped("data", "tools.py"), ["make", "it", "red"])
        == code
    )
    out = capsys.readouterr().out
    assert printed in out and "time: " in out
    assert len(fake_runtime.asked) == 1 and "make it red" in fake_runtime.asked[0]


def test_chat_reads_questions_until_an_empty_line(tmp_path, fake_runtime, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("make it red\nnow blue\n\nnever asked\n"))
    assert chat.chat(tmp_path / "x.task", locations.shipped("data", "tools.py"), []) == 0
    assert len(fake_runtime.asked) == 2 and "now blue" in fake_runtime.asked[1]
    monkeypatch.setattr(sys, "stdin", io.StringIO("one"))
    assert chat.chat(tmp_path / "x.task", locations.shipped("data", "tools.py"), []) == 0
    assert len(fake_runtime.asked) == 3


def test_score_folder_refuses_what_is_no_model_and_uses_what_it_records(tmp_path, scored):
    with pytest.raises(FgkitError, match="not a complete model"):
        scoring.score_folder(model(tmp_path / "half"), rows())
    folder = tiny.model_folder(tmp_path / "model")
    files.write_json(
        folder / "fgkit.json",
        {"system_message": "Act.", "style": "template", "tools_hash": tools_hash(TOOLS)},
    )
    assert scoring.score_folder(folder, rows())["n"] == 4 and scored == [
        (folder, "Act.", "template")
    ]
    with pytest.raises(ConfigError, match="'other' is none of template, flutter_gemma, litert_lm"):
        scoring.score_folder(folder, rows(), style="other")
    with pytest.raises(
        ModelError,
        match="trained with prompt style 'template', but 'litert_lm' is asked for. They part at",
    ):
        scoring.score_folder(folder, rows(), style="litert_lm")
    with pytest.raises(ModelError, match="other tools"):
        scoring.score_folder(folder, stages.RunData(TOOLS[:1], (), rows().held_out))
    assert len(scored) == 1


# ---- inputs that changed since they were written


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.model"])
def test_a_flipped_bit_in_the_model_is_named_before_a_conversion_or_a_bundle(
    tmp_path, monkeypatch, name
):
    def work(*_, **__):
        pytest.fail("the work began")

    folder = model(tmp_path / "out" / "model", style="template")
    (folder / "tokenizer.model").write_bytes(b"pieces")
    checksums.write(folder)
    (folder / name).write_bytes(b"other" + (folder / name).read_bytes()[5:])
    files.write_text(tmp_path / "out" / "functiongemma-flutter_q8_ekv1024.tflite", "network")
    monkeypatch.setattr(conversion, "convert", work)
    monkeypatch.setattr(bundle, "create_task", work)
    for step in (
        lambda: stages.convert(TfliteConfig(output=str(tmp_path / "out")), rows()),
        lambda: stages.bundle_task(
            TaskConfig(output=str(tmp_path / "out")), stages.RunData([], (), ())
        ),
    ):
        with pytest.raises(ModelError, match=f"{name}: has other bytes than were written"):
            step()
    with pytest.raises(
        CheckFailed, match=f"9. checksums: .*{name}: has other bytes than were written"
    ):
        stages.validate(TfliteConfig(output=str(tmp_path / "out")), rows())


def test_a_flipped_bit_in_the_network_is_named_before_it_is_bundled_or_compared(
    tmp_path, monkeypatch
):
    model(tmp_path / "out" / "model", style="template")
    network = tmp_path / "out" / "functiongemma-flutter_q8_ekv1024.tflite"
    files.write_text(network, "network")
    files.write_json(f"{network}.json", {"sha256": files.sha256(network)})
    network.write_text("netwerk")
    for step in (
        lambda: stages.bundle_task(
            TaskConfig(output=str(tmp_path / "out")), stages.RunData([], (), ())
        ),
        lambda: stages.compare_first_token(
            TfliteConfig(output=str(tmp_path / "out")), rows(), network
        ),
    ):
        with pytest.raises(BundleError, match="ekv1024.tflite: has other bytes than were written"):
            step()


def test_a_tuned_model_with_a_flipped_bit_is_not_kept(tmp_path):
    folder = model(tmp_path, style="template")
    header = (
        b'{"model.embed_tokens.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}'
    )
    whole = len(header).to_bytes(8, "little") + header + bytes(8)
    (folder / "model.safetensors").write_bytes(whole)
    checksums.write(folder)
    assert finetune_steps._is_complete_result(folder, {"style": "template"})
    (folder / "model.safetensors").write_bytes(whole[:-1] + b"\1")
    assert not finetune_steps._is_complete_result(folder, {"style": "template"})
