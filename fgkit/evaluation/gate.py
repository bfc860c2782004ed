"""Two scores of the same rows go in, of a model and its bundle; a verdict comes out: is the bundle as good?

>>> gate(tuned, task).require()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fgkit.errors import CheckFailed

from .paired import change_lines, changed_rows, differences
from .scores import METRICS, completed

ENOUGH_ROWS = 100
HEAD = 3  # the lines of a verdict that say it: passed or not, and the two metrics


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Args:
        passed: whether the bundle may be shipped.
        lines: the reasons, ready to print: a line a metric, whether the model itself is any good, what few rows prove,
            then the rows that changed.
        differences: bundle minus model, see `paired.differences`.
    """

    passed: bool
    lines: tuple[str, ...]
    differences: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def described(self) -> dict[str, Any]:
        """The verdict as JSON takes it."""
        return {"passed": self.passed, "lines": list(self.lines), "differences": self.differences}

    def require(self) -> None:
        """Do nothing when the gate passed.

        Raises:
            CheckFailed: it did not; with all lines and what to do.
        """
        if not self.passed:
            raise CheckFailed(
                f"{self}\nThe bundle answers worse than the model it was made from. Look at the rows "
                "above; convert with another quantize setting, or train on more rows or epochs."
            )


def gate(
    model_score: dict,
    bundle_score: dict,
    *,
    max_exact_match_loss: float = 3.0,
    max_tool_accuracy_loss: float = 2.0,
) -> Verdict:
    """Compare a bundle with the model it was made from.

    A metric fails when more than one row net is lost and the loss exceeds its limit.

    Args:
        model_score: what `evaluation.score` returned for the PyTorch model.
        bundle_score: the same for the bundle, on the same rows in the same order.
        max_exact_match_loss: percentage points of exact match that may be lost.
        max_tool_accuracy_loss: percentage points of tool accuracy that may be lost.
    Raises:
        FgkitError: the two scores are of different rows.
    """
    changes, compared = (
        changed_rows(model_score, bundle_score),
        differences(model_score, bundle_score),
    )
    n = len(model_score["rows"])
    passed, lines = True, []
    for metric, right_of, limit in (
        ("exact_match", "exact", max_exact_match_loss),
        ("tool_accuracy", "tool_ok", max_tool_accuracy_loss),
    ):
        right, kept = (
            sum(row[right_of] for row in one["rows"]) for one in (model_score, bundle_score)
        )
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
    if model_score["tool_accuracy"] < 0.5:
        lines.append(
            "As good as its model is not good here: the model calls the right tool for "
            f"{model_score['tool_accuracy']:.0%} of the rows. Look at the data report, train on more rows or epochs."
        )
    if n < ENOUGH_ROWS:
        low, high = completed(bundle_score)["intervals"]["exact_match"]
        lines.append(
            f"{n} rows prove little: one row is {100 / n:.1f} points, and the bundle's exact match may lie "
            f"anywhere from {100 * low:.0f}% to {100 * high:.0f}% (95% interval). "
            f"Give an eval file of at least {ENOUGH_ROWS} rows."
        )
    lines += change_lines(changes, "model", "bundle")
    return Verdict(
        passed, (f"gate {'passed' if passed else 'FAILED'} on {n} rows", *lines), compared
    )


def together(verdicts: dict[str, Verdict]) -> Verdict:
    """One verdict of several bundles of a model, by file name: passed where all did; differences are the first one's.

    Args:
        verdicts: at least one.
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
    """Percentage points in words."""
    return f"{abs(loss):.1f} points {'lost' if loss > 0 else 'gained'}" if loss else "no change"
