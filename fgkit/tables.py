"""Format tables as aligned Markdown text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Format a Markdown table whose columns are aligned, so that it reads well in a terminal too.

        >>> print(markdown([("tool", "rows"), ("set_light", "54")]))
        | tool      | rows |
        | --------- | ---: |
        | set_light |   54 |

    Args:
        rows: the cells of each row; the first row is the header.
        left: how many columns are aligned left; the others hold numbers and are aligned right.
    """
    header, *body = [list(row) for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(header, *body, strict=True)]
    rule = [
        "-" * width if column < left else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (header, rule, *body)
    )
