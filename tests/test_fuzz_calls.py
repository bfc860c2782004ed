"""calls.parse on texts near the format: those that were odd once, and some thousand new ones."""

from __future__ import annotations

import json
from pathlib import Path

import fuzz_calls
import pytest

ODD = json.loads((Path(__file__).parent / "vectors" / "odd_calls.json").read_text(encoding="utf-8"))


def test_the_corpus_is_here_and_has_all_outcomes():
    assert len(ODD) == 59
    assert {fuzz_calls.check(text) for text in ODD} == {"refused", "calls", "plain text"}


@pytest.mark.parametrize("index", range(len(ODD)))
def test_odd_text(index):
    fuzz_calls.check(ODD[index])


def test_texts_near_the_format():
    outcomes = fuzz_calls.run(4000, seed=7)
    assert (
        outcomes.total() == 4000
        and min(outcomes[name] for name in ("refused", "calls", "plain text")) > 400
    )


def test_a_broken_rule_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(fuzz_calls, "parse", lambda text, end_tag_cut: [][1])
    with pytest.raises(IndexError):
        fuzz_calls.run(1, seed=1)
    assert "breaks the rule: " in capsys.readouterr().err
