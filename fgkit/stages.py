"""The steps of the three notebooks, each one call: what comes in from the settings, what goes out into the run's folder.

    finetune    load_rows, cut_vocabulary, report_data, score_base, finetune, score_tuned -> report.json, report.png, model/
    to_tflite   load_rows, validate, convert, compare_first_token -> *.tflite
    to_task     load_rows, bundle_task, bundle_litertlm, check_bundles, score_bundles, judge -> *.task, *.litertlm, .json

Every score goes into `summary.json` as soon as it is known.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from . import bundle, checks, evaluation, examples, progress, prompts, styles, tflite
from .archives import bundle_checks, profiles
from .base_model import Base, load_tokenizer
from .child import peak_memory_gb
from .config import FinetuneConfig, TaskConfig, TfliteConfig
from .conversion import budget, first_token
from .data_report import report
from .display import show_picture, show_table, show_text
from .engine import devices
from .engine.watching import Watch
from .errors import CheckFailed, FgkitError, ModelError
from .files import read_json, sha256
from .gate import Verdict, gate, together
from .run_folder import checksums, summary
from .run_folder.manifest import step
from .scores import score_plots, score_table
from .scoring import (Rows, data_files, hash_of, load_rows, model_facts, origin, prompt_styles, require_same_tools,
                      rows_hash, score_bundle, score_model, system_message_of)
from .serving import runtime_speed, sending
from .tools import lint_tools, load_tools
from .vocabularies import respelling
from .vocabularies.cut_base import cut_vocabulary, described, hand_on, modification

__all__ = ["Rows", "bundle_litertlm", "bundle_task", "check_bundles", "compare_first_token", "convert",
           "cut_vocabulary", "finetune", "judge", "load_rows", "report_data", "score_base", "score_bundles", "score_tuned",
           "show_scores", "validate"]
SAME_LOGITS = 0.98  # cosine of int8 and bfloat16 logits of one network; 0.997 was measured on the offline base


@step
def report_data(settings: FinetuneConfig, base: Base) -> Path:
    """Show what the data files hold and what is odd about them; `report.json` and `report.png` keep it.

    Raises:
        DataError: something would spoil the training or the score; every error in one message.
    """
    data, eval_data, tools_file = data_files(settings.data, settings.eval_data, settings.tools)
    tokenizer = load_tokenizer(base.folder)
    found = report.inspect(data, load_tools(tools_file), eval_data, tokenizer=tokenizer, max_length=settings.max_length,
                           system_message=settings.system_message, style=styles.split(settings.style)[0],
                           seed=settings.seed, format=settings.data_format,
                           tool_report=lint_tools(tools_file, tokenizer))
    show_text(found.lines())
    show_table(found.table())
    picture = report.save(found, settings.folder)
    found.raise_errors()
    return picture


@step
def score_base(settings: FinetuneConfig, base: Base, rows: Rows) -> dict[str, Any]:
    """Score the untouched base model on the held-out rows; it also starts a new summary."""
    (settings.folder / summary.NAME).unlink(missing_ok=True)
    score = score_model(base.folder, rows, system_message=settings.system_message, style=styles.split(settings.style),
                        description="base model")
    summary.update(settings.folder, base=score, versions=summary.versions())
    return score


@step
def finetune(settings: FinetuneConfig, base: Base, rows: Rows, watch: Watch | None = None) -> Path:
    """Tune the base on the training rows and write the model folder; the loss curve is drawn into `loss.png`.

    A run that was cut off goes on from its newest checkpoint, a minute or so back, and ends with the weights that it would
    have had. Checkpoints are removed when the model is saved. Of several processes only the main one writes.

    Args:
        settings, base, rows: what to train.
        watch: who looks on. Where they stop it, the model is kept as it is then, and so is the newest checkpoint: the same
            call again goes on.
    """
    from . import training

    tokenizer, names = load_tokenizer(base.folder), styles.split(settings.style)
    if "template" in names:
        compared = examples.check_template(tokenizer, rows.train + rows.held_out, rows.tools, settings.system_message)
        progress.note(f"{compared} prompts equal the text of the model's own chat template.")
    train_rows, held_out = (examples.tokenize_records(part, rows.tools, tokenizer, max_length=settings.max_length,
                                                      system_message=settings.system_message, style=settings.style,
                                                      seed=settings.seed) for part in (rows.train, rows.held_out))
    recipe = settings.recipe(base.offline)
    facts = {"base": base.name, "base_sha256": sha256(base.folder / "model.safetensors"), "rows": len(rows.train),
             "rows_sha256": rows_hash(rows.train), "style": styles.join(names), "tools_hash": hash_of(rows.tools),
             "settings": asdict(settings) | asdict(recipe), "versions": summary.versions(), "stopped_after": None}
    target = settings.model_folder
    if _is_whole_result(target, facts):
        progress.note(f"{target} was tuned from the same inputs with the same settings: it is kept.")
        if not devices.main_process():
            return target
    else:
        spelt = respelling.unseen(base.folder, rows.train, train_rows, rows.tools, max_length=settings.max_length,
                                  system_message=settings.system_message, style=settings.style, seed=settings.seed)
        if spelt:
            progress.note(f"{len(spelt)} rows are trained once more, spelt as words that the vocabulary does not hold.")
        with _timed(settings.folder, "training"):
            model, log = training.train(base.folder, train_rows + spelt, held_out, recipe=recipe, config=settings,
                                        checkpoints=training.checkpoint_folder(settings.folder, facts), watch=watch)
        if not devices.main_process():
            return target
        training.save(model, base.folder, target, facts | {
            "tools": rows.tools, "system_message": settings.system_message or prompts.DEFAULT_SYSTEM_MSG,
            "vocabulary": described(base.folder), "modifications": _modifications(base, len(rows.train)), "log": log,
            "stopped_after": watch and watch.stopped_after})
    hand_on(base.folder, target)
    training.plot_loss(model_facts(target).get("log", []), settings.folder / "loss.png")
    if stopped := model_facts(target).get("stopped_after"):
        progress.note(f"Stopped after step {stopped}: {target} holds the model as it was then. The same call goes on.")
    else:
        shutil.rmtree(settings.folder / "checkpoints", ignore_errors=True)
    summary.update(settings.folder, settings={"finetune": facts["settings"]},
                   files={"model/model.safetensors": summary.describe_file(target / "model.safetensors")})
    return target


@step
def score_tuned(settings: FinetuneConfig | TfliteConfig | TaskConfig, rows: Rows) -> dict[str, Any]:
    """Score the tuned model, or give the score that stands in the summary for the same model and rows."""
    folder, names = settings.model_folder, prompt_styles(settings, rows)
    known = summary.read(settings.folder)["tuned"]
    same = origin(folder / "model.safetensors", rows) | {"style": names[0]}
    if known and same.items() <= known.items() and set(names) <= {names[0], *known.get("per_style", {})}:
        return known
    score = score_model(folder, rows, system_message=system_message_of(folder), style=names, description="tuned model")
    summary.update(settings.folder, tuned=score, versions=summary.versions())
    return score


@step
def validate(settings: TfliteConfig, rows: Rows) -> list[checks.Check]:
    """Check the model folder, the guide's four answer checks and the prompt budget; nothing broken gets converted.

    Raises:
        CheckFailed: with every failed check and its remedy.
    """
    folder_checks = checks.require(checks.check_model_folder(settings.model_folder))
    require_same_tools(settings.model_folder, rows)
    score = score_tuned(settings, rows)
    answers = [row["text"] for row in score["rows"] if row["expected"]]
    answers = checks.check_answers(answers) if answers else []
    answers.append(budget.check(settings, rows))
    found = [replace(check, number=number) for number, check in enumerate([*folder_checks, *answers], 1)]
    print(checks.table(found))
    return checks.require(found)


@step
def convert(settings: TfliteConfig, rows: Rows) -> Path:
    """Convert the tuned model with the guide's parameters, and a longer KV cache where rows need one; read it back."""
    checksums.require(settings.model_folder)
    longest = budget.longest(settings, rows)
    context = tflite.fitting_context(longest, settings.kv_cache_max_len)
    if context is None:
        raise CheckFailed(budget.too_long(longest, settings.kv_cache_max_len))
    if context != settings.kv_cache_max_len:
        progress.note(f"KV cache: {context} tokens instead of {settings.kv_cache_max_len}, because the longest row has "
                      f"{longest}; the file's name says ekv{context}.")
    with _timed(settings.folder, "conversion"):
        path = tflite.convert(settings.model_folder, settings.folder, name=settings.name, quantize=settings.quantize,
                              prefill_seq_len=settings.prefill_seq_len, kv_cache_max_len=context,
                              extra_prefill_seq_lens=settings.extra_prefill_seq_lens)
    record = read_json(f"{path}.json")
    summary.update(settings.folder, settings={"to_tflite": asdict(settings)}, versions=summary.versions(),
                   peak_memory_gb={"conversion": round(record["peak_memory_bytes"] / 1e9, 2)},  # in its own process
                   files={path.name: summary.describe_file(path)})
    return path


@step
def compare_first_token(settings: TfliteConfig, rows: Rows, path: Path) -> dict[str, Any]:
    """Compare the converted network with PyTorch on the first answer token of the first held-out row.

    Raises:
        CheckFailed: another token comes first although the logits are not close, which rounding does not explain.
    """
    from . import base_model, generation

    checksums.require(path)
    model, tokenizer = base_model.load(settings.model_folder)
    text = examples.prompt_texts(rows.held_out[:1], rows.tools, system_message_of(settings.model_folder),
                                 prompt_styles(settings, rows)[0])[0]
    reference = generation.first_logits(model, tokenizer, text)
    result = first_token.compare(reference, first_token.logits_of(path, examples.encode(tokenizer, text)))
    if not result["argmax_agrees"] and result["cosine"] < SAME_LOGITS:
        raise CheckFailed(f"{path.name}: the first answer token differs from PyTorch's: {result}. "
                          "Convert again with quantize 'none' to see whether the quantisation is to blame.")
    return result


@step
def bundle_task(settings: TaskConfig, rows: Rows) -> Path:
    """Make the `.task` from the run's only `.tflite` of that name, re-open it and compare every field."""
    folder = settings.model_folder
    require_same_tools(folder, rows)
    names, profile = prompt_styles(settings, rows), sending.profile_for(settings, rows)
    if profile == "flutter_gemma" and profile not in names:
        print(f"warning: profile {profile!r} is for the plugin, which sends prompts of style {profile!r}, but the model "
              f"was trained in style {styles.join(names)!r}. {styles.difference(names[0], profile, rows.tools)} Score the "
              f"bundle as the app will prompt it, or train with style {profile!r}.")
    network = _tflite_of(settings)
    for part in (folder, network):
        checksums.require(part)
    path = bundle.create_task(network, folder / "tokenizer.model", settings.folder / f"{settings.name}.task",
                              profile=profile, sidecar=sidecar(settings, rows), developer_turn="" if profile != profiles.BAKED else
                              sending.developer_turn(examples.prompt_texts(
                                  rows.held_out[:1], rows.tools, system_message_of(folder), names[0])[0]))
    summary.update(settings.folder, settings={"to_task": asdict(settings)},
                   files={path.name: summary.describe_file(path)})
    return path


@step
def bundle_litertlm(settings: TaskConfig, rows: Rows) -> Path:
    """Make the `.litertlm` of the same network, whose conversations write the trained prompt in LiteRT-LM."""
    require_same_tools(settings.model_folder, rows)
    path = bundle.create_litertlm(_tflite_of(settings), settings.model_folder / "tokenizer.model",
                                  settings.folder / f"{settings.name}.litertlm", style=prompt_styles(settings, rows)[0],
                                  sidecar=sidecar(settings, rows))
    summary.update(settings.folder, files={path.name: summary.describe_file(path)})
    return path


@step
def check_bundles(settings: TaskConfig, rows: Rows, *paths: Path) -> None:
    """Look into finished bundles before they are run: ten numbered checks each, printed.

    Raises:
        CheckFailed: with every failed check and its remedy.
    """
    folder = settings.model_folder
    texts = bundle_checks.texts_of((*rows.train, *rows.held_out), rows.tools, system_message=system_message_of(folder),
                                   styles=prompt_styles(settings, rows))
    found = {path.name: bundle_checks.check_bundle(path, model=folder, texts=texts) for path in paths}
    for name, checked in found.items():
        print(f"{name}\n{checks.table(checked)}")
    checks.require([replace(check, name=f"{name}, {check.name}") for name, each in found.items() for check in each])


@step
def score_bundles(settings: TaskConfig, rows: Rows, *paths: Path) -> dict[str, dict[str, Any]]:
    """Run finished bundles in LiteRT-LM on the held-out rows, each asked as its apps ask it, and measure their speed.

    Returns:
        the scores by the names they have in the summary: `task`, `litertlm`.
    """
    scores = {}
    for path in paths:
        with _timed(settings.folder, f"{path.name} on the held-out rows"):
            score = score_bundle(path, rows, system_message=system_message_of(settings.model_folder),
                                 style=prompt_styles(settings, rows), tokenizer_folder=settings.model_folder)
        scores[path.suffix[1:]] = score
        summary.update(settings.folder, speed={path.name: runtime_speed.measure(path)}, versions=summary.versions(),
                       **{path.suffix[1:]: score})
    return scores


@step
def judge(settings: TaskConfig, rows: Rows, *paths: Path) -> Verdict:
    """Hold bundles against the model they were made from, on the same rows; each verdict goes beside its bundle."""
    scores = summary.read(settings.folder)
    tuned, verdicts = score_tuned(settings, rows), {}
    for path in paths:
        kind = path.suffix[1:]
        if scores[kind] is None:
            raise FgkitError(f"{path.name} has no score yet. Run the cell that scores it in the phone's runtime first.")
        verdict = gate(tuned, scores[kind], max_exact_match_loss=settings.max_exact_match_loss,
                       max_tool_accuracy_loss=settings.max_tool_accuracy_loss)
        verdicts[path.name] = verdict
        short = {name: {key: value for key, value in score.items() if key != "rows"} if score else None
                 for name, score in (("base", scores["base"]), ("tuned", tuned), (kind, scores[kind]))}
        bundle.update_sidecar(path, scores=short, gate=verdict.described(), speed=scores["speed"].get(path.name))
    whole = together(verdicts)
    if ways := (scores["task"] or {}).get("ways"):
        whole = replace(whole, lines=(*whole.lines, *sending.lines(ways)))
    summary.update(settings.folder, gate=whole.described())
    return whole


@step
def show_scores(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> Path:
    """Show the scores known so far side by side: tables, `scores.png`, and the last one's `confusion.png`.

    Returns:
        the path of `scores.png`.
    """
    found = summary.read(settings.folder)
    scores = {name: evaluation.completed(found[name]) for name in summary.SCORES if found[name]}
    for table in (score_table.compare, score_table.compare_pairs, score_table.compare_arguments):
        show_table(table(scores))
    show_picture(picture := score_plots.plot(scores, settings.folder / "scores.png"))
    *_, (name, last) = scores.items()
    if last.get("confusion"):
        show_picture(score_plots.plot_confusion(last, settings.folder / "confusion.png", name=name))
    return picture


@contextmanager
def _timed(folder: Path, what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    if not devices.main_process():
        return
    summary.update(folder, seconds={what: round(time.monotonic() - start, 1)}, peak_memory_gb={what: peak_memory_gb()})


def _modifications(base: Base, count: int) -> str:
    from .offline_base import MODIFICATIONS

    return ((f"{MODIFICATIONS}; " if base.offline else "") + modification(base.folder)
            + f"all weights fine-tuned with fgkit on {count} rows")


def _is_whole_result(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether a model folder is what this training would give."""
    return (facts.items() <= model_facts(folder).items() and not checks.weight_problems(folder)
            and not checksums.problems(folder))


def sidecar(settings: TaskConfig, rows: Rows) -> dict[str, Any]:
    """What the JSON beside a bundle says of its model."""
    folder = settings.model_folder
    facts = model_facts(folder)
    return {"style": styles.join(prompt_styles(settings, rows)), "base": facts.get("base"), "tools_hash": hash_of(rows.tools),
            "system_message": system_message_of(folder), "model_sha256": sha256(folder / "model.safetensors"),
            "modifications": facts.get("modifications"), "vocabulary": facts.get("vocabulary"),
            "versions": summary.versions()}


def _tflite_of(settings: TaskConfig) -> Path:
    found = sorted(settings.folder.glob(f"{settings.name}_*.tflite"))
    if len(found) != 1:
        raise ModelError(f"{settings.folder}: found {len(found)} files {settings.name}_*.tflite, expected one. "
                         + ("Run to_tflite first." if not found else "Remove the ones that are not wanted: "
                            + ", ".join(path.name for path in found)))
    return found[0]
