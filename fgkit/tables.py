"""Tables as aligned Markdown text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, aligned as well: terminals show it as is.

    Args:
        rows: the cells, the header's first.
        left: how many columns are set left; the others are numbers.
    """
    header, *body = [list(row) for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(header, *body, strict=True)]
    rule = [
        "-" * width if place < left else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (header, rule, *body)
    )
