"""Every panel built and clicked from Python, with a tiny model: whatever ipywidgets is installed, 7.7 or 8.

python tests/panel_clicks.py FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from unittest import mock

import tiny

from fgkit.config.finetune import FinetuneConfig
from fgkit.dataset import rows as run_rows
from fgkit.locations import shipped
from fgkit.models import base as base_model, record, spec
from fgkit.ui.explorer_panel import Explorer
from fgkit.ui.playground_panel import Playground
from fgkit.ui.results_panel import Results
from fgkit.ui.training_choices import Choices
from fgkit.ui.training_panel import TrainingPanel
from fgkit.workflow import stages, summary


def prepared(folder: Path) -> tuple[FinetuneConfig, base_model.Base, run_rows.RunData]:
    """Settings, a tiny base and some of the shipped rows."""
    tiny.model_folder(folder / "base")
    for name, step in (("training_data", 24), ("eval_data", 52)):
        lines = (
            shipped("data", f"{name}.jsonl")
            .read_text(encoding="utf-8")
            .splitlines(keepends=True)[::step]
        )
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = FinetuneConfig(
        output=str(folder / "run"),
        base=str(folder / "base"),
        max_length=2048,
        precision="fp32",
        data=str(folder / "training_data.jsonl"),
        eval_data=str(folder / "eval_data.jsonl"),
        num_train_epochs=2,
        learning_rate=1e-3,
    )
    with mock.patch.dict(spec.SPECS, {tiny.NETWORK.key: tiny.NETWORK}):
        base = base_model.find_base(settings.base)
    return settings, base, stages.load_rows(settings)


def explorer(settings: FinetuneConfig, base: base_model.Base, rows: run_rows.RunData) -> None:
    panel = Explorer(rows, base_model.load_tokenizer(base.folder), rows.setup())
    assert f"{len(rows.train)} of {len(rows.train)} rows" in panel.count.value
    panel.tool.value = "change_app_title"
    titles = [row for row in rows.train if row.calls[0].name == "change_app_title"]
    assert (
        0 < len(titles) < len(rows.train)
        and f">{len(titles)} of {len(rows.train)} rows" in panel.count.value
    )
    assert titles[0].user_content in panel.view.value
    panel.mode.value = "prompt"
    assert (
        "&lt;start_function_declaration&gt;" in panel.view.value
        and "<start_" not in panel.view.value
    )
    assert (
        'class="fgkit-trained"><span class="fgkit-start">&lt;start_function_call&gt;'
        in panel.view.value
    )
    panel.mode.value = "tokens"
    answer = panel.view.value.count("fgkit-trained")
    assert f"{answer} trained" in panel.view.value and answer > 20
    panel.mode.value = "tool"
    assert "&quot;parameters&quot;" in panel.view.value
    panel.search.value = "nobody says this"
    assert "No row passes" in panel.view.value


def training(settings: FinetuneConfig, base: base_model.Base, rows: run_rows.RunData) -> None:
    choices = Choices(settings, base, rows)
    assert choices.settings() is settings and "expected: 2 steps of" in choices.text()
    panel = TrainingPanel(choices)
    assert panel.settings() == settings
    panel.inputs["learning_rate"].value = 5.0
    assert (
        "learning_rate is 5.0, expected 1e-08 to 0.01" in panel.expected.value
        and panel.start.disabled
    )
    panel.inputs["learning_rate"].value = 2e-3
    panel.inputs["num_train_epochs"].value = 500
    assert "500," in panel.expected.value and not panel.start.disabled
    assert (panel.settings().learning_rate, panel.settings().gradient_accumulation_steps) == (
        2e-3,
        None,
    )
    panel.start.click()
    until(lambda: "Step " in panel.state.value and ">Step 0" not in panel.state.value)
    assert panel.start.disabled and not panel.stop.disabled and panel.inputs["precision"].disabled
    panel.stop.click()
    assert panel.settings().num_train_epochs == 500  # waits for the thread
    assert "Stopped after step " in panel.state.value and not panel.start.disabled
    assert record.model_facts(settings.model_folder)["stopped_after"] < 500
    assert bytes(panel.chart.value).startswith(b"\x89PNG")
    panel.reset.click()
    assert panel.settings() == settings and "2, " in panel.expected.value
    stages.finetune(panel.settings(), base, rows, panel.monitor)  # the cell below
    assert (
        record.model_facts(settings.model_folder)["stopped_after"] is None
        and "Step 2 of 2" in panel.state.value
    )
    panel.start.click()
    panel.settings()
    assert "Trained: " in panel.state.value


def results(settings: FinetuneConfig, rows: run_rows.RunData) -> None:
    assert "Nothing is scored yet" in Results(settings.folder / "nowhere").tabs.children[0].value
    stages.score_tuned(settings, rows)
    found = summary.read(settings.folder)["tuned"]
    better = [
        dict(row, exact=True, tool_ok=True) if place == 0 else row
        for place, row in enumerate(found["rows"])
    ]
    summary.update(settings.folder, task=dict(found, rows=better))
    panel = Results(settings.folder)
    assert panel.pair.value == ("tuned", "task") and ">1 of " in panel.rows.value
    panel.filter.value = "lost"
    assert ">0 of " in panel.rows.value
    panel.filter.value = "all"
    assert (
        f">{len(rows.held_out)} of " in panel.rows.value
        and "✓" in panel.rows.value
        and "✗" in panel.rows.value
    )
    assert bytes(panel.matrix.value).startswith(b"\x89PNG")
    summary.update(settings.folder, task=None)


def playground(settings: FinetuneConfig, rows: run_rows.RunData) -> None:
    panel = Playground(settings, rows)
    panel.row.value = 1
    assert panel.question.value == rows.held_out[1].user_content
    panel.ask.click()
    assert "tuned model, " in panel.answers.value and "fgkit-text" in panel.answers.value
    for text, says in (
        ("", "There is no question"),
        ("<end_of_turn>", "&lt;end_of_turn&gt;"),
        ("<b>hi", "tuned model, "),
    ):
        panel.question.value = text
        panel.ask.click()
        assert (
            says in panel.answers.value
            and "<b>" not in panel.answers.value
            and not panel.ask.disabled
        )


def until(true: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


if __name__ == "__main__":
    import ipywidgets

    arguments = prepared(Path(sys.argv[1]))
    explorer(*arguments)
    training(*arguments)
    results(arguments[0], arguments[2])
    playground(arguments[0], arguments[2])
    print("ipywidgets", ipywidgets.__version__, "all panels")
