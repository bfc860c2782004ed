"""Text for messages: the nearest known name, and values shortened for display."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the closest known name, or just a full stop.

    Look-alike letters that the closest name does not have, such as Cyrillic ones, are listed with
    their code points, because a reader cannot see the difference.

        >>> nearest("show_alrt", ["show_alert", "set_title"])
        "; did you mean 'show_alert'?"

    Args:
        name: the unknown name.
        names: the known ones.
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    if not close:
        return "."
    lookalikes = ", ".join(
        f"{char!r} is U+{ord(char):04X}"
        for char in dict.fromkeys(name)
        if char not in close[0] and not char.isascii() and char.isprintable()
    )
    return f"; did you mean {shown(close[0])}?" + (f" ({lookalikes}.)" if lookalikes else "")


def shown(item: Any) -> str:
    """Format a value for an error message: shortened, and without rendering large values.

    Args:
        item: any value; lists, objects and very large integers are shown by their type alone.
    """
    if isinstance(item, str):
        return repr(item if len(item) <= 40 else item[:37] + "...")
    if (
        item is None
        or isinstance(item, (bool, float))
        or isinstance(item, int)
        and abs(item) < 10**18
    ):
        return repr(item)
    return f"of type {type(item).__name__}"


def short(text: str, width: int = 60) -> str:
    """Cut a text that is longer than `width` characters, and mark the cut with `...`."""
    return text if len(text) <= width else text[: width - 3] + "..."
