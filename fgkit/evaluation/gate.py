"""The gate: decide from their scores on the same rows whether a bundle is as good as its model.

The verdict prints its reasons, and can raise an error for a bundle that did not pass. For example:

    gate(tuned, task).require()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fgkit.errors import CheckFailed
from fgkit.record_types import GateRecord, Score

from .paired import change_lines, changed_rows, differences, same_rows
from .scores import METRICS, completed

ENOUGH_ROWS = 100
# The first lines of a verdict: passed or not, and the two metrics.
HEAD = 3


@dataclass(frozen=True)
class Verdict:
    """The gate's verdict on a bundle.

    Args:
        passed: whether the bundle may be shipped.
        lines: the reasons, ready to print: one line for each metric, a warning where the model
            itself is poor or the rows are too few, then the rows that changed.
        differences: bundle minus model, see `paired.differences`.
    """

    passed: bool
    lines: tuple[str, ...]
    differences: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def to_dict(self) -> GateRecord:
        """Convert the verdict to a dictionary that can be written as JSON."""
        return {"passed": self.passed, "lines": list(self.lines), "differences": self.differences}

    def require(self) -> None:
        """Raise an error unless the gate passed.

        Raises:
            CheckFailed: it did not pass; the message holds all lines and what to do.
        """
        if not self.passed:
            raise CheckFailed(
                f"{self}\nThe bundle answers worse than the model it was made from. Look at the "
                "rows above; convert with another quantize setting, or train on more rows or "
                "epochs."
            )


def gate(
    model_score: Score,
    bundle_score: Score,
    *,
    max_exact_match_loss: float = 3.0,
    max_tool_accuracy_loss: float = 2.0,
) -> Verdict:
    """Compare a bundle with the model it was made from.

    A metric fails when the loss exceeds its limit and amounts to more than one row, after rows
    that were gained are subtracted from rows that were lost.

    Args:
        model_score: what `evaluation.score` returned for the PyTorch model.
        bundle_score: the same for the bundle, on the same rows in the same order.
        max_exact_match_loss: percentage points of exact match that may be lost.
        max_tool_accuracy_loss: percentage points of tool accuracy that may be lost.
    Raises:
        FgkitError: the two models were scored on different rows.
    """
    changes, compared = (
        changed_rows(model_score, bundle_score),
        differences(model_score, bundle_score),
    )
    model_rows, bundle_rows = same_rows(model_score, bundle_score)
    n = len(model_rows)
    passed, lines = True, []
    both = (model_rows, bundle_rows)
    exact = [sum(row["exact"] for row in rows) for rows in both]
    tool_ok = [sum(row["tool_ok"] for row in rows) for rows in both]
    for metric, (right, kept), limit in (
        ("exact_match", exact, max_exact_match_loss),
        ("tool_accuracy", tool_ok, max_tool_accuracy_loss),
    ):
        lost = right - kept
        loss = 100 * lost / n
        fails = lost > 1 and loss > limit
        passed &= not fails
        verdict = "FAIL" if fails else "ok, a single row never fails" if loss > limit else "ok"
        low, high = (-100 * end for end in compared[metric]["interval"])
        lines.append(
            f"{METRICS[metric]}: model {right}/{n}, bundle {kept}/{n}: {_change(loss)} "
            f"(95% interval: {_change(low)} to {_change(high)}), "
            f"at most {limit:g} may be lost: {verdict}"
        )
    tool_accuracy = sum(row["tool_ok"] for row in model_rows) / n
    if tool_accuracy < 0.5:
        lines.append(
            "A bundle that matches its model is not good enough here: the model calls the right "
            f"tool for {tool_accuracy:.0%} of the rows. Look at the data report, train on more "
            "rows or epochs."
        )
    if n < ENOUGH_ROWS:
        lines.append(_few_rows(bundle_score, n))
    lines += change_lines(changes, "model", "bundle")
    return Verdict(
        passed, (f"gate {'passed' if passed else 'FAILED'} on {n} rows", *lines), compared
    )


def _few_rows(bundle_score: Score, n: int) -> str:
    """Say how little a score of few rows proves."""
    own = completed(bundle_score).get("intervals", {}).get("exact_match")
    low, high = own or (0.0, 1.0)
    return (
        f"{n} rows prove little: one row is {100 / n:.1f} points, and the bundle's exact match "
        f"may lie anywhere from {100 * low:.0f}% to {100 * high:.0f}% (95% interval). "
        f"Give an eval file of at least {ENOUGH_ROWS} rows."
    )


def together(verdicts: dict[str, Verdict]) -> Verdict:
    """Combine the verdicts on several bundles of a model into one, which passes if all of them do.

    Args:
        verdicts: at least one verdict, by the bundle's file name.
    Returns:
        a verdict with the lines of all bundles and the differences of the first.
    """
    if len(verdicts) == 1:
        return next(iter(verdicts.values()))
    heads = [
        f"{name}: {line}" for name, verdict in verdicts.items() for line in verdict.lines[:HEAD]
    ]
    rest = [
        f"{name}: {line}" for name, verdict in verdicts.items() for line in verdict.lines[HEAD:]
    ]
    return Verdict(
        all(verdict.passed for verdict in verdicts.values()),
        (*heads, *rest),
        next(iter(verdicts.values())).differences,
    )


def _change(loss: float) -> str:
    """Format a loss in percentage points, as in `1.3 points lost`."""
    return f"{abs(loss):.1f} points {'lost' if loss > 0 else 'gained'}" if loss else "no change"
