"""Answers from a PyTorch model, many prompts at once, the shared part computed once.

In: prompt texts that begin alike (the developer turn with its tools). Out: for each the text that greedy decoding
gives, control tokens kept, token for token what `model.generate` gives for one prompt at a time in fp32.

>>> texts = generate(model, tokenizer, prompts, max_new_tokens=48)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import progress, prompts as wire
from fgkit.dataset.tokenize import encode

from .prefix_cache import Prefix, decoding
from .prefix_tree import common_prefix_length

BATCH_SIZE = 32


def generate(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_new_tokens: int,
    description: str = "answers",
    batch_size: int = BATCH_SIZE,
) -> list[str]:
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
    groups: dict[tuple[int, ...], list[int]] = {}
    for i in sorted(range(len(ids)), key=lambda i: len(ids[i])):
        groups.setdefault(_developer_turn(ids[i]), []).append(i)
    with (
        progress.bar(total=len(ids), desc=description, unit="row", disable=not ids) as bar,
        decoding(model),
    ):
        for group in groups.values():
            prefix = Prefix(model, _shared_prefix([ids[i] for i in group]))
            for start in range(0, len(group), batch_size):
                batch = group[start : start + batch_size]
                for i, answer in zip(
                    batch, _answer_batch(model, prefix, [ids[i] for i in batch], max_new_tokens)
                ):
                    answers[i] = answer
                bar.update(len(batch))
    return [tokenizer.decode(answer, skip_special_tokens=False) for answer in answers]


def longest_answer(tokenizer: Any, records: Sequence[Any], margin: int = 16) -> int:
    """Cap for new tokens: the longest expected answer and a margin, in tokens."""
    return margin + max(
        len(encode(tokenizer, wire.answer(record.calls, record.text))) for record in records
    )


def first_logits(model: Any, tokenizer: Any, text: str) -> Any:
    """Logits of the first answer token, a float32 array of shape (vocabulary,)."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([encode(tokenizer, text)], device=model.device)
        return model(input_ids=ids, logits_to_keep=1).logits[0, -1].float().cpu().numpy()


def _developer_turn(ids: list[int]) -> tuple[int, ...]:
    """What comes before the first <end_of_turn>: rows with the same tools have it in common."""
    end = wire.CONTROL_TOKENS["<end_of_turn>"]
    return tuple(ids[: ids.index(end)]) if end in ids else ()


def _shared_prefix(ids: list[list[int]]) -> list[int]:
    """What all prompts begin with; the last token of each stays out, because its logits start the answer."""
    length = min(common_prefix_length(ids[0], other[:-1]) for other in ids)
    return ids[0][: min(length, len(ids[0]) - 1)]


def _answer_batch(
    model: Any, prefix: Prefix, batch: list[list[int]], max_new_tokens: int
) -> list[list[int]]:
    import torch

    device, shared = model.device, prefix.length
    width = max(map(len, batch)) - shared
    with torch.inference_mode():
        # Left padding: the newest token of every row is last. Padding has a position no query may look at.
        tokens = torch.tensor(
            [[0] * (width + shared - len(row)) + row[shared:] for row in batch], device=device
        )
        places = torch.tensor(
            [[-1] * (width + shared - len(row)) + list(range(shared, len(row))) for row in batch],
            device=device,
        )
        state = prefix.rows(len(batch), width + max_new_tokens)
        done = torch.zeros(len(batch), dtype=torch.bool, device=device)
        stops = torch.tensor(wire.STOP_IDS, device=device)
        steps: list[torch.Tensor] = []
        while True:
            logits = model(
                input_ids=tokens,
                position_ids=places.clamp(min=0),
                use_cache=False,
                logits_to_keep=1,
                attention_mask=state.step(places),
            ).logits[:, -1]
            tokens = logits.argmax(-1, keepdim=True)
            steps.append(tokens[:, 0].masked_fill(done, -1))
            done |= torch.isin(tokens[:, 0], stops)
            if done.all() or len(steps) == max_new_tokens:
                break
            places = places[:, -1:] + 1
    return [[token for token in row if token >= 0] for row in torch.stack(steps, dim=1).tolist()]


def load_to_answer(folder: Path) -> tuple[Any, Any]:
    """A model and its tokenizer, ready to answer: on a CPU in fp32."""
    from fgkit.models import base as base_model

    model, tokenizer = base_model.load(folder)
    if (
        model.device.type == "cpu"
    ):  # the same bfloat16 weights, multiplied in fp32: as exact, and faster without a GPU
        model = model.float()
        model.set_attn_implementation("sdpa")
    return model, tokenizer
