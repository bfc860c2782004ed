"""Every rule of the data report in one table.

`docs/data-report.md` shows this table; `rules_table()` writes it, and a test compares the two.
"""

from __future__ import annotations

from fgkit import lint_rules

from .file_rules import FILE_RULES
from .row_rules import ROW_RULES

RULES = lint_rules.rules_by_id(sorted((*ROW_RULES, *FILE_RULES), key=lambda rule: rule.id))


def rules_table() -> str:
    """Return the rules as a Markdown table, as `docs/data-report.md` shows it."""
    columns = {field: field for field in ("severity", "what", "expected", "remedy")}
    return lint_rules.rules_table(RULES.values(), {"rule": "id", **columns})
