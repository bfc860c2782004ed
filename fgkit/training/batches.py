"""Which rows a training step takes, and how they are cut into token trees.

In: tokenized rows. Out: for each epoch a seeded order of batches in which every row stands once, and each batch as packs,
small enough for memory, shared out among the processes.

Rows that begin alike are put into one batch, because a tree holds what they share once. With one set of tools that is
every row, and the order is a plain shuffle; with several sets each batch is mostly of one, and the rows of a conversation,
each of which continues the one before, stay together.

>>> batches = Batches(rows, size=32, seed=42)
>>> batches.set_epoch(1)
>>> [len(packs([rows[place] for place in batch])) for batch in batches]
[1, 1, 1, 1, 1, 1, 1, 1, 1]
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from fgkit.dataset.tokenize import TokenizedExample

from .prefix_tree import common_prefix_length

PACK_TOKENS = 4096  # most tokens of a tree, which bounds the activations, or twice the longest row where that is more
PACK_ANSWERS = 1024  # most answer tokens of a tree, which bounds the logits: 1 MB each with 262,144 pieces in fp32


class Batches:
    """A batch sampler: lists of row indexes, anew for each epoch.

    Args:
        rows: all training rows.
        size: rows of one optimizer step; the last batch of an epoch has what is left.
        seed: of the order, together with the epoch.
    """

    def __init__(self, rows: Sequence[TokenizedExample], size: int, seed: int):
        self.size, self.seed, self.epoch = size, seed, 0
        self.groups = _groups(rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order is given next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(sum(len(unit) for group in self.groups for unit in group) / self.size)

    def __iter__(self) -> Iterator[list[int]]:
        chance = random.Random(f"{self.seed} {self.epoch}")
        groups = [
            chance.sample(group, len(group))
            for group in chance.sample(self.groups, len(self.groups))
        ]
        order = [place for group in groups for unit in group for place in unit]
        batches = [order[start : start + self.size] for start in range(0, len(order), self.size)]
        whole = [batch for batch in batches if len(batch) == self.size]
        yield from chance.sample(whole, len(whole))
        yield from batches[len(whole) :]


def packs(
    rows: Sequence[TokenizedExample], process: int = 0, processes: int = 1
) -> list[list[TokenizedExample]]:
    """Cut a batch into trees that fit into memory, neighbours in the tree together.

    Args:
        rows: the batch.
        process, processes: the process whose share is wanted, and how many there are; the shares of all are the batch.
    Returns:
        packs of at most `PACK_TOKENS` tokens and `PACK_ANSWERS` answer tokens as a tree; none where there are fewer rows
        than processes.
    """
    rows = sorted(rows, key=lambda row: row.tokens)
    limit = max(
        PACK_TOKENS, 2 * max(len(row.tokens) for row in rows)
    )  # a long prefix is to be shared, too
    found: list[list[TokenizedExample]] = []
    tokens = answers = 0
    for row in rows[len(rows) * process // processes : len(rows) * (process + 1) // processes]:
        answer, length = len(row.tokens) - row.prompt_length, len(row.tokens) - 1
        own = length - common_prefix_length(found[-1][-1].tokens, row.tokens[:-1]) if found else 0
        if not found or tokens + own > limit or answers + answer > PACK_ANSWERS:
            found.append([])
            tokens, answers, own = 0, 0, length
        found[-1].append(row)
        tokens, answers = tokens + own, answers + answer
    return found


def _groups(rows: Sequence[TokenizedExample]) -> list[list[list[int]]]:
    """Rows in groups that share half of a prompt or more; a group's rows in units, each row of which continues the first."""
    groups: list[list[list[int]]] = []
    first = before = None  # the unit's first row, and the row before
    for place in sorted(range(len(rows)), key=lambda place: rows[place].tokens):
        row = rows[place]
        if first and common_prefix_length(first.tokens, row.tokens) >= len(first.tokens) - 1:
            groups[-1][-1].append(place)
        else:
            shortest = min(row.prompt_length, before.prompt_length) if before else 0
            if not before or 2 * common_prefix_length(before.tokens, row.tokens) < shortest:
                groups.append([])
            groups[-1].append([place])
            first = row
        before = row
    return groups
