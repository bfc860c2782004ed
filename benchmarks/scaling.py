"""Measure how the cost of a training step grows with tools, rows and the share in common.

    python benchmarks/scaling.py                            # about 13 minutes on 2 cores
    python benchmarks/scaling.py --plot docs/scaling.png --json
    python benchmarks/scaling.py --only share               # tools, rows or share

Forward and backward pass in bf16 autocast on the offline base, without the optimizer, whose cost
does not depend on the rows. `unique_tokens` is what the trees hold, `row_tokens` what separate rows
would. The rows are the example's; the declarations beyond its three are renamed copies of them. For
`share`, rows of 265 made-up tokens have 17 answer tokens and a prefix of 0 to 249 in common; there
8 rows also go through the model's own forward pass, as stock TRL's do, in the same precision with
sdpa attention, which says what sharing nothing costs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TOOLS, ROWS, SHARES = (3, 10, 30, 60), (32, 128, 512, 2048), (0.0, 0.25, 0.5, 0.75, 0.94)
LENGTH, ANSWER, FEW = 265, 17, 8


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=_CASES,
        default=list(_CASES),
        metavar="NAME",
        help=f"of {', '.join(_CASES)} (default: all)",
    )
    parser.add_argument("--plot", metavar="OUT.png", help="draw the results into this file")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    options = parser.parse_args()
    from fgkit.models import base as base_model
    from fgkit.training import tree_model

    model, tokenizer = base_model.load(base_model.find_base("offline").folder)
    model = model.float()
    results: dict[str, list[dict[str, Any]]] = {}
    for name in options.only:
        results[name] = []
        for case in _CASES[name](tokenizer, model):
            rows, stock = case.pop("rows_of"), case.pop("stock", False)
            with tree_model.tree_training(model):
                _step(model, rows[:2])  # allocates
                case |= _step(model, rows)
            if stock:
                case["stock_seconds"] = _stock_step(model, rows)
            print(f"{name} {case}", file=sys.stderr, flush=True)
            results[name].append(case)
    if options.plot:
        plot(results, Path(options.plot))
    print(json.dumps(results) if options.json else table(results))
    return 0


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """The results as Markdown."""
    lines = [
        "| | unique tokens | tokens of separate rows | seconds | seconds a 1,000 unique tokens |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, cases in results.items():
        for case in cases:
            label = {"tools": "{} tools", "rows": "{} rows", "share": "{:.0%} in common"}[
                name
            ].format(case[name])
            label += (
                f", {FEW} rows (stock: {case['stock_seconds']:.1f} s)"
                if "stock_seconds" in case
                else ""
            )
            lines.append(
                f"| {label} | {case['unique_tokens']:,} | {case['row_tokens']:,} "
                f"| {case['seconds']:.1f} | {1000 * case['seconds'] / case['unique_tokens']:.1f} |"
            )
    return "\n".join(lines)


def plot(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw seconds against unique tokens, one line each for tools, rows and share."""
    from fgkit.plots import new, save

    figure, axes = new(7, 4)
    axes.set(
        xlabel="unique tokens of a step",
        ylabel="seconds, forward and backward",
        xscale="log",
        yscale="log",
        title="The cost of a step grows with its unique tokens",
    )
    labels = {
        "tools": "3 to 60 tools, 32 rows",
        "rows": "32 to 2,048 rows, 3 tools",
        "share": "94% to 0% of a row in common, 32 rows",
    }
    for (name, cases), colour, marker in zip(
        results.items(), ("#0072B2", "#E69F00", "#009E73"), "osD"
    ):
        cases = sorted(
            (case for case in cases if "stock_seconds" not in case),
            key=lambda case: case["unique_tokens"],
        )
        axes.plot(
            [case["unique_tokens"] for case in cases],
            [case["seconds"] for case in cases],
            color=colour,
            marker=marker,
            label=labels[name],
        )
    axes.legend(frameon=False)
    save(figure, path)


def _step(model: Any, rows: Sequence[Any]) -> dict[str, Any]:
    import torch

    from fgkit.training import batches, prefix_tree
    from fgkit.training.tree_model import collate

    packs = batches.packs(rows)
    model.zero_grad()
    start = time.perf_counter()
    for pack in packs:
        with torch.autocast(model.device.type, torch.bfloat16):
            loss = model(**{name: value.to(model.device) for name, value in collate(pack).items()})
        loss.backward()
    float(loss.detach())  # waits for a GPU
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "trees": len(packs),
        "row_tokens": sum(len(row.tokens) for row in rows),
        "unique_tokens": sum(len(prefix_tree.build(pack).tokens) for pack in packs),
    }


def _stock_step(model: Any, rows: Sequence[Any]) -> float:
    """Seconds of the same rows as one batch through the model's own forward pass."""
    import torch

    ids = torch.tensor([row.tokens for row in rows], device=model.device)
    labels = ids.clone()
    labels[:, : rows[0].prompt_length] = -100
    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    model.zero_grad()
    start = time.perf_counter()
    with torch.autocast(model.device.type, torch.bfloat16):
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
    loss.backward()
    float(loss.detach())
    model.set_attn_implementation(before)
    return round(time.perf_counter() - start, 2)


def _by_tools(tokenizer: Any, model: Any) -> Any:
    from fgkit.dataset import tokenize

    tools, records = _example()
    for count in TOOLS:
        many = [
            dict(
                tool,
                function=dict(
                    tool["function"],
                    name=f"{tool['function']['name']}_{copy}" if copy else tool["function"]["name"],
                ),
            )
            for copy in range(-(-count // len(tools)))
            for tool in tools
        ][:count]
        yield {
            "tools": count,
            "rows_of": tokenize.tokenize_records(
                records[:32], many, tokenizer, max_length=sys.maxsize
            ),
        }


def _by_rows(tokenizer: Any, model: Any) -> Any:
    from fgkit.dataset import tokenize

    tools, records = _example()
    rows = tokenize.tokenize_records(records, tools, tokenizer, max_length=1024)
    made = random.Random(1)
    for count in ROWS:
        more = [_reworded(made.choice(rows), made) for _ in range(count - len(rows))]
        yield {"rows": count, "rows_of": [*rows[:count], *more]}


def _reworded(row: Any, made: random.Random) -> Any:
    """The row with another question: tokens between the declarations and the prompt's last five."""
    from fgkit.dataset.tokenize import TokenizedExample

    start, stop = 230, row.prompt_length - 5
    words = [made.randrange(1000, 200_000) for _ in range(max(stop - start, 0))]
    return TokenizedExample(
        (*row.tokens[:start], *words, *row.tokens[max(start, stop) :]), row.prompt_length
    )


def _by_share(tokenizer: Any, model: Any) -> Any:
    from fgkit.dataset.tokenize import TokenizedExample

    made = random.Random(1)
    for share in SHARES:
        common = round(share * LENGTH)
        prefix = [made.randrange(1000, 200_000) for _ in range(common)]
        rows = [
            TokenizedExample(
                (*prefix, *(made.randrange(1000, 200_000) for _ in range(LENGTH - common))),
                LENGTH - ANSWER,
            )
            for _ in range(32)
        ]
        if not share:
            yield {"share": share, "rows_of": rows[:FEW], "stock": True}
        yield {"share": share, "rows_of": rows}


def _example() -> tuple[Any, Any]:
    from fgkit.dataset.reading import read_records
    from fgkit.locations import shipped
    from fgkit.tools import load_tools

    tools = load_tools(shipped("data", "tools.py"))
    return tools, read_records(shipped("data", "training_data.jsonl"), tools)


_CASES: dict[str, Callable[..., Any]] = {"tools": _by_tools, "rows": _by_rows, "share": _by_share}

if __name__ == "__main__":
    sys.exit(main())
