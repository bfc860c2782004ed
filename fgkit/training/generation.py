"""Answers of a PyTorch model to many prompts at once; what the prompts share is computed once.

In: prompt texts that begin alike (the developer turn with its tools). Out: for each the text that
greedy decoding gives, control tokens kept; in fp32 token for token what `model.generate` gives for
one prompt at a time.

Example:
    model, tokenizer = load_for_generation(folder)
    texts = generate(model, tokenizer, prompts, max_new_tokens=48)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fgkit import progress, prompts as wire
from fgkit.dataset.tokenize import encode
from fgkit.models import base as base_model

from .prefix_cache import PrefixCache, decoding
from .prefix_tree import common_prefix_length

if TYPE_CHECKING:
    import numpy
    from transformers import Gemma3ForCausalLM, PreTrainedTokenizerBase

    from fgkit.dataset.records import Record

BATCH_SIZE = 32


def load_for_generation(folder: Path) -> tuple[Gemma3ForCausalLM, PreTrainedTokenizerBase]:
    """Load a model folder and its tokenizer, ready to generate; on a CPU in fp32."""
    model, tokenizer = base_model.load(folder)
    # The weights are the same bfloat16 numbers, multiplied in fp32: as exact, and faster without a
    # GPU.
    if model.device.type == "cpu":
        model = model.float()
        model.set_attn_implementation("sdpa")
    return model, tokenizer


def generate(
    model: Gemma3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_new_tokens: int,
    description: str = "answers",
    batch_size: int = BATCH_SIZE,
) -> list[str]:
    """Answer every prompt greedily up to one of the stop ids (1, 50 or 106).

    Args:
        model: a Gemma 3 model, see `load_for_generation`.
        tokenizer: its tokenizer.
        texts: rendered prompts, `<bos>` included.
        max_new_tokens: longest answer in tokens, stop token included.
        description: label of the progress bar.
        batch_size: number of prompts computed at a time.
    Returns:
        one text for each prompt, in their order; it ends with the stop token, if one came.
    """
    ids = [encode(tokenizer, text) for text in texts]
    answers: list[list[int]] = [[] for _ in ids]
    # Prompts with other tools share nothing worth caching. Within a group, prompts of similar
    # length come together, so that little padding is needed.
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(ids)), key=lambda index: len(ids[index])):
        groups.setdefault(_developer_turn(ids[index]), []).append(index)
    with (
        progress.bar(total=len(ids), desc=description, unit="row", disable=not ids) as bar,
        decoding(model),
    ):
        for group in groups.values():
            prefix = PrefixCache(model, _shared_prefix([ids[index] for index in group]))
            for start in range(0, len(group), batch_size):
                batch = group[start : start + batch_size]
                batch_answers = _answer_batch(
                    model, prefix, [ids[index] for index in batch], max_new_tokens
                )
                for index, answer in zip(batch, batch_answers, strict=True):
                    answers[index] = answer
                bar.update(len(batch))
    return [str(tokenizer.decode(answer, skip_special_tokens=False)) for answer in answers]


def longest_answer(
    tokenizer: PreTrainedTokenizerBase, records: Sequence[Record], margin: int = 16
) -> int:
    """Number of tokens that an answer may need: the longest expected answer and a margin."""
    return margin + max(
        len(encode(tokenizer, wire.answer(record.calls, record.text))) for record in records
    )


def first_logits(
    model: Gemma3ForCausalLM, tokenizer: PreTrainedTokenizerBase, text: str
) -> numpy.ndarray[Any, Any]:
    """Logits of the first answer token, in fp32, of shape (vocabulary,)."""
    with torch.inference_mode():
        ids = torch.tensor([encode(tokenizer, text)], device=model.device)
        logits: torch.Tensor = model(input_ids=ids, logits_to_keep=1).logits[0, -1]
    return logits.float().cpu().numpy()


def _developer_turn(ids: list[int]) -> tuple[int, ...]:
    """Tokens before the first <end_of_turn>, which rows with the same tools have in common."""
    end = wire.CONTROL_TOKENS["<end_of_turn>"]
    return tuple(ids[: ids.index(end)]) if end in ids else ()


def _shared_prefix(ids: list[list[int]]) -> list[int]:
    """Tokens that all prompts begin with, but never a last token: its logits start the answer."""
    length = min(common_prefix_length(ids[0], other[:-1]) for other in ids)
    return ids[0][: min(length, len(ids[0]) - 1)]


def _answer_batch(
    model: Gemma3ForCausalLM, prefix: PrefixCache, batch: list[list[int]], max_new_tokens: int
) -> list[list[int]]:
    """Decode a batch greedily; returns the ids of each answer, stop token included."""
    device, shared = model.device, prefix.length
    width = max(map(len, batch)) - shared
    padding = [width + shared - len(row) for row in batch]
    with torch.inference_mode():
        # Padding on the left, so that the newest token of every row is in the last column. Its
        # position is -1, which `BatchCache` hides from every query.
        tokens = torch.tensor(
            [[0] * pad + row[shared:] for pad, row in zip(padding, batch)], device=device
        )
        positions = torch.tensor(
            [[-1] * pad + list(range(shared, len(row))) for pad, row in zip(padding, batch)],
            device=device,
        )
        cache = prefix.batch(len(batch), width + max_new_tokens)
        done = torch.zeros(len(batch), dtype=torch.bool, device=device)
        stop_ids = torch.tensor(wire.STOP_IDS, device=device)
        steps: list[torch.Tensor] = []
        while True:
            logits = model(
                input_ids=tokens,
                position_ids=positions.clamp(min=0),
                use_cache=False,
                logits_to_keep=1,
                attention_mask=cache.extend(positions),
            ).logits[:, -1]
            tokens = logits.argmax(-1, keepdim=True)
            # Finished rows are computed on, because the batch keeps its shape; -1 marks what they
            # say.
            steps.append(tokens[:, 0].masked_fill(done, -1))
            done |= torch.isin(tokens[:, 0], stop_ids)
            if done.all() or len(steps) == max_new_tokens:
                break
            positions = positions[:, -1:] + 1
    return [[token for token in row if token >= 0] for row in torch.stack(steps, dim=1).tolist()]
