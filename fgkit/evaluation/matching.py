"""Match an answer's calls with the expected ones: which arguments are right, which tools confused.

The first expected call of a tool is compared with the first call of that tool in the answer, the
second with the second. A call is {"name", "arguments"}, as in the rows of a score; a row's `calls`
is None where its answer did not parse.

>>> row = {
...     "expected": [{"name": "alarm", "arguments": {"hour": 7}}],
...     "calls": [{"name": "alarm", "arguments": {"hour": "7"}}],
... }
>>> counts = argument_table([row])["alarm"]["hour"]
>>> counts["given"], counts["right"], counts["wrong"]
(1, 0, 1)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from fgkit.dataset.records import NO_CALL
from fgkit.record_types import ArgumentCounts, CallRecord, ScoredRow

NOT_PARSED = "(does not parse)"


class ComparedArgument(NamedTuple):
    """An argument that is expected, given or both, and whether its value is right."""

    tool: str
    name: str
    expected: bool
    given: bool
    right: bool


def arguments(
    expected: Sequence[CallRecord], called: Sequence[CallRecord]
) -> Iterator[ComparedArgument]:
    """Compare every argument that is expected or given.

    An argument is right if its call is matched and it has the expected value and type: 7, 7.0 and
    "7" are three different values.

    Args:
        expected: the calls of the row.
        called: the calls of the answer; empty where it does not parse.
    """
    pairs, unmatched = _matched(expected, called)
    for call, answer in pairs:
        wanted, given = call["arguments"], answer["arguments"] if answer else {}
        for name in {**wanted, **given}:
            both = name in wanted and name in given
            right = both and _same(wanted[name], given[name])
            yield ComparedArgument(call["name"], name, name in wanted, name in given, right)
    for call in unmatched:
        for name in call["arguments"]:
            yield ComparedArgument(call["name"], name, False, True, False)


def argument_table(rows: Iterable[ScoredRow]) -> dict[str, dict[str, ArgumentCounts]]:
    """Count every argument by tool and name.

    Args:
        rows: each with `expected` and `calls`.
    Returns:
        {tool: {argument: counts}}; `wrong` counts expected arguments that were given another value;
        `precision` is right / given, `recall` right / expected, and None for a division by 0.
    """
    compared: dict[tuple[str, str], list[ComparedArgument]] = {}
    for row in rows:
        for argument in arguments(row["expected"], row["calls"] or ()):
            compared.setdefault((argument.tool, argument.name), []).append(argument)
    table: dict[str, dict[str, ArgumentCounts]] = {}
    for tool, name in sorted(compared):
        comparisons = compared[tool, name]
        expected = sum(argument.expected for argument in comparisons)
        given = sum(argument.given for argument in comparisons)
        right = sum(argument.right for argument in comparisons)
        table.setdefault(tool, {})[name] = {
            "expected": expected,
            "given": given,
            "right": right,
            "wrong": sum(
                argument.expected and argument.given and not argument.right
                for argument in comparisons
            ),
            "precision": right / given if given else None,
            "recall": right / expected if expected else None,
        }
    return table


def confusion(rows: Iterable[ScoredRow]) -> dict[str, dict[str, int]]:
    """Count how often each tool was called where each tool was expected.

    Calls that could not be matched are paired in their order. A missing call counts as `NO_CALL`
    among the called tools, a superfluous call as `NO_CALL` among the expected tools. A row that
    neither expects nor makes a call counts as `NO_CALL` in both. Where an answer does not parse,
    every expected call of the row counts as answered by `NOT_PARSED`.

    Args:
        rows: each with `expected` and `calls`.
    Returns:
        {expected tool: {called tool: number of calls}}.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        expected = [call["name"] for call in row["expected"]]
        if row["calls"] is None:
            counts.update((name, NOT_PARSED) for name in expected or [NO_CALL])
            continue
        pairs, unmatched = _matched(row["expected"], row["calls"])
        others = [call["name"] for call in unmatched]
        missed = [call["name"] for call, answer in pairs if answer is None]
        counts.update((call["name"], call["name"]) for call, answer in pairs if answer)
        if not pairs and not others:
            counts[NO_CALL, NO_CALL] += 1
        counts.update(zip_longest(missed, others, fillvalue=NO_CALL))
    table: dict[str, dict[str, int]] = {}
    for name, called in sorted(
        counts, key=lambda pair: [(tool in (NO_CALL, NOT_PARSED), tool) for tool in pair]
    ):
        table.setdefault(name, {})[called] = counts[name, called]
    return table


def _matched(
    expected: Sequence[CallRecord], called: Sequence[CallRecord]
) -> tuple[list[tuple[CallRecord, CallRecord | None]], list[CallRecord]]:
    """Pair each expected call with the answer's next call of the same tool.

    Returns:
        (expected call, its match or None) for each expected call, and the calls without a match.
    """
    left = list(called)
    pairs: list[tuple[CallRecord, CallRecord | None]] = []
    for call in expected:
        indices = (index for index, other in enumerate(left) if other["name"] == call["name"])
        index = next(indices, None)
        pairs.append((call, None if index is None else left.pop(index)))
    return pairs, left


def _same(expected: Any, given: Any) -> bool:
    # Python's == would take 1, 1.0 and True for equal; their JSON texts differ.
    return json.dumps(expected, sort_keys=True) == json.dumps(given, sort_keys=True)
