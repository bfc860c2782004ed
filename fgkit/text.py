"""Short pieces of text for messages: the nearest known name, and values shortened for display."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence's end: `; did you mean 'x'?` for the closest of `names`, a full stop when none is close.

    Letters that only look like those of the closest name, such as a Cyrillic one, are named by their numbers.
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    if not close:
        return "."
    odd = ", ".join(
        f"{char!r} is U+{ord(char):04X}"
        for char in dict.fromkeys(name)
        if char not in close[0] and not char.isascii() and char.isprintable()
    )
    return f"; did you mean {shown(close[0])}?" + (f" ({odd}.)" if odd else "")


def shown(item: Any) -> str:
    """A value as error messages show it: short, and never longer to make than to read."""
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
    """The text, or its beginning and `...` where it is longer than `width` characters."""
    return text if len(text) <= width else text[: width - 3] + "..."
