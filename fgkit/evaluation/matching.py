"""Expected calls and the calls of an answer go in; which argument is right and which tool was taken for which come out.

The first expected call of a tool is held against the first call of that tool in the answer, the second against the
second. A call is {"name", "arguments"}, as in the rows of a score; a row's `calls` is None where its answer did not
parse.

>>> argument_table([{"expected": [{"name": "alarm", "arguments": {"hour": 7}}],
...                  "calls": [{"name": "alarm", "arguments": {"hour": "7"}}]}])
{'alarm': {'hour': {'expected': 1, 'given': 1, 'right': 0, 'wrong': 1, 'precision': 0.0, 'recall': 0.0}}}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fgkit.dataset.records import NO_CALL

NOT_PARSED = "(does not parse)"


def arguments(
    expected: Sequence[dict], called: Sequence[dict]
) -> Iterator[tuple[str, str, bool, bool, bool]]:
    """(tool, argument, expected, given, right) of every argument that is expected or given.

    Right is an argument of a matched call that has the expected value, types included: 7, 7.0 and "7" all differ.
    """
    pairs, beyond = _matched(expected, called)
    for call, answer in pairs:
        wanted, given = call["arguments"], answer["arguments"] if answer else {}
        for name in {**wanted, **given}:
            both = name in wanted and name in given
            yield (
                call["name"],
                name,
                name in wanted,
                name in given,
                both and _same(wanted[name], given[name]),
            )
    for call in beyond:
        for name in call["arguments"]:
            yield call["name"], name, False, True, False


def argument_table(rows: Iterable[dict]) -> dict[str, dict[str, dict[str, Any]]]:
    """What became of every argument, by tool and name.

    Args:
        rows: each with `expected` and `calls`.
    Returns:
        {tool: {argument: {"expected", "given", "right", "wrong", "precision", "recall"}}}; `wrong` counts expected ones
        that were given another value; `precision` is right / given, `recall` right / expected; None of 0.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    names: set[tuple[str, str]] = set()
    for row in rows:
        for tool, name, expected, given, right in arguments(row["expected"], row["calls"] or ()):
            names.add((tool, name))
            counts.update(
                (tool, name, what)
                for what, so in (
                    ("expected", expected),
                    ("given", given),
                    ("right", right),
                    ("wrong", expected and given and not right),
                )
                if so
            )
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for tool, name in sorted(names):
        one: dict[str, Any] = {
            what: counts[tool, name, what] for what in ("expected", "given", "right", "wrong")
        }
        one |= {
            rate: one["right"] / one[total] if one[total] else None
            for rate, total in (("precision", "given"), ("recall", "expected"))
        }
        table.setdefault(tool, {})[name] = one
    return table


def confusion(rows: Iterable[dict]) -> dict[str, dict[str, int]]:
    """How often each tool was called for each expected one: {expected: {called: calls}}.

    Matched calls are of the same tool; the others are paired in their order. A call that is missing counts under
    `NO_CALL` among the called, one too many under `NO_CALL` among the expected, and so do, for both, rows that neither
    expect nor make a call. Of an answer that does not parse every expected call counts under `NOT_PARSED`.

    Args:
        rows: each with `expected` and `calls`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        expected = [call["name"] for call in row["expected"]]
        if row["calls"] is None:
            counts.update((name, NOT_PARSED) for name in expected or [NO_CALL])
            continue
        pairs, beyond = _matched(row["expected"], row["calls"])
        others = [call["name"] for call in beyond]
        missed = [call["name"] for call, answer in pairs if answer is None]
        counts.update((call["name"], call["name"]) for call, answer in pairs if answer)
        for place in range(max(len(missed), len(others), not pairs and not others)):
            counts[
                missed[place] if place < len(missed) else NO_CALL,
                others[place] if place < len(others) else NO_CALL,
            ] += 1
    table: dict[str, dict[str, int]] = {}
    for name, called in sorted(
        counts, key=lambda pair: [(tool in (NO_CALL, NOT_PARSED), tool) for tool in pair]
    ):
        table.setdefault(name, {})[called] = counts[name, called]
    return table


def _matched(
    expected: Sequence[dict], called: Sequence[dict]
) -> tuple[list[tuple[dict, dict | None]], list[dict]]:
    """Each expected call with the answer's next call of the same tool, if there is one; then the calls left over."""
    left, pairs = list(called), []
    for call in expected:
        place = next(
            (place for place, other in enumerate(left) if other["name"] == call["name"]), None
        )
        pairs.append((call, None if place is None else left.pop(place)))
    return pairs, left


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
