"""The ways in which apps send a question to a `.task`, and which of them a bundle answers well.

>>> try_ways(runtime, rows, trained, max_new_tokens=48)["question alone, wrapped"]["tool_accuracy"]
0.0

A runtime may put the bundle's prefix and suffix around what it is given ("wrapped"), or not. What an app sends decides
whether the model sees the text that it was trained on; the toy example forgives much, harder data do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fgkit.bundles import profiles
from fgkit.dataset.records import Record
from fgkit.errors import ConfigError
from fgkit.progress import bar, note

from . import scores as evaluation

if TYPE_CHECKING:
    from fgkit.dataset.rows import Rows
    from fgkit.runtime.session import Runtime

ENOUGH = 24  # rows: it is told whether a way works, not how well
QUESTION = "question alone, wrapped"
# What is sent of a prompt's three texts (whole, developer turn, question), and whether the runtime wraps it.
WAYS: dict[str, tuple[Callable[[str, str, str], str], bool]] = {
    "whole prompt": (lambda whole, developer, question: whole, False),
    "whole prompt, wrapped": (lambda whole, developer, question: whole, True),
    "developer turn and question, wrapped": (
        lambda whole, developer, question: developer + question,
        True,
    ),
    QUESTION: (lambda whole, developer, question: question, True),
}
_USER = "<start_of_turn>user\n"


def developer_turn(prompt_text: str) -> str:
    """What a rendered prompt says before the user's first turn, without `<bos>`.

    Args:
        prompt_text: as `prompts.render` gives it.
    """
    return prompt_text.removeprefix("<bos>").partition(_USER)[0]


def is_single(row: Record) -> bool:
    """Whether a row is one question, so that an app could send it alone."""
    return [
        message["role"]
        for message in row.messages
        if message["role"] not in ("developer", "system")
    ] == ["user"]


def answer(
    runtime: Runtime, way: str, row: Record, prompt_text: str, *, max_new_tokens: int
) -> str:
    """Send one row in one way.

    Args:
        runtime: an open bundle.
        way: a name in WAYS.
        row: the row.
        prompt_text: its trained prompt.
        max_new_tokens: longest answer.
    """
    text, wrapped = WAYS[way]
    sent = text(
        prompt_text.removeprefix("<bos>"), developer_turn(prompt_text), row.user_content.strip()
    )
    return (runtime.answer_wrapped if wrapped else runtime.generate)(
        sent, max_new_tokens=max_new_tokens
    )


def try_ways(
    runtime: Runtime,
    rows: Sequence[Record],
    trained: Sequence[str],
    *,
    max_new_tokens: int,
    progress: bool = True,
) -> dict[str, dict[str, Any]]:
    """Score every way on the first ENOUGH rows that are single questions.

    Args:
        runtime, max_new_tokens: as for `answer`.
        rows: held-out rows.
        trained: their prompts.
        progress: show a bar.
    Returns:
        by way: `n`, `tool_accuracy`, `exact_match`; nothing where no row is a single question.
    """
    asked = [(row, text) for row, text in zip(rows, trained) if is_single(row)][:ENOUGH]
    texts: dict[str, list[str]] = {way: [] for way in WAYS}
    for way, row, text in bar(
        [(way, *one) for way in WAYS for one in asked],
        desc="ways of sending",
        unit="answer",
        disable=not progress,
    ):
        texts[way].append(answer(runtime, way, row, text, max_new_tokens=max_new_tokens))
    found = {}
    for way, answers in texts.items() if asked else ():
        score = evaluation.score(
            [row for row, _ in asked], answers, end_tag_cut=runtime.end_tag_cut
        )
        found[way] = {key: score[key] for key in ("n", "tool_accuracy", "exact_match")}
    return found


def lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """One line for each way, ready to print."""
    return [
        f"sent as {way}: {one['tool_accuracy']:.0%} right tools, {one['exact_match']:.0%} exact, of {one['n']} rows"
        for way, one in found.items()
    ]


def profile_for(name: str, rows: Rows) -> str:
    """The bundle profile: the one asked for, else the one that the rows need.

    Args:
        name: a name in PROFILES; empty to choose by the rows.
        rows: the run's.
    Raises:
        ConfigError: the rows cannot be answered with this profile.
    """
    if not name:
        name = profiles.DEFAULT_PARALLEL if rows.parallel else profiles.DEFAULT
        note(
            f"Profile {name!r}: "
            + (
                "rows have answers with several calls, which a stop at <end_function_call> would cut off."
                if rows.parallel
                else "every answer is one call or plain text."
            )
        )
    elif profiles.PROFILES[name].embeds_declarations and not (
        rows.tools and all(map(is_single, rows.held_out))
    ):
        raise ConfigError(
            f"profile is {name!r}, which puts one developer turn before one question, but rows have "
            "tools of their own or several turns. Choose 'guide' or 'google', or leave profile empty."
        )
    elif rows.parallel and profiles.PROFILES[name].single_call_only:
        raise ConfigError(
            f"profile is {name!r}, which stops at the first <end_function_call>, but rows have "
            "answers with several calls: only the first would survive. Choose 'google', or leave "
            "profile empty."
        )
    return name
