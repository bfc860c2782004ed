"""Prompting modes: what an app sends to a `.task` for a question, and which modes answer well.

For example:

    probe_modes(runtime, rows, trained, max_new_tokens=48)[QUESTION]["tool_accuracy"]

A runtime may put the bundle's prefix and suffix around the text that it is given ("wrapped"), or
not. The mode decides whether the model sees the text that it was trained on. A model trained on the
small example answers well in most modes; models trained on harder data do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fgkit.bundles import profiles
from fgkit.dataset.records import Record
from fgkit.errors import ConfigError
from fgkit.progress import bar, note
from fgkit.record_types import Rates

from . import scores as evaluation

if TYPE_CHECKING:
    from fgkit.dataset.rows import RunData
    from fgkit.runtime.session import Runtime

# Enough to see whether a mode works, not to rank modes.
PROBED_ROWS = 24
QUESTION = "question alone, wrapped"
# For each mode: a function that makes the text to send from the full prompt, its developer turn and
# the question, and whether the runtime wraps that text.
MODES: dict[str, tuple[Callable[[str, str, str], str], bool]] = {
    "whole prompt": (lambda prompt, developer, question: prompt, False),
    "whole prompt, wrapped": (lambda prompt, developer, question: prompt, True),
    "developer turn and question, wrapped": (
        lambda prompt, developer, question: developer + question,
        True,
    ),
    QUESTION: (lambda prompt, developer, question: question, True),
}
_USER = "<start_of_turn>user\n"


def developer_turn(prompt_text: str) -> str:
    """Return the part of a rendered prompt before the user's first turn, without `<bos>`.

    Args:
        prompt_text: what `prompts.render` returned.
    """
    return prompt_text.removeprefix("<bos>").partition(_USER)[0]


def is_single(row: Record) -> bool:
    """Return whether a row is a single question, which an app could send without the prompt."""
    return [
        message["role"]
        for message in row.messages
        if message["role"] not in ("developer", "system")
    ] == ["user"]


def answer(
    runtime: Runtime, mode: str, row: Record, prompt_text: str, *, max_new_tokens: int
) -> str:
    """Generate the answer to a row in one prompting mode.

    Args:
        runtime: an open bundle.
        mode: a name in MODES.
        row: the row.
        prompt_text: its prompt as in training.
        max_new_tokens: length of the longest answer, in tokens.
    """
    text, wrapped = MODES[mode]
    sent = text(
        prompt_text.removeprefix("<bos>"), developer_turn(prompt_text), row.user_content.strip()
    )
    return (runtime.generate_with_template if wrapped else runtime.generate)(
        sent, max_new_tokens=max_new_tokens
    )


def probe_modes(
    runtime: Runtime,
    rows: Sequence[Record],
    trained: Sequence[str],
    *,
    max_new_tokens: int,
    progress: bool = True,
) -> dict[str, Rates]:
    """Score every mode on the first PROBED_ROWS rows that are single questions.

    Args:
        runtime, max_new_tokens: as for `answer`.
        rows: held-out rows.
        trained: their prompts as in training.
        progress: whether to show a progress bar.
    Returns:
        `n`, `tool_accuracy` and `exact_match` of each mode; empty where no row is a single
        question.
    """
    asked = [(row, text) for row, text in zip(rows, trained) if is_single(row)][:PROBED_ROWS]
    texts: dict[str, list[str]] = {mode: [] for mode in MODES}
    jobs = [(mode, row, text) for mode in MODES for row, text in asked]
    for mode, row, text in bar(jobs, desc="prompting modes", unit="answer", disable=not progress):
        texts[mode].append(answer(runtime, mode, row, text, max_new_tokens=max_new_tokens))
    if not asked:
        return {}
    rates: dict[str, Rates] = {}
    for mode, answers in texts.items():
        score = evaluation.score(
            [row for row, _ in asked], answers, end_tag_cut=runtime.end_tag_cut
        )
        rates[mode] = {
            "n": score["n"],
            "tool_accuracy": score["tool_accuracy"],
            "exact_match": score["exact_match"],
        }
    return rates


def lines(rates: Mapping[str, Rates]) -> list[str]:
    """Describe each mode in one line, ready to print."""
    return [
        f"sent as {mode}: {mode_rates['tool_accuracy'] or 0:.0%} right tools, "
        f"{mode_rates['exact_match'] or 0:.0%} exact, of {mode_rates['n']} rows"
        for mode, mode_rates in rates.items()
    ]


def profile_for(name: str, rows: RunData) -> str:
    """Choose the bundle profile: the requested one, or else the one that the rows need.

    Args:
        name: a name in PROFILES; empty to choose by the rows.
        rows: the rows of the run.
    Raises:
        ConfigError: the rows cannot be answered with this profile.
    """
    if not name:
        name = profiles.DEFAULT_PARALLEL if rows.parallel else profiles.DEFAULT
        note(
            f"Profile {name!r}: "
            + (
                "rows have answers with several calls, which a stop at <end_function_call> would "
                "cut off."
                if rows.parallel
                else "every answer is one call or plain text."
            )
        )
    elif profiles.PROFILES[name].embeds_declarations and not (
        rows.tools and all(map(is_single, rows.held_out))
    ):
        raise ConfigError(
            f"profile is {name!r}, which puts one developer turn before one question, but rows "
            "have tools of their own or several turns. Choose 'guide' or 'google', or leave "
            "profile empty."
        )
    elif rows.parallel and profiles.PROFILES[name].single_call_only:
        raise ConfigError(
            f"profile is {name!r}, which stops at the first <end_function_call>, but rows have "
            "answers with several calls: only the first would survive. Choose 'google', or leave "
            "profile empty."
        )
    return name
