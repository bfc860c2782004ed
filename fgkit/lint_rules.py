"""What the two linters share: rules with stable ids, findings at a place, and the table of rules.

`tools/rules.py` lists the rules for tools (T...), `data_report/rules.py` those for data (D...).

Example:
    rule = Rule("T203", "error", "two tools with one name", "rename one")
    print(Finding(rule, "tools.py:12", "two tools are called 'go'. Rename one."))
    # tools.py:12: T203 two tools are called 'go'. Rename one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Rule:
    """One rule of a linter.

    Args:
        id: a letter and three digits, the first of which names the group. It never changes, and it
            is never given to another rule.
        severity: an error stops the command; a warning costs quality; a note is worth a look.
        what: what breaks the rule, in a few words.
        remedy: what to do about it. It may contain `{names}` that a finding fills in.
        expected: what should be there instead; it may contain names, too. Left out, the message of
            a finding says it.
    """

    id: str
    severity: Severity
    what: str
    remedy: str
    expected: str = ""


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule.

    Args:
        rule: the broken rule.
        place: the file and line, or the file and number of the tool.
        message: what was found, what was expected and what to do, in one line.
    """

    rule: Rule
    place: str
    message: str

    @property
    def rule_id(self) -> str:
        """The id of the broken rule, as it is printed and written to JSON."""
        return self.rule.id

    @property
    def severity(self) -> Severity:
        """The severity of the broken rule."""
        return self.rule.severity

    def lint_line(self) -> str:
        """Return the finding as `fgkit lint` prints it, with its severity."""
        return printable(f"{self.place}: {self.rule_id} {self.severity}: {self.message}")

    def __str__(self) -> str:
        """Return the finding as an error message shows it: severity left out, one line."""
        # Half of a surrogate pair cannot be printed.
        line = f"{self.place}: {self.rule_id} {self.message}"
        return line.encode("utf-8", "backslashreplace").decode()


def rules_by_id(rules: Iterable[Rule]) -> dict[str, Rule]:
    """Return the rules by their ids.

    Args:
        rules: in the order in which the table shows them.
    Raises:
        ValueError: two rules have one id.
    """
    table: dict[str, Rule] = {}
    for rule in rules:
        if rule.id in table:
            raise ValueError(f"two rules have the id {rule.id}, expected one. Give one a new id.")
        table[rule.id] = rule
    return table


def rules_table(rules: Iterable[Rule], columns: Mapping[str, str]) -> str:
    """Return the rules as a Markdown table.

    Args:
        rules: one row each.
        columns: the heading of each column and the field of `Rule` that it shows.
    """
    rows = [[getattr(rule, field) for field in columns.values()] for rule in rules]
    lines = ["| " + " | ".join(cells) + " |" for cells in ([*columns], *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return the text as one line: control and invisible characters become escape sequences."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )
