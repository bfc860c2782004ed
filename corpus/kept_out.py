"""What the taught base must never have seen, and the check that it has not.

Kept out: BFCL's `live_*` categories and the second half of its `irrelevance`, `data/`,
`data/home/`, the starter's rows, and every sentence that is nearly one of theirs, with the same
code that tells leaks between training and held-out rows.

>>> kept = KeptOut(kept_texts(root, bfcl))
>>> kept.shares(["make it red"])
[True]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fgkit.data_report.similarity import near_pairs, normal, signatures

from . import wording
from .bfcl_rows import IRRELEVANT_TRAINED

FILES = (
    "data/training_data.jsonl",
    "data/eval_data.jsonl",
    "data/home/training_data.jsonl",
    "data/home/eval_data.jsonl",
    "fgkit/starter/training_data.jsonl",
    "fgkit/starter/eval_data.jsonl",
)
LIVE = (
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)

WORDS = 4


def kept_texts(root: Path, bfcl: Path | None) -> list[str]:
    """All sentences that are kept out.

    Args:
        root: fgkit's checkout.
        bfcl: the `data` folder of `bfcl-eval`; None leaves its rows away.
    """
    found = [text for name in FILES for text in _said(root / name)]
    if bfcl is not None:
        for name in LIVE:
            found += _asked(bfcl / f"BFCL_v4_{name}.json")
        found += [*_asked(bfcl / "BFCL_v4_irrelevance.json")][IRRELEVANT_TRAINED:]
    return found


def kept_tools(root: Path) -> set[str]:
    """Names of the functions of the examples and the starter."""
    from fgkit.tools import load_tools

    return {
        tool["function"]["name"]
        for name in ("data/tools.py", "data/home/tools.py", "fgkit/starter/tools.py")
        for tool in load_tools(root / name)
    }


class KeptOut:
    """Tells which sentences are, or nearly are, kept-out ones.

    Args:
        texts: the kept-out sentences.
    """

    def __init__(self, texts: Sequence[str]):
        self.texts = list(dict.fromkeys(map(normal, texts)))
        self._begins: dict[tuple[str, ...], list[str]] = {}
        for text in self.texts:
            if len(words := text.split()) >= WORDS:
                self._begins.setdefault(tuple(words[:WORDS]), []).append(text)

    def shares(self, texts: Sequence[str]) -> list[bool]:
        """For each sentence whether it is kept out.

        It is where, without case, marks and fillers, it equals a kept-out one, holds one of at
        least `WORDS` words, or has three quarters of its letter triples in common with one.
        """
        mine = [normal(wording.plain(text)) for text in texts]
        exact = set(self.texts)
        found = [text in exact or self._holds(text) for text in mine]
        everything = [*self.texts, *mine]
        for row, _, _ in near_pairs(
            signatures(everything, seed=1),
            [0] * len(everything),
            everything,
            trained=len(self.texts),
        ):
            found[row - len(self.texts)] = True
        return found

    def _holds(self, text: str) -> bool:
        words = text.split()
        return any(
            other in text
            for place in range(len(words))
            for other in self._begins.get(tuple(words[place : place + WORDS]), ())
        )


def _said(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield from (
            (message["content"] for message in row["messages"] if message["role"] == "user")
            if "messages" in row
            else [row["user_content"]]
        )


def _asked(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        turns = json.loads(line)["question"][0]
        yield from (turn["content"] for turn in turns if turn["role"] == "user")
