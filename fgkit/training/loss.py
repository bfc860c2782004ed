"""The loss of answer tokens through the tied head, without ever holding its logits in fp32.

In: the hidden states that predict answer tokens, the embedding matrix, the tokens. Out: their summed cross-entropy, with
the gradients of `cross_entropy(linear(hidden, weight))`.

FunctionGemma's head has 262,144 rows: 544 answer tokens make 143 million logits, 570 MB in fp32, of which PyTorch holds
four copies between forward and backward. Here the matrix is taken in slices that stay in the processor's cache, and one
copy of the logits is kept, in the precision of the multiplication. The same idea on GPUs: Cut Your Losses
(arXiv 2411.09009), Liger Kernel (arXiv 2410.10989).

>>> loss = answer_loss(hidden, model.lm_head.weight, answers)
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_SLICE = 4096  # rows of the embedding matrix at a time
_ALIGN = 64  # answers are padded to a multiple: bf16 multiplications of 640 columns take 0.7 of the time of 629


def answer_loss(hidden: torch.Tensor, weight: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Summed cross-entropy of answer tokens.

    Args:
        hidden: shape (answers, hidden size), the states that predict them.
        weight: shape (vocabulary, hidden size), the head's weights.
        answers: shape (answers,), token ids.
    Returns:
        a scalar in fp32, in nats; multiplications are made in autocast's precision where autocast is on.
    """
    import torch

    kind = hidden.device.type
    compute = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    return _function().apply(hidden, weight, answers, compute)


def answers_hit(
    hidden: torch.Tensor, weight: torch.Tensor, answers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Without gradients: the loss of `answer_loss`, and which answer tokens are the most likely ones.

    Args:
        hidden, weight, answers: as for `answer_loss`.
    Returns:
        (a scalar in fp32, shape (answers,) of booleans); a row whose tokens are all hit is what greedy decoding gives.
    """
    import torch

    kind = hidden.device.type
    compute = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    columns, head = hidden.to(compute).T.contiguous(), weight.to(compute)
    places = torch.arange(len(answers), device=head.device)
    total = best = torch.full((len(answers),), float("-inf"), device=head.device)
    picked, best_place = torch.zeros_like(total), torch.zeros_like(answers)
    for start in range(0, len(head), _SLICE):
        part = (head[start : start + _SLICE] @ columns).float()
        total = torch.logaddexp(total, part.logsumexp(0))
        highest, place = part.max(0)
        best_place = torch.where(highest > best, place + start, best_place)
        best = torch.maximum(highest, best)
        here = (answers >= start) & (answers < start + _SLICE)
        picked[here] = part[answers[here] - start, places[here]]
    return (total - picked).sum(), best_place == answers


@lru_cache
def _function() -> Any:
    import torch

    class AnswerLoss(torch.autograd.Function):
        """Logits are kept as (vocabulary, answers), so that the small matrix is the one the multiplication repacks."""

        @staticmethod
        def forward(
            ctx: Any,
            hidden: torch.Tensor,
            weight: torch.Tensor,
            answers: torch.Tensor,
            compute: torch.dtype,
        ) -> torch.Tensor:
            count = len(answers)
            states = torch.nn.functional.pad(hidden.to(compute), (0, 0, 0, -count % _ALIGN))
            head = weight.to(compute)
            columns = states.T.contiguous()
            logits = torch.empty(len(head), len(states), dtype=compute, device=head.device)
            total = torch.full((len(states),), float("-inf"), device=head.device)
            for start in range(0, len(head), _SLICE):
                part = logits[start : start + _SLICE]
                torch.mm(head[start : start + _SLICE], columns, out=part)
                total = torch.logaddexp(total, part.float().logsumexp(0))
            ctx.save_for_backward(states, head, logits, total, answers)
            ctx.kinds = hidden.dtype, weight.dtype
            picked = logits[answers, torch.arange(count, device=head.device)].float()
            return (total[:count] - picked).sum()

        @staticmethod
        def backward(
            ctx: Any, gradient: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
            states, head, logits, total, answers = ctx.saved_tensors
            count, (hidden_kind, weight_kind) = len(answers), ctx.kinds
            scaled = states * gradient.to(states.dtype)
            scaled[count:] = 0
            for_states = torch.zeros(states.shape, device=head.device)
            for_head = torch.empty(head.shape, dtype=weight_kind, device=head.device)
            for start in range(0, len(head), _SLICE):
                rows = slice(start, start + _SLICE)
                chances = (logits[rows].float() - total).exp_().to(states.dtype)
                if weight_kind == states.dtype:
                    torch.mm(chances, scaled, out=for_head[rows])
                else:
                    for_head[rows] = chances @ scaled
                for_states += chances.T @ head[rows]
            right = torch.arange(count, device=head.device)
            for_head.index_add_(0, answers, scaled[right].to(weight_kind), alpha=-1)
            for_states = for_states[:count].sub_(head[answers]).mul_(gradient)
            return for_states.to(hidden_kind), for_head, None, None

    return AnswerLoss
