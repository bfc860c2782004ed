"""Findings in data files: one place that breaks a rule, and the collection that counts them.

Example:
    findings = Findings()
    findings.add("D252", "rows.jsonl", 7, "arguments.title is ' Hi'")
    print(findings.kept[0])
    # rows.jsonl:7: D252 warning: spaces around an argument value: found arguments.title is ' Hi',
    # expected a value without them. Delete them, or the model learns to write them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fgkit.lint_rules import SEVERITIES, Finding
from fgkit.text import short

from .rules import RULES

# Findings of one rule that are kept with their place; all are counted.
KEPT = 1000


@dataclass(frozen=True)
class DataFinding(Finding):
    """One place in a data file that breaks a rule.

    Args:
        rule, place, message: as for every finding.
        path: the file.
        line: 1-based. What concerns a whole file has its first line, or the first row that shows
            it.
        found: what the row holds, with the row it is compared with; the whole message for a rule of
            the reader, which leaves the next two empty.
        expected, remedy: from the rule, with its names filled in.
    """

    path: str
    line: int
    found: str
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Return the finding as `fgkit lint` prints it."""
        return self.lint_line()


class Findings:
    """Collects findings, at most `KEPT` of a rule; `counts` counts all of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.kept: list[DataFinding] = []

    def add(self, rule_id: str, path: str, line: int, found: str, **values: object) -> None:
        """Add a finding.

        Args:
            rule_id: a key of `RULES`.
            path, line, found: as for `DataFinding`.
            values: fill the names in braces in the rule's texts.
        """
        rule = RULES[rule_id]
        expected, remedy = rule.expected.format(**values), rule.remedy.format(**values)
        message = f"{rule.what}: found {found}, expected {expected}. {remedy}"
        self._keep(rule_id, path, line, message, found, expected, remedy)

    def add_message(self, rule_id: str, path: str, line: int, message: str) -> None:
        """Add a finding whose message is complete already, as the reader's messages are."""
        self._keep(rule_id, path, line, message, message)

    def _keep(self, rule_id: str, path: str, line: int, message: str, *details: str) -> None:
        self.counts[rule_id] += 1
        if self.counts[rule_id] <= KEPT:
            place = f"{path}:{line}"
            self.kept.append(DataFinding(RULES[rule_id], place, message, path, line, *details))

    def in_order(self) -> list[DataFinding]:
        """Return errors, warnings, notes; each by file in the order of reading, then by line."""
        files = list(dict.fromkeys(finding.path for finding in self.kept))
        return sorted(
            self.kept,
            key=lambda finding: (
                SEVERITIES.index(finding.severity),
                files.index(finding.path),
                finding.line,
                finding.rule_id,
            ),
        )


def quoted(text: str) -> str:
    """Return a text as findings show it: long enough to tell it from its near-duplicate."""
    return repr(short(text, 100))
