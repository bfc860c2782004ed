"""A data file against everything that is known to spoil a model: all findings, the counts, a picture.

In: rows, held-out rows, tools and, for lengths, the base's tokenizer. Out: a `Report` as lines, table, JSON and PNG.

>>> report = inspect("data/training_data.jsonl", tools, "data/eval_data.jsonl")
>>> report.counts["D213"], report.passed
(1, True)

Rows are read once each. What is compared across rows is compared by 64-bit digests and MinHash signatures, so time and
memory grow with the number of rows: 100,000 take 12 seconds and 0.3 GB (docs/data-report.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit.config import FinetuneConfig, TfliteConfig
from fgkit.dataset.records import (
    KIND_LABELS,
    KINDS,
    NO_CALL,
    Inspection,
    by_mark,
    inspect_records,
)
from fgkit.errors import DataError
from fgkit.files import write_json
from fgkit.plots import INK, OKABE_ITO, new, save as save_picture
from fgkit.prompts import PromptSetup
from fgkit.tables import markdown
from fgkit.text import short
from fgkit.tools.report import ToolReport

from . import balance, lengths
from .characters import oddities
from .overlap import Side, check_leaks, check_twins, side_of, watched
from .rules import KEPT, RULES, SEVERITIES, Finding, Findings, printable, quoted
from .similarity import leaves

TOOLS_DRAWN = 25
SHOWN = 20  # warnings and notes of one rule that are shown; errors are all shown


@dataclass(frozen=True)
class Report:
    """What one or two data files hold and what is wrong with them.

    Args:
        sides: rows to train on, then held-out rows if there are any.
        findings: errors, then warnings, then notes, each in file order; at most `data_rules.KEPT` of a rule.
        counts: how often each rule was broken.
        limits: max_length, prefill_seq_len and kv_cache_max_len in tokens.
        without_lengths: why rows were not counted in tokens; "" if they were.
        seconds: how long it took.
        tools: what `lint_tools` found, which counts as well; None if it was not asked.
    """

    sides: tuple[Side, ...]
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    limits: dict[str, int]
    without_lengths: str
    seconds: float
    tools: ToolReport | None = None

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.total("error")

    def total(self, severity: str) -> int:
        """How many findings of a severity there are."""
        in_tools = (
            sum(finding.severity == severity for finding in self.tools.findings)
            if self.tools
            else 0
        )
        return in_tools + sum(
            count for rule, count in self.counts.items() if RULES[rule].severity == severity
        )

    def lines(self) -> Iterator[str]:
        """One line a finding, the tools' first; of a warning or note at most `SHOWN`, then how many more there are."""
        if self.tools:
            yield from tool_lines(self.tools)
        seen: dict[str, int] = {}
        for finding in self.findings:
            seen[finding.rule] = seen.get(finding.rule, 0) + 1
            if finding.severity == "error" or seen[finding.rule] <= SHOWN:
                yield str(finding)
        for rule, count in seen.items():
            shown_here = count if RULES[rule].severity == "error" else min(count, SHOWN)
            if self.counts[rule] > shown_here:
                yield (
                    f"... and {self.counts[rule] - shown_here} more of {rule} ({RULES[rule].what}); "
                    f"--json lists up to {KEPT}"
                )

    def raise_errors(self) -> None:
        """Raise every error at once (DataError); warnings and notes pass."""
        if not self.passed:
            errors = [str(finding) for finding in self.findings if finding.severity == "error"]
            more = self.total("error") - len(errors)
            raise DataError("\n".join(errors + [f"... and {more} more errors."] * bool(more)))

    def table(self) -> str:
        """The counts as a Markdown table, then what was found."""
        rows = [["", *("held out" if place else "training" for place in range(len(self.sides)))]]
        facts = [_facts(side) for side in self.sides]
        names = dict.fromkeys(name for fact in facts for name in fact)
        rows += [[name, *(str(fact.get(name, "–")) for fact in facts)] for name in names]
        limits = ", ".join(f"{name} {limit}" for name, limit in self.limits.items())
        tokens = (
            f"Lengths are not checked: {self.without_lengths}"
            if self.without_lengths
            else f"Limits in tokens: {limits}."
        )
        totals = ", ".join(
            f"{self.total(kind)} {kind}{'' if self.total(kind) == 1 else 's'}"
            for kind in SEVERITIES
        )
        return "\n".join([markdown(rows), "", tokens, f"{totals}."])

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON takes it."""
        names = ("training", "held_out")
        return {
            "passed": self.passed,
            **{f"{kind}s": self.total(kind) for kind in SEVERITIES},
            "rules": dict(sorted(self.counts.items())),
            "findings": [
                {
                    "rule": finding.rule,
                    "severity": finding.severity,
                    "path": finding.path,
                    "line": finding.line,
                    "what": RULES[finding.rule].what,
                    "found": finding.found,
                    "expected": finding.expected,
                    "remedy": finding.remedy,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            "files": {
                name: {
                    "path": side.path,
                    "duplicates": side.duplicates,
                    **side.counts,
                    "phrasings": len(set(side.groups)),
                    "shared_phrasings": side.shared_phrasings,
                    "tokens": side.lengths.summary() if side.lengths else None,
                }
                for name, side in zip(names, self.sides)
            },
            "tools": self.tools.to_json() if self.tools else None,
            "limits": self.limits,
            "without_lengths": self.without_lengths,
            "seconds": round(self.seconds, 2),
        }


def tool_lines(tools: ToolReport) -> Iterator[str]:
    """The broken rules of tools as lint writes them, errors first."""
    for finding in (*tools.errors, *tools.warnings):
        yield printable(f"{finding.place}: {finding.rule} {finding.severity}: {finding.message}")


def inspect(
    data: str | Path,
    tools: list[dict],
    eval_data: str | Path = "",
    *,
    tokenizer: Any = None,
    without_lengths: str = "no tokenizer was given.",
    system_message: str = "",
    style: str = "template",
    max_length: int = FinetuneConfig.max_length,
    prefill_seq_len: int = TfliteConfig.prefill_seq_len,
    kv_cache_max_len: int = TfliteConfig.kv_cache_max_len,
    seed: int = FinetuneConfig.seed,
    format: str = "auto",
    tool_report: ToolReport | None = None,
) -> Report:
    """Look at one or two data files for everything in `data_rules.RULES`.

    Args:
        data: rows to train on.
        tools: declarations from `load_tools`.
        eval_data: held-out rows; "" for those that `data` marks for evaluation, or none.
        tokenizer: the base model's; without it rows are not counted in tokens, and `without_lengths` says why.
        system_message, style: of the prompts, as for `PromptSetup`.
        max_length, prefill_seq_len, kv_cache_max_len: the notebooks' settings, in tokens.
        seed: of the hash functions that find near-duplicates; the same seed finds the same.
        format: of both files, one of `formats.FORMATS`.
        tool_report: from `lint_tools`, to be shown with the rest.
    Raises:
        DataError: a file is not there or cannot be opened; what is wrong inside becomes findings.
    """
    start = time.monotonic()
    findings = Findings()
    inspections = [_read(findings, path, tools, format) for path in (data, eval_data) if str(path)]
    train, marked = by_mark(inspections[0])
    sides = [side_of(inspections[0].path, train, _duplicates(inspections[0]), seed)]
    if len(inspections) == 2:
        unmarked, chosen = by_mark(inspections[1])
        sides.append(
            side_of(inspections[1].path, chosen or unmarked, _duplicates(inspections[1]), seed)
        )
    elif marked:
        sides.append(side_of(inspections[0].path, marked, 0, seed))
    for side in sides:
        _check_texts(findings, side)
        check_twins(findings, side)
        side.counts = balance.count(side.records, _without_own(side, tools))
        side.arguments = balance.values_of(side.records)
        balance.check_values(findings, side.path, side.arguments)
        if tokenizer is not None and side.records:
            side.lengths = lengths.measure(
                side.records, PromptSetup(tools, system_message, (style,)), tokenizer
            )
            lengths.check(
                findings,
                side.path,
                side.records,
                side.lengths,
                max_length=max_length,
                prefill_seq_len=prefill_seq_len,
                kv_cache_max_len=kv_cache_max_len,
            )
            lengths.check_bytes(findings, side.path, side.records, tokenizer)
    first = sides[0]
    balance.check_kinds(findings, first.path, first.records, first.counts, len(set(first.groups)))
    balance.check_tools(
        findings, first.path, _without_own(first, tools), first.counts, first.arguments
    )
    if len(sides) == 2:
        check_leaks(findings, *sides)
        balance.check_shared_values(findings, sides[1].path, sides[1].arguments, first.arguments)
    limits = {
        "max_length": max_length,
        "prefill_seq_len": prefill_seq_len,
        "kv_cache_max_len": kv_cache_max_len,
    }
    return Report(
        tuple(sides),
        tuple(findings.in_order()),
        dict(findings.counts),
        limits,
        "" if tokenizer is not None else without_lengths,
        time.monotonic() - start,
        tool_report,
    )


def _read(findings: Findings, path: str | Path, tools: list[dict], format: str) -> Inspection:
    inspection = inspect_records(path, tools, format=format)
    for problem in (*inspection.problems, *inspection.warnings):
        findings.add_message(problem.rule, problem.path, problem.line, problem.message)
    return inspection


def _duplicates(inspection: Inspection) -> int:
    return sum(warning.rule == "D102" for warning in inspection.warnings)


def _without_own(side: Side, tools: list[dict]) -> list[dict]:
    """The run's tools, unless every row brings its own."""
    return (
        [] if side.records and all(record.tools is not None for record in side.records) else tools
    )


def _check_texts(findings: Findings, side: Side) -> None:
    """Odd characters and spaces in what the user says, in the answer and in its arguments."""
    for record in watched(side.records, f"reading {Path(side.path).name}"):
        said = record.user_content
        places = [("the text", said), ("the answer", record.text)]
        for call in record.calls:
            places += [
                (f"{call.name}.{name}", leaf)
                for name, value in call.arguments.items()
                for leaf in leaves(value)
                if isinstance(leaf, str)
            ]
        for place, text in places:
            for rule, found, repaired in oddities(text):
                findings.add(
                    rule,
                    side.path,
                    record.line,
                    f"{found} in {place} {quoted(text)}",
                    repaired=repaired,
                )
            if text != text.strip():
                rule = "D251" if place.startswith("the ") else "D252"
                findings.add(rule, side.path, record.line, f"{place} is {quoted(text)}")


def plot(report: Report, path: str | Path) -> Path:
    """Draw how long rows are and how many rows each tool has into a PNG file, and return its path.

    Args:
        report: from `inspect`; without token counts the left half shows characters.
        path: the file; an existing one is replaced when the new one is complete.
    """
    figure, (left, right) = new(11, 4.6, columns=2)
    right.yaxis.grid(False)
    _draw_lengths(left, report)
    _draw_tools(right, report.sides[0])
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(
                loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False, fontsize=8
            )
    return save_picture(figure, path)


def save(report: Report, folder: str | Path) -> Path:
    """Write `report.json` and `report.png` into a folder and return the picture's path."""
    write_json(Path(folder) / "report.json", report.as_dict())
    return plot(report, Path(folder) / "report.png")


def _draw_lengths(axes: Any, report: Report) -> None:
    """Rows by their length, each file in its own colour and line style, and the limits that are near."""
    counted = [
        (
            side.lengths.total.tolist() if side.lengths else [len(text) for text in side.texts],
            name,
            style,
            color,
        )
        for side, name, style, color in zip(
            report.sides, ("training", "held out"), ("-", "--"), OKABE_ITO[1:]
        )
    ]
    every = [length for rows, *_ in counted for length in rows] or [0]
    shortest, longest = min(every), max(every)
    span = {"bins": min(40, longest - shortest + 1), "range": (shortest - 0.5, longest + 0.5)}
    for rows, name, style, color in counted:
        axes.hist(rows, **span, histtype="stepfilled", alpha=0.35, color=color)
        axes.hist(
            rows,
            **span,
            histtype="step",
            linestyle=style,
            color=color,
            linewidth=1.5,
            label=f"{name} ({len(rows)} rows)",
        )
    if not report.without_lengths:
        for (name, limit), style in zip(report.limits.items(), (":", "-.", "--"), strict=True):
            if shortest / 2 <= limit <= 2 * longest:
                axes.axvline(
                    limit, color=INK, linestyle=style, linewidth=1, label=f"{name} {limit}"
                )
    axes.set_xlabel(
        "characters a request (no tokenizer, so no tokens)"
        if report.without_lengths
        else "tokens a row, prompt and answer"
    )
    axes.set_ylabel("rows")


def _draw_tools(axes: Any, side: Side) -> None:
    """Training rows of each tool by kind of answer, the most frequent tools first."""
    order = sorted(side.counts["per_tool"].items(), key=lambda item: -sum(item[1].values()))
    names, left = (
        [short(name, 32) for name, _ in order[:TOOLS_DRAWN]],
        [0] * len(order[:TOOLS_DRAWN]),
    )
    for kind, color, hatch in zip(KINDS, OKABE_ITO[1:4], ("", "//", ".."), strict=True):
        widths = [kinds[kind] for _, kinds in order[:TOOLS_DRAWN]]
        if not any(widths):
            continue
        axes.barh(
            range(len(names)),
            widths,
            left=left,
            color=color,
            hatch=hatch,
            edgecolor="white",
            label=KIND_LABELS[kind],
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    more = len(order) - len(names)
    axes.set_xlabel(
        "training rows"
        + (f" (the {len(names)} most frequent tools, {more} more are not drawn)" if more else "")
    )
    axes.set_ylabel("tool")


def _facts(side: Side) -> dict[str, Any]:
    counts = side.counts
    facts = {
        "rows": counts["rows"],
        **{f"rows: {KIND_LABELS[kind]}": counts[kind] for kind in KINDS},
        "phrasings": len(set(side.groups)),
        "exact duplicates left out": side.duplicates,
    }
    facts |= {
        f"rows for {name}": sum(kinds.values())
        for name, kinds in counts["per_tool"].items()
        if name != NO_CALL
    }
    if side.shared_phrasings is not None:
        facts["rows with a phrasing that is trained on"] = side.shared_phrasings
    if side.lengths:
        facts |= {
            f"tokens a row, {name.replace('_', ' ')}": value
            for name, value in side.lengths.summary().items()
        }
    return facts
