"""How well a base learns from few rows: tune it on some of a data file's rows, score it on the
held-out ones.

    python -m corpus.tuned build/taught --data data/training_data.jsonl \
        --eval data/eval_data.jsonl --tools data/tools.py --per-tool 10 --epochs 4 \
        --output build/tuned

The recipe is the one of `fgkit run` for this base; `--epochs` and `--per-tool` change what they
name. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset.records import Record
from fgkit.evaluation.score_model import score_folder
from fgkit.models.base import find_base
from fgkit.workflow.stages.data_steps import load_rows
from fgkit.workflow.stages.finetune_steps import finetune


def first_rows(records: Iterable[Record], per_tool: int) -> tuple[Record, ...]:
    """The first rows of each tool in file order; rows without a call count as a tool of their
    own.
    """
    seen: Counter[str] = Counter()
    found = []
    for record in records:
        name = record.calls[0].name if record.calls else ""
        seen[name] += 1
        if seen[name] <= per_tool:
            found.append(record)
    return tuple(found)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base")
    for name in ("data", "eval", "tools", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--per-tool", type=int)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    settings = FinetuneConfig(
        output=options.output,
        base=options.base,
        data=options.data,
        eval_data=options.eval,
        tools=options.tools,
        num_train_epochs=options.epochs,
    )
    rows = load_rows(settings)
    if options.per_tool:
        rows = replace(rows, train=first_rows(rows.train, options.per_tool))
    base = find_base(options.base)
    start = time.monotonic()
    folder = finetune(settings, base, rows)
    trained = time.monotonic() - start
    score = score_folder(Path(folder), rows)
    print(
        json.dumps(
            {
                "rows": len(rows.train),
                "held_out": score["n"],
                **{
                    key: round(score[key], 4)
                    for key in ("parse_rate", "tool_accuracy", "exact_match")
                },
                "training_seconds": round(trained),
                "recipe": str(settings.recipe(base.recipe)),
            }
        )
    )


if __name__ == "__main__":
    main()
