"""Types of scores in JSON: rates, scored rows, comparisons of rows, and the verdict of the gate.

Rates run from 0 to 1; they are null if there was nothing to measure.
"""

# Without `from __future__ import annotations`: `TypedDict` does not recognise NotRequired in a
# string.
from typing import Any, NotRequired, TypedDict

# Lower and upper end of a 95% confidence interval.
Interval = tuple[float, float] | None


class CallRecord(TypedDict):
    """A function call."""

    name: str
    arguments: dict[str, Any]


class ScoredRow(TypedDict):
    """A row, the model's answer and whether it is correct; see `evaluation.scores.score`."""

    line: int
    user_content: str
    expected: list[CallRecord]
    text: str
    calls: list[CallRecord] | None
    tool_ok: bool
    exact: bool
    group: NotRequired[int]
    error: NotRequired[str | None]


class ScoredRows(TypedDict):
    """The part of a score from which all its other fields are computed."""

    rows: list[ScoredRow]


class Rates(TypedDict):
    """The metrics of a set of rows."""

    n: int
    tool_accuracy: float | None
    exact_match: float | None
    groups: NotRequired[int]
    parse_rate: NotRequired[float | None]
    argument_precision: NotRequired[float | None]
    argument_recall: NotRequired[float | None]
    intervals: NotRequired[dict[str, Interval]]


class ArgumentCounts(TypedDict):
    """How often an argument was expected, given and right.

    See `evaluation.matching.argument_table`.
    """

    expected: int
    given: int
    right: int
    wrong: int
    precision: float | None
    recall: float | None


class Provenance(TypedDict):
    """What was scored: the model file, the rows and the tools."""

    path: str
    sha256: str
    rows_sha256: str
    tools_hash: str | None


class Score(Rates):
    """The metrics of a model's answers to the held-out rows, overall and by group of rows."""

    per_tool: NotRequired[dict[str, Rates]]
    per_kind: NotRequired[dict[str, Rates]]
    per_style: NotRequired[dict[str, Rates]]
    per_argument: NotRequired[dict[str, dict[str, ArgumentCounts]]]
    confusion: NotRequired[dict[str, dict[str, int]]]
    rows: NotRequired[list[ScoredRow]]
    style: NotRequired[str]
    path: NotRequired[str]
    sha256: NotRequired[str]
    rows_sha256: NotRequired[str]
    tools_hash: NotRequired[str | None]
    sent: NotRequired[str]
    prompts_as_trained: NotRequired[int]
    ways: NotRequired[dict[str, Rates]]
    constrained: NotRequired[bool]
    against: NotRequired[dict[str, Any]]


class ChangedRow(TypedDict):
    """A row that exactly one of two models answers correctly.

    See `evaluation.paired.changed_rows`.
    """

    line: int
    user_content: str
    expected: list[CallRecord]
    before: str
    after: str
    change: str


class GateRecord(TypedDict):
    """The gate's verdict; see `evaluation.gate.Verdict`."""

    # Empty if the bundle was not compared with its model.
    passed: NotRequired[bool]
    lines: NotRequired[list[str]]
    differences: NotRequired[dict[str, Any]]
