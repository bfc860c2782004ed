"""Data files or their records go in, training and held-out rows come out: paraphrases stay on one side.

>>> template(Record(1, ({"role": "user", "content": "Set an alarm for 7!"},), (Call("set_alarm", {"hour": 7}),)))
'setanalarmfor*'
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit.errors import DataError, FgkitError

from .formats.messages import content_text
from .records import Inspection, Record, by_mark, inspect_records, prompt_key, require

_MASK = "*"


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it is scored on, with the warnings a user should see."""

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    warnings: tuple[str, ...]


def held_out_data(path: str | Path, tools: list[dict], *, format: str = "auto") -> Data:
    """Read a file that is only scored on: the rows it marks for evaluation, or all; arguments as for `load_data`."""
    inspection = inspect_records(path, tools, format=format)
    require(inspection.problems)
    rest, marked = by_mark(inspection)
    return Data((), marked or rest, _warnings(inspection))


def load_data(
    data: str | Path, eval_data: str | Path, tools: list[dict], *, seed: int, format: str = "auto"
) -> Data:
    """Read the training file and the eval file, or divide the one file where there is no other.

    Args:
        data: rows to train on; those that the file marks for evaluation are left out.
        eval_data: rows to score on, only the marked ones if any are; "" takes the marked ones of `data`, else a tenth.
        tools: declarations from `load_tools`.
        seed: decides the split.
        format: of both files, one of `formats.FORMATS`.
    Returns:
        both sides; `warnings` counts duplicates and names eval texts that are trained on.
    Raises:
        DataError: the problems of both files together.
    """
    inspections, problems = [], []
    for path in (data, eval_data) if str(eval_data) else (data,):
        try:
            inspections.append(inspect_records(path, tools, format=format))
            problems += inspections[-1].problems
        except DataError as error:
            problems.append(error)
    require(problems)
    warnings = [warning for inspection in inspections for warning in _warnings(inspection)]
    train, marked = by_mark(inspections[0])
    if str(eval_data):
        unmarked, held_out = by_mark(inspections[1])
        held_out = held_out or unmarked
    elif marked:
        held_out = marked
    else:
        try:
            train, held_out = map(tuple, split(train, seed=seed))
        except DataError as error:
            raise DataError(f"{data}: {error}") from error
        return Data(train, held_out, tuple(warnings))
    if not train:
        raise DataError(
            f'{data}: every row is marked for evaluation, expected some to train on. Mark them "train".'
        )
    trained = {prompt_key(record): record.line for record in train}
    leaks = [
        f"{record.line} (= {trained[text]})"
        for record in held_out
        if (text := prompt_key(record)) in trained
    ]
    if leaks:
        lines = ", ".join(leaks[:10]) + (", ..." if leaks[10:] else "")
        warnings.append(
            f"{eval_data or data}: {len(leaks)} of {len(held_out)} texts are also trained on, so the score "
            f"flatters: lines {lines} of {data}. Reword or remove them in one of the files."
        )
    return Data(train, held_out, tuple(warnings))


def _warnings(inspection: Inspection) -> tuple[str, ...]:
    """What a user of the data should see; duplicates are counted."""
    copies = [warning.line for warning in inspection.warnings if warning.rule == "D102"]
    counted = (
        [
            f"{inspection.path}: {len(copies)} exact duplicates are left out, the first on line {copies[0]}. Delete them "
            "to silence this."
        ]
        if copies
        else []
    )
    return *counted, *(str(warning) for warning in inspection.warnings if warning.rule != "D102")


def split(
    records: Sequence[Record], *, seed: int, eval_fraction: float = 0.1
) -> tuple[list[Record], list[Record]]:
    """Divide records into training and held-out rows, each group of paraphrases whole.

    A group's place depends on its name and the seed alone, so adding rows moves few others. Groups are taken in that
    order while they fit, so the held-out share is the asked one or, where groups are large, a little less.

    Args:
        records: of at least two groups, see `group_of`.
        seed: another seed gives another split.
        eval_fraction: the share that is held out, above 0 and below 1; each side gets at least one group.
    Returns:
        (training, held out), each in file order.
    Raises:
        DataError: there is nothing to divide.
        FgkitError: `eval_fraction` is out of range.
    """
    if not 0 < eval_fraction < 1:
        raise FgkitError(
            f"eval_fraction is {eval_fraction}, expected more than 0, less than 1. Write 0.1 for a tenth."
        )
    groups = [group_of(record) for record in records]
    sizes = Counter(groups)
    if len(sizes) < 2:
        what = (
            f"all {len(records)} rows are one group ({next(iter(sizes))!r})"
            if sizes
            else "found no rows"
        )
        raise DataError(
            f"{what}, expected at least 2 to split into training and held-out rows: texts that differ only "
            "in their values, case or spacing belong together. Add other sentences, or give an eval file."
        )
    order = sorted(
        sizes,
        key=lambda group: hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=16).digest(),
    )
    wanted = max(1, min(round(len(records) * eval_fraction), len(records) - 1))
    chosen: set[str] = set()
    for group in order:
        if sizes[group] <= wanted:
            chosen.add(group)
            wanted -= sizes[group]
    chosen = chosen or {min(order, key=sizes.__getitem__)}
    return (
        [record for record, group in zip(records, groups, strict=True) if group not in chosen],
        [record for record, group in zip(records, groups, strict=True) if group in chosen],
    )


def group_of(record: Record) -> str:
    """The group a record says it is of, else its template; all answers of one conversation share it."""
    return f"={record.group}" if record.group else template(record)


def template(record: Record) -> str:
    """The first thing the user says, without the values that its answer takes from it.

    Letters and digits are what counts: case, punctuation and spacing do not. Texts without any are their own template.
    """
    messages = record.conversation
    said = next(
        (content_text(message.get("content")) for message in messages if message["role"] == "user"),
        "",
    )
    answer = next(
        (message for message in messages if message["role"] in ("assistant", "model")), {}
    )
    text = said.casefold()
    calls = answer.get("tool_calls") or ()
    values = {
        value.casefold() for call in calls for value in _leaves(call["function"]["arguments"])
    }
    for value in sorted(values, key=lambda value: (-len(value), value)):
        text = _masked(text, value)
    return "".join(sign for sign in text if sign.isalnum() or sign == _MASK) or " ".join(
        said.split()
    )


def _leaves(value: Any) -> Iterator[str]:
    """Texts and numbers in arguments, as a user would write them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        if value := value.strip():
            yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield repr(value).removesuffix(".0")


def _masked(text: str, value: str) -> str:
    """The text with whole-word occurrences of a value replaced."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if _inside_word(text, at) or _inside_word(text, end):
            at = text.find(value, at + 1)
        else:
            text = text[:at] + _MASK + text[end:]
            at = text.find(value, at + 1)
    return text


def _inside_word(text: str, at: int) -> bool:
    """Whether both neighbours of a place are ASCII letters or digits; other scripts may write without spaces."""
    return 0 < at < len(text) and all(
        sign.isascii() and sign.isalnum() for sign in text[at - 1 : at + 1]
    )
