"""Small changes to a sentence that never touch what a call copies from it: case, typos, fillers,
last marks.

>>> varied("Renew {title} please.", {"title": "The Sea Wolf"}, ["{title}"], random.Random(4))
'renew The Sea Wolf please'
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BEFORE = (
    "please ",
    "hey, ",
    "ok, ",
    "ok so ",
    "um, ",
    "hi, ",
    "hello, ",
    "can you help? ",
    "quick one: ",
    "right, ",
    "so ",
    "pls ",
    "well, ",
    "could you help me? ",
    "excuse me, ",
    "one more thing: ",
    "listen, ",
    "now ",
)
_AFTER = (
    " please",
    " thanks",
    ", thank you",
    " pls",
    ", ok?",
    " now",
    " if you can",
    ", cheers",
    " thx",
    " :)",
    " asap",
    ", please and thank you",
)


def varied(
    template: str, spoken: dict[str, str], copied: Iterable[str], chance: random.Random
) -> str:
    """The sentence with its slots filled and, for some rows, said a little differently.

    Args:
        template: a sentence with `{slot}`s.
        spoken: what is said for each slot.
        copied: strings of its calls; what they have in common with the sentence stays as it is.
        chance: where the choice comes from.
    """
    fixed = sorted(
        {re.escape(text) for text in copied if len(text) > 1 and not _SLOT.fullmatch(text)},
        key=len,
        reverse=True,
    )
    pieces = re.split(
        "(" + "|".join([_SLOT.pattern.replace("(", "(?:", 1), *fixed]) + ")", template
    )
    free = [place for place in range(0, len(pieces), 2) if pieces[place]]
    draw = chance.random()
    if draw < 0.14:
        for place in free:
            pieces[place] = pieces[place].lower()
    elif draw < 0.19 and free:
        place = chance.choice(free)
        pieces[place] = _mistyped(pieces[place], chance)
    if chance.random() < 0.15:
        pieces[-1] = pieces[-1].rstrip(".!")
    said = "".join(
        _SLOT.sub(lambda found: spoken.get(found[1], found[0]), piece) for piece in pieces
    )
    draw = chance.random()
    if draw < 0.05:
        said = chance.choice(_BEFORE) + said
    elif draw < 0.10 and said[-1:].isalnum():
        said += chance.choice(_AFTER)
    return said.strip()


def plain(text: str) -> str:
    """The sentence without the fillers that `varied` puts before or after it."""
    for filler in _BEFORE:
        if text.lower().startswith(filler):
            return text[len(filler) :]
    return next((text[: -len(filler)] for filler in _AFTER if text.lower().endswith(filler)), text)


def _mistyped(text: str, chance: random.Random) -> str:
    """One slip in one longer word: two letters swapped, one left out or one doubled."""
    words = list(re.finditer(r"[A-Za-z]{5,}", text))
    if not words:
        return text
    word = chance.choice(words)
    at = word.start() + chance.randrange(1, len(word[0]) - 2)
    return chance.choice(
        (
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
            text[:at] + text[at + 1 :],
            text[:at] + text[at] + text[at:],
        )
    )
