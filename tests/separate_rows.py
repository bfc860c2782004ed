"""The reference that token trees are held against: rows run one by one through the model's own masks."""

from __future__ import annotations

from typing import Any

from fgkit.dataset.tokenize import TokenizedExample

PREFIX = tuple(range(120, 160))  # longer than the tiny model's window of 24
ROWS = [
    TokenizedExample((2, *PREFIX, *range(200 + i, 205 + i), *range(300, 306 + i % 3)), 46)
    for i in range(8)
]


def separate_loss(model: Any, rows: list[TokenizedExample]) -> Any:
    """Summed loss of rows run one by one through the model's own masks.

    Only the softmax is taken in fp64: PyTorch's own in fp32 is off by 4e-6 over 262,144 pieces, ours by 6e-8.
    """
    import torch

    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        logits = model(input_ids=torch.tensor([row.tokens[:-1]])).logits[0, row.prompt_length - 1 :]
        answer = torch.tensor(row.tokens[row.prompt_length :])
        total = total + torch.nn.functional.cross_entropy(logits.double(), answer, reduction="sum")
    return total


def gradients(model: Any, loss: Any) -> dict[str, Any]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def relative_error(got: Any, wanted: Any) -> float:
    return float(((got - wanted).norm() / wanted.norm().clamp(min=1e-12)).detach())
