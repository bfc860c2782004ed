"""Near-duplicates: found without comparing all rows, and none that are not there."""

from __future__ import annotations

import random
from itertools import combinations

from hypothesis import given, settings, strategies as st

from fgkit.data_report.similarity import (
    ALIKE,
    key,
    near_pairs,
    normal,
    signatures,
    similarity,
)

WORDS = "set turn make the a kitchen living room light lamp on off to red blue warm please now tomorrow music play".split()


def sentences(count: int, seed: int) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.randrange(5, 12))) for _ in range(count)]


def test_normal_forgets_case_spacing_and_punctuation_but_not_everything() -> None:
    assert normal("  Turn_on, the  LIGHT!! ") == normal("turn on the light") == "turn on the light"
    assert normal("Straße") == normal("STRASSE") and normal("??") == "??" != normal("!!")
    assert key("a") != key("b") and key("\ud800") == key("\ud800") < 2**64


def test_similarity_is_the_share_of_triples() -> None:
    assert similarity("abc", "abc") == 1 and similarity("abc", "xyz") == 0
    assert similarity("turn on the kitchen light", "turn on the kitchen lights") > 0.8
    assert similarity("turn on the kitchen light", "turn off the bedroom light") < ALIKE
    assert similarity("", "") == 1


def test_a_typo_is_found_among_thousands_and_strangers_are_not() -> None:
    texts = sentences(3000, 1)
    planted = {3000 + number: number * 37 for number in range(60)}
    for place, source in planted.items():
        text = texts[source]
        texts.append(text[: len(text) // 2] + "x" + text[len(text) // 2 :])
    found = {
        row: (other, alike)
        for row, other, alike in near_pairs(signatures(texts, seed=3), [1] * len(texts), texts)
    }
    near = [
        row for row, source in planted.items() if similarity(texts[row], texts[source]) >= ALIKE
    ]
    missed = [row for row in near if row not in found]
    assert len(near) > 50 and len(missed) <= 1, (
        "1% of the pairs just above the threshold may be missed"
    )
    for row, (other, alike) in found.items():
        assert (
            other < row
            and alike == similarity(texts[row], texts[other]) >= ALIKE
            and texts[row] != texts[other]
        )


def test_against_all_pairs() -> None:
    texts = [normal(text) for text in sentences(250, 5)]
    wanted = {
        b
        for a, b in combinations(range(len(texts)), 2)
        if texts[a] != texts[b] and similarity(texts[a], texts[b]) >= ALIKE
    }
    found = {row for row, _, _ in near_pairs(signatures(texts, seed=1), [0] * len(texts), texts)}
    assert found <= wanted and len(wanted - found) <= len(wanted) * 0.05


def test_only_rows_with_the_same_answer_are_compared() -> None:
    texts = [
        "turn on the kitchen light",
        "turn on the kitchen lights",
        "turn on the kitchen lightt",
    ]
    pairs = list(near_pairs(signatures(texts, seed=1), [7, 8, 7], texts))
    assert [(row, other) for row, other, _ in pairs] == [(2, 0)]


def test_held_out_rows_are_compared_with_training_rows_alone() -> None:
    texts = [
        "turn on the kitchen light",
        "play some music now",
        "play some music nows",
        "turn on the kitchen lights",
    ]
    signature = signatures(texts, seed=1)
    assert [pair[:2] for pair in near_pairs(signature, [1] * 4, texts, trained=1)] == [(3, 0)]
    assert [pair[:2] for pair in near_pairs(signature, [1] * 4, texts, trained=2)] == [
        (2, 1),
        (3, 0),
    ]
    assert [pair[:2] for pair in near_pairs(signature, [1] * 4, texts)] == [(2, 1), (3, 0)]
    assert list(near_pairs(signature, [1] * 4, texts, trained=0)) == []


def test_many_copies_do_not_make_many_pairs() -> None:
    texts = [
        f"wake me at seven for the {'very ' * (number % 9)}early train" for number in range(4000)
    ]
    pairs = list(near_pairs(signatures(texts, seed=1), [1] * len(texts), texts))
    assert len(pairs) < len(texts)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(), max_size=6), st.integers(0, 2**32 - 1), st.booleans())
def test_any_texts(texts: list[str], seed: int, across: bool) -> None:
    texts = [normal(text) for text in texts]
    signature = signatures(texts, seed=seed)
    assert signature.shape == (len(texts), 64) and (signature == signatures(texts, seed=seed)).all()
    trained = len(texts) // 2 if across else None
    for row, other, alike in near_pairs(signature, [0] * len(texts), texts, trained):
        assert other < row and alike >= ALIKE and (not across or other < trained <= row)
