"""The notebooks' panels, each one call: something to click where a person looks on, plain text or nothing where none does.

    explore(settings, base, rows)      finetune: the rows, as conversation, as prompt and as tokens
    choose(settings, base, rows)       finetune: hyperparameters, what they will take, Start and Stop
    results(settings)                  finetune, to_task: scores side by side, and the rows behind them
    playground(settings, rows)         finetune, to_task: ask the tuned model and the finished bundle

The same notebook runs by hand and headless: nothing waits for a click, and what a panel sets has the value of the
parameters cell until somebody changes it. The panels keep to what ipywidgets 7.7 (Colab) and 8 (JupyterLab) share.
"""

from __future__ import annotations

import sys
from typing import Any

from fgkit.config import FinetuneConfig, TaskConfig
from fgkit.dataset import tokenize
from fgkit.dataset.rows import Rows
from fgkit.display import interactive, show_text
from fgkit.models.base import Base, load_tokenizer
from fgkit.prompts import styles


def explore(settings: FinetuneConfig, base: Base, rows: Rows) -> None:
    """Look at the rows: filtered, and each as conversation, as the prompt that is trained, and as tokens.

    Args:
        settings: its style and developer text make the prompts.
        base: whose tokenizer cuts them.
        rows: training and held-out rows.
    """
    tokenizer = load_tokenizer(base.folder)
    setup = rows.setup(settings.system_message, styles.split(settings.style))
    if interactive():
        from .explorer_panel import Explorer

        _display(Explorer(rows, tokenizer, setup).box)
        return
    record = rows.train[0]
    (row,) = tokenize.tokenize_records(
        [record], setup, tokenizer, max_length=sys.maxsize, seed=settings.seed
    )
    print(
        f"first row of {len(rows.train)}, line {record.line}: {len(row.tokens)} tokens\n"
        f"  prompt, {row.prompt_length} tokens, ends:   {_shortened(tokenizer.decode(row.tokens[: row.prompt_length]))}\n"
        f"  answer, {len(row.tokens) - row.prompt_length} tokens, trained: "
        f"{tokenizer.decode(row.tokens[row.prompt_length :])!r}"
    )


def choose(settings: FinetuneConfig, base: Base, rows: Rows) -> Any:
    """Hyperparameters to change, what training will take with them, Start and Stop.

    Args:
        settings: what the parameters cell says; the panel begins with it.
        base: where training starts.
        rows: training and held-out rows.
    Returns:
        the panel: `settled()` gives the settings as they are now, `monitor` is for `stages.finetune`.
    """
    from .training_panel import Choices, TrainingPanel

    choices = Choices(settings, base, rows)
    if interactive():
        panel = TrainingPanel(choices)
        _display(panel.box)
        return panel
    show_text(choices.text().splitlines())
    return choices


def results(settings: FinetuneConfig | TaskConfig) -> None:
    """The scores known so far, side by side, and the rows behind them; headless the tables and pictures say it."""
    if interactive():
        from .results_panel import Results

        _display(Results(settings.folder).box)


def playground(settings: FinetuneConfig | TaskConfig, rows: Rows) -> None:
    """Ask the tuned model and, where it is made, the finished bundle: raw text, parsed call and time side by side.

    Args:
        settings: whose output folder is looked into; nothing is loaded before the first question.
        rows: its tools are declared in the prompt, its first held-out row is the first question.
    """
    if interactive():
        from .playground_panel import Playground

        _display(Playground(settings, rows).box)


def _display(box: Any) -> None:
    from IPython.display import display

    display(box)


def _shortened(text: str, length: int = 60) -> str:
    return repr(text if len(text) <= length else "..." + text[-length:])
