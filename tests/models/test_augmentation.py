"""augmentation: a row that needs pieces of its own is trained in the spelling it would have without them, too."""

from __future__ import annotations

import pytest

from fgkit import files
from fgkit.dataset.rendered import RenderedRecords
from fgkit.models import base as base_model
from fgkit.models.vocabulary import augmentation, cut_base
from fgkit.prompts import PromptSetup
from fgkit.workflow import stages
from tests.models.test_cut_base import (
    TOOLS,
    base,  # noqa: F401  (a fixture)
    found_base,
    needed,
    run_rows,
    settings_of,
)

TRAINED = ("make the background red please", "schöne Grüße aus Köln")


@pytest.fixture(scope="module")
def run(base, tmp_path_factory):  # noqa: F811
    rows, folder = run_rows(*TRAINED), tmp_path_factory.mktemp("run")
    size = needed(folder, base, rows)  # so that little but the rows' pieces is kept
    start = stages.cut_vocabulary(settings_of(folder, size), found_base(base), rows)
    tokenizer = base_model.load_tokenizer(start.folder)
    return (
        start.folder,
        rows.rendered(rows.setup()).train,
        tokenizer,
        rows.rendered(rows.setup()).train.tokenized(tokenizer, max_length=4096),
    )


def test_rows_are_spelt_as_an_unseen_text_would_be(run) -> None:
    folder, rendered, tokenizer, rows = run
    found = augmentation.unseen_spellings(folder, rendered, rows, max_length=4096)
    record = files.read_json(folder / "vocabulary.json")
    assert record["not_in_second_spelling"] and set(record["not_in_second_spelling"]) < set(
        range(368, record["pieces"])
    )
    assert 0 < len(found) <= len(rows)
    by_text = {tokenizer.decode(row.tokens): row for row in rows}
    for other in found:
        row = by_text[tokenizer.decode(other.tokens)]  # the same text
        prompt, before = other.tokens[: other.prompt_length], row.tokens[: row.prompt_length]
        assert tokenizer.decode(prompt) == tokenizer.decode(before)
        assert other != row and len(other.tokens) > len(row.tokens)
        assert not set(record["not_in_second_spelling"]) & {
            token for token in other.tokens if len(tokenizer.decode(token)) > 1
        }
        shared = before.index(105, 2)  # the developer's turn
        assert prompt[:shared] == before[:shared]


def test_a_spelling_that_is_too_long_is_left_out(run) -> None:
    folder, rendered, _, rows = run
    assert (
        augmentation.unseen_spellings(
            folder, rendered, rows, max_length=max(len(row.tokens) for row in rows[:1])
        )
        == []
    )


def test_a_whole_vocabulary_has_one_spelling(base) -> None:  # noqa: F811
    rendered = RenderedRecords((), PromptSetup(TOOLS))
    assert augmentation.unseen_spellings(base, rendered, [], max_length=4096) == []


def test_a_larger_vocabulary_has_the_second_spelling_of_a_smaller_one(
    base,  # noqa: F811
    tmp_path,
    monkeypatch,
) -> None:
    rows = run_rows(*TRAINED)
    small = needed(tmp_path / "small", base, rows)

    def second(name: str, size: int) -> list[list[int]]:
        start = stages.cut_vocabulary(settings_of(tmp_path / name, size), found_base(base), rows)
        tokenizer = base_model.load_tokenizer(start.folder)
        rendered = rows.rendered(rows.setup()).train
        trained = rendered.tokenized(tokenizer, max_length=4096)
        return [
            tokenizer.convert_ids_to_tokens(row.tokens)
            for row in augmentation.unseen_spellings(
                start.folder, rendered, trained, max_length=4096
            )
        ]

    wanted, few = second("small", small), second("large", small + 60)
    monkeypatch.setattr(cut_base, "SECOND_SPELLING_PIECES", small)
    assert second("as small", small + 60) == wanted != few
