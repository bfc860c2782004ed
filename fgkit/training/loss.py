"""The loss of answer tokens through the tied output head, computed in slices of the vocabulary.

In: the hidden states that predict answer tokens, the embedding matrix, the ids of the answer
tokens. Out: their summed cross-entropy, with the gradients of `cross_entropy(linear(hidden,
weight))`.

FunctionGemma's head has 262,144 rows. 544 answer tokens have 143 million logits, 570 MB in fp32,
and PyTorch holds four copies of them between the forward and the backward pass. Here the matrix is
multiplied in slices that stay in the processor's cache, and a single copy of the logits is kept, in
the precision of the multiplication.

Cut Your Losses (arXiv 2411.09009) and Liger Kernel (arXiv 2410.10989) do the same on GPUs.

Example:
    loss = answer_loss(hidden, model.lm_head.weight, answers)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd.function import FunctionCtx

# Rows of the embedding matrix that are multiplied at a time: 4,096 rows of 640 numbers in bfloat16
# are 5 MB.
_SLICE = 4096
# The number of answers is padded to a multiple of this, because bfloat16 kernels are slower on odd
# sizes: a multiplication with 640 columns takes 0.7 of the time of one with 629.
_ALIGN = 64


def answer_loss(hidden: torch.Tensor, weight: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Compute the summed cross-entropy of answer tokens.

    Args:
        hidden: shape (answers, hidden size), the hidden states that predict the answer tokens.
        weight: shape (vocabulary, hidden size), the weights of the output head.
        answers: shape (answers,), ids of the answer tokens.
    Returns:
        a scalar in fp32, in nats. Multiplications use autocast's precision within autocast, else
        that of `weight`.
    """
    apply: Callable[..., torch.Tensor] = _AnswerLoss.apply
    return apply(hidden, weight, answers, _compute_dtype(hidden, weight))


def answer_loss_and_hits(
    hidden: torch.Tensor, weight: torch.Tensor, answers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute, without gradients, the loss and which answer tokens are the most likely ones.

    Args:
        hidden: shape (answers, hidden size), the hidden states that predict the answer tokens.
        weight: shape (vocabulary, hidden size), the weights of the output head.
        answers: shape (answers,), ids of the answer tokens.
    Returns:
        (the loss, a scalar in fp32; shape (answers,), true where the token is the most likely one).
        Greedy decoding gives a row's answer word for word exactly if all its tokens are hits.
    """
    compute = _compute_dtype(hidden, weight)
    columns, head = hidden.to(compute).T.contiguous(), weight.to(compute)
    answer_index = torch.arange(len(answers), device=head.device)
    # Running values over the slices: log of the summed exponentials, highest logit and its token,
    # the answer's logit.
    log_total = best = torch.full((len(answers),), float("-inf"), device=head.device)
    answer_logit, best_token = torch.zeros_like(log_total), torch.zeros_like(answers)
    for start in range(0, len(head), _SLICE):
        logits = (head[start : start + _SLICE] @ columns).float()
        log_total = torch.logaddexp(log_total, logits.logsumexp(0))
        highest, row = logits.max(0)
        best_token = torch.where(highest > best, row + start, best_token)
        best = torch.maximum(highest, best)
        in_slice = (answers >= start) & (answers < start + _SLICE)
        answer_logit[in_slice] = logits[answers[in_slice] - start, answer_index[in_slice]]
    return (log_total - answer_logit).sum(), best_token == answers


def _compute_dtype(hidden: torch.Tensor, weight: torch.Tensor) -> torch.dtype:
    """Precision of the multiplications: autocast does not reach into an autograd function."""
    device_type = hidden.device.type
    if torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return weight.dtype


class _AnswerLoss(torch.autograd.Function):
    """Cross-entropy of a linear layer, with the logits stored as (vocabulary, answers).

    In this orientation the states are the right-hand matrix of every multiplication. It is the
    small one, and the one that the CPU's matrix library copies into its own layout before each
    call.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
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
        log_total = torch.full((len(states),), float("-inf"), device=head.device)
        for start in range(0, len(head), _SLICE):
            part = logits[start : start + _SLICE]
            torch.mm(head[start : start + _SLICE], columns, out=part)
            # The sum over 262,144 small exponentials has to be taken in fp32; a slice of it fits
            # into the cache.
            log_total = torch.logaddexp(log_total, part.float().logsumexp(0))
        ctx.save_for_backward(states, head, logits, log_total, answers)
        ctx.hidden_dtype, ctx.weight_dtype = hidden.dtype, weight.dtype  # type: ignore[attr-defined]
        answer_logit = logits[answers, torch.arange(count, device=head.device)].float()
        return (log_total[:count] - answer_logit).sum()

    @staticmethod
    def backward(
        ctx: FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        """With `p` the softmax of the logits, the gradient of the logits is `p - onehot(answer)`.

        The two terms are handled apart. `p` is computed again slice by slice from the logits and
        multiplied at once, so that no second matrix of the logits' size exists. The one-hot term is
        a subtraction from one row for each answer.
        """
        states, head, logits, log_total, answers = ctx.saved_tensors  # type: ignore[attr-defined]
        weight_dtype: torch.dtype = ctx.weight_dtype  # type: ignore[attr-defined]
        count = len(answers)
        # The gradient that arrives is a scalar. It multiplies the states here and the result below,
        # because both are small; the logits are large.
        scaled_states = states * gradient.to(states.dtype)
        # The columns that pad the answers to a multiple of `_ALIGN` have probabilities too, which
        # must not count.
        scaled_states[count:] = 0
        states_gradient = torch.zeros(states.shape, device=head.device)
        head_gradient = torch.empty(head.shape, dtype=weight_dtype, device=head.device)
        for start in range(0, len(head), _SLICE):
            rows = slice(start, start + _SLICE)
            probabilities = (logits[rows].float() - log_total).exp_().to(states.dtype)
            if weight_dtype == states.dtype:
                torch.mm(probabilities, scaled_states, out=head_gradient[rows])
            else:
                head_gradient[rows] = probabilities @ scaled_states
            states_gradient += probabilities.T @ head[rows]
        columns = torch.arange(count, device=head.device)
        # The same token may be the answer several times; `index_add_` adds up repeated indexes.
        head_gradient.index_add_(0, answers, scaled_states[columns].to(weight_dtype), alpha=-1)
        states_gradient = states_gradient[:count].sub_(head[answers]).mul_(gradient)
        hidden_dtype: torch.dtype = ctx.hidden_dtype  # type: ignore[attr-defined]
        return states_gradient.to(hidden_dtype), head_gradient, None, None
