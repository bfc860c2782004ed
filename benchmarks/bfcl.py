"""Score a model on the Berkeley Function-Calling Leaderboard's single-turn categories, with its own
checker.

    pip install --no-deps --target packages bfcl-eval==2026.3.23
    python benchmarks/bfcl.py MODEL --packages packages --limit 100

MODEL is a folder, `offline` or a Hub name. Comes out: for each category how many rows are right,
with a 95% interval, beside the figure on FunctionGemma's model card. Prompts are the model's own
chat template; answers are read by fgkit's strict parser, which refuses some that the leaderboard's
lenient one accepts. With `--limit` a fixed random choice of rows is asked, the same for every
model. Non-live categories were trained on by the taught base (`corpus/README.md`); of `irrelevance`
the rows from 120 on were not.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from corpus.bfcl_rows import IRRELEVANT_TRAINED, declared
from fgkit import prompts
from fgkit.calls import Call, parse
from fgkit.dataset.tokenize import encode
from fgkit.errors import CallSyntaxError, FgkitError
from fgkit.evaluation.intervals import rate_intervals
from fgkit.models.base import find_base

CARD = {
    "live_simple": 36.2,
    "live_multiple": 25.7,
    "irrelevance": 73.7,
}  # of google/functiongemma-270m-it, 0-shot
DEFAULT = ("live_simple", "live_multiple", "live_irrelevance", "irrelevance")
HIDDEN = ("type", "description", "properties", "required", "nullable")
BATCH_TOKENS = 8192


def rows_of(data: Path, category: str, limit: int | None) -> tuple[list[dict], int]:
    """The rows to ask, each with its text `prompt`, and how many there are whose functions cannot
    be declared.

    Args:
        data: the package's `data` folder.
        category: a single-turn category.
        limit: most rows; None for all.
    """
    rows = [
        json.loads(line)
        for line in (data / f"BFCL_v4_{category}.json").read_text(encoding="utf-8").splitlines()
    ]
    answers = data / "possible_answer" / f"BFCL_v4_{category}.json"
    if answers.exists():
        known = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
        for row, answer in zip(
            rows, known, strict=False
        ):  # their ids differ in places, their order does not
            row["answer"] = answer["ground_truth"]
    if category == "irrelevance":
        rows = rows[IRRELEVANT_TRAINED:]
    if limit and limit < len(rows):
        rows = sorted(random.Random(0).sample(rows, limit), key=lambda row: row["id"])
    unsayable = 0
    for row in rows:
        try:
            turns = [
                {
                    "role": "developer",
                    "content": f"{turn['content'].strip()}\n{prompts.DEFAULT_SYSTEM_MSG}",
                }
                if turn["role"] == "system"
                else {"role": turn["role"], "content": turn["content"]}
                for turn in row["question"][0]
            ]
            if turns[0]["role"] != "developer":
                turns.insert(0, {"role": "developer", "content": prompts.DEFAULT_SYSTEM_MSG})
            tools = (
                declared([_renamed(function) for function in row["function"]])
                if row["function"]
                else None
            )
            row["prompt"] = prompts.render(turns, tools, add_generation_prompt=True)
        except FgkitError:
            unsayable += 1
    return rows, unsayable


def _renamed(function: dict) -> dict:
    """The function with `type_` for an argument `type`, as an app has to name it: the model's
    template leaves such out.
    """
    schema = function["parameters"]
    names = {name: f"{name}_" if name in HIDDEN else name for name in schema.get("properties", {})}
    return function | {
        "parameters": schema
        | {
            "properties": {
                names[name]: inner for name, inner in schema.get("properties", {}).items()
            },
            "required": [names.get(name, name) for name in schema.get("required", [])],
        }
    }


def _named_back(arguments: dict) -> dict:
    return {name[:-1] if name[:-1] in HIDDEN else name: value for name, value in arguments.items()}


def answers_of(model: Any, tokenizer: Any, texts: Sequence[str], longest: int) -> list[str]:
    """Greedy answers to prompts that share nothing, neighbours in length at a time."""
    from fgkit.training.generation import _answer_batch
    from fgkit.training.prefix_cache import PrefixCache, decoding

    ids = [encode(tokenizer, text) for text in texts]
    found: list[str] = [""] * len(ids)
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    with decoding(model):
        start = PrefixCache(model, ids[0][:1])
        while order:
            batch = [order.pop()]
            while (
                order and len(ids[batch[0]]) * (len(batch) + 1) <= BATCH_TOKENS and len(batch) < 24
            ):
                batch.append(order.pop())
            for place, answer in zip(
                batch,
                _answer_batch(model, start, [ids[place] for place in batch], longest),
                strict=True,
            ):
                found[place] = tokenizer.decode(answer, skip_special_tokens=False)
            print(f"  {len(order)} prompts left", file=sys.stderr, flush=True)
    return found


def checker(packages: Path) -> Callable[[str, dict, list[Call]], bool]:
    """The leaderboard's own check of calls, imported without the clients of other models that it
    wants.

    Args:
        packages: the folder that holds `bfcl_eval`.
    """
    sys.path.insert(0, str(packages))
    name = "bfcl_eval.constants.model_config"
    stand_in = types.ModuleType(name)
    vars(stand_in)["MODEL_CONFIG_MAPPING"] = {
        "fgkit": types.SimpleNamespace(underscore_to_dot=False)
    }
    sys.modules[name] = stand_in
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def right(category: str, row: dict, calls: list[Call]) -> bool:
        if "relevance" in category:
            return bool(calls) != ("irrelevance" in category)
        given = [{call.name: _named_back(call.arguments)} for call in calls]
        return bool(
            ast_checker(row["function"], given, row["answer"], Language.PYTHON, category, "fgkit")[
                "valid"
            ]
        )

    return right


def score(
    rows: Sequence[dict],
    texts: Sequence[str],
    category: str,
    right: Callable[[str, dict, list[Call]], bool],
) -> dict[str, Any]:
    """What became of a category's answers.

    Args:
        rows: from `rows_of`; those without a prompt count as wrong.
        texts: the answers to those with one, in order.
        category: its name.
        right: from `checker`.
    Returns:
        "n", "right" with its "interval", "parsed", "tool": shares of rows; "rows": each answer.
    """
    left, told = iter(texts), []
    for row in rows:
        text = next(left) if "prompt" in row else None
        try:
            calls = parse(text) if text is not None else None
        except CallSyntaxError:
            calls = None
        expected = sorted(name for call in row.get("answer", ()) for name in call)
        refused = (
            calls is None and text is not None and "irrelevance" in category
        )  # the leaderboard: what is no call is right
        told.append(
            {
                "id": row["id"],
                "text": text,
                "parsed": calls is not None,
                "right": refused or calls is not None and right(category, row, calls),
                "tool": calls is not None and sorted(call.name for call in calls) == expected,
            }
        )
    shares = {key: sum(one[key] for one in told) / len(told) for key in ("right", "parsed", "tool")}
    interval = rate_intervals(
        [[int(one["right"])] for one in told], [[1]] * len(told), range(len(told))
    )[0]
    return {"n": len(told), **shares, "interval": interval, "rows": told}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--categories", default=",".join(DEFAULT))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--longest", type=int, default=160, help="most tokens of an answer")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from fgkit.training.generation import load_for_generation

    model, tokenizer = load_for_generation(find_base(options.model).folder)
    right, found = checker(options.packages), {}
    for category in options.categories.split(","):
        start = time.monotonic()
        rows, unsayable = rows_of(options.packages / "bfcl_eval" / "data", category, options.limit)
        texts = answers_of(
            model, tokenizer, [row["prompt"] for row in rows if "prompt" in row], options.longest
        )
        one = found[category] = score(rows, texts, category, right) | {
            "unsayable": unsayable,
            "seconds": time.monotonic() - start,
        }
        low, high = one["interval"]
        print(
            f"{category}: {one['right']:.1%} ({low:.0%} to {high:.0%}) of {one['n']} right, "
            f"{one['parsed']:.0%} parsed, {one['tool']:.0%} right tools, "
            f"{unsayable} that cannot be declared, {one['seconds']:.0f} s; "
            f"FunctionGemma's card: {CARD.get(category, '-')}",
            flush=True,
        )
        if options.json:
            options.json.write_text(
                json.dumps({"model": options.model, "categories": found}, indent=1) + "\n",
                encoding="utf-8",
            )


if __name__ == "__main__":
    main()
