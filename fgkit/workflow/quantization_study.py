"""Every way to store a model's weights, each made into a `.task`, run and scored: what it costs and what it saves.

    python -m fgkit quantize run

In: a run's folder with its tuned model. Out: `run/variants/` with a `.task` for each quantization, `quantization.json`,
`quantization.md` and `quantization.png`, and the figures in `summary.json`. The model is converted once, in floats; each
quantization of that file takes seconds. What is there already, of the same model and rows, is not made or scored again;
speed is measured at every call, all files one after the other, so that they meet the machine in one mood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from fgkit import progress, tables
from fgkit.atomic_files import replacing
from fgkit.bundles import create as bundle
from fgkit.config import TaskConfig, TfliteConfig
from fgkit.dataset.rows import Rows, rows_hash
from fgkit.errors import ConfigError
from fgkit.evaluation import paired, tables as score_table
from fgkit.evaluation.gate import Verdict, gate
from fgkit.evaluation.score_model import score_bundle
from fgkit.export import conversion, quantization
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.files import read_json, sha256, write_json, write_text
from fgkit.models.record import prompt_setup
from fgkit.plots import BLUE, INK, VERMILION, new, save
from fgkit.runtime import speed as runtime_speed
from fgkit.text import nearest

from . import summary
from .stages.score_steps import score_tuned
from .stages.to_task_steps import sidecar

FOLDER, NAME = "variants", "quantization"
MENU = ("none", *(name for name, recipe in QUANTIZATIONS.items() if recipe.rules))


def study(
    settings: TaskConfig, rows: Rows, names: Sequence[str] = MENU
) -> dict[str, dict[str, Any]]:
    """Make, run, score and measure a `.task` for each quantization.

    Args:
        settings: whose folder holds the tuned model; its profile and limits count.
        rows: tools and held-out rows.
        names: quantizations, of MENU.
    Returns:
        by name: `file`, `bytes`, `score` (with its rows), `speed`, `gate`, `model_sha256`, `rows_sha256`.
    Raises:
        ConfigError: a name that is not on the menu; all are listed.
    """
    if wrong := [name for name in names if name not in MENU]:
        raise ConfigError(
            "\n".join(
                f"quantization is {name!r}, expected one of {', '.join(MENU)}{nearest(name, MENU)}"
                for name in wrong
            )
        )
    folder, model = settings.folder / FOLDER, settings.model_folder
    tuned = score_tuned(settings, rows)
    belongs = {
        "model_sha256": sha256(model / "model.safetensors"),
        "rows_sha256": rows_hash(rows.held_out),
    }
    record = folder / f"{NAME}.json"
    found = read_json(record) if record.is_file() else {}
    found = {
        name: one
        for name, one in found.items()
        if belongs.items() <= one.items() and (folder / one["file"]).is_file()
    }
    source = None
    for number, name in enumerate(names, 1):
        if name in found:
            progress.note(
                f"[{number}/{len(names)}] {name}: already measured, of the same model and rows"
            )
            continue
        progress.note(f"[{number}/{len(names)}] {name}")
        source = source or _float_file(settings, folder, belongs["model_sha256"])
        found[name] = _measured(settings, rows, folder, name, source, tuned) | belongs
        write_json(record, found)
    kept = {name: found[name] for name in MENU if name in found}
    for name, one in progress.bar(
        kept.items(), desc="speed", unit="file"
    ):  # one after the other, at every call
        one["speed"] = runtime_speed.measure(folder / one["file"])
        bundle.update_sidecar(folder / one["file"], speed=one["speed"])
    write_json(record, kept)
    write_text(folder / f"{NAME}.md", table(kept, tuned) + "\n\n" + recommendation(kept) + "\n")
    plot(kept, folder / f"{NAME}.png")
    summary.update(
        settings.folder,
        variants={
            name: one
            | {"score": {key: value for key, value in one["score"].items() if key != "rows"}}
            for name, one in kept.items()
        },
    )
    return kept


def settings_of(folder: str | Path, **named: str) -> TaskConfig:
    """The settings with which a run made its bundles.

    Args:
        folder: the run's folder.
        named: settings that go before its own, where they are not empty.
    Raises:
        FgkitError: it is no run's folder.
    """
    folder = Path(folder).expanduser()
    told = summary.of_run(folder)["settings"]
    own = told.get("to_task") or told.get("finetune") or {}
    kept = {field.name: own[field.name] for field in fields(TaskConfig) if field.name in own}
    return TaskConfig(
        **kept | {name: value for name, value in named.items() if value} | {"output": str(folder)}
    )


def table(found: dict[str, dict[str, Any]], tuned: dict[str, Any]) -> str:
    """The study as a Markdown table, a line for each quantization, the smallest file last."""
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
    for name, one in sorted(found.items(), key=lambda item: -item[1]["bytes"]):
        change = paired.differences(tuned, one["score"])["exact_match"]
        low, high = map(score_table.points, change["interval"])
        speed = one["speed"]
        lines.append(
            (
                f"`{name}`",
                f"{one['bytes'] / 1e6:.1f}",
                score_table.rate(one["score"], "tool_accuracy"),
                score_table.rate(one["score"], "exact_match"),
                f"{score_table.points(change['difference'])} ({low} to {high})",
                f"{speed['prefill_tokens_per_second']:,.0f}",
                f"{speed['decode_tokens_per_second']:,.0f}",
                f"{speed['peak_memory_bytes'] / 1e9:.2f}",
                "passed" if one["gate"]["passed"] else "failed",
            )
        )
    return tables.markdown(lines)


def recommendation(found: dict[str, dict[str, Any]]) -> str:
    """Which to take, in a sentence: the smallest that passed the gate, and what to take where a point counts."""
    passed = {name: one for name, one in found.items() if one["gate"]["passed"]}
    if not passed:
        return "None passed the gate: train on more rows or epochs before anything is shipped."
    smallest = min(passed, key=lambda name: passed[name]["bytes"])
    best = max(
        passed, key=lambda name: (passed[name]["score"]["exact_match"], -passed[name]["bytes"])
    )
    text = f"The smallest that passed the gate: `{smallest}`, {_facts(passed[smallest])}."
    return (
        text if best == smallest else f"{text} The best answers: `{best}`, {_facts(passed[best])}."
    )


def plot(found: dict[str, dict[str, Any]], path: Path) -> Path:
    """Draw size against exact match, with intervals, and size against writing speed."""
    figure, (score_axes, speed_axes) = new(9.0, 4.2, 1, 2)
    for place, (name, one) in enumerate(sorted(found.items(), key=lambda item: item[1]["bytes"])):
        size, rate = one["bytes"] / 1e6, 100 * one["score"]["exact_match"]
        low, high = (100 * end for end in one["score"]["intervals"]["exact_match"])
        color = BLUE if one["gate"]["passed"] else VERMILION
        score_axes.errorbar(
            size,
            rate,
            yerr=[[rate - low], [high - rate]],
            color=color,
            capsize=3,
            marker="o" if one["gate"]["passed"] else "X",
        )
        speed = one["speed"]["decode_tokens_per_second"]
        speed_axes.plot(size, speed, color=color, marker="o" if one["gate"]["passed"] else "X")
        for axes, height in ((score_axes, rate), (speed_axes, speed)):
            axes.annotate(
                QUANTIZATIONS[name].suffix,
                (size, height),
                textcoords="offset points",
                xytext=(6, -14 if axes is score_axes and place % 2 else 4),
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
        sizes = sorted({round(one["bytes"] / 1e6, -1) for one in found.values()})
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], rotation=45, fontsize=8)
    return save(figure, path)


def _float_file(settings: TaskConfig, folder: Path, model_sha256: str) -> Path:
    """The model converted without quantization, with the prefills and the KV cache of the run's own `.tflite`."""
    made = sorted(settings.folder.glob(f"{settings.name}_*.tflite.json"))
    names = ("prefill_seq_len", "extra_prefill_seq_lens", "kv_cache_max_len")
    found = (
        read_json(made[0])["parameters"]
        if made
        else {name: getattr(TfliteConfig(), name) for name in names}
    )
    shape = {name: found.get(name, []) for name in names}
    path = (
        folder
        / f"{settings.name}_{QUANTIZATIONS['none'].suffix}_ekv{shape['kv_cache_max_len']}.tflite"
    )
    if not path.is_file() or read_json(f"{path}.json")["model_sha256"] != model_sha256:
        conversion.convert(
            settings.model_folder, folder, name=settings.name, quantize="none", **shape
        )
    return path


def _measured(
    settings: TaskConfig, rows: Rows, folder: Path, name: str, source: Path, tuned: dict
) -> dict[str, Any]:
    suffix = QUANTIZATIONS[name].suffix
    network, output = (
        folder / f"{settings.name}_{suffix}.tflite",
        folder / f"{settings.name}_{suffix}.task",
    )
    try:
        if name != "none":
            with replacing(network) as part:
                quantization.quantize(source, part, name)
        bundle.create_task(
            source if name == "none" else network,
            settings.model_folder / "tokenizer.model",
            output,
            profile="google" if rows.parallel else settings.profile or "guide",
            sidecar=sidecar(settings, rows) | {"quantize": name},
        )
    finally:
        network.unlink(missing_ok=True)
    score = score_bundle(
        output,
        rows,
        prompt_setup(settings.model_folder, rows.tools, settings.style).only(),
        tokenizer_folder=settings.model_folder,
        try_ways=False,
    )
    verdict: Verdict = gate(
        tuned,
        score,
        max_exact_match_loss=settings.max_exact_match_loss,
        max_tool_accuracy_loss=settings.max_tool_accuracy_loss,
    )
    bundle.update_sidecar(
        output,
        gate=verdict.described(),
        scores={"task": {key: value for key, value in score.items() if key != "rows"}},
    )
    return {
        "file": output.name,
        "bytes": output.stat().st_size,
        "score": score,
        "gate": verdict.described(),
    }


def _facts(one: dict[str, Any]) -> str:
    return (
        f"{one['bytes'] / 1e6:.0f} MB, {score_table.rate(one['score'], 'exact_match')} exact match, "
        f"{one['speed']['decode_tokens_per_second']:.0f} tokens a second"
    )
