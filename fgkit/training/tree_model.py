"""A Gemma 3 model whose forward pass takes a token tree and gives its loss.

In: rows. Out: the summed cross-entropy of their answer tokens, with the gradients of rows that are run one by one.

>>> with trained_in_trees(model):
...     loss = model(**collate(rows))
"""

from __future__ import annotations

import contextlib
import platform
import types
from collections.abc import Iterator, Sequence
from typing import Any

from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import ModelError

from . import prefix_tree, tree_attention
from .loss import answer_loss, answers_hit
from .recompute import lean


@contextlib.contextmanager
def trained_in_trees(model: Any) -> Iterator[None]:
    """Have a model's forward pass take what `collate` gives and return its `tree_loss`.

    Going through `forward` keeps autocast and the gradient hooks of several processes in force.

    Args:
        model: a Gemma 3 causal language model; when the block ends it is as it was.
    Raises:
        ModelError: it caps its logits, which the loss here does not.
    """
    if model.config.final_logit_softcapping is not None:
        raise ModelError(
            "The base model caps its logits (final_logit_softcapping), which no Gemma 3 does and training "
            "here leaves out. Use FunctionGemma, another Gemma 3 or the offline base."
        )
    tree_attention.register()
    implementation = model.config._attn_implementation
    model.set_attn_implementation(tree_attention.IMPLEMENTATION)
    model.forward = types.MethodType(tree_loss, model)
    try:
        with _memory_kept(), lean(model):
            yield
    finally:
        model.__dict__.pop("forward")
        model.set_attn_implementation(implementation)


def collate(rows: Sequence[TokenizedExample]) -> dict[str, Any]:
    """Rows as one tree, in the form that a model in a block of `trained_in_trees` takes it."""
    import torch

    tree = prefix_tree.build(rows)
    return {
        "input_ids": torch.tensor([tree.tokens]),
        "position_ids": torch.tensor([tree.positions]),
        "last_descendants": torch.tensor(tree.last_descendants),
        "predictors": torch.tensor(tree.predictors),
        "labels": torch.tensor([tree.targets]),
    }


def tree_loss(
    model: Any,
    *,
    input_ids: Any,
    position_ids: Any,
    last_descendants: Any,
    predictors: Any,
    labels: Any,
    answer_lengths: Sequence[int] = (),
    **_: Any,
) -> Any:
    """Summed cross-entropy of a tree's answer tokens.

    Args:
        model: a Gemma 3 causal language model in a block of `trained_in_trees`.
        input_ids, position_ids: shape (1, tokens).
        last_descendants: shape (tokens,).
        predictors: shape (answers,), the places whose states predict answer tokens.
        labels: shape (1, answers), those tokens.
        answer_lengths: how many of them each row has, to count the rows that greedy decoding would give.
    Returns:
        a scalar; with `answer_lengths`, and without gradients, shape (2,): the loss and the count.
    """
    import torch

    blocks = tree_attention.blocks(
        position_ids[0].tolist(),
        last_descendants.tolist(),
        model.config.sliding_window,
        device=input_ids.device,
    )
    states = model.model(
        inputs_embeds=_embedded(model.get_input_embeddings(), input_ids),
        position_ids=position_ids,
        attention_mask=blocks,
        use_cache=False,
    ).last_hidden_state[0]
    if not answer_lengths:
        return answer_loss(states[predictors], model.lm_head.weight, labels[0])
    loss, hits = answers_hit(states[predictors], model.lm_head.weight, labels[0])
    return torch.stack([loss, sum(row.all().float() for row in hits.split(list(answer_lengths)))])


def _embedded(embedding: Any, input_ids: Any) -> Any:
    """The tokens' embeddings; their gradient is added to what the tied head left, row by row.

    PyTorch would add a matrix of the vocabulary's size that is zero but for some hundred rows: a second at every step.
    Several processes need it all the same, because their gradients are averaged as soon as PyTorch has them.
    """
    import torch

    weight = embedding.weight
    if not (weight.requires_grad and torch.is_grad_enabled()) or torch.distributed.is_initialized():
        return embedding(input_ids)
    rows = torch.nn.functional.embedding(input_ids, weight.detach()).requires_grad_()

    def add(gradient: Any) -> None:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, input_ids.flatten(), gradient.flatten(0, 1).to(weight.dtype))

    rows.register_hook(add)
    return rows * embedding.embed_scale.to(weight.dtype)


@contextlib.contextmanager
def _memory_kept() -> Iterator[None]:
    """Let the C library keep what a step frees for the next one, where it is glibc.

    By default it returns large blocks to the system, which hands them out again page by page: 0.6 s of a step of 7.
    """
    import ctypes

    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
    glibc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if glibc:
        glibc.mallopt(mmap_max, 0)
        glibc.mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        if glibc:
            glibc.mallopt(mmap_max, 65536)
            glibc.mallopt(trim_threshold, 128 * 1024)
            glibc.malloc_trim(0)
