"""The report of a quantization study: its table, its recommendation and its plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fgkit import tables
from fgkit.evaluation import paired, tables as score_table
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.plots import BLUE, INK, VERMILION, new, save
from fgkit.record_types import Score, Variant


def table(variants: Mapping[str, Variant], tuned: Score) -> str:
    """Write the study as a Markdown table: one line for each quantization, the smallest file last.

    Args:
        variants: the measured quantizations by name.
        tuned: the PyTorch model's score, which the bundles are compared with.
    """
    lines = [
        (
            "quantization",
            "MB",
            "right tool",
            "exact match",
            "exact match, against PyTorch",
            "reads, tokens/s",
            "writes, tokens/s",
            "memory, GB",
            "gate",
        )
    ]
    for name, variant in sorted(variants.items(), key=lambda item: -item[1]["bytes"]):
        change = paired.differences(tuned, variant["score"])["exact_match"]
        low, high = map(score_table.points, change["interval"])
        speed = variant["speed"]
        lines.append(
            (
                f"`{name}`",
                f"{variant['bytes'] / 1e6:.1f}",
                score_table.rate(variant["score"], "tool_accuracy"),
                score_table.rate(variant["score"], "exact_match"),
                f"{score_table.points(change['difference'])} ({low} to {high})",
                f"{speed['prefill_tokens_per_second']:,.0f}",
                f"{speed['decode_tokens_per_second']:,.0f}",
                f"{speed['peak_memory_bytes'] / 1e9:.2f}",
                "passed" if variant["gate"].get("passed") else "failed",
            )
        )
    return tables.markdown(lines)


def recommendation(variants: Mapping[str, Variant]) -> str:
    """Recommend the smallest bundle that passed the gate, and the most accurate one if it differs.

    Args:
        variants: the measured quantizations by name.
    """
    passed = {name: variant for name, variant in variants.items() if variant["gate"].get("passed")}
    if not passed:
        return "None passed the gate: train on more rows or epochs before anything is shipped."
    smallest = min(passed, key=lambda name: passed[name]["bytes"])
    best = max(
        passed,
        key=lambda name: (passed[name]["score"]["exact_match"] or 0, -passed[name]["bytes"]),
    )
    text = f"The smallest that passed the gate: `{smallest}`, {_facts(passed[smallest])}."
    return (
        text if best == smallest else f"{text} The best answers: `{best}`, {_facts(passed[best])}."
    )


def plot(variants: Mapping[str, Variant], path: Path) -> Path:
    """Plot exact match, with 95% intervals, and decoding speed against the size of the bundles.

    Args:
        variants: the measured quantizations by name.
        path: the PNG file to write.
    Returns:
        `path`.
    """
    figure, (score_axes, speed_axes) = new(9.0, 4.2, 1, 2)
    for index, (name, variant) in enumerate(
        sorted(variants.items(), key=lambda item: item[1]["bytes"])
    ):
        size, rate = variant["bytes"] / 1e6, 100 * (variant["score"]["exact_match"] or 0)
        ends = variant["score"].get("intervals", {}).get("exact_match") or (0.0, 1.0)
        low, high = (100 * end for end in ends)
        color = BLUE if variant["gate"].get("passed") else VERMILION
        marker = "o" if variant["gate"].get("passed") else "X"
        score_axes.errorbar(
            size,
            rate,
            yerr=[[rate - low], [high - rate]],
            color=color,
            capsize=3,
            marker=marker,
        )
        speed = variant["speed"]["decode_tokens_per_second"]
        speed_axes.plot(size, speed, color=color, marker=marker)
        # Labels of neighbouring sizes alternate above and below, so that they do not overlap.
        for axes, height in ((score_axes, rate), (speed_axes, speed)):
            axes.annotate(
                QUANTIZATIONS[name].suffix,
                (size, height),
                textcoords="offset points",
                xytext=(6, -14 if axes is score_axes and index % 2 else 4),
                fontsize=8,
                color=INK,
            )
    score_axes.set_ylabel("exact match (%), line: 95% interval")
    speed_axes.set_ylabel("written tokens a second")
    speed_axes.set_ylim(bottom=0)
    for axes in (score_axes, speed_axes):
        axes.set_xlabel("size of the .task (MB); cross: failed the gate")
        axes.set_xscale("log")
        axes.minorticks_off()
        sizes = sorted({round(variant["bytes"] / 1e6, -1) for variant in variants.values()})
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], rotation=45, fontsize=8)
    return save(figure, path)


def _facts(variant: Variant) -> str:
    return (
        f"{variant['bytes'] / 1e6:.0f} MB, "
        f"{score_table.rate(variant['score'], 'exact_match')} exact match, "
        f"{variant['speed']['decode_tokens_per_second']:.0f} tokens a second"
    )
