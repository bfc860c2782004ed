"""A Gemma 3 model of which only low-rank changes and the embedding's first rows learn, and its loss
over a token tree.

In: a model. Out: the same network, whose every multiplication `W` is `W + B @ A` with `W` frozen.
Beside memory that saves a third of the backward pass, and the head needs no gradient of its 168
million weights. The head is taken over those pieces that a corpus can hold and the most frequent
others, an eighth of the vocabulary: the rest has next to no probability.

>>> learner = Learner(model, rank=32, rows=108, pieces=pieces)
>>> learner.loss(tree_rows).backward()
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Any

from fgkit.dataset.tokenize import TokenizedExample


class Learner:
    """The trainable parts of a model and the loss that teaches them.

    Args:
        model: in fp32, in a block of `tree_model.tree_training`; its weights stay as they are.
        rank: of each change.
        rows: how many of the embedding's first rows learn.
        pieces: token ids over which the head's probabilities are taken; every answer token must be
            one.
        seed: of the changes' first values; their product is zero.
    """

    def __init__(self, model: Any, *, rank: int, rows: int, pieces: Iterable[int], seed: int = 0):
        import torch

        torch.manual_seed(seed)
        self.model = model.requires_grad_(False)
        self.changes: dict[str, tuple[Any, Any]] = {}
        for name, module in model.model.layers.named_modules():
            if isinstance(module, torch.nn.Linear):
                outputs, inputs = module.weight.shape
                a = torch.nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
                b = torch.nn.Parameter(torch.zeros(outputs, rank))
                module.change = (b, a)  # in a tuple: not a parameter of the model's own
                module.forward = types.MethodType(_changed, module)
                self.changes[f"model.layers.{name}.weight"] = (b, a)
        embedding = model.get_input_embeddings()
        self.rows = torch.nn.Parameter(torch.zeros(rows, embedding.weight.shape[1]))
        self.pieces = torch.tensor(sorted({*range(rows), *pieces}))
        self.head = embedding.weight[self.pieces].clone()
        self.scale = embedding.embed_scale.to(embedding.weight.dtype)

    def parameters(self) -> list[Any]:
        """Everything that learns, in a fixed order."""
        return [self.rows, *(part for pair in self.changes.values() for part in pair)]

    def loss(self, rows: Sequence[TokenizedExample]) -> Any:
        """Summed cross-entropy of the rows' answer tokens."""
        import torch
        from torch.nn import functional

        from fgkit.training import attention_blocks, prefix_tree

        tree = prefix_tree.build(rows)
        ids, positions = torch.tensor([tree.tokens]), torch.tensor([tree.positions])
        blocks = attention_blocks.blocks(
            tree.positions, tree.last_descendants, self.model.config.sliding_window
        )
        count = len(self.rows)
        embedded = functional.embedding(ids, self.model.get_input_embeddings().weight)
        embedded = (
            embedded
            + functional.embedding(ids.clamp(max=count), functional.pad(self.rows, (0, 0, 0, 1)))
        ) * self.scale
        states = self.model.model(
            inputs_embeds=embedded, position_ids=positions, attention_mask=blocks, use_cache=False
        ).last_hidden_state[0][torch.tensor(tree.predictors)]
        places = torch.searchsorted(self.pieces, torch.tensor(tree.targets))
        logits = states @ self.head.T + functional.pad(
            states @ self.rows.T, (0, len(self.pieces) - count)
        )
        return functional.cross_entropy(logits, places, reduction="sum")


def pieces_of(
    rows: Iterable[TokenizedExample],
    *,
    frequent: int = 20000,
    others: int = 8000,
    vocabulary: int = 262144,
    seed: int = 0,
) -> set[int]:
    """Token ids for the head: all that rows hold, the first ids, which are the frequent ones, and
    some of the others.

    Args:
        rows: the corpus.
        frequent: how many of the first ids.
        others: how many of the rest, drawn at random, stand for it.
        vocabulary: number of pieces.
        seed: of that choice.
    """
    import random

    return {
        *range(frequent),
        *random.Random(seed).sample(range(frequent, vocabulary), others),
        *(token for row in rows for token in row.tokens),
    }


def _changed(self: Any, states: Any) -> Any:
    """`W x + B A x`; `W x` comes last, because a checkpointed block then need not make it again."""
    from torch.nn.functional import linear

    b, a = self.change
    low = linear(linear(states, a), b)
    return low + linear(states, self.weight, self.bias)
