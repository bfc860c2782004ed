"""Write text from elsewhere into Markdown so that none of it is read as markup.

>>> print(plain("# no heading, *no* <b>tag</b>, no link to https://example.com"))
\\# no heading, \\*no\\* &lt;b\\>tag&lt;/b\\>, no link to `https://example.com`
>>> print(code("a `b`"), fence("three: ```"))
`` a `b` `` ````
"""

from __future__ import annotations

import re
import unicodedata

# Renderers turn these into links without any markup. Some know the ends of domains, so a file name
# that ends like a country's, such as tools.py, is one for them.
_ADDRESS = re.compile(
    r"//|@|\bwww\.|\b(?:mailto|xmpp|javascript|data):"
    r"|\w\.(?:[a-z]{2}|biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop|рф"
    r"|xn--[\w-]+)(?![^\W_])",
    re.IGNORECASE,
)
# At the start of a line these make lists, rules and headings.
_BLOCK = re.compile(r"^([-+=]|\d+(?=[.)]))")
_MARKUP = re.compile(r"([\\`*_\[\]<>|#!~&$^{}])")
# Characters that change the direction of what follows them, so that a reader sees another text.
_DIRECTIONS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def size(count: int) -> str:
    """Write a number of bytes in kB, or in MB from 100 kB on."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def plain(value: object) -> str:
    """Write a value as one line of plain text, with all markup escaped.

    Words that a renderer would make a link of, such as addresses, become code.
    """
    words = [
        code(word) if _ADDRESS.search(word) else _escaped(word)
        for word in one_line(value).split(" ")
    ]
    text = " ".join(words)
    if match := _BLOCK.match(text):
        marker = match[0]
        text = (f"{marker}\\" if marker.isdigit() else f"\\{marker}") + text[len(marker) :]
    return text


def code(value: object) -> str:
    """Write a value as a code span that its content cannot end, also inside a table."""
    # Tables take a pipe after an odd number of backslashes for text. One more is shown where the
    # text itself has some before it, because renderers do not agree on an even number.
    text = re.sub(
        r"(\\*)\|", lambda match: match[1] + "\\" * (1 + len(match[1]) % 2) + "|", one_line(value)
    )
    if not text:
        return "` `"
    # Only a run of exactly as many backticks ends a span, so one more than the longest run inside.
    ticks = "`" * (1 + _longest_run(text))
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def fence(*texts: str) -> str:
    """Give a line of backticks, at least four, that none of the texts to be fenced can end."""
    return "`" * max(4, 1 + max(map(_longest_run, texts), default=0))


def one_line(value: object) -> str:
    """Write a value on one line, without control characters."""
    text = str(value).translate(_DIRECTIONS)
    text = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    return re.sub(r"\s+", " ", text).strip()


def _escaped(word: str) -> str:
    escaped = _MARKUP.sub(r"\\\1", word)
    # A backslash does not stop every renderer from reading entities and HTML tags.
    return escaped.replace("\\&", "&amp;").replace("\\<", "&lt;")


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
