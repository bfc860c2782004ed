"""The report on one or two data files: findings and counts as lines, as a table, as JSON.

`inspection.inspect` makes it, `plots.plot` draws it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fgkit.dataset.records import KIND_LABELS, NO_CALL
from fgkit.errors import DataError
from fgkit.files import write_json
from fgkit.lint_rules import SEVERITIES, Severity
from fgkit.tables import markdown
from fgkit.tools.report import ToolReport

from .findings import KEPT, DataFinding
from .lengths import TokenLimits
from .overlap import Side
from .rules import RULES

# Warnings and notes of one rule that are shown; errors are all shown.
SHOWN = 20


@dataclass(frozen=True)
class Report:
    """What one or two data files hold and what is wrong with them.

    Args:
        sides: rows to train on, then held-out rows if there are any.
        findings: errors, then warnings, then notes, each in file order; at most `findings.KEPT`
            of a rule.
        counts: how often each rule was broken.
        limits: what the lengths are compared with.
        without_lengths: why rows were not counted in tokens; "" if they were.
        seconds: how long the inspection took.
        tools: what `lint_tools` found, which counts as well; None if the tools were not linted.
    """

    sides: tuple[Side, ...]
    findings: tuple[DataFinding, ...]
    counts: dict[str, int]
    limits: TokenLimits
    without_lengths: str
    seconds: float
    tools: ToolReport | None = None

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.total("error")

    def total(self, severity: Severity) -> int:
        """Return how many findings of a severity there are, those of the tools included."""
        in_tools = (
            sum(finding.severity == severity for finding in self.tools.findings)
            if self.tools
            else 0
        )
        return in_tools + sum(
            count for rule, count in self.counts.items() if RULES[rule].severity == severity
        )

    def lines(self) -> Iterator[str]:
        """Yield one line a finding, the tools' first; at most `SHOWN` of a warning or note."""
        if self.tools:
            yield from self.tools.lint_lines()
        seen: dict[str, int] = {}
        for finding in self.findings:
            seen[finding.rule_id] = seen.get(finding.rule_id, 0) + 1
            if finding.severity == "error" or seen[finding.rule_id] <= SHOWN:
                yield str(finding)
        for rule, count in seen.items():
            shown_here = count if RULES[rule].severity == "error" else min(count, SHOWN)
            if self.counts[rule] > shown_here:
                more = self.counts[rule] - shown_here
                what = RULES[rule].what
                yield f"... and {more} more of {rule} ({what}); --json lists up to {KEPT}"

    def raise_errors(self) -> None:
        """Raise one DataError with all errors; warnings and notes raise nothing."""
        if not self.passed:
            errors = [str(finding) for finding in self.findings if finding.severity == "error"]
            more = self.total("error") - len(errors)
            raise DataError("\n".join(errors + [f"... and {more} more errors."] * bool(more)))

    def table(self) -> str:
        """Return the counts as a Markdown table, then the limits and the totals."""
        rows = [["", *("training", "held out")[: len(self.sides)]]]
        facts = [_facts(side) for side in self.sides]
        names = dict.fromkeys(name for fact in facts for name in fact)
        rows += [[name, *(str(fact.get(name, "–")) for fact in facts)] for name in names]
        limits = ", ".join(f"{name} {limit}" for name, limit in asdict(self.limits).items())
        tokens = (
            f"Lengths are not checked: {self.without_lengths}"
            if self.without_lengths
            else f"Limits in tokens: {limits}."
        )
        totals = ", ".join(
            f"{self.total(severity)} {severity}{'' if self.total(severity) == 1 else 's'}"
            for severity in SEVERITIES
        )
        return "\n".join([markdown(rows), "", tokens, f"{totals}."])

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain data, for `fgkit.files.write_json`."""
        names = ("training", "held_out")
        return {
            "passed": self.passed,
            **{f"{severity}s": self.total(severity) for severity in SEVERITIES},
            "rules": dict(sorted(self.counts.items())),
            "findings": [
                {
                    "rule": finding.rule_id,
                    "severity": finding.severity,
                    "path": finding.path,
                    "line": finding.line,
                    "what": finding.rule.what,
                    "found": finding.found,
                    "expected": finding.expected,
                    "remedy": finding.remedy,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            "files": {
                name: {
                    "path": side.path,
                    "duplicates": side.duplicates,
                    **side.counts,
                    "phrasings": len(set(side.groups)),
                    "shared_phrasings": side.shared_phrasings,
                    "tokens": side.lengths.summary() if side.lengths else None,
                }
                for name, side in zip(names, self.sides)
            },
            "tools": self.tools.to_json() if self.tools else None,
            "limits": asdict(self.limits),
            "without_lengths": self.without_lengths,
            "seconds": round(self.seconds, 2),
        }


def save(report: Report, folder: str | Path) -> Path:
    """Write `report.json` and `report.png` into a folder and return the picture's path.

    Args:
        report: from `inspect`.
        folder: existing files of these names are replaced.
    """
    from .plots import plot

    write_json(Path(folder) / "report.json", report.as_dict())
    return plot(report, Path(folder) / "report.png")


def _facts(side: Side) -> dict[str, int]:
    """The lines of the table for one side."""
    counts = side.counts
    facts: dict[str, int] = {
        "rows": counts["rows"],
        f"rows: {KIND_LABELS['call']}": counts["call"],
        f"rows: {KIND_LABELS['parallel']}": counts["parallel"],
        f"rows: {KIND_LABELS['no_call']}": counts["no_call"],
        "phrasings": len(set(side.groups)),
        "exact duplicates left out": side.duplicates,
    }
    facts |= {
        f"rows for {name}": sum(kinds.values())
        for name, kinds in counts["per_tool"].items()
        if name != NO_CALL
    }
    if side.shared_phrasings is not None:
        facts["rows with a phrasing that is trained on"] = side.shared_phrasings
    if side.lengths:
        facts |= {
            f"tokens a row, {name.replace('_', ' ')}": value
            for name, value in side.lengths.summary().items()
        }
    return facts
