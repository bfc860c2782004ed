"""Finds characters that a reader does not notice but the model does.

These are invisible characters, look-alikes of other scripts, and what a wrong encoding left behind.
Emoji, accents and every script are fine, and so are joiners in the scripts that need them.

>>> list(oddities("caf\\u00c3\\u00a9"))
[('D247', "'Ã©' (U+00C3 U+00A9)", "'é'")]
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_USUAL = re.compile(r"[\t\n\r -~]*")
_CLASSES = (
    ("D241", re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")),
    ("D243", re.compile("[\u202a-\u202e\u2066-\u2069]")),
    ("D245", re.compile("[\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f]")),
    ("D246", re.compile("\ufffd")),
    ("D248", re.compile("[\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff]")),
)
# Joiners after an emoji, or after a letter of a script other than Latin, Greek and Cyrillic, belong
# to the spelling.
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
    "|(?:^|(?<=[\x00-\u052f]))[\u200c\u200d]"
)
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")  # of England, Scotland, Wales
_DIRECTION_MARK = re.compile("[\u200e\u200f\u061c]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
# Letters that look like Latin ones in most fonts.
_LOOK_ALIKE = re.compile("[АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρ]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_WORD = re.compile(r"[^\W\d_]+")
# UTF-8 bytes that were read as Windows-1252: two for accented Latin letters, three for punctuation,
# four for emoji.
_MISREAD = re.compile(
    "[ÂÃ][\u00a0-\u00bfŒŽŠœžŸšƒˆ‰‚„†‡€‹›™]"
    "|â€[\u00a0-\u00bfœžŸ™˜š”“’‘¢¦\x9d]|ðŸ[\u0080-\u2122]{2}|ï»¿"
)


def oddities(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield what is odd in a text, each rule once.

    Args:
        text: any string.
    Yields:
        (rule id, the characters with their code points, the repaired characters for D247, else "").
    """
    if _USUAL.fullmatch(text):
        return
    for rule, characters in _CLASSES:
        if hits := characters.findall(text):
            yield rule, _named(hits), ""
    marks = [] if _RIGHT_TO_LEFT.search(text) else _DIRECTION_MARK.findall(text)
    invisible = _INVISIBLE.findall(_FLAG.sub("", text)) + marks
    if invisible:
        yield "D242", _named(invisible), ""
    for word in _WORD.findall(text):
        if (strange := _LOOK_ALIKE.findall(word)) and _LATIN.search(word):
            yield "D244", f"{word!r} with {_named(strange)}", ""
            break
    yield from _misread(text)
    if not unicodedata.is_normalized("NFC", text):
        composed = unicodedata.normalize("NFC", text)
        pairs = enumerate(zip(text, composed))
        start = next((index for index, (old, new) in pairs if old != new), len(composed))
        letter = text[start : start + 2]
        yield "D249", f"{letter!r} ({_points(letter)})", ""


def _misread(text: str) -> Iterator[tuple[str, str, str]]:
    """The first characters that become a letter when they are read as UTF-8 again."""
    for match in _MISREAD.finditer(text):
        try:
            meant = bytes(_byte(char) for char in match.group()).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            continue
        yield "D247", f"{match.group()!r} ({_points(match.group())})", repr(meant)
        return


def _byte(char: str) -> int:
    """The Windows-1252 byte of a character; its five undefined codes stay as they are."""
    try:
        return char.encode("cp1252")[0]
    except UnicodeEncodeError:
        return {chr(code): code for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}[char]


def _named(characters: list[str]) -> str:
    """`U+200B ZERO WIDTH SPACE, 3 times`."""
    first = characters[0]
    name = unicodedata.name(first, "")
    more = f", {len(characters)} times" if len(characters) > 1 else ""
    return f"U+{ord(first):04X}{f' {name}' if name else ''}{more}"


def _points(text: str) -> str:
    return " ".join(f"U+{ord(char):04X}" for char in text)
