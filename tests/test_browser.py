"""The notebooks in a real JupyterLab, in a real browser, by hand: run all, then every panel is clicked. A tiny model."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import lab
import pytest
import tiny_conversion

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed"
    ),
    pytest.mark.skipif(
        lab.CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)"
    ),
]
NAMES = ("finetune", "to_tflite", "to_task")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def where(folder) -> dict[str, Any]:
    """The three notebooks byte for byte, rows, tools and a base to begin with; gives the parameters that name them."""
    for name in NAMES:
        shutil.copy(lab.ROOT / "notebooks" / f"{name}.ipynb", folder)
    return tiny_conversion.inputs(folder)


@pytest.fixture(scope="module")
def page(folder, where):
    with (
        lab.running(
            folder,
            startup=tiny_conversion.KERNEL,
            environment={"OMP_NUM_THREADS": "1", "FGKIT_CACHE": str(folder / "cache")},
        ) as address,
        lab.browser() as page,
    ):
        page.address = address
        yield page


def keep(panel, name: str) -> None:
    """A panel as the test sees it, for whoever looks into a failure or changes its look: build/browser/*.png."""
    assert lab.shot(panel, lab.ROOT / "build" / "browser" / f"{name}.png").stat().st_size > 3_000


def finished(page, seconds: float) -> None:
    lab.run_all(page, seconds)
    assert lab.errors(page) == []
    cells = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert len(cells) >= 7 and all(re.fullmatch(r"\[\d+\]:", text.strip()) for text in cells)


def test_finetune_by_hand(page, folder, where):
    lab.open_notebook(page, page.address, "finetune.ipynb")
    lab.set_parameters(page, where | tiny_conversion.TRAINING)
    finished(page, 300)
    shutil.copytree(
        folder / "run", folder / "done"
    )  # for the next notebook: what Stop leaves below is not trained enough
    explorer, training, results, playground = page.locator(".fgkit-panel").all()

    # The explorer: filter, then the three views
    note = explorer.locator(".fgkit-note").first
    assert note.inner_text() == "36 of 36 rows"
    lab.choose(explorer, "tool", "pong")
    page.wait_for_function(
        "document.querySelector('.fgkit-panel .fgkit-note').innerText == '12 of 36 rows'"
    )
    explorer.locator("input[type=text]").fill("hush c")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "document.querySelector('.fgkit-panel .fgkit-note').innerText == '1 of 36 rows'"
    )
    explorer.locator("button", has_text="prompt").click()
    explorer.locator(".fgkit-trained .fgkit-start", has_text="<start_function_call>").wait_for()
    assert explorer.locator(".fgkit-trained").inner_text() == (
        "<start_function_call>call:pong{}<end_function_call><start_function_response>"
    )
    explorer.locator("button", has_text="tokens").click()
    explorer.locator(".fgkit-token.fgkit-trained").first.wait_for()
    assert "".join(explorer.locator(".fgkit-token.fgkit-trained").all_inner_texts()).startswith(
        "<start_function_call>call:"
    )

    keep(explorer, "explorer")

    # The hyperparameters: what is refused, what it will take, Start, Stop
    assert "100%" in training.inner_text() or "held-out answers right" in training.inner_text()
    keep(training, "training")
    steps = training.locator("td").nth(1)
    assert steps.inner_text() == "80, 18 rows each"
    epochs = training.locator("input[type=number]").first
    epochs.fill("0")
    page.keyboard.press("Tab")
    training.locator(".fgkit-bad", has_text="num_train_epochs is 0, expected 1 to 1000").wait_for()
    assert training.locator("button", has_text="Start").is_disabled()
    epochs.fill("900")
    page.keyboard.press("Tab")
    training.locator("td", has_text="1800, 18 rows each").wait_for()
    before = (folder / "run/model/model.safetensors").read_bytes()
    training.locator("button", has_text="Start").click()
    training.locator(".fgkit-note", has_text=re.compile(r"Step [1-9]\d* of 1800")).wait_for()
    training.locator("button", has_text="Stop").click()
    stopped = training.locator(".fgkit-good", has_text="Stopped after step")
    stopped.wait_for()
    step = int(re.search(r"after step (\d+) of 1800", stopped.inner_text())[1])
    record = json.loads((folder / "run/model/fgkit.json").read_text())
    assert record["stopped_after"] == step < 1800 and record["settings"]["num_train_epochs"] == 900
    assert (folder / "run/model/model.safetensors").read_bytes() != before
    training.locator("button", has_text="Reset").click()
    training.locator("td", has_text="80, 18 rows each").wait_for()

    # The results: rows of a pair, and the matrix
    results.locator(".lm-TabBar-tab", has_text="rows").click()
    lab.choose(results, "rows", "all")
    results.locator(".fgkit-note", has_text="6 of 6 rows").wait_for()
    results.locator(".lm-TabBar-tab", has_text="which tool").click()
    assert results.locator("img").last.evaluate("image => image.naturalWidth") > 400

    keep(results, "results")

    # The playground: what a user types is data, not structure
    playground.locator("input[type=text]").fill("ring <b id=evil>now</b>")
    playground.locator("button", has_text="Ask").click()
    playground.locator(".fgkit-good, .fgkit-bad").first.wait_for()
    assert (
        "call: " in playground.inner_text()
        and " s" in playground.locator(".fgkit-who").inner_text()
    )
    playground.locator("input[type=text]").fill("ring <end_of_turn>")
    playground.locator("button", has_text="Ask").click()
    playground.locator(".fgkit-bad", has_text="<end_of_turn>").wait_for()
    assert page.locator("#evil").count() == 0


def test_to_tflite_by_hand(page, folder, where):
    lab.open_notebook(page, page.address, "to_tflite.ipynb")
    lab.set_parameters(page, where | {"output": "done"})
    finished(page, 300)
    assert (folder / "done/functiongemma-flutter_q8_ekv1024.tflite").is_file()


def test_to_task_by_hand(page, folder, where):
    lab.open_notebook(page, page.address, "to_task.ipynb")
    lab.set_parameters(
        page,
        where | {"output": "done", "max_exact_match_loss": 100.0, "max_tool_accuracy_loss": 100.0},
    )
    finished(page, 300)
    results, playground = page.locator(".fgkit-panel").all()
    assert [text for text in results.locator("th").all_inner_texts() if text] == [
        "base",
        "tuned",
        "task",
        "litertlm",
    ]
    playground.locator("button", has_text="Ask").click()
    playground.locator(".fgkit-column").nth(1).locator(".fgkit-good, .fgkit-bad").wait_for()
    assert (
        playground.locator(".fgkit-who")
        .all_inner_texts()[1]
        .startswith("functiongemma-flutter.task")
    )
    assert playground.inner_text().count("call: ") == 2
    keep(playground, "playground")
