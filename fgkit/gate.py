"""Two scores of the same rows go in, of a model and its bundle; a verdict comes out: is the bundle as good?

>>> gate(tuned, task).require()
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from .errors import CheckFailed
from .evaluation import METRICS, changed_rows
from .records import short

ENOUGH_ROWS = 100
SHOWN_CHANGES = 20


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Args:
        passed: whether the bundle may be shipped.
        lines: the reasons, ready to print: a line a metric, what few rows prove, then the rows that changed.
    """

    passed: bool
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def require(self) -> None:
        """Do nothing when the gate passed.

        Raises:
            CheckFailed: it did not; with all lines and what to do.
        """
        if not self.passed:
            raise CheckFailed(f"{self}\nThe bundle answers worse than the model it was made from. Look at the rows "
                              "above; convert with another quantize setting, or train on more rows or epochs.")


def gate(model_score: dict, bundle_score: dict, *, max_exact_match_loss: float = 3.0,
         max_tool_accuracy_loss: float = 2.0) -> Verdict:
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
    changes = changed_rows(model_score, bundle_score)
    n = len(model_score["rows"])
    passed, lines = True, []
    for metric, field, limit in (("exact_match", "exact", max_exact_match_loss),
                                 ("tool_accuracy", "tool_ok", max_tool_accuracy_loss)):
        right, kept = (sum(row[field] for row in one["rows"]) for one in (model_score, bundle_score))
        lost = right - kept
        points = 100 * lost / n
        fails = lost > 1 and points > limit
        passed &= not fails
        verdict = "FAIL" if fails else "ok, a single row never fails" if points > limit else "ok"
        lines.append(f"{METRICS[metric]}: model {right}/{n}, bundle {kept}/{n}: {_change(points)}, "
                     f"at most {limit:g} may be lost: {verdict}")
    if n < ENOUGH_ROWS:
        low, high = _wilson(sum(row["exact"] for row in bundle_score["rows"]), n)
        lines.append(f"{n} rows prove little: one row is {100 / n:.1f} points, and the bundle's exact match may lie "
                     f"anywhere from {low:.0f}% to {high:.0f}% (95% interval). "
                     f"Give an eval file of at least {ENOUGH_ROWS} rows.")
    lines += [f"  {row['change']}: line {row['line']} {short(row['user_content'])!r}: "
              f"model {short(row['before'], 120)!r}, bundle {short(row['after'], 120)!r}"
              for row in changes[:SHOWN_CHANGES]]
    if len(changes) > SHOWN_CHANGES:
        lines.append(f"  ... and {len(changes) - SHOWN_CHANGES} more rows changed ({len(changes)} in all).")
    return Verdict(passed, (f"gate {'passed' if passed else 'FAILED'} on {n} rows", *lines))


def _change(points: float) -> str:
    return f"{abs(points):.1f} points {'lost' if points > 0 else 'gained'}" if points else "no change"


def _wilson(hits: int, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a share, in percent; unlike the plain one it has a width at 0 and n hits too."""
    z = 1.96
    middle = (hits + z * z / 2) / (n + z * z)
    half = z * sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)
