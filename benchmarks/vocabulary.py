"""Measure what a smaller vocabulary costs and saves, from 8,192 pieces to all.

Each size is tuned, converted, bundled and scored.

    python benchmarks/vocabulary.py --only pieces                # what held-out texts pay: a minute
    python benchmarks/vocabulary.py --only step --sizes 32768 0   # a training step: 2 minutes
    python benchmarks/vocabulary.py --only tuned --sizes 32768 0 --seeds 42 1     # 30 minutes
    python benchmarks/vocabulary.py                               # all, for one seed: 80 minutes
    python benchmarks/vocabulary.py --parameters notebooks/params/home.yaml --output build/home
    python benchmarks/vocabulary.py --json > vocabulary.json      # what is known so far, as JSON

The times are those of 2 cores. `tuned` says what a smaller vocabulary costs in PyTorch.

Seven parts a size, each kept in `--output`, so that a second call goes on where the first stopped:
`pieces`, in how many held-out rows an argument has other pieces than in the whole vocabulary;
`step`, seconds and peak memory of a training step of 32 rows, in a process of its own; `tuned`, a
model trained and scored in PyTorch for each of `--seeds`; `run`, what `fgkit run` makes of the
first of these models: both bundles, scored; `quantize`, `fgkit quantize` of that model for each of
`--quantize`; `speed`, the median of three measurements of each of those bundles, in rounds over all
of them, taken again at every call; `served`, answers of the int8 `.task` to requests in other
languages and with emoji (`other_languages.json`, 6 of each), which the training rows do not hold.
Losses are against the whole vocabulary, paired row by row, where that was measured, too. Size 0 is
the whole vocabulary. The table is printed and, with a picture, left in `--output`. Delete a size's
folder to measure it again.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROOT = Path(__file__).resolve().parents[1]
SIZES = (8192, 16_384, 32_768, 65_536, 0)
PARTS = ("pieces", "step", "tuned", "run", "quantize", "speed", "served")
RECIPES = ("dynamic_int8", "dynamic_int8_embedding_int4", "dynamic_int4_attention_int8")
STEP_ROWS, STEPS, ROUNDS = 32, 3, 3


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=int,
        default=SIZES,
        metavar="N",
        help=f"default: {SIZES}; 0: all pieces",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"of {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/vocabulary"), help="default: %(default)s"
    )
    parser.add_argument("--base", default="offline", help="default: %(default)s")
    parser.add_argument(
        "--parameters",
        metavar="FILE",
        help="data and settings from a YAML file, as for `fgkit run -f`",
    )
    parser.add_argument(
        "--precision",
        choices=("bf16", "fp32"),
        default="fp32",
        help="of the step (default: %(default)s)",
    )
    parser.add_argument(
        "--quantize",
        nargs="+",
        default=RECIPES,
        metavar="NAME",
        help=f"default: {', '.join(RECIPES)}",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=(42,),
        metavar="N",
        help="of the part tuned (default: 42)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else on stdout"
    )
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        part, size = options.worker
        print(
            "\n"
            + json.dumps(
                {"pieces": _pieces, "step": _step, "served": _served}[part](options, int(size))
            )
        )
        return 0
    for part in options.only:  # part by part: what is timed meets the machine in one mood
        if part == "speed":
            _speed(options)
            continue
        for size in options.sizes:
            _measure(options, part, size)
    results = {_name(size): _known(options, size) for size in options.sizes}
    from fgkit.files import write_text

    write_text(options.output / "vocabulary.md", table(results) + "\n")
    if any(one.get("variants") for one in results.values()):
        plot(results, options.quantize, options.output / "vocabulary.png")
    print(
        json.dumps({"cores": os.cpu_count(), "sizes": results}) if options.json else table(results)
    )
    return 0


def _name(size: int) -> str:
    return str(size) if size else "full"


def _folder(options: argparse.Namespace, size: int) -> Path:
    return options.output.absolute() / _name(size)


def _run(options: argparse.Namespace, size: int, seed: int) -> Path:
    return _folder(options, size) / ("run" if seed == options.seeds[0] else f"run-{seed}")


def _measure(options: argparse.Namespace, part: str, size: int) -> None:
    """One part of one size, where it is not there yet."""
    from fgkit.files import read_json, write_json

    folder, given = (
        _folder(options, size),
        ["-f", str(Path(options.parameters).absolute())] if options.parameters else [],
    )
    folder.mkdir(parents=True, exist_ok=True)
    common = [*given, "--base", options.base, "-p", "vocab_size", str(size)]
    if part == "tuned":
        for seed in options.seeds:
            run = _run(options, size, seed)
            if not (run / "summary.json").is_file() or not read_json(run / "summary.json")["tuned"]:
                _fgkit("finetune", "--output", str(run), *common, "-p", "seed", str(seed))
    elif part == "run":
        _fgkit("run", "--output", str(folder / "run"), *common, "-p", "seed", str(options.seeds[0]))
    elif part == "quantize":
        _fgkit(
            "quantize", str(folder / "run"), *_data_options(options), "--only", *options.quantize
        )
    elif not (folder / f"{part}.json").is_file():
        command = [
            sys.executable,
            __file__,
            "--output",
            str(options.output),
            "--base",
            options.base,
            "--precision",
            options.precision,
            *(["--parameters", options.parameters] if options.parameters else []),
            "--worker",
            part,
            str(size),
        ]
        subprocesses = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if subprocesses.returncode:
            raise SystemExit(f"{_name(size)}: {part} failed")
        write_json(folder / f"{part}.json", json.loads(subprocesses.stdout.splitlines()[-1]))


def _speed(options: argparse.Namespace) -> None:
    """Time every bundle that `quantize` left, in rounds."""
    from fgkit.files import read_json, write_json
    from fgkit.progress import bar
    from fgkit.runtime import speed as runtime_speed

    bundles = {}
    for size in options.sizes:
        variants = _folder(options, size) / "run" / "variants"
        if (variants / "quantization.json").is_file():
            bundles |= {
                (_name(size), name): variants / one["file"]
                for name, one in read_json(variants / "quantization.json").items()
                if name in options.quantize
            }
    rounds: dict[tuple[str, str], list[dict]] = {key: [] for key in bundles}
    for key, path in bar([*bundles.items()] * ROUNDS, desc="speed", unit="bundle"):
        rounds[key].append(runtime_speed.measure(path))
    for size in {name for name, _ in bundles}:
        write_json(
            options.output.absolute() / size / "speed.json",
            {
                recipe: {key: statistics.median(one[key] for one in found) for key in found[0]}
                for (name, recipe), found in rounds.items()
                if name == size
            },
        )


def _fgkit(*arguments: str) -> None:
    print("fgkit", *arguments, file=sys.stderr, flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "fgkit", *arguments], cwd=ROOT, stdout=sys.stderr, check=False
    ).returncode
    if code not in (0, 1):  # 1: the gate found the bundle worse, which is a result, too
        raise SystemExit(
            f"fgkit {' '.join(arguments)}: failed; correct what it says and call this again"
        )


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    from fgkit.workflow import run as pipeline

    return pipeline.read_parameters(options.parameters) if options.parameters else {}


def _data_options(options: argparse.Namespace) -> list[str]:
    names = {"data": "--data", "eval_data": "--eval", "tools": "--tools", "name": "--name"}
    return [
        word
        for key, value in _parameters(options).items()
        if key in names
        for word in (names[key], str(value))
    ]


def _known(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """All that was measured of one size, with its losses against the whole vocabulary."""
    from fgkit.evaluation import paired
    from fgkit.files import read_json

    def lost(whole: Path, score: dict, *keys: str) -> dict[str, Any] | None:
        before: Any = read_json(whole) if whole.is_file() else None
        for key in keys:
            before = before and before.get(key)
        return paired.differences(before, score)["exact_match"] if before and score else None

    folder, whole = _folder(options, size), _folder(options, 0) / "run"
    found: dict[str, Any] = {}
    for part in ("pieces", "step", "served"):
        if (folder / f"{part}.json").is_file():
            found[part] = read_json(folder / f"{part}.json")
    for seed in options.seeds:
        if (path := _run(options, size, seed) / "summary.json").is_file() and (
            score := read_json(path)["tuned"]
        ):
            found.setdefault("tuned", {})[str(seed)] = _short(score) | {
                "against_full": lost(_run(options, 0, seed) / "summary.json", score, "tuned")
            }
    if (path := folder / "run" / "summary.json").is_file():
        summary = read_json(path)
        found["run"] = {
            name: _short(summary[name])
            | {
                "against_full": lost(whole / "summary.json", summary[name], name),
                "bytes": next(
                    (
                        one["bytes"]
                        for file, one in summary["files"].items()
                        if file.endswith(f".{name}")
                    ),
                    None,
                ),
            }
            for name in ("task", "litertlm")
            if summary[name]
        }
        found["training"] = {
            "seconds": summary["seconds"].get("training"),
            "peak_memory_gb": summary["peak_memory_gb"].get("training"),
        }
    if (path := folder / "run" / "variants" / "quantization.json").is_file():
        timed = read_json(folder / "speed.json") if (folder / "speed.json").is_file() else {}
        found["variants"] = {
            name: _short(one["score"])
            | {
                "bytes": one["bytes"],
                "speed": timed.get(name, one["speed"]),
                "gate": one["gate"]["passed"],
                "against_full": lost(
                    whole / "variants" / "quantization.json", one["score"], "dynamic_int8", "score"
                ),
            }
            for name, one in read_json(path).items()
        }
    return found


def _short(score: dict[str, Any]) -> dict[str, Any]:
    return {key: score[key] for key in ("n", "tool_accuracy", "exact_match", "intervals")}


def _base_of(options: argparse.Namespace, size: int) -> tuple[Any, Any, Any, Any]:
    """Settings, rows, the whole base and the one to train from."""
    from fgkit.config.finetune import FinetuneConfig
    from fgkit.models import base as base_model
    from fgkit.workflow import stages

    data = {
        key: value
        for key, value in _parameters(options).items()
        if key in ("data", "eval_data", "tools", "data_format")
    }
    settings = FinetuneConfig(
        **data
        | {
            "output": str(_folder(options, size)),
            "base": options.base,
            "vocab_size": size,
            "seed": 1,
        }
    )
    rows, whole = stages.load_rows(settings), base_model.find_base(settings.base)
    return settings, rows, whole, stages.cut_vocabulary(settings, whole, rows)


def _pieces(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Held-out rows with an argument that is split into other pieces, and those that begin so."""
    from fgkit.dataset import tokenize
    from fgkit.models import base as base_model

    _, rows, whole, base = _base_of(options, size)
    before, after = (base_model.load_tokenizer(one.folder) for one in (whole, base))

    def spelt(tokenizer: Any, text: str) -> list[str]:
        return tokenizer.convert_ids_to_tokens(tokenize.encode(tokenizer, text))

    differing = first = 0
    for row in rows.held_out:
        pairs = [
            (spelt(before, value), spelt(after, value))
            for call in row.calls
            for value in call.arguments.values()
            if isinstance(value, str) and value
        ]
        differing += any(old != new for old, new in pairs)
        first += any(old[0] != new[0] for old, new in pairs)
    tokens = [
        sum(len(spelt(tokenizer, row.user_content)) for row in rows.held_out)
        for tokenizer in (before, after)
    ]
    return {
        "rows": len(rows.held_out),
        "differing": differing,
        "first": first,
        "more_tokens": tokens[1] / tokens[0] - 1,
    }


def _step(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Seconds of the fastest of the steps after the first, and the most memory the process held."""
    from fgkit import progress, subprocesses
    from fgkit.dataset import tokenize
    from fgkit.models import base as base_model
    from fgkit.models.spec import Recipe
    from fgkit.training import tuning
    from fgkit.training.options import TrainingOptions

    settings, rows, _, base = _base_of(options, size)
    tokenizer = base_model.load_tokenizer(base.folder)
    tokens = tokenize.tokenize_records(
        rows.train[: STEP_ROWS * STEPS], rows.setup(), tokenizer, max_length=1024
    )
    recipe = Recipe(
        num_train_epochs=1,
        learning_rate=1e-5,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=STEP_ROWS // 4,
        precision=options.precision,
    )
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
        _, log = tuning.train(
            base.folder,
            tokens,
            tokens[:1],
            TrainingOptions(
                recipe=recipe,
                lr_scheduler_type=settings.lr_scheduler_type,
                warmup_ratio=settings.warmup_ratio,
                seed=settings.seed,
            ),
            checkpoints=Path(checkpoints),
        )
    seconds = [later - earlier for earlier, later in zip(ends, ends[1:])]
    return {
        "seconds": round(min(seconds), 2),
        "all_seconds": [round(value, 2) for value in seconds],
        "precision": options.precision,
        "peak_memory_gb": subprocesses.peak_memory_gb(),
        "loss": [entry["loss"] for entry in log if "loss" in entry],
    }


def _served(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Tokens with the bundle's tokenizer, and its answers in other languages."""
    from fgkit.calls import Call
    from fgkit.config.task import TaskConfig
    from fgkit.dataset import tokenize
    from fgkit.dataset.records import request
    from fgkit.evaluation import scores as evaluation
    from fgkit.files import read_json
    from fgkit.prompts import answer
    from fgkit.runtime.session import Runtime
    from fgkit.workflow import stages

    data = {
        key: value
        for key, value in _parameters(options).items()
        if key in ("data", "eval_data", "tools", "name")
    }
    settings = TaskConfig(**data | {"output": str(_folder(options, size) / "run")})
    rows, variants = stages.load_rows(settings), settings.folder / "variants"
    if not (variants / "quantization.json").is_file():
        raise SystemExit(f"{variants}: is not there. Measure the part `quantize` first.")
    task = variants / read_json(variants / "quantization.json")["dynamic_int8"]["file"]
    texts = tokenize.prompt_texts(rows.held_out, rows.setup())
    with Runtime(task) as runtime:
        found: dict[str, Any] = {
            "tokens_a_prompt": round(statistics.mean(map(runtime.count, texts)), 1),
            "tokens_a_request": round(
                statistics.mean(runtime.count(row.user_content) for row in rows.held_out), 2
            ),
            "tokens_an_answer": round(
                statistics.mean(
                    runtime.count(answer(row.calls, row.text)) for row in rows.held_out
                ),
                2,
            ),
            "languages": {},
        }
        if options.parameters:
            return found
        for language, asked in read_json(Path(__file__).with_name("other_languages.json")).items():
            records = [
                request(line, row["text"], (Call(row["tool"], row["arguments"]),))
                for line, row in enumerate(asked, 1)
            ]
            answers = runtime.generate_all(
                tokenize.prompt_texts(records, rows.setup()), 64, progress=False
            )
            score = evaluation.score(records, answers, end_tag_cut=runtime.end_tag_cut)
            found["languages"][language] = {
                key: score[key] for key in ("n", "tool_accuracy", "exact_match")
            } | {
                "tokens_a_request": round(
                    statistics.mean(runtime.count(row["text"]) for row in asked), 1
                )
            }
    return found


def _points(found: dict[str, Any] | None) -> str:
    if not found:
        return "–"
    low, high = found["interval"]
    return f"{100 * found['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def table(results: dict[str, dict[str, Any]]) -> str:
    """What is known as two Markdown tables: a line a size, and a line a bundle of each size."""
    from fgkit.evaluation.tables import rate
    from fgkit.tables import markdown

    columns = {
        "rows spelt otherwise": lambda r: r["pieces"]["differing"],
        "from the first piece": lambda r: r["pieces"]["first"],
        "more tokens a request": lambda r: f"{100 * r['pieces']['more_tokens']:.1f}%",
        "step, s": lambda r: r["step"]["seconds"],
        "its memory, GB": lambda r: r["step"]["peak_memory_gb"],
        "tuned, by seed": lambda r: ", ".join(
            f"{100 * v['exact_match']:.1f}%" for v in r["tuned"].values()
        ),
        "points against full": lambda r: ", ".join(
            _points(v["against_full"]) for v in r["tuned"].values()
        ),
        ".task": lambda r: rate(r["run"]["task"], "exact_match"),
        "against full": lambda r: _points(r["run"]["task"]["against_full"]),
        ".litertlm": lambda r: rate(r["run"]["litertlm"], "exact_match"),
        "tokens a prompt": lambda r: r["served"]["tokens_a_prompt"],
        "with emoji": lambda r: _languages(r, True),
        "other languages": lambda r: _languages(r, False),
    }
    sizes = [("pieces", *columns)]
    for name, found in results.items():
        sizes.append((name, *(_cell(value, found) for value in columns.values())))
    variants = [
        (
            "pieces, weights",
            "MB",
            "right tool",
            "exact match",
            "against full int8",
            "reads, tokens/s",
            "writes, tokens/s",
            "memory, GB",
            "gate",
        )
    ]
    for name, found in results.items():
        for recipe, one in found.get("variants", {}).items():
            speed = one["speed"]
            variants.append(
                (
                    f"{name}, `{recipe}`",
                    f"{one['bytes'] / 1e6:.1f}",
                    rate(one, "tool_accuracy"),
                    rate(one, "exact_match"),
                    _points(one["against_full"]),
                    f"{speed['prefill_tokens_per_second']:,.0f}",
                    f"{speed['decode_tokens_per_second']:,.0f}",
                    f"{speed['peak_memory_bytes'] / 1e9:.2f}",
                    "passed" if one["gate"] else "failed",
                )
            )
    return markdown(sizes) + ("\n\n" + markdown(variants) if variants[1:] else "")


def _cell(value: Any, found: dict[str, Any]) -> str:
    try:
        return str(value(found))
    except KeyError:  # a part that was not asked for
        return "–"


def _languages(found: dict[str, Any], emoji: bool) -> str:
    values = [
        one["exact_match"]
        for name, one in found["served"]["languages"].items()
        if ("emoji" in name) == emoji
    ]
    return f"{100 * statistics.mean(values):.0f}%" if values else "–"


def plot(results: dict[str, dict[str, Any]], recipes: Sequence[str], path: Path) -> Path:
    """Draw size of the `.task`, exact match and decoding speed against the vocabulary.

    One line for each way to store the weights.
    """
    from fgkit.plots import BLUE, GREEN, VERMILION, new, save

    names = sorted(
        (name for name, found in results.items() if found.get("variants")),
        key=lambda name: int(name) if name.isdigit() else sys.maxsize,
    )
    figure, axes = new(11, 3.8, 1, 3)
    for number, (recipe, color, marker) in enumerate(zip(recipes, (BLUE, VERMILION, GREEN), "osX")):
        points = [
            (place + 0.08 * (number - 1), one)
            for place, name in enumerate(names)
            if (one := results[name]["variants"].get(recipe))
        ]
        places, look = (
            [place for place, _ in points],
            {"color": color, "marker": marker, "label": recipe},
        )
        ends = [
            [
                100 * abs(one["exact_match"] - one["intervals"]["exact_match"][side])
                for _, one in points
            ]
            for side in (0, 1)
        ]
        axes[0].plot(places, [one["bytes"] / 1e6 for _, one in points], **look)
        axes[1].errorbar(
            places, [100 * one["exact_match"] for _, one in points], yerr=ends, capsize=3, **look
        )
        axes[2].plot(
            places, [one["speed"]["decode_tokens_per_second"] for _, one in points], **look
        )
    for one, label in zip(
        axes,
        (
            "size of the .task (MB)",
            "exact match (%), line: 95% interval",
            "written tokens a second",
        ),
    ):
        one.set_ylabel(label)
        one.set_xlabel("pieces of text")
        one.set_xticks(
            range(len(names)),
            [f"{int(name):,}" if name.isdigit() else "all" for name in names],
            fontsize=8,
        )
    for one in (axes[0], axes[2]):
        one.set_ylim(bottom=0)
    axes[0].legend(fontsize=8, loc="upper left")
    return save(figure, path)


if __name__ == "__main__":
    sys.exit(main())
