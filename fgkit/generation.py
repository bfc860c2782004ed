"""Answers from a PyTorch model, many prompts at once, the shared part computed once.

In: prompt texts that begin alike (the developer turn with its tools). Out: for each the text that greedy decoding
gives, control tokens kept, token for token what `model.generate` gives for one prompt at a time in fp32.

>>> texts = generate(model, tokenizer, prompts, max_new_tokens=48)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import progress
from . import prompts as wire
from .examples import encode
from .prefix_tree import common_prefix_length

BATCH_SIZE = 32


def generate(model: Any, tokenizer: Any, texts: Sequence[str], *, max_new_tokens: int, description: str = "answers",
             batch_size: int = BATCH_SIZE) -> list[str]:
    """Answer every prompt greedily until a stop id (1, 50 or 106).

    Args:
        model: a Gemma 3 model, see `base_model.load`.
        tokenizer: its tokenizer.
        texts: rendered prompts, `<bos>` included.
        max_new_tokens: longest answer, stop token included.
        description: what the progress bar calls the work.
        batch_size: prompts computed at a time.
    Returns:
        One text a prompt, in their order; the stop token, if one came, is its last.
    """
    ids = [encode(tokenizer, text) for text in texts]
    answers: list[list[int]] = [[] for _ in ids]
    by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    prefix = _shared_prefix(ids)
    with progress.bar(total=len(ids), desc=description, unit="row", disable=not ids) as bar:
        for start in range(0, len(ids), batch_size):
            batch = by_length[start:start + batch_size]
            for i, answer in zip(batch, _answer_batch(model, [ids[i] for i in batch], len(prefix), max_new_tokens)):
                answers[i] = answer
            bar.update(len(batch))
    return [tokenizer.decode(answer, skip_special_tokens=False) for answer in answers]


def longest_answer(tokenizer: Any, records: Sequence[Any], margin: int = 16) -> int:
    """Cap for new tokens: the longest expected answer and a margin, in tokens."""
    return margin + max(len(encode(tokenizer, wire.answer(record.calls, record.text))) for record in records)


def first_logits(model: Any, tokenizer: Any, text: str) -> Any:
    """Logits of the first answer token, a float32 array of shape (vocabulary,)."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([encode(tokenizer, text)], device=model.device)
        return model(input_ids=ids, logits_to_keep=1).logits[0, -1].float().cpu().numpy()


def _shared_prefix(ids: list[list[int]]) -> list[int]:
    """What all prompts begin with; the last token of each stays out, because its logits start the answer."""
    if not ids:
        return []
    length = min(common_prefix_length(ids[0], other[:-1]) for other in ids)
    return ids[0][:min(length, len(ids[0]) - 1)]


def _answer_batch(model: Any, batch: list[list[int]], shared: int, max_new_tokens: int) -> list[list[int]]:
    import torch
    from transformers import DynamicCache

    device, width = model.device, max(map(len, batch)) - shared
    with torch.inference_mode():
        cache = DynamicCache()
        if shared:
            prefix = torch.tensor([batch[0][:shared]], device=device)
            places = torch.arange(shared, device=device)[None]
            model(input_ids=prefix, position_ids=places, attention_mask=_masks(model, places, places),
                  past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache.batch_repeat_interleave(len(batch))
        # Left padding: the newest token of every row is last. Padding has a position no query may look at.
        unseen = -1
        tokens = torch.tensor([[0] * (width + shared - len(row)) + row[shared:] for row in batch], device=device)
        seen = torch.arange(shared, device=device).expand(len(batch), -1)
        places = torch.tensor([[unseen] * (width + shared - len(row)) + list(range(shared, len(row)))
                               for row in batch], device=device)
        done = torch.zeros(len(batch), dtype=torch.bool, device=device)
        stops = torch.tensor(wire.STOP_IDS, device=device)
        steps: list[torch.Tensor] = []
        while True:
            seen = torch.cat([seen, places], dim=1)
            logits = model(input_ids=tokens, position_ids=places.clamp(min=0), use_cache=True, logits_to_keep=1,
                           attention_mask=_masks(model, places, seen), past_key_values=cache).logits[:, -1]
            tokens = logits.argmax(-1, keepdim=True)
            steps.append(tokens[:, 0].masked_fill(done, -1))
            done |= torch.isin(tokens[:, 0], stops)
            if done.all() or len(steps) == max_new_tokens:
                break
            places = places[:, -1:] + 1
    return [[token for token in row if token >= 0] for row in torch.stack(steps, dim=1).tolist()]


def _masks(model: Any, queries: Any, keys: Any) -> dict[str, Any]:
    """Additive masks (rows, 1, queries, keys) by position for Gemma 3's two kinds of layers."""
    import torch

    distance = queries[:, :, None] - keys[:, None, :]
    seen = (distance >= 0) & (keys >= 0)[:, None, :]
    lowest = torch.finfo(model.dtype).min
    return {kind: torch.zeros(allowed.shape, dtype=model.dtype, device=allowed.device).masked_fill(~allowed, lowest)[:, None]
            for kind, allowed in (("full_attention", seen),
                                  ("sliding_attention", seen & (distance < model.config.sliding_window)))}
