"""Which rows a training step takes, and how a step's rows are cut into token trees.

In: tokenized rows. Out: for each epoch a seeded order of batches, in which every row occurs once;
and each batch cut into packs, which are small enough for memory and divided among the processes.

Rows that begin alike are put into the same batch, because a tree holds what they share only once.
With one set of tools all rows begin alike, and the order is a plain shuffle. With several sets each
batch is mostly of one set, and the rows of a conversation, each of which continues the one before,
stay together.

Example:
    batches = Batches(rows, size=32, seed=42)
    batches.set_epoch(1)
    for batch in batches:
        for pack in packs([rows[index] for index in batch]):
            tree = prefix_tree.build(pack)
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from fgkit.dataset.tokenize import TokenizedExample

from .prefix_tree import common_prefix_length

# Most tokens of one tree, which bounds the memory of the activations.
PACK_TOKENS = 4096
# Most answer tokens of one tree, which bounds the memory of the logits: 1 MB for each, with 262,144
# pieces in fp32.
PACK_ANSWERS = 1024


class Batches:
    """A batch sampler for PyTorch's `DataLoader`: lists of row indexes, in a new order each epoch.

    The order depends on nothing but the rows, the seed and the epoch, so a resumed training sees
    the batches that an uninterrupted one would have seen.

    Args:
        rows: all training rows.
        size: rows of one optimizer step; the last batch of an epoch has the rows that are left.
        seed: seed of the order.
    """

    def __init__(self, rows: Sequence[TokenizedExample], size: int, seed: int):
        self.size, self.seed, self.epoch = size, seed, 0
        self.groups = _groups(rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(sum(len(unit) for group in self.groups for unit in group) / self.size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = random.Random(f"{self.seed} {self.epoch}")
        # Shuffle the groups, and the units within each group, but keep both in one piece.
        groups = [
            generator.sample(group, len(group))
            for group in generator.sample(self.groups, len(self.groups))
        ]
        order = [index for group in groups for unit in group for index in unit]
        batches = [order[start : start + self.size] for start in range(0, len(order), self.size)]
        # Shuffle the full batches, so that the groups alternate during the epoch. A shorter batch
        # stays last, as with PyTorch's own samplers.
        full = [batch for batch in batches if len(batch) == self.size]
        yield from generator.sample(full, len(full))
        yield from batches[len(full) :]


def packs(
    rows: Sequence[TokenizedExample], process: int = 0, processes: int = 1
) -> list[list[TokenizedExample]]:
    """Cut a batch into trees that fit into memory.

    Args:
        rows: the rows of the batch, in any order.
        process: number of the process whose share is wanted, from 0.
        processes: number of processes; the shares of all of them make up the batch.
    Returns:
        packs of at most `PACK_TOKENS` tokens and `PACK_ANSWERS` answer tokens each, counted as a
        tree; an empty list if there are fewer rows than processes and this process has no share.
    """
    # Neighbours in sorted order share the longest prefixes, so packs and shares are stretches of
    # it.
    rows = sorted(rows, key=lambda row: row.tokens)
    # A pack should hold a prefix and at least two rows behind it, or a very long prefix would be
    # shared by nobody.
    limit = max(PACK_TOKENS, 2 * max(len(row.tokens) for row in rows))
    result: list[list[TokenizedExample]] = []
    tree_tokens = answer_tokens = 0
    for row in rows[len(rows) * process // processes : len(rows) * (process + 1) // processes]:
        answer, length = len(row.tokens) - row.prompt_length, len(row.tokens) - 1
        # What the row adds to the tree: its tokens behind the prefix that it shares with the row
        # before.
        added = (
            length - common_prefix_length(result[-1][-1].tokens, row.tokens[:-1]) if result else 0
        )
        if not result or tree_tokens + added > limit or answer_tokens + answer > PACK_ANSWERS:
            result.append([])
            tree_tokens, answer_tokens, added = 0, 0, length
        result[-1].append(row)
        tree_tokens, answer_tokens = tree_tokens + added, answer_tokens + answer
    return result


def _groups(rows: Sequence[TokenizedExample]) -> list[list[list[int]]]:
    """Indexes of rows, nested: groups of units of rows.

    The rows of a group share at least half of a prompt with a neighbour, as rows with the same
    tools do. The rows of a unit continue its first row, as the turns of one conversation do.
    """
    groups: list[list[list[int]]] = []
    unit_start: TokenizedExample | None = None
    previous: TokenizedExample | None = None
    for index in sorted(range(len(rows)), key=lambda index: rows[index].tokens):
        row = rows[index]
        # The last token of a row is a target only and not part of the tree, so it need not be
        # equal.
        if (
            unit_start
            and common_prefix_length(unit_start.tokens, row.tokens) >= len(unit_start.tokens) - 1
        ):
            groups[-1][-1].append(index)
        else:
            shorter_prompt = min(row.prompt_length, previous.prompt_length) if previous else 0
            if (
                not previous
                or 2 * common_prefix_length(previous.tokens, row.tokens) < shorter_prompt
            ):
                groups.append([])
            groups[-1].append([index])
            unit_start = row
        previous = row
    return groups
