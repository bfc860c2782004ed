"""languages: words far from the rows' words are foreign, the rows' own never are, too few words tell nothing."""

from __future__ import annotations

import pytest

from fgkit.models.vocabulary import languages, pieces as vocabulary
from tests.models.test_pieces import layout, whole

OWN, NEAR, FAR = 6, 10, 12


@pytest.fixture(scope="module")
def words() -> list[int]:
    found = [
        index
        for index in whole().merged
        if whole().is_word(index) and len(whole().names[index]) > languages.SHORTEST
    ]
    assert len(found) > OWN + NEAR + FAR
    return found


@pytest.fixture(scope="module")
def table(words):
    """Words of two languages in two directions, with a little noise; the first six and ten more are of the first."""
    import torch

    torch.manual_seed(0)
    rows = torch.randn(len(layout()[0]), 16) * 0.1
    for place, index in enumerate(words):
        rows[index, 0 if place < OWN + NEAR else 1] += 1.0
    return rows.to(torch.bfloat16)


def texts(words: list[int]) -> list[str]:
    return [whole().names[index].replace(vocabulary.SPACE, " ") for index in words[:OWN]]


def test_words_far_from_those_of_the_texts_are_foreign(words, table, monkeypatch) -> None:
    monkeypatch.setattr(languages, "LEAST", OWN)
    found = languages.foreign(table, whole(), texts(words))
    assert found and not found & set(words[:OWN])
    assert (
        set(words[OWN + NEAR :]) <= found and len(found & set(words[OWN : OWN + NEAR])) < NEAR / 2
    )


def test_texts_in_both_languages_have_no_foreign_words(words, table, monkeypatch) -> None:
    monkeypatch.setattr(languages, "LEAST", OWN)
    monkeypatch.setattr(languages, "NEAREST", 2)
    far = [
        whole().names[index].replace(vocabulary.SPACE, " ")
        for index in words[OWN + NEAR : OWN + NEAR + OWN]
    ]
    found = languages.foreign(table, whole(), [*texts(words), *far])
    assert len(found & set(words[OWN + NEAR :])) < len(words[OWN + NEAR :]) / 2


def test_too_few_words_tell_nothing(words, table) -> None:
    assert OWN < languages.LEAST and languages.foreign(table, whole(), texts(words)) == frozenset()
