"""Rows that say the same, inside a file and across files: twins, contradictions, shared phrasings, leaks.

In: the rows of a file, made into a `Side` once. Out: findings, each with the other line.

>>> check_leaks(findings, trained, held_out)
>>> findings.kept[0].found
"'make it RED' where line 12 of train.jsonl has 'make it red'"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit import progress
from fgkit.calls import Call
from fgkit.dataset.records import Record, asked, canonical, show
from fgkit.dataset.splits import group_of

from .balance import Argument
from .lengths import Lengths
from .rules import Findings, quoted
from .similarity import key, near_pairs, normal, signatures

if TYPE_CHECKING:
    import numpy

SHARED = 0.05  # share of held-out rows from which phrasings that are trained on flatter the score
_BAR_FROM = 5000


@dataclass
class Side:
    """Rows to train on or to score on, and the digests by which they are compared.

    Args:
        path: the file.
        records: its good rows.
        duplicates: rows left out as exact duplicates.
        texts: what was said, normalised.
        exact, answers, groups: 64-bit digests of what was said, of the calls, of the phrasing.
        signature: MinHash, see `similarity.signatures`.
        counts: from `balance.count`.
        arguments: from `balance.values_of`.
        lengths: in tokens; None without a tokenizer.
        shared_phrasings: held-out rows with a phrasing that is trained on; None where nothing was compared.
    """

    path: str
    records: tuple[Record, ...]
    duplicates: int
    texts: list[str] = field(default_factory=list)
    exact: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    signature: numpy.ndarray | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    arguments: dict[tuple[str, str], Argument] = field(default_factory=dict)
    lengths: Lengths | None = None
    shared_phrasings: int | None = None


def side_of(path: str, records: tuple[Record, ...], duplicates: int, seed: int) -> Side:
    """The digests and signatures of rows; `seed` is of the hash functions."""
    side = Side(path, records, duplicates)
    for record in watched(records, f"comparing {Path(path).name}"):
        said = " ".join(asked(record).split())
        side.texts.append(normal(said))
        side.exact.append(key(said))
        side.answers.append(key(canonical(record.calls)))
        side.groups.append(key(group_of(record)))
    side.signature = signatures(side.texts, seed=seed)
    return side


def check_twins(findings: Findings, side: Side) -> None:
    """Rows of one file that nearly say the same."""
    first: dict[int, int] = {}
    phrasings: dict[int, int] = {}
    told: set[tuple[int, tuple[str, ...]]] = set()
    for place, (text, answer, group) in enumerate(
        zip(side.texts, side.answers, side.groups, strict=True)
    ):
        twin = first.setdefault(key(text), place)
        if twin != place:
            if answer == side.answers[twin]:
                findings.add(
                    "D201", side.path, side.records[place].line, _beside(side, place, side, twin)
                )
            elif _plain(side.records[place].calls) != _plain(side.records[twin].calls):
                findings.add(
                    "D203",
                    side.path,
                    side.records[place].line,
                    _beside(side, place, side, twin, answers=True),
                )
        alike = phrasings.setdefault(group, place)
        names, others = (
            tuple(call.name for call in side.records[at].calls) for at in (place, alike)
        )
        if names and others and names != others and twin == place and (group, names) not in told:
            told.add((group, names))
            findings.add(
                "D204",
                side.path,
                side.records[place].line,
                _beside(side, place, side, alike, answers=True),
            )
    for place, other, alike in near_pairs(side.signature, side.answers, side.texts):
        findings.add(
            "D202",
            side.path,
            side.records[place].line,
            f"{_beside(side, place, side, other)} ({round(100 * alike)}% alike)",
        )


def check_leaks(findings: Findings, trained: Side, held_out: Side) -> None:
    """Held-out rows that training gives away."""
    exact = {digest: place for place, digest in reversed(list(enumerate(trained.exact)))}
    normalised = {key(text): place for place, text in reversed(list(enumerate(trained.texts)))}
    groups = {digest: place for place, digest in reversed(list(enumerate(trained.groups)))}
    told: set[int] = set()
    shared = []
    for place, text in enumerate(held_out.texts):
        line, answer = held_out.records[place].line, held_out.answers[place]
        if (twin := exact.get(held_out.exact[place])) is not None:
            same = answer == trained.answers[twin]
            findings.add(
                "D211" if same else "D216",
                held_out.path,
                line,
                _beside(held_out, place, trained, twin, answers=not same),
            )
        elif (twin := normalised.get(key(text))) is not None:
            findings.add("D212", held_out.path, line, _beside(held_out, place, trained, twin))
        elif (twin := groups.get(held_out.groups[place])) is not None:
            shared.append((place, twin))
            continue
        else:
            continue
        told.add(place)
    held_out.shared_phrasings = len(shared)
    if len(shared) > SHARED * len(held_out.records):
        lines = ", ".join(
            f"{held_out.records[place].line} (= {trained.records[twin].line})"
            for place, twin in shared[:10]
        )
        place, twin = shared[0]
        findings.add(
            "D214",
            held_out.path,
            held_out.records[place].line,
            f"{len(shared)} of {len(held_out.records)} rows, here {_beside(held_out, place, trained, twin)}; "
            f"lines {lines}{', ...' if shared[10:] else ''}",
        )
    import numpy as np

    count = len(trained.texts)
    pairs = near_pairs(
        np.concatenate([trained.signature, held_out.signature]),
        trained.answers + held_out.answers,
        trained.texts + held_out.texts,
        trained=count,
    )
    for row, twin, alike in pairs:
        if row - count not in told:
            findings.add(
                "D213",
                held_out.path,
                held_out.records[row - count].line,
                f"{_beside(held_out, row - count, trained, twin)} ({round(100 * alike)}% alike)",
            )


def _beside(side: Side, place: int, other: Side, twin: int, *, answers: bool = False) -> str:
    """Two rows as a message shows them."""
    mine, yours = side.records[place], other.records[twin]
    where = f"line {yours.line}" + (f" of {other.path}" if other.path != side.path else "")
    texts = [
        quoted(record.user_content) + (f" -> {show(record.calls)}" if answers else "")
        for record in (mine, yours)
    ]
    return f"{texts[0]} where {where} has {texts[1]}"


def _plain(calls: Sequence[Call]) -> str:
    """Calls without what two spellings of one text may differ in."""
    return normal(canonical(calls))


def watched(records: Sequence[Record], what: str) -> Any:
    """The records under a progress bar where they are many."""
    return progress.bar(records, desc=what, unit="row", disable=len(records) < _BAR_FROM)
