"""The steps of the three notebooks, each one call: what comes in from the settings, what goes out into the run's folder.

    finetune    load_rows, score_base, finetune, score_tuned      -> model/
    to_tflite   load_rows, validate, convert, compare_first_token -> *.tflite
    to_task     load_rows, bundle_task, score_task, judge         -> *.task, *.task.json

Every score goes into `summary.json` as soon as it is known.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import bundle, checks, evaluation, examples, progress, prompts, summary, tflite
from .base_model import Base
from .config import FinetuneConfig, TaskConfig, TfliteConfig
from .errors import CheckFailed, ModelError
from .files import read_json, sha256, shipped
from .gate import Verdict, gate
from .records import Record, canonical, load_data
from .tools import load_tools, tools_hash

STYLE = "template"
SAME_LOGITS = 0.98  # cosine of int8 and bfloat16 logits of one network; 0.997 was measured on the offline base


@dataclass(frozen=True)
class Rows:
    """The tools of a run, its training rows and its held-out rows."""

    tools: list[dict]
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]

    def __str__(self) -> str:
        lines = [f"{'tool':<32}{'training':>10}{'held out':>10}"]
        for name in [tool["function"]["name"] for tool in self.tools]:
            counts = (sum(any(call.name == name for call in row.calls) for row in rows)
                      for rows in (self.train, self.held_out))
            lines.append(f"{name:<32}" + "".join(f"{count:>10}" for count in counts))
        return "\n".join([*lines, f"{'rows':<32}{len(self.train):>10}{len(self.held_out):>10}"])


def load_rows(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> Rows:
    """Read tools and rows, the example's where none are named; every wrong line is reported at once.

    Args:
        settings: its `data`, `eval_data`, `tools` and `seed` count.
    Raises:
        ToolError, DataError: with one line a problem.
    """
    data, eval_data, tools_file = data_files(settings.data, settings.eval_data, settings.tools)
    tools = load_tools(tools_file)
    data = load_data(data, eval_data, tools, seed=settings.seed)
    for warning in data.warnings:
        print(f"warning: {warning}")
    return Rows(tools, tuple(data.train), tuple(data.held_out))


def data_files(data: str = "", eval_data: str = "", tools: str = "") -> tuple[Path, Path | str, Path]:
    """The files a run reads: (training rows, held-out rows or "" to split them off, tools)."""
    if not data and not eval_data:
        eval_data = str(shipped("data", "eval_data.jsonl"))
    return (Path(data).expanduser() if data else shipped("data", "training_data.jsonl"),
            Path(eval_data).expanduser() if eval_data else "",
            Path(tools).expanduser() if tools else shipped("data", "tools.py"))


def score_base(settings: FinetuneConfig, base: Base, rows: Rows) -> dict[str, Any]:
    """Score the untouched base model on the held-out rows; it also starts a new summary."""
    (settings.folder / summary.NAME).unlink(missing_ok=True)
    score = score_model(base.folder, rows, system_message=settings.system_message, description="base model")
    summary.update(settings.folder, base=score, versions=summary.versions())
    return score


def score_model(folder: Path, rows: Rows, *, system_message: str = "", description: str) -> dict[str, Any]:
    """Score a model folder in PyTorch on the held-out rows.

    Args:
        folder: a model folder.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        description: what the progress bar says.
    """
    from . import base_model, generation

    model, tokenizer = base_model.load(folder)
    if model.device.type == "cpu":  # the same bfloat16 weights, multiplied in fp32: as exact, and faster without a GPU
        model = model.float()
        model.set_attn_implementation("sdpa")
    texts = generation.generate(
        model, tokenizer, examples.prompt_texts(rows.held_out, rows.tools, system_message),
        max_new_tokens=generation.longest_answer(tokenizer, rows.held_out), description=description)
    return evaluation.score(rows.held_out, texts) | _origin(folder / "model.safetensors", rows)


def finetune(settings: FinetuneConfig, base: Base, rows: Rows) -> Path:
    """Tune the base on the training rows and write the model folder; the loss curve is drawn into `loss.png`.

    A run that was cut off goes on from its last epoch. Checkpoints are removed when the model is saved.
    """
    from transformers import AutoTokenizer

    from . import training

    tokenizer = AutoTokenizer.from_pretrained(base.folder, local_files_only=True, trust_remote_code=False)
    compared = examples.check_template(tokenizer, rows.train + rows.held_out, rows.tools, settings.system_message)
    progress.note(f"{compared} prompts equal the text of the model's own chat template.")
    train_rows, held_out = (examples.tokenize_records(part, rows.tools, tokenizer, max_length=settings.max_length,
                                                      system_message=settings.system_message)
                            for part in (rows.train, rows.held_out))
    recipe = settings.recipe(base.offline)
    facts = {"base": base.name, "base_sha256": sha256(base.folder / "model.safetensors"), "rows": len(rows.train),
             "rows_sha256": _rows_hash(rows.train), "style": STYLE, "tools_hash": tools_hash(rows.tools),
             "settings": asdict(settings) | asdict(recipe), "versions": summary.versions()}
    if _is_whole_result(settings.model_folder, facts):
        progress.note(f"{settings.model_folder} was tuned from the same inputs with the same settings: it is kept.")
        return settings.model_folder
    checkpoints = _checkpoints_for(settings.folder, facts)
    with _timed(settings.folder, "training"):
        model, log = training.train(base.folder, train_rows, held_out, recipe=recipe, config=settings,
                                    checkpoints=checkpoints)
    target = training.save(model, base.folder, settings.folder / "model", facts | {
        "tools": rows.tools, "system_message": settings.system_message or prompts.DEFAULT_SYSTEM_MSG,
        "modifications": _modifications(base, len(rows.train)), "log": log})
    training.plot_loss(log, settings.folder / "loss.png")
    shutil.rmtree(checkpoints.parent)
    summary.update(settings.folder, settings={"finetune": facts["settings"]},
                   files={"model/model.safetensors": summary.describe_file(target / "model.safetensors")})
    return target


def score_tuned(settings: FinetuneConfig | TfliteConfig | TaskConfig, rows: Rows) -> dict[str, Any]:
    """Score the tuned model, or give the score that stands in the summary for the same model and rows."""
    folder = settings.model_folder
    known = summary.read(settings.folder)["tuned"]
    if known and _origin(folder / "model.safetensors", rows).items() <= known.items():
        return known
    score = score_model(folder, rows, system_message=_system_message(folder), description="tuned model")
    summary.update(settings.folder, tuned=score, versions=summary.versions())
    return score


def validate(settings: TfliteConfig, rows: Rows) -> list[checks.Check]:
    """Check the model folder, the guide's four answer checks and the prompt budget; nothing broken gets converted.

    Raises:
        CheckFailed: with every failed check and its remedy.
    """
    folder_checks = checks.require(checks.check_model_folder(settings.model_folder))
    _same_tools(settings.model_folder, rows)
    score = score_tuned(settings, rows)
    answers = checks.check_answers([row["text"] for row in score["rows"]])
    answers.append(_budget(settings, rows))
    found = [replace(check, number=number) for number, check in enumerate([*folder_checks, *answers], 1)]
    print(checks.table(found))
    return checks.require(found)


def convert(settings: TfliteConfig) -> Path:
    """Convert the tuned model with the guide's parameters and read the signatures back."""
    with _timed(settings.folder, "conversion"):
        path = tflite.convert(settings.model_folder, settings.folder, name=settings.name, quantize=settings.quantize,
                              prefill_seq_len=settings.prefill_seq_len, kv_cache_max_len=settings.kv_cache_max_len)
    record = read_json(f"{path}.json")
    summary.update(settings.folder, settings={"to_tflite": asdict(settings)},
                   peak_memory_gb={"conversion": round(record["peak_memory_bytes"] / 1e9, 2)},  # in its own process
                   files={path.name: summary.describe_file(path)})
    return path


def compare_first_token(settings: TfliteConfig, rows: Rows, path: Path) -> dict[str, Any]:
    """Compare the converted network with PyTorch on the first answer token of the first held-out row.

    Raises:
        CheckFailed: another token comes first although the logits are not close, which rounding does not explain.
    """
    from . import base_model, generation

    model, tokenizer = base_model.load(settings.model_folder)
    text = examples.prompt_texts(rows.held_out[:1], rows.tools, _system_message(settings.model_folder))[0]
    reference = generation.first_logits(model, tokenizer, text)
    result = tflite.compare_logits(reference, tflite.first_token_logits(path, examples.encode(tokenizer, text)))
    if not result["argmax_agrees"] and result["cosine"] < SAME_LOGITS:
        raise CheckFailed(f"{path.name}: the first answer token differs from PyTorch's: {result}. "
                          "Convert again with quantize 'none' to see whether the quantisation is to blame.")
    return result


def bundle_task(settings: TaskConfig, rows: Rows) -> Path:
    """Make the `.task` from the run's only `.tflite` of that name, re-open it and compare every field."""
    folder = settings.model_folder
    facts = _model_facts(folder)
    _same_tools(folder, rows)
    path = bundle.create_task(
        _tflite_of(settings), folder / "tokenizer.model", settings.folder / f"{settings.name}.task",
        profile=settings.profile,
        sidecar={"style": facts.get("style", STYLE), "base": facts.get("base"), "tools_hash": tools_hash(rows.tools),
                 "system_message": _system_message(folder), "model_sha256": sha256(folder / "model.safetensors"),
                 "modifications": facts.get("modifications"), "versions": summary.versions()})
    summary.update(settings.folder, settings={"to_task": asdict(settings)},
                   files={path.name: summary.describe_file(path)})
    return path


def score_task(settings: TaskConfig, rows: Rows, path: Path) -> dict[str, Any]:
    """Run the finished bundle in LiteRT-LM on the held-out rows."""
    with _timed(settings.folder, "bundle on the held-out rows"):
        score = score_bundle(path, rows, system_message=_system_message(settings.model_folder),
                             tokenizer_folder=settings.model_folder)
    summary.update(settings.folder, task=score)
    return score


def score_bundle(path: Path, rows: Rows, *, system_message: str = "", tokenizer_folder: Path | None = None) -> dict[str, Any]:
    """Score a `.task` or `.litertlm` in LiteRT-LM, each prompt sent whole.

    Args:
        path: the bundle.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        tokenizer_folder: a model folder whose tokenizer counts the longest answer; without one characters do.
    """
    from .runtime import Runtime

    longest = max(len(prompts.completion(row.calls)) for row in rows.held_out)
    if tokenizer_folder:
        from transformers import AutoTokenizer

        from .generation import longest_answer

        longest = longest_answer(AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True), rows.held_out)
    with Runtime(path) as runtime:
        texts = runtime.generate_all(examples.prompt_texts(rows.held_out, rows.tools, system_message), longest)
        score = evaluation.score(rows.held_out, texts, end_tag_cut=runtime.end_tag_cut)
    return score | _origin(path, rows)


def score_folder(folder: Path, rows: Rows, *, style: str | None = None) -> dict[str, Any]:
    """Score any whole model folder, with the developer text and the prompt style stored in it."""
    from .base_model import check_folder

    check_folder(folder)
    _same_tools(folder, rows)
    facts = _model_facts(folder)
    _agreed_style(folder, facts.get("style"), style)
    return score_model(folder, rows, system_message=facts.get("system_message", ""), description=folder.name)


def score_file(path: Path, rows: Rows, *, style: str | None = None) -> dict[str, Any]:
    """Score any finished bundle, with what the JSON beside it says about its prompts."""
    return score_bundle(path, rows, system_message=_bundle_prompt(path, rows.tools, style))


def chat(path: Path, tools_file: Path, question: list[str]) -> int:
    """Ask a bundle: one question given, or one a line from the terminal until the input ends.

    Returns:
        the exit code: 0, or 1 when the one given question got an answer that is no valid call.
    """
    from . import calls
    from .errors import CallSyntaxError
    from .runtime import Runtime

    tools = load_tools(tools_file)
    message = _bundle_prompt(path, tools, None)
    with Runtime(path) as runtime:
        for text in [" ".join(question)] if question else _typed():
            start = time.monotonic()
            record = Record(1, text, ())
            answer = runtime.generate(examples.prompt_texts([record], tools, message)[0], max_new_tokens=256)
            print(f"raw:  {answer}")
            try:
                found = calls.parse(answer, end_tag_cut=runtime.end_tag_cut)
                for call in found:
                    print(f"call: {call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})")
                failed = not found
            except CallSyntaxError as error:
                print(f"not a valid call: {error}")
                failed = True
            print(f"time: {time.monotonic() - start:.2f} s")
    return int(failed) if question else 0


def _typed() -> Iterator[str]:
    print("Ask; an empty line or Ctrl-D ends.")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            return
        if not text:
            return
        yield text


def _bundle_prompt(path: Path, tools: list[dict], style: str | None) -> str:
    """Developer text a bundle was trained with; checks that tools and style are its own, or says what is assumed."""
    facts = bundle.read_task(path).sidecar if path.suffix == ".task" else None
    if facts is None:
        if style is None:
            print(f"{path.name}.json is not there: the prompt style is assumed to be {STYLE!r}.")
        return ""
    _agreed_style(path, facts.get("style"), style)
    if facts.get("tools_hash") not in (None, tools_hash(tools)):
        raise ModelError(f"{path}: was trained with other tools than these, so the scores would mean nothing. Give the "
                         "tools file it was trained with (--tools).")
    return facts.get("system_message") or ""


def _agreed_style(where: Path, stored: str | None, asked: str | None) -> None:
    for style in filter(None, (stored, asked)):
        if style not in prompts.STYLES:
            raise ModelError(f"{where}: prompt style {style!r} is unknown, expected one of {', '.join(prompts.STYLES)}.")
    if stored and asked and stored != asked:
        raise ModelError(f"{where}: was trained with prompt style {stored!r}, not {asked!r}. Leave --style out.")


def judge(settings: TaskConfig, rows: Rows, path: Path) -> Verdict:
    """Hold the bundle against the model it was made from, on the same rows; the verdict goes beside the bundle."""
    scores = summary.read(settings.folder)
    tuned = score_tuned(settings, rows)
    verdict = gate(tuned, scores["task"], max_exact_match_loss=settings.max_exact_match_loss,
                   max_tool_accuracy_loss=settings.max_tool_accuracy_loss)
    found = {"passed": verdict.passed, "lines": list(verdict.lines)}
    summary.update(settings.folder, gate=found)
    short = {name: {key: value for key, value in score.items() if key != "rows"} if score else None
             for name, score in (("base", scores["base"]), ("tuned", tuned), ("task", scores["task"]))}
    bundle.update_sidecar(path, scores=short, gate=found)
    return verdict


def show_scores(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> Path:
    """Show the scores known so far side by side, as a table and in `scores.png`."""
    found = summary.read(settings.folder)
    scores = {name: found[name] for name in summary.SCORES if found[name]}
    show_table(evaluation.compare(scores))
    return evaluation.plot(scores, settings.folder / "scores.png")


def show_table(markdown: str) -> None:
    """Show a Markdown table: set as one in a notebook, as text elsewhere."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        from IPython.display import Markdown, display

        display(Markdown(markdown))
    else:
        print(markdown)


@contextmanager
def _timed(folder: Path, what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    summary.update(folder, seconds={what: round(time.monotonic() - start, 1)}, peak_memory_gb={what: peak_memory_gb()})


def peak_memory_gb() -> float | None:
    """Most memory this process has held so far, in GB; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def _origin(path: Path, rows: Rows) -> dict[str, str]:
    return {"path": str(path), "sha256": sha256(path), "rows_sha256": _rows_hash(rows.held_out),
            "tools_hash": tools_hash(rows.tools)}


def _rows_hash(rows: tuple[Record, ...]) -> str:
    text = "\n".join(f"{row.user_content}\t{canonical(row.calls)}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _model_facts(folder: Path) -> dict[str, Any]:
    record = folder / "fgkit.json"
    return read_json(record) if record.is_file() else {}


def _system_message(folder: Path) -> str:
    return _model_facts(folder).get("system_message", "")


def _same_tools(folder: Path, rows: Rows) -> None:
    trained = _model_facts(folder).get("tools_hash")
    if trained is not None and trained != tools_hash(rows.tools):
        raise ModelError(f"{folder}: was trained with other tools than these, so its prompts would not be the ones it "
                         "knows. Give the tools file it was trained with (--tools), or tune it again.")


def _modifications(base: Base, count: int) -> str:
    from .offline_base import MODIFICATIONS

    return (f"{MODIFICATIONS}; " if base.offline else "") + f"all weights fine-tuned with fgkit on {count} rows"


def _is_whole_result(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether a model folder is what this training would give."""
    return facts.items() <= _model_facts(folder).items() and not checks.weight_problems(folder)


def _checkpoints_for(folder: Path, facts: dict[str, Any]) -> Path:
    """The checkpoint folder of exactly this training; others of the same run folder are removed."""
    key = hashlib.sha256(repr(sorted(facts.items(), key=str)).encode()).hexdigest()[:12]
    for other in (folder / "checkpoints").glob("*"):
        if other.name != key:
            shutil.rmtree(other)
    return folder / "checkpoints" / key


def _budget(settings: TfliteConfig, rows: Rows) -> checks.Check:
    """Check that the longest prompt and its answer fit the KV cache."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings.model_folder, local_files_only=True, trust_remote_code=False)
    rows_in_tokens = examples.tokenize_records(rows.train + rows.held_out, rows.tools, tokenizer, max_length=sys.maxsize,
                                               system_message=_system_message(settings.model_folder))
    longest, limit = max(len(row.tokens) for row in rows_in_tokens), settings.kv_cache_max_len
    return checks.Check(0, "fits the KV cache", "pass" if longest <= limit else "fail",
                        f"longest row {longest} tokens, KV cache {limit}.",
                        f"Set kv_cache_max_len to {1 << (longest - 1).bit_length()}, or shorten tools or rows.")


def _tflite_of(settings: TaskConfig) -> Path:
    found = sorted(settings.folder.glob(f"{settings.name}_*.tflite"))
    if len(found) != 1:
        raise ModelError(f"{settings.folder}: found {len(found)} files {settings.name}_*.tflite, expected one. "
                         + ("Run to_tflite first." if not found else "Remove the ones that are not wanted: "
                            + ", ".join(path.name for path in found)))
    return found[0]
