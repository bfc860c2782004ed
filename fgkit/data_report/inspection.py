"""Checks data files for everything that is known to spoil a model.

Example:
    report = inspect("data/training_data.jsonl", tools, "data/eval_data.jsonl", limits=limits)
    report.counts["D213"], report.passed
    # (1, True)

Each file is read once. Rows are compared by 64-bit digests and MinHash signatures, so time and
memory
grow with the number of rows: 100,000 take 12 seconds and 0.3 GB (docs/data-report.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from fgkit.chat_types import ToolDeclaration
from fgkit.dataset.reading import Inspection, inspect_records, split_by_marker
from fgkit.dataset.records import Record
from fgkit.prompts import PromptSetup
from fgkit.tools.report import ToolReport

from . import balance, lengths
from .characters import oddities
from .findings import Findings, quoted
from .lengths import BaseTokenizer, TokenLimits
from .overlap import Side, check_leaks, check_twins, side_of, with_progress
from .report import Report
from .similarity import leaves


def inspect(
    data: str | Path,
    tools: list[ToolDeclaration],
    eval_data: str | Path = "",
    *,
    limits: TokenLimits,
    tokenizer: BaseTokenizer | None = None,
    without_lengths: str = "no tokenizer was given.",
    setup: PromptSetup | None = None,
    seed: int = 0,
    format: str = "auto",
    tool_report: ToolReport | None = None,
) -> Report:
    """Check one or two data files for every rule in `rules.RULES`.

    Args:
        data: rows to train on.
        tools: declarations from `load_tools`.
        eval_data: held-out rows; "" for those that `data` marks for evaluation, or none.
        limits: the longest rows and prompts allowed, in tokens; they count only with a tokenizer.
        tokenizer: the base model's. Left out, rows are not counted in tokens.
        without_lengths: why there is no tokenizer.
        setup: how the model is prompted. Left out, in its own template with the official system
            message.
        seed: of the hash functions that find near-duplicates; the same seed finds the same.
        format: of both files, one of `formats.FORMATS`.
        tool_report: from `lint_tools`, to be shown with the rest.
    Raises:
        DataError: a file is missing or cannot be opened; what is wrong inside becomes findings.
    """
    start = time.monotonic()
    findings = Findings()
    sides = _read_sides(findings, data, tools, eval_data, seed=seed, format=format)
    for side in sides:
        _check_side(findings, side, tools)
        if tokenizer is not None and side.records:
            setup = setup or PromptSetup(tools)
            side.lengths = lengths.measure(side.records, setup, tokenizer)
            lengths.check(findings, side.path, side.records, side.lengths, limits)
            lengths.check_bytes(findings, side.path, side.records, tokenizer)
    train = sides[0]
    phrasings = len(set(train.groups))
    balance.check_kinds(findings, train.path, train.records, train.counts, phrasings)
    balance.check_tools(
        findings, train.path, _run_tools(train, tools), train.counts, train.arguments
    )
    if len(sides) == 2:
        held_out = sides[1]
        check_leaks(findings, train, held_out)
        balance.check_shared_values(findings, held_out.path, held_out.arguments, train.arguments)
    return Report(
        tuple(sides),
        tuple(findings.in_order()),
        dict(findings.counts),
        limits,
        "" if tokenizer is not None else without_lengths,
        time.monotonic() - start,
        tool_report,
    )


def _read_sides(
    findings: Findings,
    data: str | Path,
    tools: list[ToolDeclaration],
    eval_data: str | Path,
    *,
    seed: int,
    format: str,
) -> list[Side]:
    """The training rows, and the held-out rows if there are any."""
    inspection = _read(findings, data, tools, format)
    train, marked = split_by_marker(inspection)
    sides = [side_of(inspection.path, train, _duplicates(inspection), seed)]
    if str(eval_data):
        inspection = _read(findings, eval_data, tools, format)
        unmarked, marked = split_by_marker(inspection)
        held_out = marked or unmarked
        sides.append(side_of(inspection.path, held_out, _duplicates(inspection), seed))
    elif marked:
        sides.append(side_of(inspection.path, marked, 0, seed))
    return sides


def _read(
    findings: Findings, path: str | Path, tools: list[ToolDeclaration], format: str
) -> Inspection:
    inspection = inspect_records(path, tools, format=format)
    for problem in (*inspection.problems, *inspection.warnings):
        findings.add_message(problem.rule_id, problem.path, problem.line, problem.message)
    return inspection


def _duplicates(inspection: Inspection) -> int:
    return sum(warning.rule_id == "D102" for warning in inspection.warnings)


def _run_tools(side: Side, tools: list[ToolDeclaration]) -> list[ToolDeclaration]:
    """The run's tools, unless every row brings its own."""
    has_only_own = side.records and all(record.tools is not None for record in side.records)
    return [] if has_only_own else tools


def _check_side(findings: Findings, side: Side, tools: list[ToolDeclaration]) -> None:
    """Check one side by itself and fill in its counts and argument values."""
    _check_texts(findings, side)
    check_twins(findings, side)
    side.counts = balance.count(side.records, _run_tools(side, tools))
    side.arguments = balance.values_of(side.records)
    balance.check_values(findings, side.path, side.arguments)


def _check_texts(findings: Findings, side: Side) -> None:
    """Find odd characters and outer spaces in the request, in the answer and in its arguments."""
    for record in with_progress(side.records, f"reading {Path(side.path).name}"):
        for name, text in _texts_of(record):
            for rule, oddity, repaired in oddities(text):
                message = f"{oddity} in {name} {quoted(text)}"
                findings.add(rule, side.path, record.line, message, repaired=repaired)
            if text != text.strip():
                rule = "D251" if name.startswith("the ") else "D252"
                findings.add(rule, side.path, record.line, f"{name} is {quoted(text)}")


def _texts_of(record: Record) -> Iterator[tuple[str, str]]:
    """Each text of a row after the name that findings give it."""
    yield "the text", record.user_content
    yield "the answer", record.text
    for call in record.calls:
        for name, value in call.arguments.items():
            for leaf in leaves(value):
                if isinstance(leaf, str):
                    yield f"{call.name}.{name}", leaf
