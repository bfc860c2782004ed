"""Two scores of the same rows go in, of a model and its bundle; a verdict comes out: is the bundle as good?

>>> gate(tuned, task).require()
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
        lines: the reasons, ready to print: a line a metric, whether the model itself is any good, what few rows prove,
            then the rows that changed.
        differences: bundle minus model, see `paired.differences`.
    """

    passed: bool
    lines: tuple[str, ...]
    differences: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def to_dict(self) -> GateRecord:
        """Convert the verdict to what JSON takes."""
        return {"passed": self.passed, "lines": list(self.lines), "differences": self.differences}

    def require(self) -> None:
        """Raise an error unless the gate passed.

        Raises:
            CheckFailed: it did not pass; with all lines and what to do.
        """
        if not self.passed:
            raise CheckFailed(
                f"{self}\nThe bundle answers worse than the model it was made from. Look at the rows "
                "above; convert with another quantize setting, or train on more rows or epochs."
            )


def gate(
    model_score: Score,
    bundle_score: Score,
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
            "A bundle that matches its model is not good enough here: the model calls the right tool for "
            f"{tool_accuracy:.0%} of the rows. Look at the data report, train on more rows or epochs."
        )
    if n < ENOUGH_ROWS:
        own = completed(bundle_score).get("intervals", {}).get("exact_match")
        low, high = own or (0.0, 1.0)
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
    """Combine the verdicts on several bundles of a model: passed if all passed; differences are the first one's.

    Args:
        verdicts: by file name, at least one.
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
    """Put percentage points into words."""
    return f"{abs(loss):.1f} points {'lost' if loss > 0 else 'gained'}" if loss else "no change"
