"""Make the corpus: one JSON Lines file a prompt style, every row checked by fgkit's own reader,
nothing kept-out in it.

    python -m corpus.build --bfcl packages/bfcl_eval/data --output build/corpus

Out: `template.jsonl`, `flutter_gemma.jsonl`, `litert_lm.jsonl` and `made.json`, which counts what
was made and dropped.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from pathlib import Path

from fgkit.calls import Call
from fgkit.dataset.reading import inspect_records
from fgkit.errors import FgkitError
from fgkit.prompts import completion, conversation, render

from . import names
from .bfcl_rows import bfcl_sets
from .domains import expand, read_domains
from .kept_out import KeptOut, kept_texts, kept_tools
from .sets import RequestSet

ROOT = Path(__file__).resolve().parent.parent
SEED = 20


def build(output: Path, bfcl: Path | None, domains: Path, *, rounds: int, seed: int = SEED) -> dict:
    """Write the corpus and return what `made.json` holds.

    Args:
        output: the folder; its files are replaced.
        bfcl: the `data` folder of `bfcl-eval`; None makes a corpus without it.
        domains: the folder of domain files.
        rounds: how often each domain is gone through.
        seed: of every choice.
    """
    chance = random.Random(seed)
    tools = kept_tools(ROOT)
    found = [
        domain
        for domain in read_domains(domains)
        if not tools & {names.snake(tool["function"]["name"]) for tool in domain["tools"]}
    ]
    sets = list(expand(found, rounds, chance))
    if bfcl is not None:
        sets += [names.renamed(one, chance) for one in bfcl_sets(bfcl, chance)]
    sets, refused = _sayable(sets)
    dropped = _without_kept_out(sets, KeptOut(kept_texts(ROOT, bfcl)), tools)
    output.mkdir(parents=True, exist_ok=True)
    made: dict = {
        "seed": seed,
        "rounds": rounds,
        "domains": len(found),
        "sets": len(sets),
        "sets no style can say": refused,
        "rows dropped as kept out": dropped,
        "rows dropped by fgkit lint": 0,
        "rows": Counter(),
        "styles": Counter(),
        "kinds": Counter(),
    }
    by_style: dict[str, list[RequestSet]] = defaultdict(list)
    for one in sets:
        by_style[one.style].append(one)
    for style, members in sorted(by_style.items()):
        lines = [line for one in members for line in one.lines()]
        made["rows dropped by fgkit lint"] += _write_checked(output / f"{style}.jsonl", lines, made)
        made["styles"][style] = sum(1 for _ in (output / f"{style}.jsonl").open(encoding="utf-8"))
    (output / "made.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return made


def _sayable(sets: list[RequestSet]) -> tuple[list[RequestSet], int]:
    """The sets whose tools and rows their style can say; another style's are put into the
    template's.
    """
    kept, refused = [], 0
    for one in sets:
        for style in dict.fromkeys((one.style, "template")):
            try:
                _say(one, style)
            except FgkitError:
                continue
            one.style = style
            kept.append(one)
            break
        else:
            refused += 1
    return kept, refused


def _say(one: RequestSet, style: str) -> None:
    for line in one.lines():
        before = [
            message for message in line["messages"] if message["role"] == "developer"
        ] or conversation("")[:1]
        render(
            [*before, {"role": "user", "content": "x"}],
            line["tools"],
            add_generation_prompt=True,
            style=style,
        )
        for call in line["messages"][-1].get("tool_calls", ()):
            completion([Call(call["function"]["name"], call["function"]["arguments"])], style=style)


def _without_kept_out(sets: list[RequestSet], kept: KeptOut, tools: set[str]) -> int:
    """Take kept-out sentences, and sets with kept-out functions, away; return how many rows
    went.
    """
    before = sum(len(one.requests) for one in sets)
    sets[:] = [
        one
        for one in sets
        if not tools & {names.snake(tool["function"]["name"]) for tool in one.tools}
    ]
    said = [
        " ".join(message["content"] for message in messages if message["role"] == "user")
        for one in sets
        for messages in one.requests
    ]
    shares = iter(kept.shares(said))
    for one in sets:
        one.requests = [messages for messages in one.requests if not next(shares)]
    sets[:] = [one for one in sets if one.requests]
    return before - sum(len(one.requests) for one in sets)


def _write_checked(path: Path, lines: list[dict], made: dict) -> int:
    """Write rows, without those that fgkit refuses or that stand there twice; return how many
    went.
    """

    def write(rows: list[dict]) -> None:
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )

    write(lines)
    found = inspect_records(path, [])
    bad = {problem.line for problem in found.problems}
    good = {record.line for record in found.records} - bad
    for problem in found.problems[:20]:
        print(problem)
    write([line for number, line in enumerate(lines, 1) if number in good])
    for record in found.records:
        if record.line in good:
            made["kinds"][record.kind] += 1
            made["rows"]["bfcl" if record.group.startswith("bfcl-") else "domains"] += 1
    return len(lines) - len(good)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bfcl", type=Path, help="the data folder of the package bfcl-eval")
    parser.add_argument("--domains", type=Path, default=ROOT / "corpus" / "domains")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    print(
        json.dumps(
            build(
                options.output,
                options.bfcl,
                options.domains,
                rounds=options.rounds,
                seed=options.seed,
            ),
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
