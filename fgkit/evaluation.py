"""Records and a model's answers go in; rates, tables and a picture come out. Any generator can be scored.

parse_rate: share of answers that `calls.parse` accepts (a plain text without calls is accepted, but has the wrong
tool); tool_accuracy: share whose called names are the expected ones, in order; exact_match: names and typed arguments,
where key order does not count and 1, 1.0 and true all differ. Where plain text is expected both say whether no call was
made, whatever the text. Rates run from 0 to 1.

>>> score(records, answers)["per_tool"]["show_alert"]
{'n': 50, 'tool_accuracy': 1.0, 'exact_match': 0.86}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .calls import Call, parse
from .errors import CallSyntaxError, FgkitError
from .files import replacing
from .records import KINDS, Record, canonical

METRICS = {"parse_rate": "parse rate", "tool_accuracy": "tool accuracy", "exact_match": "exact match"}
SHOWN_TOOLS = 20
_NO_CALL = "(no call)"
KIND_LABELS = {"call": "one call", "parallel": "several calls", "no_call": "no call"}
OKABE_ITO = ("#999999", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


def score(records: Sequence[Record], texts: Sequence[str], *, end_tag_cut: bool = False) -> dict[str, Any]:
    """Compare answers with what the records expect.

    Args:
        records: the rows asked.
        texts: the raw answer to each row, same order, control tokens kept.
        end_tag_cut: accept one missing final `<end_function_call>`, for runtimes that stop at it.
    Returns:
        {"n", "parse_rate", "tool_accuracy", "exact_match", "per_tool": {tool: {"n", "tool_accuracy", "exact_match"}},
        "per_kind": {"call" | "parallel" | "no_call": the same},
        "rows": [{"line", "user_content", "expected", "text", "calls", "error", "tool_ok", "exact"}]}; a row counts for
        the first tool it expects; `calls` is None, and `error` says why, where the answer does not parse. An answer
        without a call is parsed only where none is expected: plain text says nothing about the format.
    Raises:
        FgkitError: there is nothing to score, or not one answer for each row.
    """
    if not records or len(records) != len(texts):
        raise FgkitError(f"nothing to score: found {len(records)} rows and {len(texts)} answers, expected one answer "
                         "for each row and at least one row. Check the data file and the generator.")
    rows = [_row(record, text, end_tag_cut) for record, text in zip(records, texts, strict=True)]
    tools, kinds = defaultdict(list), defaultdict(list)
    for record, row in zip(records, rows, strict=True):
        tools[record.calls[0].name if record.calls else _NO_CALL].append(row)
        kinds[record.kind].append(row)
    return {
        "n": len(rows),
        "parse_rate": sum(row["calls"] is not None and bool(row["calls"]) == bool(row["expected"])
                          for row in rows) / len(rows),
        **_rates(rows),
        "per_tool": {tool: {"n": len(group), **_rates(group)} for tool, group in sorted(tools.items())},
        "per_kind": {kind: {"n": len(kinds[kind]), **_rates(kinds[kind])} for kind in KINDS if kind in kinds},
        "rows": rows,
    }


def compare(named_scores: dict[str, dict]) -> str:
    """A Markdown table: one column for each score and one line for each metric, two for each kind of row and each tool.

    Args:
        named_scores: what `score` returned by the name to show, such as base, tuned and task.
    """
    table = [["", *named_scores], ["---", *["---:"] * len(named_scores)]]
    table.append(["rows", *(str(one["n"]) for one in named_scores.values())])
    for metric, label in METRICS.items():
        table.append([label, *(_percent(one[metric]) for one in named_scores.values())])
    for part, name, n in _parts(named_scores):
        label = KIND_LABELS[name] if part == "per_kind" else f"style `{name}`" if part == "per_style" else f"`{name}`"
        for metric in ("tool_accuracy", "exact_match"):
            cells = (_percent(one.get(part, {}).get(name, {}).get(metric)) for one in named_scores.values())
            table.append([f"{label} ({n} rows): {METRICS[metric]}", *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]  # aligned: terminals show it as is
    return "\n".join("| " + " | ".join(_filled(cell, width) for cell, width in zip(line, widths, strict=True)) + " |"
                     for line in table)


def plot(named_scores: dict[str, dict], path: str | Path) -> Path:
    """Draw the scores as grouped bars into a PNG file and return its path.

    Args:
        named_scores: as for `compare`, up to eight.
        path: the file; an existing one is replaced when the new one is complete.
    """
    from matplotlib.figure import Figure

    parts = [(part, name) for part, name, _ in _parts(named_scores)]
    labels = [*METRICS.values(), *(f"exact match\n{KIND_LABELS.get(name, name)}" for _, name in parts)]
    width = 0.8 / len(named_scores)
    figure = Figure(figsize=(max(6.0, 1.6 * len(labels)), 4.2), layout="constrained")
    axes = figure.subplots()
    for index, (name, one) in enumerate(named_scores.items()):
        values = [100 * one[metric] for metric in METRICS]
        values += [100 * one.get(part, {}).get(name, {}).get("exact_match", 0.0) for part, name in parts]
        places = [place + (index - (len(named_scores) - 1) / 2) * width for place in range(len(labels))]
        color = OKABE_ITO[index % len(OKABE_ITO)]
        bars = axes.bar(places, values, width, label=f"{name} ({one['n']} rows)", color=color)
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=1)
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("metric")
    axes.set_ylabel("share of rows (%)")
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(named_scores), frameon=False)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=150)
    return Path(path)


def changed_rows(before: dict, after: dict) -> list[dict[str, Any]]:
    """The rows that two models of the same data do not get equally right, newly wrong ones first.

    Args:
        before, after: what `score` returned for the same records in the same order.
    Returns:
        {"line", "user_content", "expected", "before", "after", "change"} each; `before` and `after` are the raw
        answers, `change` is "tool lost", "match lost", "tool gained" or "match gained".
    Raises:
        FgkitError: the rows are missing or not the same.
    """
    old, new = before.get("rows"), after.get("rows")
    if not old or not new:
        raise FgkitError("a score has no rows, expected what evaluation.score returned. Score the model again.")
    asked, asked_again = ([(row["user_content"], row["expected"]) for row in rows] for rows in (old, new))
    if asked != asked_again:
        raise FgkitError(f"the two scores are of different rows ({len(old)} and {len(new)}), expected the same rows in "
                         "the same order. Score both models on one data file.")
    changes = []
    for one, other in zip(old, new, strict=True):
        tool, match = other["tool_ok"] - one["tool_ok"], other["exact"] - one["exact"]
        if tool or match:
            change = f"{'tool' if tool else 'match'} {'lost' if (tool or match) < 0 else 'gained'}"
            changes.append({"line": one["line"], "user_content": one["user_content"], "expected": one["expected"],
                            "before": one["text"], "after": other["text"], "change": change})
    order = ("tool lost", "match lost", "tool gained", "match gained")
    return sorted(changes, key=lambda row: order.index(row["change"]))


def _parts(named_scores: dict[str, dict]) -> list[tuple[str, str, int]]:
    """What is shown on its own: (part of a score, name, most rows) of kinds and styles, where several, and of the tools
    with most rows."""
    sizes: dict[tuple[str, str], int] = {}
    for part in ("per_kind", "per_style", "per_tool"):
        for one in named_scores.values():
            for name, each in one.get(part, {}).items():  # scores of fgkit 0.1 have no kinds
                sizes[part, name] = max(each["n"], sizes.get((part, name), 0))
    several = sum(part == "per_kind" for part, _ in sizes) > 1
    hidden = {("per_tool", _NO_CALL)} if several else {("per_kind", kind) for kind in KINDS}
    tools = sorted((key for key in sizes if key[0] == "per_tool"), key=lambda key: -sizes[key])
    hidden |= {*tools[SHOWN_TOOLS:]}
    return [(part, name, n) for (part, name), n in sizes.items() if (part, name) not in hidden]


def _row(record: Record, text: str, end_tag_cut: bool) -> dict[str, Any]:
    calls, error = None, None
    try:
        calls = parse(text, end_tag_cut=end_tag_cut)
    except CallSyntaxError as problem:
        error = str(problem)
    return {
        "line": record.line,
        "user_content": record.user_content,
        "expected": _plain(record.calls),
        "text": text,
        "calls": None if calls is None else _plain(calls),
        "error": error,
        "tool_ok": calls is not None and [call.name for call in calls] == [call.name for call in record.calls],
        "exact": calls is not None and canonical(calls) == canonical(record.calls),
    }


def _rates(rows: list[dict]) -> dict[str, float]:
    return {"tool_accuracy": sum(row["tool_ok"] for row in rows) / len(rows),
            "exact_match": sum(row["exact"] for row in rows) / len(rows)}


def _plain(calls: Iterable[Call]) -> list[dict]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


def _filled(cell: str, width: int) -> str:
    if cell.startswith("---"):
        return "-" * (width - cell.count(":")) + ":" * cell.count(":")
    return cell.rjust(width) if cell[-1:] in ("%", "–") or cell.isdigit() else cell.ljust(width)


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}%"
