"""Measure the first token and tokens a second of a finished model, served in different ways.

    python benchmarks/serving.py run                    # about 10 minutes on 2 cores
    python benchmarks/serving.py run --prefill 256 32,256 --threads 4 2 --rows 48 --json

The baseline is what the user's guide makes: one prefill signature of 256 tokens, int8, every prompt
read whole, the four threads that the runtime takes by itself. Beside it: the developer turn
computed once (as `evaluate` and `chat` do), further prefill signatures (`--prefill`, converted once
each into `--output`), other numbers of threads (`--threads`). Each question is asked of all of them
before the next one, so that what else the machine does falls on all alike; medians over the
questions, and `ratio` to the baseline. `same` counts the answers that equal the baseline's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fgkit.models import record

GUIDE = (256,)
NEW_TOKENS = 64


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument(
        "--prefill",
        nargs="+",
        type=_lengths,
        default=[GUIDE, (32, 256), (32, 128, 512)],
        metavar="N,N",
        help="prefill signatures of a network, in tokens (default: 256 32,256 32,128,512)",
    )
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[4, 1, 2], metavar="N", help="default: 4 1 2"
    )
    parser.add_argument(
        "--rows", type=int, default=24, metavar="N", help="held-out questions (default: 24)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/serving"), help="default: %(default)s"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else on stdout"
    )
    options = parser.parse_args()
    from fgkit.config.task import TaskConfig
    from fgkit.dataset import tokenize
    from fgkit.workflow import stages

    settings = TaskConfig(output=str(options.run))
    rows = stages.load_rows(settings)
    setup = rows.setup(record.system_message_of(settings.model_folder))
    texts = tokenize.prompt_texts(rows.held_out, setup)
    step = max(1, len(texts) // options.rows)
    bundles = {lengths: _bundle(settings, lengths, options.output) for lengths in options.prefill}
    report = {
        "device": f"{os.cpu_count()} cores",
        "questions": len(texts[::step][: options.rows]),
        "ways": _measured(bundles, options.threads, texts[::step][: options.rows]),
    }
    print(json.dumps(report) if options.json else _table(report))
    return 0


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _bundle(settings: Any, lengths: tuple[int, ...], output: Path) -> Path:
    """The run's model as a `.task` whose network has these prefill signatures."""
    from fgkit.bundles import create as bundle
    from fgkit.export import conversion

    name = f"prefill_{'_'.join(map(str, lengths))}"
    made = output.absolute() / f"{name}.task"
    if not made.is_file():
        output.mkdir(parents=True, exist_ok=True)
        network = conversion.convert(
            settings.model_folder,
            output,
            name=name,
            prefill_seq_len=lengths[-1],
            extra_prefill_seq_lens=lengths[:-1],
        )
        bundle.create_task(
            network, settings.model_folder / "tokenizer.model", made, sidecar={"style": "template"}
        )
        network.unlink()
    return made


def _measured(
    bundles: dict[tuple[int, ...], Path], threads: list[int], texts: list[str]
) -> list[dict[str, Any]]:
    from fgkit.progress import bar
    from fgkit.runtime.session import Runtime

    ways: list[dict[str, Any]] = []
    for lengths, path in bundles.items():
        for count in threads:
            runtime = Runtime(path, threads=count)
            runtime.generate(texts[0], max_new_tokens=2)  # compiles
            ways += [
                {
                    "prefill": lengths,
                    "threads": count,
                    "reuse": reuse,
                    "runtime": runtime,
                    "first": [],
                    "rate": [],
                    "answers": [],
                    "bytes": path.stat().st_size,
                }
                for reuse in (False, True)
            ]
    for text in bar(texts, desc="serving", unit="question"):
        for way in ways:
            runtime = way["runtime"]
            for limit, seconds in ((1, way["first"]), (NEW_TOKENS, way["rate"])):
                if way["reuse"]:
                    runtime.generate(
                        texts[0], max_new_tokens=limit
                    )  # the turn is known from the question before
                else:
                    runtime.forget()
                start = time.perf_counter()
                answer = runtime.generate(text, max_new_tokens=limit)
                seconds.append(time.perf_counter() - start)
            way["answers"].append(answer)
            tokens = runtime.count(answer) - 1
            seconds[-1] = tokens / max(seconds[-1] - way["first"][-1], 1e-6)
    for way in ways:
        way.pop("runtime").close()
    for way in ways:
        first, rate = statistics.median(way.pop("first")), statistics.median(way.pop("rate"))
        way |= {
            "seconds_to_first_token": round(first, 4),
            "decode_tokens_per_second": round(rate, 1),
        }
    whole = [way.pop("answers") for way in ways]
    for way, answers in zip(ways, whole):
        way["ratio"] = round(ways[0]["seconds_to_first_token"] / way["seconds_to_first_token"], 2)
        way["same"] = sum(one == other for one, other in zip(whole[0], answers))
    return ways


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['questions']} questions, {report['device']}",
        "",
        "| prefill signatures | threads | developer turn | first token, ms | ratio "
        "| decode, tokens/s | same answers | MB |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for way in report["ways"]:
        cells = (
            ", ".join(map(str, way["prefill"])),
            way["threads"],
            "known" if way["reuse"] else "read",
            round(1000 * way["seconds_to_first_token"]),
            way["ratio"],
            way["decode_tokens_per_second"],
            way["same"],
            round(way["bytes"] / 1e6, 1),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
