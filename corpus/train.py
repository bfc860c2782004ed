"""Teach the offline base: low-rank training over the corpus, resumable at any moment.

    python -m corpus.train --corpus build/corpus --state build/state --steps 2000
    python -m corpus.train --corpus build/corpus --state build/state --finish-at 23:50

In: the corpus's files. Out: in the state folder `checkpoint.pt`, written every two minutes,
`log.jsonl`, one line a step, and `delta.safetensors`. The same command goes on where it was
stopped; where the corpus has changed it begins a new pass over it.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from fgkit.dataset.reading import inspect_records
from fgkit.dataset.tokenize import TokenizedExample, tokenize_records
from fgkit.models.base import find_base, load, load_tokenizer
from fgkit.prompts import STYLES, PromptSetup
from fgkit.training import batches
from fgkit.training.prefix_tree import build

from . import delta
from .low_rank import Learner, pieces_of

RANK, ROWS, SEED = 32, 108, 20
LEARNING_RATE, WARM_STEPS, DECAY = 6e-4, 30, 0.35  # the rate falls to zero over the last third
ROWS_A_STEP, MAX_LENGTH, SAVE_SECONDS, CLIP = 16, 1400, 120, 1.0


def token_sets(corpus: Path, tokenizer: Any) -> list[list[TokenizedExample]]:
    """The corpus's rows as tokens, in lists that share their tools; rows that are too long are left
    out.
    """
    found = []
    for style in STYLES:
        path = corpus / f"{style}.jsonl"
        if path.exists():
            for _, members in groupby(
                inspect_records(path, []).records, key=lambda record: record.group
            ):
                setup = PromptSetup([], styles=(style,))
                rows = tokenize_records(list(members), setup, tokenizer, max_length=10**6)
                if kept := [row for row in rows if len(row.tokens) <= MAX_LENGTH]:
                    found.append(kept)
    return found


def steps_of_pass(sets: list[list[TokenizedExample]], number: int) -> list[list[TokenizedExample]]:
    """The order of one pass: whole sets, shuffled, about `ROWS_A_STEP` rows a step."""
    found: list[list[TokenizedExample]] = [[]]
    for one in random.Random(f"{SEED} {number}").sample(sets, len(sets)):
        if len(found[-1]) + len(one) / 2 > ROWS_A_STEP:
            found.append([])
        found[-1] += one
    return found


def rate(step: int, progress: float, top: float) -> float:
    """The learning rate: it rises for `WARM_STEPS`, stays, and falls over the last `DECAY` of the
    training.
    """
    return top * min(1.0, (step + 1) / WARM_STEPS) * min(1.0, max(0.0, (1 - progress) / DECAY))


def train(
    corpus: Path,
    state: Path,
    *,
    base: str,
    steps: int | None,
    finish_at: datetime.datetime | None,
    top: float,
    rank: int,
    stop_after: int | None = None,
) -> None:
    """Train until all steps are made or the time has come.

    Args:
        corpus: folder of `corpus.build`.
        state: folder for what a restart needs and for the delta.
        base: what is taught, as `--base` elsewhere.
        steps: length of the training, which the learning rate follows; None to follow the clock.
        finish_at: when it is to be over.
        top: highest learning rate.
        rank: of the changes.
        stop_after: stop after so many steps of this start, for trials.
    """
    import torch

    from fgkit.training.tree_model import tree_training

    state.mkdir(parents=True, exist_ok=True)
    folder = find_base(base).folder
    sets = token_sets(corpus, load_tokenizer(folder))
    key = hashlib.sha256(repr(sets).encode()).hexdigest()[:16]
    tokens = sum(len(build(one).tokens) for one in sets)
    answers = sum(len(row.tokens) - row.prompt_length for one in sets for row in one)
    print(
        f"{len(sets)} sets, {sum(map(len, sets))} rows, {tokens} tokens as trees, "
        f"{answers} answer tokens",
        flush=True,
    )
    model = load(folder)[0].float()
    with tree_training(model):
        learner = Learner(
            model,
            rank=rank,
            rows=ROWS,
            pieces=pieces_of(row for one in sets for row in one),
            seed=SEED,
        )
        parameters = learner.parameters()
        optimizer = torch.optim.AdamW(
            parameters, lr=top, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        at: dict[str, Any] = {
            "step": 0,
            "pass": 0,
            "place": 0,
            "seconds": 0.0,
            "tokens": 0,
            "rows": 0,
            "corpus": key,
        }
        checkpoint = state / "checkpoint.pt"
        if checkpoint.exists():
            stored = torch.load(checkpoint, weights_only=True)
            with torch.no_grad():
                for parameter, value in zip(parameters, stored["parameters"], strict=True):
                    parameter.copy_(value)
            optimizer.load_state_dict(stored["optimizer"])
            at = stored["at"]
            if at["corpus"] != key:
                at |= {"corpus": key, "pass": at["pass"] + 1, "place": 0}
        order = steps_of_pass(sets, at["pass"])
        saved, begun = time.monotonic(), at["step"]

        def save() -> None:
            torch.save(
                {
                    "parameters": [parameter.detach() for parameter in parameters],
                    "optimizer": optimizer.state_dict(),
                    "at": at,
                },
                state / "checkpoint.part",
            )
            os.replace(state / "checkpoint.part", checkpoint)
            delta.save(
                state / "delta.safetensors",
                learner.changes,
                learner.rows,
                {
                    "base": "offline",
                    "base_sha256": delta.digest(folder / "model.safetensors"),
                    "rank": rank,
                    **at,
                },
            )

        while True:
            left = (finish_at - datetime.datetime.now()).total_seconds() if finish_at else 0.0
            progress = (
                at["step"] / steps if steps else at["seconds"] / max(1.0, at["seconds"] + left)
            )
            if (at["step"] >= steps) if steps else left <= 0:
                break
            if stop_after and at["step"] - begun >= stop_after:
                break
            if at["place"] >= len(order):
                at |= {"pass": at["pass"] + 1, "place": 0}
                order = steps_of_pass(sets, at["pass"])
            start, rows = time.monotonic(), order[at["place"]]
            count, total, used = sum(len(row.tokens) - row.prompt_length for row in rows), 0.0, 0
            for pack in batches.packs(rows):
                loss = learner.loss(pack) / count
                loss.backward()
                total += float(loss.detach())
                used += len(build(pack).tokens)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, CLIP))
            for group in optimizer.param_groups:
                group["lr"] = rate(at["step"], progress, top)
            optimizer.step()
            optimizer.zero_grad()
            took = time.monotonic() - start
            at |= {
                "step": at["step"] + 1,
                "place": at["place"] + 1,
                "seconds": at["seconds"] + took,
                "tokens": at["tokens"] + used,
                "rows": at["rows"] + len(rows),
            }
            with (state / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(
                    json.dumps(
                        {
                            "step": at["step"],
                            "pass": at["pass"],
                            "loss": round(total, 4),
                            "norm": round(norm, 3),
                            "rate": optimizer.param_groups[0]["lr"],
                            "rows": len(rows),
                            "answers": count,
                            "tokens": used,
                            "took": round(took, 2),
                            "seconds": round(at["seconds"]),
                            "progress": round(progress, 4),
                        }
                    )
                    + "\n"
                )
            if time.monotonic() - saved > SAVE_SECONDS:
                save()
                saved = time.monotonic()
        save()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--base", default="offline")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int)
    length.add_argument("--finish-at", help="today's time, HH:MM, by the machine's clock")
    parser.add_argument("--rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--rank", type=int, default=RANK)
    parser.add_argument("--stop-after", type=int, help="stop after so many steps of this start")
    options = parser.parse_args()
    finish = (
        datetime.datetime.combine(
            datetime.date.today(), datetime.time.fromisoformat(options.finish_at)
        )
        if options.finish_at
        else None
    )
    train(
        options.corpus,
        options.state,
        base=options.base,
        steps=options.steps,
        finish_at=finish,
        top=options.rate,
        rank=options.rank,
        stop_after=options.stop_after,
    )


if __name__ == "__main__":
    main()
