"""Odd characters: each kind is found and named, and what languages and emoji need passes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.data_report.characters import oddities
from fgkit.data_report.rules import RULES

ODD = [
    ("make it\x00 red", "D241", "U+0000"),
    ("bell \x07", "D241", "U+0007"),
    ("\x7f", "D241", "U+007F"),
    ("make\u200b it", "D242", "U+200B ZERO WIDTH SPACE"),
    ("soft\u00adly", "D242", "SOFT HYPHEN"),
    ("\ufeffmake", "D242", "U+FEFF"),
    ("make\u200d it", "D242", "ZERO WIDTH JOINER"),
    ("it\u200e red", "D242", "U+200E"),
    ("tag\U000e0041", "D242", "U+E0041"),
    ("two\u2060\u2060", "D242", "U+2060 WORD JOINER, 2 times"),
    ("abc \u202eder", "D243", "RIGHT-TO-LEFT OVERRIDE"),
    ("\u2067x\u2069", "D243", "2 times"),
    ("mаke it red", "D244", "CYRILLIC SMALL LETTER A"),
    ("Αlarm", "D244", "GREEK CAPITAL LETTER ALPHA"),
    ("21\u00a0degrees", "D245", "NO-BREAK SPACE"),
    ("a\u2009b", "D245", "THIN SPACE"),
    ("a\u2028b", "D245", "LINE SEPARATOR"),
    ("caf\ufffd", "D246", "REPLACEMENT CHARACTER"),
    ("cafÃ©", "D247", "'Ã©'"),
    ("itâ€™s on", "D247", "'â€™'"),
    ("20Â°", "D247", "'Â°'"),
    ("hi ðŸ˜€", "D247", "'ðŸ˜€'"),
    ("my \ue001 icon", "D248", "U+E001"),
    ("\ufffe", "D248", "U+FFFE"),
    ("cafe\u0301", "D249", "U+0065 U+0301"),
]
FINE = [
    "make it red",
    "tab\tand\nline\r\n",
    "Grüße, Ægir! ÉTÉ",
    "сделай красным",
    "κόκκινο φόντο",
    "赤くして　ください",
    "اجعله أحمر",
    "می‌خواهم",
    "क्‍ष",
    "빨간색으로",
    "ให้เป็นสีแดง",
    "❤️ 👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👍🏽",
    "5 µm at 30 °C, Δt",
    "naïve café — “yes”",
    "MANHÃ “CAFÉ”",
    "\u200fשלום",
    "x² ≥ ½",
]


@pytest.mark.parametrize(("text", "rule", "found"), ODD)
def test_odd(text: str, rule: str, found: str) -> None:
    hits = list(oddities(text))
    assert [hit[0] for hit in hits] == [rule]
    assert found in hits[0][1]


@pytest.mark.parametrize("text", FINE)
def test_fine(text: str) -> None:
    assert list(oddities(unicodedata.normalize("NFC", text))) == []


@pytest.mark.parametrize(
    ("wrong", "right"), [("cafÃ©", "'é'"), ("itâ€™s", "'’'"), ("ðŸ˜€", "'😀'"), ("20Â°", "'°'")]
)
def test_the_repaired_text_is_given(wrong: str, right: str) -> None:
    assert [hit[2] for hit in oddities(wrong)] == [right]


def test_every_rule_of_characters_has_a_case() -> None:
    assert {rule for _, rule, _ in ODD} == {rule for rule in RULES if rule.startswith("D24")}


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text(text: str) -> None:
    hits = list(oddities(text))
    assert {hit[0] for hit in hits} <= {rule for rule in RULES if rule.startswith("D24")}
    assert len({hit[0] for hit in hits}) == len(hits)
