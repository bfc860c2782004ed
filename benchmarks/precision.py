"""Compare the precisions of training: loss curve, held-out scores, seconds and memory.

    python benchmarks/precision.py                      # about 40 minutes on 2 cores, resumable
    python benchmarks/precision.py --plot docs/precision.png --json

Each precision trains the offline base on the example's 284 rows with its recipe and seed, alone in
a process of its own, and its model answers the 156 held-out rows. One seed: differences of a row or
two are noise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fgkit.devices import PRECISIONS
from fgkit.files import read_json, write_json
from fgkit.plots import OKABE_ITO, new, save


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="run_precision",
        help="results and checkpoints "
        "(default: %(default)s); a precision whose result is there is not trained again",
    )
    parser.add_argument(
        "--only", nargs="+", choices=PRECISIONS, metavar="NAME", help=f"of {', '.join(PRECISIONS)}"
    )
    parser.add_argument("--plot", metavar="OUT.png", help="draw the loss curves into this file")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on one line, with the curves"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = Path(options.output)
    if options.worker:
        write_json(folder / f"{options.worker}.json", _measure(options.worker, folder))
        return 0
    results = {}
    for name in options.only or PRECISIONS:
        path = folder / f"{name}.json"
        if not path.is_file():
            print(f"{name} ...", file=sys.stderr, flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [sys.executable, __file__, "--worker", name, "--output", str(folder)], check=True
            )
        results[name] = read_json(path)
    if options.plot:
        plot(results, Path(options.plot))
    if options.json:
        print(json.dumps(results))
    else:
        print(table(results))
    return 0


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "| precision | loss of the last 10 steps | loss of held-out rows "
        "| tool accuracy | exact match | training | peak memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in results.items():
        losses = [entry["loss"] for entry in one["log"] if "loss" in entry]
        held_out = [entry["eval_loss"] for entry in one["log"] if "eval_loss" in entry]
        lines.append(
            f"| `{name}`: {PRECISIONS[name]} | {sum(losses[-10:]) / 10:.4f} | {held_out[-1]:.4f} | "
            f"{one['tool_accuracy']:.1%} | {one['exact_match']:.1%} | {one['seconds']:.0f} s | "
            f"{one['peak_memory_gb']:.1f} GB |"
        )
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the loss curves, training rows thin and held-out rows as points."""
    figure, axes = new(7, 3.6)
    axes.set(
        xlabel="optimizer step",
        ylabel="loss per answer token (nats)",
        yscale="log",
        title="Training in three precisions (points: held-out rows)",
    )
    for (name, one), colour, marker in zip(results.items(), OKABE_ITO[1:], "osD"):
        for key, style in (
            ("loss", {"linewidth": 1.2, "label": name}),
            ("eval_loss", {"linestyle": "", "marker": marker}),
        ):
            axes.plot(
                *zip(*((entry["step"], entry[key]) for entry in one["log"] if key in entry)),
                color=colour,
                **style,
            )
    axes.legend(frameon=False)
    save(figure, path)


def _measure(precision: str, folder: Path) -> dict[str, Any]:
    from fgkit import subprocesses
    from fgkit.config.finetune import FinetuneConfig
    from fgkit.dataset import tokenize
    from fgkit.evaluation import score_model
    from fgkit.models import base as base_model
    from fgkit.models.spec import base_named
    from fgkit.training import tuning
    from fgkit.training.options import TrainingOptions
    from fgkit.workflow import stages

    config = FinetuneConfig(base="offline", output=str(folder), precision=precision)
    base, rows = base_model.find_base("offline"), stages.load_rows(config)
    tokenizer = base_model.load_tokenizer(base.folder)
    train, held_out = (
        tokenize.tokenize_records(part, rows.setup(), tokenizer, max_length=config.max_length)
        for part in (rows.train, rows.held_out)
    )
    start = time.monotonic()
    model, log = tuning.train(
        base.folder,
        train,
        held_out,
        TrainingOptions(
            recipe=config.recipe(base_named("offline").recipe),
            lr_scheduler_type=config.lr_scheduler_type,
            warmup_ratio=config.warmup_ratio,
            seed=config.seed,
        ),
        checkpoints=folder / f"checkpoints_{precision}",
    )
    seconds, memory = time.monotonic() - start, subprocesses.peak_memory_gb()
    target = tuning.save(
        model, base.folder, folder / f"model_{precision}", {"base": "offline", "style": "template"}
    )
    score = score_model.score_model(target, rows, rows.setup(), description=precision)
    return {
        "log": log,
        "seconds": round(seconds, 1),
        "peak_memory_gb": memory,
        **{key: score[key] for key in ("n", "parse_rate", "tool_accuracy", "exact_match")},
    }


if __name__ == "__main__":
    sys.exit(main())
