"""Keys and values of the prefix that all prompts share, held once for all rows of a batch.

In: a model and the ids of the shared prefix. Out: the cache that decoding attends to, which holds
the prefix once and what each row has seen behind it. A cache of complete rows, as transformers has
it, would hold a prefix of 750 tokens in 32 copies and concatenate these 900 MB again for every new
token.

Example:
    with decoding(model), torch.inference_mode():
        cache = PrefixCache(model, ids).batch(rows=32, width=120)
        masks = cache.extend(positions)
        logits = model(input_ids=tokens, position_ids=positions, attention_mask=masks).logits

Hydragen (arXiv 2402.05099) does the same on GPUs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers import AttentionInterface

if TYPE_CHECKING:
    from transformers import Gemma3ForCausalLM
    from transformers.models.gemma3.modeling_gemma3 import Gemma3Attention

IMPLEMENTATION = "fgkit_prefix"
# Keys and values of one layer, each of shape (rows, key-value heads, tokens, head size).
KeysValues = tuple[torch.Tensor, torch.Tensor]


@contextlib.contextmanager
def decoding(model: Gemma3ForCausalLM) -> Iterator[None]:
    """Have a Gemma 3 model attend to a `BatchCache` while the block runs."""
    AttentionInterface.register(IMPLEMENTATION, _attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class PrefixCache:
    """The keys and values of a shared prefix, computed once.

    Args:
        model: a Gemma 3 model within `decoding`.
        ids: the tokens that all prompts begin with; may be empty.
    """

    def __init__(self, model: Gemma3ForCausalLM, ids: Sequence[int]):
        self.model, self.length = model, len(ids)
        self.layers: list[KeysValues] = []
        if ids:
            # The prefix is computed as a batch of one row behind nothing; what that row has seen is
            # the prefix.
            positions = torch.arange(len(ids), device=model.device)[None]
            cache = BatchCache(model, [], 0, rows=1, width=len(ids))
            with torch.inference_mode():
                model(
                    input_ids=torch.tensor([ids], device=model.device),
                    position_ids=positions,
                    use_cache=False,
                    attention_mask=cache.extend(positions),
                    logits_to_keep=1,
                )
            self.layers = cache.layers

    def batch(self, rows: int, width: int) -> BatchCache:
        """Make an empty cache for a batch of rows behind this prefix.

        Args:
            rows: number of rows.
            width: most tokens that a row has behind the prefix, padding and answer included.
        """
        return BatchCache(self.model, self.layers, self.length, rows=rows, width=width)


class BatchCache:
    """What the rows of a batch attend to: the shared prefix, and each row's own tokens behind it.

    Args:
        model: a Gemma 3 model.
        prefix: keys and values of the prefix for each layer; unused if there is no prefix.
        prefix_length: number of tokens of the prefix.
        rows: number of rows.
        width: most tokens that a row has behind the prefix, padding and answer included.
    """

    def __init__(
        self,
        model: Gemma3ForCausalLM,
        prefix: list[KeysValues],
        prefix_length: int,
        *,
        rows: int,
        width: int,
    ):
        config = model.config
        self.prefix, self.dtype, self.window = prefix, model.dtype, config.sliding_window
        self.prefix_positions = torch.arange(prefix_length, device=model.device)
        # Position -1 marks padding and tokens that have not come yet.
        self.positions = torch.full((rows, width), -1, device=model.device)
        shape = (rows, config.num_key_value_heads, width, config.head_dim)
        # Room for the complete answer from the start: a tensor that grows would be copied for every
        # new token.
        self.layers: list[KeysValues] = [
            (
                torch.zeros(shape, dtype=model.dtype, device=model.device),
                torch.zeros(shape, dtype=model.dtype, device=model.device),
            )
            for _ in range(config.num_hidden_layers)
        ]
        self.filled = 0

    def extend(self, positions: torch.Tensor) -> dict[str, tuple[BatchCache, torch.Tensor]]:
        """Announce the next tokens and return what the model takes as their attention mask.

        Args:
            positions: shape (rows, tokens), the new tokens' positions in their rows; -1 for
                padding.
        Returns:
            for each type of layer this cache and a bias of shape (rows, tokens, prefix and filled
            columns).
        """
        new = positions.shape[1]
        self.positions[:, self.filled : self.filled + new] = positions
        self.filled += new
        seen = torch.cat(
            [self.prefix_positions.expand(len(positions), -1), self.positions[:, : self.filled]], 1
        )
        distance = positions[:, :, None] - seen[:, None, :]
        allowed = (distance >= 0) & (seen >= 0)[:, None, :]
        near = allowed & (distance < self.window) if self.window else allowed
        # The lowest finite number and not minus infinity: padding attends to nothing, and the
        # softmax of a row of minus infinities is not a number.
        lowest = torch.finfo(self.dtype).min
        return {
            layer_type: (
                self,
                torch.zeros(mask.shape, dtype=self.dtype, device=mask.device).masked_fill_(
                    ~mask, lowest
                ),
            )
            for layer_type, mask in (
                ("full_attention", allowed),
                ("sliding_attention", near),
            )
        }


def _attend(
    module: Gemma3Attention,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: tuple[BatchCache, torch.Tensor],
    *,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention of new tokens to the prefix and to their own rows, as transformers calls it.

    Args:
        module: the attention layer.
        query: shape (rows, heads, new tokens, head size).
        key: shape (rows, key-value heads, new tokens, head size); stored in the cache.
        value: as `key`.
        attention_mask: the cache and the bias of `BatchCache.extend` for this type of layer.
        scaling: factor of the scores.
    Returns:
        (shape (rows, new tokens, heads, head size), None: attention weights are not returned).
    """
    cache, bias = attention_mask
    rows, heads, new, size = query.shape
    prefix_length, groups = bias.shape[2] - cache.filled, key.shape[1]
    own_key, own_value = cache.layers[module.layer_idx]
    own_key[:, :, cache.filled - new : cache.filled] = key
    own_value[:, :, cache.filled - new : cache.filled] = value
    own_key, own_value = own_key[:, :, : cache.filled], own_value[:, :, : cache.filled]
    # Query heads that share a key-value head are neighbours, so they can be the rows of one matrix.
    query = (query * scaling).reshape(rows, groups, -1, size)
    scores = query @ own_key.transpose(2, 3)
    # The prefix is the same for all rows, so the queries of all rows are one matrix that is
    # multiplied with its single copy: one large multiplication, which reads the prefix once, in
    # place of one small one for each row.
    if prefix_length:
        prefix_key, prefix_value = cache.prefix[module.layer_idx]
        all_queries = query.transpose(0, 1).reshape(groups, -1, size)
        prefix_scores = (
            (all_queries @ prefix_key[0].transpose(1, 2))
            .view(groups, rows, -1, prefix_length)
            .transpose(0, 1)
        )
        scores = torch.cat([prefix_scores, scores], -1)
    # One softmax over prefix and row together: no partial results have to be rescaled, as Hydragen
    # does.
    scores = scores.view(rows, heads, new, -1) + bias[:, None]
    weights = (
        torch.softmax(scores, -1, dtype=torch.float32)
        .to(value.dtype)
        .view(rows, groups, -1, bias.shape[2])
    )
    out = weights[..., prefix_length:] @ own_value
    if prefix_length:
        all_weights = (
            weights[..., :prefix_length].transpose(0, 1).reshape(groups, -1, prefix_length)
        )
        prefix_out = (all_weights @ prefix_value[0]).view(groups, rows, -1, size)
        out = out + prefix_out.transpose(0, 1)
    return out.view(rows, heads, new, size).transpose(1, 2), None
