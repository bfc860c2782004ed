"""The panels, clicked from Python with a tiny model, and what stands in their place where nobody looks on."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import panel_clicks
import pytest

from fgkit.errors import CheckFailed, FgkitError
from fgkit.ui import estimate, markup, widgets
from fgkit.workflow import reload_check, summary


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return panel_clicks.prepared(tmp_path_factory.mktemp("panels"))


def test_explorer(prepared):
    panel_clicks.explorer(*prepared)


def test_training_results_playground(prepared, capsys):
    settings, _, rows = prepared
    panel_clicks.training(*prepared)
    panel_clicks.results(settings, rows)
    panel_clicks.playground(settings, rows)


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_answers(prepared):
    settings, base, rows = prepared
    panel_clicks.stages.finetune(settings, base, rows)
    score = panel_clicks.stages.score_tuned(settings, rows)
    assert reload_check.reload_check(settings, rows) == (
        f"loaded in a fresh process: {len(rows.held_out)} of "
        f"{len(rows.held_out)} answers are the same as here"
    )
    rows_in_summary = [dict(row, text="other") for row in score["rows"]]
    summary.update(settings.folder, tuned=score | {"rows": rows_in_summary})
    with pytest.raises(
        CheckFailed, match="gives other answers than this one.*\n  line 1: here 'other', there"
    ):
        reload_check.reload_check(settings, rows)
    summary.update(settings.folder, tuned=None)
    with pytest.raises(FgkitError, match="has no score of the tuned model"):
        reload_check.reload_check(settings, rows)


def test_headless_there_is_text(prepared, capsys):
    settings, base, rows = prepared
    widgets.explore(settings, base, rows)
    panel = widgets.choose(settings, base, rows)
    widgets.results(settings)
    widgets.playground(settings, rows)
    out = capsys.readouterr().out
    assert panel.settings() is settings and panel.monitor is None
    assert (
        "trained: '<start_function_call>call:" in out
        and "learning_rate 0.001" in out
        and "expected: 2 steps" in out
    )
    assert len(out.splitlines()) == 5


@pytest.mark.parametrize(
    ("parent", "module", "relay", "seen"),
    [
        ({"content": {"allow_stdin": True}}, "ipykernel.ipkernel", "", True),  # JupyterLab
        (
            {"content": {"allow_stdin": False}},
            "ipykernel.ipkernel",
            "",
            False,
        ),  # papermill, nbconvert
        ({}, "ipykernel.ipkernel", "", False),
        ({"content": {"allow_stdin": False}}, "google.colab._kernel", "", True),
        ({"content": {"allow_stdin": True}}, "ipykernel.ipkernel", "/tmp/bars", False),
    ],
)  # python -m fgkit run
def test_who_looks_on(monkeypatch, parent, module, relay, seen):
    kernel = type("Kernel", (), {"__module__": module, "get_parent": lambda self: parent})()
    monkeypatch.setitem(
        sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=kernel))
    )
    monkeypatch.setenv("FGKIT_PROGRESS", relay)
    assert widgets.interactive() is seen


def test_text_never_becomes_structure():
    evil = "<script>alert(1)</script><end_of_turn>\"'"
    shown = [
        markup.prompt_html(evil, evil),
        markup.tokens_html([(1, evil)], 0),
        markup.conversation_html([(evil, evil)]),
        markup.table_html((evil,), [(evil,)]),
        markup.note(evil),
        markup.bad(evil),
        markup.good(evil),
        markup.label(evil, evil),
    ]
    assert all("<script" not in text and "&lt;script&gt;" in text for text in shown)
    assert all("\"'" not in text for text in shown)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "some seconds"),
        (40, "about half a minute"),
        (61, "about 1 minute"),
        (300, "about 5 minutes"),
        (7200, "about 2 hours"),
    ],
)
def test_durations(seconds, words):
    assert estimate.duration(seconds) == words
