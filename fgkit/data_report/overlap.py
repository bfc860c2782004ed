"""Finds rows that are alike, in one file and across files: copies, contradictions, leaks.

The rows of a file are made into a `Side` once; each finding names the other line.

Example:
    check_leaks(findings, train, held_out)
    findings.kept[0].found
    # "'make it RED' where line 12 of train.jsonl has 'make it red'"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fgkit import progress
from fgkit.calls import Call
from fgkit.dataset.records import Record, asked, canonical, show
from fgkit.dataset.splits import group_of

from .balance import ArgumentValues, RowCounts
from .findings import Findings, quoted
from .lengths import Lengths
from .similarity import key, near_pairs, normal, signatures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# From this share of held-out rows on, phrasings that are also trained on raise the score
# noticeably.
SHARED_PHRASINGS = 0.05
_BAR_FROM = 5000


@dataclass
class Side:
    """The training rows or the held-out rows, and the digests by which they are compared.

    Args:
        path: the file.
        records: its good rows.
        duplicates: how many rows were left out as exact duplicates.
        texts: the normalised requests.
        exact, answers, groups: 64-bit digests of the request, of the calls, of the phrasing.
        signature: MinHash, see `similarity.signatures`.
        counts: from `balance.count`.
        arguments: from `balance.values_of`.
        lengths: in tokens; None without a tokenizer.
        shared_phrasings: how many held-out rows have a phrasing that is trained on; None if nothing
            was compared.
    """

    path: str
    records: tuple[Record, ...]
    duplicates: int
    signature: NDArray[np.uint32]
    counts: RowCounts
    texts: list[str] = field(default_factory=list)
    exact: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    arguments: dict[tuple[str, str], ArgumentValues] = field(default_factory=dict)
    lengths: Lengths | None = None
    shared_phrasings: int | None = None

    def line(self, index: int) -> int:
        """Return the line of a row in its file."""
        return self.records[index].line


def side_of(path: str, records: tuple[Record, ...], duplicates: int, seed: int) -> Side:
    """Return rows with their digests and signatures.

    Args:
        path: the file.
        records: its good rows.
        duplicates: how many rows were left out as exact duplicates.
        seed: of the hash functions.
    """
    texts, exact, answers, groups = [], [], [], []
    for record in with_progress(records, f"comparing {Path(path).name}"):
        request = " ".join(asked(record).split())
        texts.append(normal(request))
        exact.append(key(request))
        answers.append(key(canonical(record.calls)))
        groups.append(key(group_of(record)))
    signature = signatures(texts, seed=seed)
    counts = RowCounts(rows=len(records), call=0, parallel=0, no_call=0, per_tool={})
    return Side(path, records, duplicates, signature, counts, texts, exact, answers, groups)


def check_twins(findings: Findings, side: Side) -> None:
    """Report rows of one file that are nearly the same.

    Args:
        findings: collects.
        side: the rows.
    """
    first_with_text: dict[int, int] = {}
    first_with_group: dict[int, int] = {}
    reported: set[tuple[int, tuple[str, ...]]] = set()
    for index, (text, group) in enumerate(zip(side.texts, side.groups, strict=True)):
        twin = first_with_text.setdefault(key(text), index)
        if twin != index:
            _check_same_text(findings, side, index, twin)
        relative = first_with_group.setdefault(group, index)
        names, other_names = (
            tuple(call.name for call in side.records[at].calls) for at in (index, relative)
        )
        calls_differ = names and other_names and names != other_names
        if calls_differ and twin == index and (group, names) not in reported:
            reported.add((group, names))
            pair = _beside(side, index, side, relative, answers=True)
            findings.add("D204", side.path, side.line(index), pair)
    for index, other, share in near_pairs(side.signature, side.answers, side.texts):
        pair = f"{_beside(side, index, side, other)} ({round(100 * share)}% alike)"
        findings.add("D202", side.path, side.line(index), pair)


def _check_same_text(findings: Findings, side: Side, index: int, twin: int) -> None:
    """Report two rows with one normalised request: a copy, or another answer."""
    if side.answers[index] == side.answers[twin]:
        pair = _beside(side, index, side, twin)
        findings.add("D201", side.path, side.line(index), pair)
    elif _plain(side.records[index].calls) != _plain(side.records[twin].calls):
        pair = _beside(side, index, side, twin, answers=True)
        findings.add("D203", side.path, side.line(index), pair)


def check_leaks(findings: Findings, trained: Side, held_out: Side) -> None:
    """Report held-out rows whose answer the model has seen in training.

    Args:
        findings: collects.
        trained: the training rows.
        held_out: the held-out rows; their `shared_phrasings` are filled in.
    """
    exact = _first_index(trained.exact)
    normalised = _first_index(map(key, trained.texts))
    groups = _first_index(trained.groups)
    reported: set[int] = set()
    shared = []
    for index, text in enumerate(held_out.texts):
        line = held_out.line(index)
        if (twin := exact.get(held_out.exact[index])) is not None:
            same = held_out.answers[index] == trained.answers[twin]
            pair = _beside(held_out, index, trained, twin, answers=not same)
            findings.add("D211" if same else "D216", held_out.path, line, pair)
            reported.add(index)
        elif (twin := normalised.get(key(text))) is not None:
            findings.add("D212", held_out.path, line, _beside(held_out, index, trained, twin))
            reported.add(index)
        elif (twin := groups.get(held_out.groups[index])) is not None:
            shared.append((index, twin))
    held_out.shared_phrasings = len(shared)
    _check_shared_phrasings(findings, trained, held_out, shared)
    _check_near_leaks(findings, trained, held_out, reported)


def _first_index(digests: Iterable[int]) -> dict[int, int]:
    """The first index of each digest."""
    first: dict[int, int] = {}
    for index, digest in enumerate(digests):
        first.setdefault(digest, index)
    return first


def _check_shared_phrasings(
    findings: Findings, trained: Side, held_out: Side, shared: Sequence[tuple[int, int]]
) -> None:
    """Report the phrasings that both sides have, in one finding, if there are many of them."""
    if len(shared) <= SHARED_PHRASINGS * len(held_out.records):
        return
    lines = ", ".join(
        f"{held_out.line(index)} (= {trained.line(twin)})" for index, twin in shared[:10]
    )
    index, twin = shared[0]
    findings.add(
        "D214",
        held_out.path,
        held_out.line(index),
        f"{len(shared)} of {len(held_out.records)} rows, here "
        f"{_beside(held_out, index, trained, twin)}; lines {lines}{', ...' if shared[10:] else ''}",
    )


def _check_near_leaks(
    findings: Findings, trained: Side, held_out: Side, reported: set[int]
) -> None:
    """Report held-out rows that are nearly a training row, unless they are reported already."""
    import numpy as np

    count = len(trained.texts)
    pairs = near_pairs(
        np.concatenate([trained.signature, held_out.signature]),
        trained.answers + held_out.answers,
        trained.texts + held_out.texts,
        trained=count,
    )
    for row, twin, share in pairs:
        index = row - count
        if index not in reported:
            pair = f"{_beside(held_out, index, trained, twin)} ({round(100 * share)}% alike)"
            findings.add("D213", held_out.path, held_out.line(index), pair)


def _beside(side: Side, index: int, other: Side, twin: int, *, answers: bool = False) -> str:
    """Two rows as a message shows them."""
    row, other_row = side.records[index], other.records[twin]
    where = f"line {other_row.line}" + (f" of {other.path}" if other.path != side.path else "")
    text, other_text = (
        quoted(record.user_content) + (f" -> {show(record.calls)}" if answers else "")
        for record in (row, other_row)
    )
    return f"{text} where {where} has {other_text}"


def _plain(calls: Sequence[Call]) -> str:
    """Calls without the case and punctuation in which two spellings of one text may differ."""
    return normal(canonical(calls))


def with_progress(records: Sequence[Record], what: str) -> Iterable[Record]:
    """Return the records, with a progress bar if there are many.

    Args:
        records: to iterate over.
        what: the label of the bar.
    """
    bar: Iterable[Record] = progress.bar(
        records, desc=what, unit="row", disable=len(records) < _BAR_FROM
    )
    return bar
