"""A Gemma 3 model whose forward pass takes a token tree and returns its loss.

In: rows. Out: the summed cross-entropy of their answer tokens, with the gradients of rows that are
run one by one.

Example:
    with tree_training(model):
        loss = model(**collate(rows))
        loss.backward()
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import types
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from fgkit.dataset.tokenize import TokenizedExample
from fgkit.errors import ModelError

from . import attention_blocks, prefix_tree, tree_attention
from .loss import answer_loss, answer_loss_and_hits
from .recompute import recomputing

if TYPE_CHECKING:
    from transformers import Gemma3ForCausalLM
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding


@contextlib.contextmanager
def tree_training(model: Gemma3ForCausalLM) -> Iterator[None]:
    """Have a model's forward pass take a tree and return its `tree_loss` while the block runs.

    The loss goes through `model(...)` rather than a function of its own, because autocast and the
    hooks that average the gradients of several processes are attached to the model's call.

    Args:
        model: a Gemma 3 causal language model, to be called with what `collate` gives; after the
            block it is as it was.
    Raises:
        ModelError: the model caps its logits, which the loss here does not.
    """
    if model.config.final_logit_softcapping is not None:
        raise ModelError(
            "The base model caps its logits (final_logit_softcapping), which no Gemma 3 does "
            "and training here leaves out. Use FunctionGemma, another Gemma 3 or the offline base."
        )
    tree_attention.register()
    implementation = model.config._attn_implementation
    model.set_attn_implementation(tree_attention.IMPLEMENTATION)
    # A `forward` of the instance hides the one of the class.
    model.forward = types.MethodType(tree_loss, model)
    try:
        with _freed_memory_kept(), recomputing(model):
            yield
    finally:
        model.__dict__.pop("forward")
        model.set_attn_implementation(implementation)


def collate(rows: Sequence[TokenizedExample]) -> dict[str, torch.Tensor]:
    """Lay rows out as one tree, in the form that a model within `tree_training` takes."""
    tree = prefix_tree.build(rows)
    return {
        "input_ids": torch.tensor([tree.tokens]),
        "position_ids": torch.tensor([tree.positions]),
        "last_descendants": torch.tensor(tree.last_descendants),
        "predictors": torch.tensor(tree.predictors),
        "labels": torch.tensor([tree.targets]),
    }


def tree_loss(
    model: Gemma3ForCausalLM,
    *,
    input_ids: torch.Tensor,
    position_ids: torch.Tensor,
    last_descendants: torch.Tensor,
    predictors: torch.Tensor,
    labels: torch.Tensor,
    answer_lengths: Sequence[int] = (),
    **_: object,
) -> torch.Tensor:
    """Compute the summed cross-entropy of a tree's answer tokens.

    Args:
        model: a Gemma 3 causal language model within `tree_training`.
        input_ids: shape (1, tokens), the tree's tokens.
        position_ids: shape (1, tokens), their positions.
        last_descendants: shape (tokens,), see `prefix_tree.Tree`.
        predictors: shape (answers,), indexes of the tokens whose hidden states predict answer
            tokens.
        labels: shape (1, answers), ids of those answer tokens.
        answer_lengths: number of answer tokens of each row, to count the rows that greedy decoding
            would answer word for word; empty for the loss alone, with gradients.
    Returns:
        a scalar; with `answer_lengths`, and without gradients, shape (2,): the loss and the count.
    """
    blocks = attention_blocks.blocks(
        position_ids[0].tolist(),
        last_descendants.tolist(),
        model.config.sliding_window,
        device=input_ids.device,
    )
    # The model passes each layer the entry of `attention_mask` for its layer type.
    states = model.model(
        inputs_embeds=_embed(model.model.embed_tokens, input_ids),
        position_ids=position_ids,
        attention_mask=blocks,
        use_cache=False,
    ).last_hidden_state[0]
    # Only the states that predict answer tokens go through the head, which is most of the model's
    # weights. Stock training multiplies every token of every prompt with it.
    if not answer_lengths:
        return answer_loss(states[predictors], model.lm_head.weight, labels[0])
    loss, hits = answer_loss_and_hits(states[predictors], model.lm_head.weight, labels[0])
    right = [row.all().float() for row in torch.split(hits, list(answer_lengths))]
    return torch.stack([loss, torch.stack(right).sum()])


def _embed(embedding: Gemma3TextScaledWordEmbedding, input_ids: torch.Tensor) -> torch.Tensor:
    """Look up the tokens' embeddings, with a cheaper way to their gradient.

    The matrix is also the output head, so its gradient has two parts. The head's part fills the
    whole matrix. The embedding's part is zero except in the rows of some hundred tokens, but
    PyTorch would make a second matrix of the vocabulary's size for it and add the two: a second at
    every step. Here a hook adds those few rows to the gradient that the head has left, which works
    because the backward pass reaches the head first.

    With several processes the gradients are averaged as soon as PyTorch has them, so there they
    must come from PyTorch.
    """
    weight = embedding.weight
    if not (weight.requires_grad and torch.is_grad_enabled()) or torch.distributed.is_initialized():
        result: torch.Tensor = embedding(input_ids)
        return result
    rows = torch.nn.functional.embedding(input_ids, weight.detach()).requires_grad_()

    def add_to_weight(gradient: torch.Tensor) -> None:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, input_ids.flatten(), gradient.flatten(0, 1).to(weight.dtype))

    rows.register_hook(add_to_weight)
    # Gemma multiplies embeddings with the square root of the hidden size, rounded to the weights'
    # precision.
    scale: torch.Tensor = embedding.embed_scale.to(weight.dtype)
    return rows * scale


@contextlib.contextmanager
def _freed_memory_kept() -> Iterator[None]:
    """Let the C library keep the memory that one step frees for the next step, if it is glibc.

    By default glibc returns large blocks to the system, which hands them out again page by page:
    0.6 s of a step of 7.
    """
    # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h.
    trim_threshold, mmap_max = -1, -4
    glibc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if glibc:
        glibc.mallopt(mmap_max, 0)
        glibc.mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        # Back to glibc's defaults, see mallopt(3).
        if glibc:
            glibc.mallopt(mmap_max, 65536)
            glibc.mallopt(trim_threshold, 128 * 1024)
            glibc.malloc_trim(0)
