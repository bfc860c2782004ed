"""Values of the recipes and numbers of checks, as help texts, notebooks and pages quote them.

Each is looked for in the one place that decides it, so that a changed value fails here for every
text that still says the old one.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from fgkit.bundles.checks import BUNDLE_CHECKS
from fgkit.config.finetune import FinetuneConfig
from fgkit.models.answer_checks import ANSWER_CHECKS
from fgkit.models.model_checks import FOLDER_CHECKS
from fgkit.models.spec import FUNCTIONGEMMA, OFFLINE, base_named, batch_text, number_text

ROOT = Path(__file__).resolve().parents[1]
WORDS = dict(
    enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
)
NUMBERS = {word: number for number, word in WORDS.items()}
GUIDE, OFFLINE_BASE = base_named(FUNCTIONGEMMA).recipe, base_named(OFFLINE).recipe
HELP = {item.name: item.metadata["help"] for item in fields(FinetuneConfig)}
# Texts that quote a run which was measured, or an example of a command, not a recipe.
MEASURED = {
    "docs/speed.md": "differences that were measured",
    "docs/measurements/": "logs of measured runs, each with its own settings",
    "docs/prompts.md": "a measured run, and the notation of numbers",
    "docs/commands.md": "a step size to set, as an example",
    "docs/guides/batches.md": "a loop over step sizes, as an example",
    "docs/guides/tuning.md": "a step size to set, as an example",
    "notebooks/README.md": "a loop over step sizes, as an example",
    "fgkit/cli/": "step sizes to set, as examples",
    "fgkit/prompts/": "the notation of numbers",
    "fgkit/models/spec.py": "the one place",
    "fgkit/config/": "bounds of settings, and an example that computes a value",
    "CHANGELOG.md": "what a version had",
}
QUOTE = re.compile(
    r"\b\d+(?:\.\d+)?e-0?\d\b|\b\d+ [x×] \d+(?= = | rows)|\b(?:\d+|three|four) epochs\b"
)


def pages() -> dict[str, str]:
    """Every text that a user reads: pages, notebooks' prose, and the package's own texts."""
    paths = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "notebooks").glob("*.md"),
        *(ROOT / "fgkit").rglob("*.py"),
    ]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts[f"notebooks/{path.name}"] = "\n".join("".join(cell["source"]) for cell in cells)
    assert len(texts) > 100
    return texts


def test_help_texts_quote_the_recipes() -> None:
    for recipe in (GUIDE, OFFLINE_BASE):
        assert number_text(recipe.num_train_epochs) in HELP["num_train_epochs"]
        assert number_text(recipe.learning_rate) in HELP["learning_rate"]
        assert batch_text(recipe) in HELP["gradient_accumulation_steps"]


def test_the_notebook_quotes_the_recipes() -> None:
    (sentence,) = re.findall(
        r"`None` takes the value of the base's recipe: [^\n]*", pages()["notebooks/finetune.ipynb"]
    )
    assert GUIDE.num_train_epochs == OFFLINE_BASE.num_train_epochs

    def quoted(recipe) -> str:
        rows = f"{recipe.per_device_train_batch_size} x {recipe.gradient_accumulation_steps}"
        return f"{number_text(recipe.learning_rate)} and {rows} rows a step for"

    assert sentence.endswith(
        f"recipe: {GUIDE.num_train_epochs} epochs; {quoted(GUIDE)} FunctionGemma, "
        f"{quoted(OFFLINE_BASE)} the offline base."
    ), sentence


def test_no_other_text_quotes_a_value_of_a_recipe() -> None:
    checked = {"notebooks/finetune.ipynb"}
    quotes = {
        name: sorted(set(QUOTE.findall(text)))
        for name, text in pages().items()
        if QUOTE.search(text) and not name.startswith(tuple(MEASURED)) and name not in checked
    }
    assert quotes == {}, "test them above against fgkit/models/spec.py, or list them as MEASURED"


COUNTED = {
    "bundle": (
        re.compile(r"\b(\w+) numbered checks"),
        len(BUNDLE_CHECKS),
        {"fgkit/workflow/stages/to_task_steps.py", "docs/bundles.md", "notebooks/to_task.ipynb"},
    ),
    "answer": (
        re.compile(r"\bguide's (\w+) (?:answer checks|checks)"),
        len(ANSWER_CHECKS),
        {"fgkit/workflow/stages/to_tflite_steps.py"},
    ),
}


@pytest.mark.parametrize("what", COUNTED)
def test_every_text_names_the_number_of_checks_that_there_are(what: str) -> None:
    pattern, count, expected = COUNTED[what]
    named = {
        name: words
        for name, text in pages().items()
        if (words := [word.lower() for word in pattern.findall(text) if word.lower() in NUMBERS])
    }
    assert expected <= named.keys(), sorted(named)
    for name, words in named.items():
        assert {NUMBERS[word] for word in words} == {count}, name


def test_names_of_checks_are_distinct() -> None:
    for table in (BUNDLE_CHECKS, FOLDER_CHECKS, ANSWER_CHECKS):
        names = [check.name for check in table]
        assert len(names) > 3 and len(set(names)) == len(names)
