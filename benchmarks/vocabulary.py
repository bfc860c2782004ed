"""What a smaller vocabulary costs and saves: sizes from 8,192 pieces to all, each tuned, converted, bundled and scored.

    python benchmarks/vocabulary.py --only pieces                   # what held-out texts pay, without training: a minute
    python benchmarks/vocabulary.py --only step --sizes 32768 0     # a training step: 3 minutes on 2 cores
    python benchmarks/vocabulary.py --only tuned --sizes 32768 0 --seeds 42 1      # what it costs in PyTorch, 40 minutes
    python benchmarks/vocabulary.py                                 # all: a whole run a size, hours on 2 cores
    python benchmarks/vocabulary.py --quantize dynamic_int8 NAME    # and a bundle for each quantisation of the same model
    python benchmarks/vocabulary.py --json > vocabulary.json        # what is known so far as one JSON object

Five parts a size, each in a process of its own and each kept in `--output`, so that a second call goes on where the
first stopped: `pieces`, in how many held-out rows an argument has other pieces than in the whole vocabulary; `step`, seconds and peak memory of a training step of 32 rows; `tuned`, a model trained and scored in PyTorch
for each of `--seeds`, and what it loses against the whole vocabulary with the same seed, row by row; `run`, the whole of
`fgkit run -p vocab_size SIZE`, which gives bytes and scores, its model converted again for each further `--quantize`;
`served`, the finished bundle in LiteRT-LM: its speed, tokens a prompt, and its answers
to requests in other languages and with emoji (`other_languages.json`, 6 of each), which the training rows do not hold.
Size 0 is the whole vocabulary. Delete a size's folder to measure it again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROOT = Path(__file__).resolve().parents[1]
SIZES = (8192, 16_384, 32_768, 65_536, 0)
PARTS = ("pieces", "step", "tuned", "run", "served")
STEP_ROWS, STEPS = 32, 3
TIMED = 24  # held-out prompts whose answers are timed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N", help=f"default: {SIZES}; 0: all pieces")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, default=Path("build/vocabulary"), help="default: %(default)s")
    parser.add_argument("--base", default="offline", help="default: %(default)s")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="fp32", help="of the step (default: %(default)s)")
    parser.add_argument("--quantize", nargs="+", default=("dynamic_int8",), metavar="NAME",
                        help="recipes of the bundles (default: dynamic_int8); the first one's run trains the model")
    parser.add_argument("--seeds", nargs="+", type=int, default=(42,), metavar="N", help="of the part tuned (default: 42)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        part, size, recipe = options.worker
        found = {"pieces": _pieces, "step": _step}[part](options, int(size)) if not recipe else _served(options, int(size), recipe)
        print("\n" + json.dumps(found))
        return 0
    results: dict[str, dict] = {}
    for size in options.sizes:
        folder = _folder(options, size)
        folder.mkdir(parents=True, exist_ok=True)
        once = {part: _measured(options, folder, part, size) for part in ("pieces", "step") if part in options.only}
        if "tuned" in options.only:
            once["tuned"] = {str(seed): _tuned(options, size, seed) for seed in options.seeds}
        bundled = [part for part in options.only if part in ("run", "served")]
        for recipe in options.quantize if bundled else [""]:
            results[" ".join(filter(None, (_name(size), recipe)))] = once | {
                part: _measured(options, folder, part, size, recipe) for part in bundled}
    _add_losses(options, results)
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "sizes": results}))
    else:
        print(_table(results))
    return 0


def _name(size: int) -> str:
    return str(size) if size else "full"


def _folder(options: argparse.Namespace, size: int) -> Path:
    return options.output.absolute() / _name(size)


def _run_folder(options: argparse.Namespace, size: int, recipe: str) -> Path:
    return _folder(options, size) / ("run" if recipe == options.quantize[0] else f"run-{recipe}")


def _measured(options: argparse.Namespace, folder: Path, part: str, size: int, recipe: str = "") -> dict[str, Any]:
    """A part's result, from its file or by measuring it now."""
    from fgkit.files import read_json, write_json

    first = recipe in ("", options.quantize[0])
    kept = folder / (f"{part}.json" if first else f"{part}-{recipe}.json")
    if kept.is_file():
        return read_json(kept)
    print(f"{_name(size)}: {part} {recipe} ...", file=sys.stderr, flush=True)
    if part == "run":
        run = _run_folder(options, size, recipe)
        trained = ["--base", options.base, "-p", "vocab_size", str(size)] if first else [
            "--model", str(_run_folder(options, size, options.quantize[0]) / "model")]
        _fgkit("run", "--output", str(run), *trained, "-p", "quantize", recipe)
        found = _of_summary(read_json(run / "summary.json"))
    else:
        command = [sys.executable, __file__, "--output", str(options.output), "--base", options.base, "--precision",
                   options.precision, "--quantize", *options.quantize, "--worker", part, str(size), recipe]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if child.returncode:
            raise SystemExit(f"{_name(size)}: {part} failed")
        found = json.loads(child.stdout.splitlines()[-1])
    write_json(kept, found)
    return found


def _fgkit(*arguments: str) -> None:
    code = subprocess.run([sys.executable, "-m", "fgkit", *arguments], cwd=ROOT, stdout=sys.stderr, check=False).returncode
    if code not in (0, 1):  # 1: the gate found the bundle worse, which is a result, too
        raise SystemExit(f"fgkit {' '.join(arguments)}: failed; correct what it says and call this again")


def _tuned(options: argparse.Namespace, size: int, seed: int) -> dict[str, Any]:
    """A model trained with this seed and scored in PyTorch."""
    from fgkit.files import read_json, write_json

    kept = _folder(options, size) / f"tuned-{seed}.json"
    if not kept.is_file():
        run = _folder(options, size) / f"tuned-{seed}"
        _fgkit("finetune", "--output", str(run), "--base", options.base, "-p", "vocab_size", str(size), "-p", "seed", str(seed))
        summary = read_json(run / "summary.json")
        write_json(kept, {"score": summary["tuned"], "seconds": summary["seconds"]["training"],
                          "peak_memory_gb": summary["peak_memory_gb"]["training"]})
    return read_json(kept)


def _add_losses(options: argparse.Namespace, results: dict[str, dict]) -> None:
    """What each tuned model gains or loses against the whole vocabulary with its seed, where that was measured, too."""
    from fgkit.files import read_json
    from fgkit.paired import differences

    for seed, found in ((seed, found) for result in results.values() for seed, found in result.get("tuned", {}).items()):
        whole = _folder(options, 0) / f"tuned-{seed}.json"
        if "rows" in found["score"] and whole.is_file():
            found["against_full"] = differences(read_json(whole)["score"], found["score"])["exact_match"]
    for found in (found for result in results.values() for found in result.get("tuned", {}).values()):
        found["score"] = {key: found["score"][key] for key in ("n", "tool_accuracy", "exact_match")}


def _of_summary(summary: dict[str, Any]) -> dict[str, Any]:
    scores = {name: {key: score[key] for key in ("n", "tool_accuracy", "exact_match")}
              | {"exact": [row["exact"] for row in score["rows"]]}  # row by row, for paired intervals
              for name in ("tuned", "task") if (score := summary[name])}
    return {"bytes": {name: facts["bytes"] for name, facts in summary["files"].items()}, "scores": scores,
            "gate": summary["gate"], "seconds": summary["seconds"], "peak_memory_gb": summary["peak_memory_gb"]}


def _base_of(options: argparse.Namespace, size: int) -> tuple[Any, Any, Any, Any]:
    """Settings, rows, the whole base and the one to train from."""
    from fgkit import base_model, stages
    from fgkit.config import FinetuneConfig

    settings = FinetuneConfig(output=str(_folder(options, size)), base=options.base, vocab_size=size, seed=1)
    rows, whole = stages.load_rows(settings), base_model.find_base(settings.base)
    return settings, rows, whole, stages.cut_vocabulary(settings, whole, rows)


def _pieces(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Held-out rows with an argument that other pieces spell than in the whole vocabulary, and those that begin so."""
    from fgkit import base_model, examples

    _, rows, whole, base = _base_of(options, size)
    before, after = (base_model.load_tokenizer(one.folder) for one in (whole, base))

    def spelt(tokenizer: Any, text: str) -> list[str]:
        return tokenizer.convert_ids_to_tokens(examples.encode(tokenizer, text))

    differing = first = 0
    for row in rows.held_out:
        pairs = [(spelt(before, value), spelt(after, value)) for call in row.calls for value in call.arguments.values()
                 if isinstance(value, str) and value]
        differing += any(old != new for old, new in pairs)
        first += any(old[0] != new[0] for old, new in pairs)
    tokens = [sum(len(spelt(tokenizer, row.user_content)) for row in rows.held_out) for tokenizer in (before, after)]
    return {"rows": len(rows.held_out), "differing": differing, "first": first, "more_tokens": tokens[1] / tokens[0] - 1}


def _step(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Seconds of the fastest of the steps after the first, and the most memory the process held."""
    from fgkit import base_model, examples, progress, stages, training
    from fgkit.config import Recipe

    settings, rows, _, base = _base_of(options, size)
    tokenizer = base_model.load_tokenizer(base.folder)
    tokens = examples.tokenize_records(rows.train[:STEP_ROWS * STEPS], rows.tools, tokenizer, max_length=1024)
    recipe = Recipe(num_train_epochs=1, learning_rate=1e-5, per_device_train_batch_size=4,
                    gradient_accumulation_steps=STEP_ROWS // 4, precision=options.precision)
    ends: list[float] = []
    real = progress.bar

    def bar(*arguments: Any, **more: Any) -> Any:
        shown = real(*arguments, **more)
        if more.get("desc") == "training":
            update = shown.update
            shown.update = lambda *done: ends.append(time.perf_counter()) or update(*done)
        return shown

    progress.bar = bar
    with tempfile.TemporaryDirectory() as checkpoints:
        _, log = training.train(base.folder, tokens, tokens[:1], recipe=recipe, config=settings,
                                checkpoints=Path(checkpoints))
    seconds = [later - earlier for earlier, later in zip(ends, ends[1:])]
    return {"seconds": round(min(seconds), 2), "all_seconds": [round(value, 2) for value in seconds],
            "precision": options.precision, "peak_memory_gb": stages.peak_memory_gb(),
            "loss": [entry["loss"] for entry in log if "loss" in entry]}


def _served(options: argparse.Namespace, size: int, recipe: str) -> dict[str, Any]:
    """The finished bundle of the `run` part: speed, tokens, other languages."""
    from fgkit import base_model, evaluation, examples, scoring
    from fgkit.calls import Call
    from fgkit.config import TaskConfig
    from fgkit.files import read_json
    from fgkit.prompts import answer
    from fgkit.records import request
    from fgkit.runtime import Runtime

    folder = _run_folder(options, size, recipe)
    settings = TaskConfig(output=str(folder), model=str(_run_folder(options, size, options.quantize[0]) / "model"))
    rows, task = scoring.load_rows(settings), folder / f"{settings.name}.task"
    if not task.is_file():
        raise SystemExit(f"{task}: is not there. Measure the part `run` first.")
    tokenizer = base_model.load_tokenizer(settings.model_folder)

    def count(text: str) -> int:
        return len(examples.encode(tokenizer, text))

    languages, longest = read_json(Path(__file__).with_name("other_languages.json")), 64
    texts = examples.prompt_texts(rows.held_out, rows.tools)
    found: dict[str, Any] = {
        "tokens_a_prompt": round(statistics.mean(map(count, texts)), 1),
        "tokens_a_request": round(statistics.mean(count(row.user_content) for row in rows.held_out), 2),
        "tokens_an_answer": round(statistics.mean(count(answer(row.calls, row.text)) for row in rows.held_out), 2),
        "languages": {}}
    with Runtime(task) as runtime:
        runtime.generate(texts[0], max_new_tokens=longest)  # compiles
        prefill, decode = [], []
        for text in texts[:TIMED]:
            start = time.perf_counter()
            runtime.generate(text, max_new_tokens=1)
            first = time.perf_counter() - start
            said = runtime.generate(text, max_new_tokens=longest)
            rest = time.perf_counter() - start - 2 * first
            prefill.append(count(text) / first)
            decode.append(count(said) / rest if rest > 0 else 0.0)
        found |= {"prefill_tokens_a_second": round(statistics.median(prefill)),
                  "decode_tokens_a_second": round(statistics.median(decode), 1)}
        for language, asked in languages.items():
            records = [request(line, row["text"], (Call(row["tool"], row["arguments"]),))
                       for line, row in enumerate(asked, 1)]
            answers = runtime.generate_all(examples.prompt_texts(records, rows.tools), longest, progress=False)
            score = evaluation.score(records, answers, end_tag_cut=runtime.end_tag_cut)
            found["languages"][language] = {key: score[key] for key in ("n", "tool_accuracy", "exact_match")} | {
                "tokens_a_request": round(statistics.mean(count(row["text"]) for row in asked), 1)}
    return found


def _points(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    return f"{100 * found['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _table(results: dict[str, dict]) -> str:
    """What is known as a Markdown table, a row a size."""
    columns = {
        "rows spelt otherwise": lambda r: r["pieces"]["differing"], "from the first piece": lambda r: r["pieces"]["first"],
        "more tokens a request": lambda r: f"{100 * r['pieces']['more_tokens']:.1f}%",
        "tuned exact match by seed": lambda r: ", ".join(f"{100 * v['score']['exact_match']:.1f}%" for v in r["tuned"].values()),
        "points against full (95%)": lambda r: ", ".join(_points(v["against_full"]) for v in r["tuned"].values()),
        "step, s": lambda r: r["step"]["seconds"], "peak memory, GB": lambda r: r["step"]["peak_memory_gb"],
        ".task, MB": lambda r: round(next(size for name, size in r["run"]["bytes"].items() if name.endswith(".task")) / 1e6, 1),
        "exact match": lambda r: f"{100 * r['run']['scores']['task']['exact_match']:.1f}%",
        "tokens a prompt": lambda r: r["served"]["tokens_a_prompt"],
        "prefill, tokens/s": lambda r: r["served"]["prefill_tokens_a_second"],
        "decode, tokens/s": lambda r: r["served"]["decode_tokens_a_second"],
        "other languages, exact": lambda r: f"{100 * statistics.mean(v['exact_match'] for v in r['served']['languages'].values()):.1f}%"}
    lines = ["| pieces | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for size, found in results.items():
        cells = []
        for value in columns.values():
            try:
                cells.append(str(value(found)))
            except KeyError:  # a part that was not asked for
                cells.append("–")
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
