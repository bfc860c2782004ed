"""The panels of the notebooks, one call each: widgets in an interactive session, text otherwise.

    explore(settings, base, rows)   finetune: the rows as conversation, prompt and tokens
    choose(settings, base, rows)    finetune: hyperparameters, their cost, Start and Stop
    results(settings)               finetune, to_task: scores, and the rows behind them
    playground(settings, rows)      finetune, to_task: ask the tuned model and the finished bundle

The same notebook runs by hand and headless: nothing waits for a click, and every setting keeps the
value of the parameters cell until somebody changes it. The panels use only what ipywidgets 7.7
(Colab) and 8 (JupyterLab) have in common.
"""

from __future__ import annotations

import sys
from typing import Any

from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.dataset import tokenize
from fgkit.dataset.rows import RunData
from fgkit.display import interactive, show_text
from fgkit.models.base import Base, load_tokenizer
from fgkit.prompts import styles


def explore(settings: FinetuneConfig, base: Base, rows: RunData) -> None:
    """Show the rows: with filters, and each as a conversation, as its prompt and as tokens.

    Args:
        settings: the prompt style and the developer text are taken from here.
        base: the base model, whose tokenizer is used.
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
    prompt = tokenizer.decode(row.tokens[: row.prompt_length])
    answer = tokenizer.decode(row.tokens[row.prompt_length :])
    print(
        f"first row of {len(rows.train)}, line {record.line}: {len(row.tokens)} tokens\n"
        f"  prompt, {row.prompt_length} tokens, ends:   {_end(prompt)}\n"
        f"  answer, {len(row.tokens) - row.prompt_length} tokens, trained: {answer!r}"
    )


def choose(settings: FinetuneConfig, base: Base, rows: RunData) -> Any:
    """Show the hyperparameters with an estimate of what training will take, Start and Stop.

    Args:
        settings: the settings of the parameters cell; the panel starts with them.
        base: the base model that training starts from.
        rows: training and held-out rows.

    Returns:
        the panel: `settings()` returns its current settings, `monitor` is for `stages.finetune`.
    """
    from .training_choices import Choices
    from .training_panel import TrainingPanel

    choices = Choices(settings, base, rows)
    if interactive():
        panel = TrainingPanel(choices)
        _display(panel.box)
        return panel
    show_text(choices.text().splitlines())
    return choices


def results(settings: FinetuneConfig | TaskConfig) -> None:
    """Show the scores so far side by side, and the rows behind them; headless nothing.

    Args:
        settings: the scores are read from its output folder.
    """
    if interactive():
        from .results_panel import Results

        _display(Results(settings.folder).box)


def playground(settings: FinetuneConfig | TaskConfig, rows: RunData) -> None:
    """Ask the tuned model and, if there is one, the finished bundle; headless nothing.

    Raw text, parsed call and time of both are shown side by side.

    Args:
        settings: models are taken from its output folder, and loaded at the first question.
        rows: their tools are declared in the prompt; the first held-out row is the first question.
    """
    if interactive():
        from .playground_panel import Playground

        _display(Playground(settings, rows).box)


def _display(box: Any) -> None:
    from IPython.display import display

    display(box)


def _end(text: str, length: int = 60) -> str:
    """Quote the end of a text."""
    return repr(text if len(text) <= length else "..." + text[-length:])
