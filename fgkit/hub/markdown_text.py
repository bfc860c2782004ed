"""Write text from elsewhere into Markdown so that none of it is read as markup."""

from __future__ import annotations

import re


def size(count: int) -> str:
    """Write a number of bytes in kB, or in MB from 100 kB on."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def plain(value: object) -> str:
    """Write a value as one line of plain text, with all markup escaped."""
    line = re.sub(r"\s+", " ", str(value)).strip()
    escaped = re.sub(r"([\\`*_\[\]<>|#!~&])", r"\\\1", line)
    # A backslash does not stop every renderer from reading entities and HTML tags.
    return escaped.replace("\\&", "&amp;").replace("\\<", "&lt;")


def code(value: object) -> str:
    """Write a value as a code span that its content cannot end, also inside a table."""
    text = re.sub(r"\s+", " ", str(value)).replace("|", "\\|")
    # Only a run of exactly as many backticks ends a span, so one more than the longest run inside.
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"
