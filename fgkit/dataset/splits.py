"""Divides data into training and held-out rows; paraphrases of one sentence stay on one side.

Example:
    template(request(1, "Set an alarm for 7!", [Call("set_alarm", {"hour": 7})]))
    # 'setanalarmfor*'
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgkit.chat_types import JsonValue, ToolDeclaration
from fgkit.errors import DataError, FgkitError

from .formats.messages import content_text
from .reading import Inspection, inspect_records, require, split_by_marker
from .records import Record, prompt_key

_MASK = "*"


@dataclass(frozen=True)
class DataSplit:
    """Training and held-out rows.

    Args:
        train: rows to train on.
        held_out: rows to score on.
        warnings: what a user should see, one a line.
    """

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    warnings: tuple[str, ...]


def held_out_data(
    path: str | Path, tools: list[ToolDeclaration], *, format: str = "auto"
) -> DataSplit:
    """Read a file that is only scored on: the rows it marks for evaluation, else all rows.

    Args:
        path, tools, format: as for `load_data`.
    Raises:
        DataError: one line a problem.
    """
    inspection = inspect_records(path, tools, format=format)
    require(inspection.problems)
    unmarked, marked = split_by_marker(inspection)
    return DataSplit((), marked or unmarked, _warnings(inspection))


def load_data(
    data: str | Path,
    eval_data: str | Path,
    tools: list[ToolDeclaration],
    *,
    seed: int,
    format: str = "auto",
) -> DataSplit:
    """Read the training file and the eval file; without an eval file, divide the training file.

    Args:
        data: rows to train on; those that the file marks for evaluation are left out.
        eval_data: rows to score on, only the marked ones if any are; "" takes the marked ones of
            `data`, else a tenth.
        tools: declarations from `load_tools`.
        seed: decides the split.
        format: of both files, one of `formats.FORMATS`.
    Returns:
        both sides; `warnings` counts duplicates and names eval texts that are trained on.
    Raises:
        DataError: the problems of both files together.
    """
    inspections: list[Inspection] = []
    problems: list[object] = []
    for path in (data, eval_data) if str(eval_data) else (data,):
        try:
            inspections.append(inspect_records(path, tools, format=format))
            problems += inspections[-1].problems
        except DataError as error:
            problems.append(error)
    require(problems)
    warnings = [warning for inspection in inspections for warning in _warnings(inspection)]
    train, marked = split_by_marker(inspections[0])
    if str(eval_data):
        unmarked, marked = split_by_marker(inspections[1])
        held_out = marked or unmarked
    elif marked:
        held_out = marked
    else:
        try:
            kept, split_off = split(train, seed=seed)
        except DataError as error:
            raise DataError(f"{data}: {error}") from error
        return DataSplit(tuple(kept), tuple(split_off), tuple(warnings))
    if not train:
        raise DataError(
            f"{data}: every row is marked for evaluation, expected some to train on. "
            'Mark them "train".'
        )
    warnings += _leaks(data, eval_data or data, train, held_out)
    return DataSplit(train, held_out, tuple(warnings))


def _leaks(
    data: str | Path, eval_data: str | Path, train: Sequence[Record], held_out: Sequence[Record]
) -> list[str]:
    """A warning with the held-out texts that are also trained on, if there are any."""
    trained = {prompt_key(record): record.line for record in train}
    leaks = [
        f"{record.line} (= {trained[text]})"
        for record in held_out
        if (text := prompt_key(record)) in trained
    ]
    if not leaks:
        return []
    lines = ", ".join(leaks[:10]) + (", ..." if leaks[10:] else "")
    return [
        f"{eval_data}: {len(leaks)} of {len(held_out)} texts are also trained on, so the score "
        f"flatters: lines {lines} of {data}. Reword or remove them in one of the files."
    ]


def _warnings(inspection: Inspection) -> tuple[str, ...]:
    """What a user of the data should see; duplicates are only counted."""
    copies = [warning.line for warning in inspection.warnings if warning.rule_id == "D102"]
    counted = (
        [
            f"{inspection.path}: {len(copies)} exact duplicates are left out, the first on line "
            f"{copies[0]}. Delete them to silence this."
        ]
        if copies
        else []
    )
    return *counted, *(str(warning) for warning in inspection.warnings if warning.rule_id != "D102")


def split(
    records: Sequence[Record], *, seed: int, eval_fraction: float = 0.1
) -> tuple[list[Record], list[Record]]:
    """Divide records into training and held-out rows without dividing a group of paraphrases.

    The order of groups depends only on their names and the seed, so adding rows moves few others.
    Groups are held out in that order as long as they fit, so the held-out share is the requested
    one or, if groups are large, a little less.

    Args:
        records: of at least two groups, see `group_of`.
        seed: another seed gives another split.
        eval_fraction: the share that is held out, above 0 and below 1; each side gets at least one
            group.
    Returns:
        (training, held out), each in file order.
    Raises:
        DataError: there is nothing to divide.
        FgkitError: `eval_fraction` is out of range.
    """
    if not 0 < eval_fraction < 1:
        raise FgkitError(
            f"eval_fraction is {eval_fraction}, expected more than 0, less than 1. Write 0.1 for a "
            "tenth."
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
            f"{what}, expected at least 2 to split into training and held-out rows: texts that "
            "differ only in their values, case or spacing belong together. Add other sentences, "
            "or give an eval file."
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
    """Return the record's group, or its masked template.

    All answers of one conversation have the same one.

    Args:
        record: the row.
    """
    return f"={record.group}" if record.group else template(record)


def template(record: Record) -> str:
    """Return the first thing the user says, with the values that its answer takes from it masked.

    Only letters and digits count, not case, punctuation and spacing. A text without letters and
    digits is its own template.

    Args:
        record: the row.
    """
    messages = record.conversation
    request = next(
        (content_text(message.get("content")) for message in messages if message["role"] == "user"),
        "",
    )
    calls = next(
        (
            message.get("tool_calls") or []
            for message in messages
            if message["role"] in ("assistant", "model")
        ),
        [],
    )
    text = request.casefold()
    values = {
        value.casefold() for call in calls for value in _leaves(call["function"]["arguments"])
    }
    # Longest first: a value may contain another one.
    for value in sorted(values, key=lambda value: (-len(value), value)):
        text = _masked(text, value)
    return "".join(char for char in text if char.isalnum() or char == _MASK) or " ".join(
        request.split()
    )


def _leaves(value: JsonValue) -> Iterator[str]:
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
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        if not (_inside_word(text, start) or _inside_word(text, end)):
            text = text[:start] + _MASK + text[end:]
        start = text.find(value, start + 1)
    return text


def _inside_word(text: str, index: int) -> bool:
    """Whether the characters before and at an index are both ASCII letters or digits.

    Other scripts may write words without spaces between them, so nothing is inside a word there.
    """
    return 0 < index < len(text) and all(
        char.isascii() and char.isalnum() for char in text[index - 1 : index + 1]
    )
