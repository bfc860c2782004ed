"""The guide's checks of a tuned model's answers, before it is converted.

In: greedy answers of the model folder. Out: one `Check` each, with what was found and a remedy.
What fails here was wrong before the conversion, so converting again does not help. Nothing here
loads a network or imports torch.

Example:

    print(table(check_answers(["<start_function_call>call:f{}<end_function_call>"])))
     1. pass     calls a function  0 of 1 answers lack <start_function_call>.
     2. pass     no padding        0 of 1 answers contain <pad>.
     ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fgkit.checks import Check


@dataclass(frozen=True)
class AnswerCheck:
    """One question that is asked of every answer.

    Args:
        name: the check's name in the table.
        is_bad: whether an answer counts against the model.
        limit: share of bad answers above which the check fails.
        finding: what the bad answers do, after "3 of 8 answers".
        remedy: what to do when it fails.
    """

    name: str
    is_bad: Callable[[str], bool]
    limit: float
    finding: str
    remedy: str


def _lacks_call(text: str) -> bool:
    return "<start_function_call>" not in text


def _is_garbage(text: str) -> bool:
    """More than three in ten characters are CJK, replacement or control characters."""
    if not _lacks_call(text):
        return False
    text = re.sub(r"<[a-z_]+>", "", text).strip()
    odd = sum(
        char == "\ufffd"
        or not (char.isprintable() or char in "\n\t")
        or "\u2e80" <= char <= "\u9fff"
        or "\uac00" <= char <= "\ud7af"
        for char in text
    )
    return odd > 0.3 * len(text)


def _refuses(text: str) -> bool:
    # Only answers without a call: an alert that says "sorry" is a fine argument.
    return _lacks_call(text) and bool(re.search(r"\b(?:sorry|apologi[sz]e)\b", text, re.IGNORECASE))


# In the guide's order. Some rows of any honest model get no call, so the limits are not zero.
ANSWER_CHECKS = (
    AnswerCheck(
        "calls a function",
        _lacks_call,
        0.5,
        "lack <start_function_call>",
        "Train longer or on more rows, and look at the scores per tool.",
    ),
    AnswerCheck(
        "no padding",
        lambda text: "<pad>" in text,
        0.0,
        "contain <pad>",
        "Wrong loading parameters: load with dtype bfloat16 (not float16) and attn_implementation "
        "'eager'.",
    ),
    AnswerCheck(
        "readable text",
        _is_garbage,
        0.1,
        "are garbage or Chinese",
        "The fine-tuning is broken, not the conversion: check learning rate, epochs and data, and "
        "train again.",
    ),
    AnswerCheck(
        "no refusals",
        _refuses,
        0.25,
        "say sorry or apologize instead of calling",
        "The model refuses to call: the developer turn must hold the trigger sentence and the tool "
        "declarations.",
    ),
)


def check_answers(texts: Sequence[str]) -> list[Check]:
    """Check a model's answers for missing calls, padding, garbage and refusals.

    Args:
        texts: the model folder's greedy answers, control tokens kept, to prompts that ask for a
            call. Without any, every check fails.
    """
    return [_checked(number, check, texts) for number, check in enumerate(ANSWER_CHECKS, 1)]


def _checked(number: int, check: AnswerCheck, texts: Sequence[str]) -> Check:
    if not texts:
        return Check(
            number,
            check.name,
            "fail",
            "there are no answers to look at.",
            "Generate answers for some rows first.",
        )
    bad = [text for text in texts if check.is_bad(text)]
    return Check(
        number,
        check.name,
        "fail" if len(bad) > check.limit * len(texts) else "pass",
        f"{len(bad)} of {len(texts)} answers {check.finding}"
        + (f", such as {bad[0][:60]!r}." if bad else "."),
        check.remedy,
    )
