"""Keys and values of what all prompts begin with, held once for every row of a batch.

In: a model and the ids of the shared prefix. Out: the states that decoding attends to: the prefix's once, each row's own
beside it. A cache of whole rows would copy a prefix of 750 tokens into 32 rows, 900 MB, anew at every token.

>>> with decoding(model), torch.inference_mode():
...     state = Prefix(model, ids).rows(count=32, width=120)
...     logits = model(input_ids=tokens, position_ids=places, attention_mask=state.step(places)).logits

The same idea on GPUs: Hydragen (arXiv 2402.05099).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IMPLEMENTATION = "fgkit_prefix"


@contextlib.contextmanager
def decoding(model: Any) -> Iterator[None]:
    """Have a Gemma 3 model attend to `Prefix` states; when the block ends it attends as before."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, _attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class Prefix:
    """The shared prefix's keys and values, computed once.

    Args:
        model: a Gemma 3 model in a block of `decoding`.
        ids: the tokens that all prompts begin with; may be empty.
    """

    def __init__(self, model: Any, ids: Sequence[int]):
        import torch

        self.model, self.length = model, len(ids)
        self.states: list[tuple[torch.Tensor, torch.Tensor] | None] = [
            None
        ] * model.config.num_hidden_layers
        if ids:
            places = torch.arange(len(ids), device=model.device)[None]
            rows = Rows(model, self.states, 0, 1, len(ids))
            with torch.inference_mode():
                model(
                    input_ids=torch.tensor([ids], device=model.device),
                    position_ids=places,
                    use_cache=False,
                    attention_mask=rows.step(places),
                    logits_to_keep=1,
                )
            self.states = rows.own

    def rows(self, count: int, width: int) -> Rows:
        """States for a batch behind this prefix.

        Args:
            count: rows of the batch.
            width: most tokens a row has behind the prefix, padding and answer included.
        """
        return Rows(self.model, self.states, self.length, count, width)


class Rows:
    """What a batch attends to: the prefix, and what each row has seen behind it."""

    def __init__(self, model: Any, prefix: list, length: int, count: int, width: int):
        import torch

        config = model.config
        self.prefix, self.dtype, self.window = prefix, model.dtype, config.sliding_window
        self.prefix_places = torch.arange(length, device=model.device)
        self.places = torch.full((count, width), -1, device=model.device)
        size = (count, config.num_key_value_heads, width, config.head_dim)
        self.own = [
            (
                torch.zeros(size, dtype=model.dtype, device=model.device),
                torch.zeros(size, dtype=model.dtype, device=model.device),
            )
            for _ in prefix
        ]
        self.filled = 0

    def step(self, places: torch.Tensor) -> dict[str, tuple[Rows, torch.Tensor]]:
        """Take in the positions of the next tokens and give what the model takes for a mask.

        Args:
            places: shape (rows, tokens), the tokens' positions in their rows; -1 for padding.
        """
        import torch

        new = places.shape[1]
        self.places[:, self.filled : self.filled + new] = places
        self.filled += new
        seen = torch.cat(
            [self.prefix_places.expand(len(places), -1), self.places[:, : self.filled]], 1
        )
        distance = places[:, :, None] - seen[:, None, :]
        allowed = (distance >= 0) & (seen >= 0)[:, None, :]
        lowest = torch.finfo(self.dtype).min  # and not minus infinity: padding sees nothing
        return {
            kind: (
                self,
                torch.zeros(near.shape, dtype=self.dtype, device=near.device).masked_fill_(
                    ~near, lowest
                ),
            )
            for kind, near in (
                ("full_attention", allowed),
                ("sliding_attention", allowed & (distance < self.window)),
            )
        }


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of new tokens, (rows, heads, tokens, head size), to the prefix and to their own rows."""
    import torch

    rows, bias = attention_mask
    count, heads, new, size = query.shape
    shared, groups = bias.shape[2] - rows.filled, key.shape[1]
    own_key, own_value = rows.own[module.layer_idx]
    own_key[:, :, rows.filled - new : rows.filled] = key
    own_value[:, :, rows.filled - new : rows.filled] = value
    own_key, own_value = own_key[:, :, : rows.filled], own_value[:, :, : rows.filled]
    # Heads that share a key-value head lie beside each other, so they are queries of one matrix.
    query = (query * scaling).reshape(count, groups, -1, size)
    scores = query @ own_key.transpose(2, 3)
    if shared:
        prefix_key, prefix_value = rows.prefix[module.layer_idx]
        together = query.transpose(0, 1).reshape(
            groups, -1, size
        )  # all rows' queries against one copy of the prefix
        for_prefix = (
            (together @ prefix_key[0].transpose(1, 2))
            .view(groups, count, -1, shared)
            .transpose(0, 1)
        )
        scores = torch.cat([for_prefix, scores], -1)
    scores = scores.view(count, heads, new, -1) + bias[:, None]
    weights = (
        torch.softmax(scores, -1, dtype=torch.float32)
        .to(value.dtype)
        .view(count, groups, -1, bias.shape[2])
    )
    out = weights[..., shared:] @ own_value
    if shared:
        together = weights[..., :shared].transpose(0, 1).reshape(groups, -1, shared)
        out = out + (together @ prefix_value[0]).view(groups, count, -1, size).transpose(0, 1)
    return out.view(count, heads, new, size).transpose(1, 2), None
