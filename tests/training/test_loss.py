"""The sliced head gives the loss and the gradients of PyTorch's own linear layer and cross-entropy."""

from __future__ import annotations

import pytest
import torch

from fgkit.training import loss as answer_loss


@pytest.mark.parametrize("answers", [1, 63, 64, 130])
@pytest.mark.parametrize("vocabulary", [40, 100])
def test_equals_linear_and_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, answers: int, vocabulary: int
) -> None:
    monkeypatch.setattr(answer_loss, "_SLICE", 32)
    torch.manual_seed(answers)
    hidden, weight = (torch.randn(size, 16, requires_grad=True) for size in (answers, vocabulary))
    targets = torch.randint(vocabulary, (answers,))  # with repetitions
    wanted = torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    loss = answer_loss.answer_loss(hidden, weight, targets)
    torch.testing.assert_close(loss, wanted)
    for got, right in zip(
        torch.autograd.grad(loss / 7, (hidden, weight)),
        torch.autograd.grad(wanted / 7, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-6)


def test_certain_answers_keep_their_precision() -> None:
    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    loss = answer_loss.answer_loss(hidden, weight, torch.tensor([1]))
    assert loss.item() == 400.0
    assert torch.autograd.grad(loss, hidden)[0].tolist() == [[2.0, 0.0]]


def test_autocast_multiplies_in_bfloat16_and_gives_fp32_gradients() -> None:
    torch.manual_seed(0)
    hidden, weight = (
        torch.randn(70, 64, requires_grad=True),
        torch.randn(500, 64, requires_grad=True),
    )
    targets = torch.randint(500, (70,))
    exact = answer_loss.answer_loss(hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = answer_loss.answer_loss(hidden, weight, targets)
    assert loss.dtype == torch.float32 and loss != exact
    torch.testing.assert_close(loss, exact, rtol=0.01, atol=0)
    for got, right in zip(
        torch.autograd.grad(loss, (hidden, weight)),
        torch.autograd.grad(exact, (hidden, weight)),
        strict=True,
    ):
        assert got.dtype == torch.float32
        assert (got - right).norm() < 0.02 * right.norm()


def test_thousands_of_small_chances_are_not_rounded_away() -> None:
    logits = torch.full((4096, 1), -17.0)
    logits[0] = 0.0
    exact = torch.nn.functional.cross_entropy(logits.double().T, torch.tensor([0]))  # 1.7e-4
    loss = answer_loss.answer_loss(torch.ones(1, 1), logits, torch.tensor([0]))
    assert abs(loss.double() - exact) < 0.01 * exact


def test_hits_are_the_most_likely_tokens_and_the_loss_is_the_same():
    from fgkit.training.loss import answer_loss_and_hits

    torch.manual_seed(3)
    hidden, weight = torch.randn(50, 16), torch.randn(9000, 16)  # three slices, the last one short
    logits = hidden @ weight.T
    answers = logits.argmax(-1)
    answers[::3] = torch.randint(0, 9000, answers[::3].shape)
    loss, hits = answer_loss_and_hits(hidden, weight, answers)
    assert torch.equal(hits, logits.argmax(-1) == answers) and 30 <= hits.sum() < 50
    assert torch.allclose(
        loss, torch.nn.functional.cross_entropy(logits, answers, reduction="sum"), rtol=1e-5
    )
