"""Numbered checks, each of which passes, fails or is skipped, and their table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fgkit.errors import CheckFailed


@dataclass(frozen=True)
class Check:
    """The result of one numbered check.

    Args:
        number: its number in the table.
        name: what was checked.
        status: how it ended.
        reason: what was found, or why it was skipped.
        remedy: what to do about a failure.
    """

    number: int
    name: str
    status: Literal["pass", "fail", "skipped"]
    reason: str = ""
    remedy: str = ""


def table(checks: Iterable[Check]) -> str:
    """Format checks line by line, wrapped to a notebook's width, with remedies below failures."""
    checks = list(checks)
    width = max((len(check.name) for check in checks), default=0)
    below = " " * (15 + width)

    def lines(start: str, text: str) -> str:
        return (
            textwrap.fill(
                text,
                110,
                initial_indent=start,
                subsequent_indent=below,
                break_long_words=False,
                break_on_hyphens=False,
            )
            or start.rstrip()
        )

    paragraphs = []
    for check in checks:
        paragraphs.append(
            lines(f"{check.number:2}. {check.status:8} {check.name:{width}}  ", check.reason)
        )
        if check.status == "fail" and check.remedy:
            paragraphs.append(lines(f"{below}-> ", check.remedy))
    return "\n".join(paragraphs)


def require(checks: Iterable[Check]) -> list[Check]:
    """Return the checks if none of them failed.

    Raises:
        CheckFailed: at least one failed, or there were no checks at all; the message lists every
            failure with its remedy.
    """
    checks = list(checks)
    if not checks:
        raise CheckFailed(
            "no check was run, so nothing is known to be right. "
            "Give the checks something to look at."
        )
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        raise CheckFailed(
            "\n".join(
                [
                    f"{len(failed)} of {len(checks)} checks failed:",
                    *(f"{c.number}. {c.name}: {c.reason} {c.remedy}".rstrip() for c in failed),
                ]
            )
        )
    return checks
