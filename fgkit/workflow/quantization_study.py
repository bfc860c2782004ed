"""Every way to store a model's weights, each made into a `.task`, run and scored: what it costs and what it saves.

    python -m fgkit quantize run

In: a run's folder with its tuned model. Out: `run/variants/` with a `.task` for each quantization, `quantization.json`,
`quantization.md` and `quantization.png`, and the figures in `summary.json`. The model is converted once, in floats; each
quantization of that file takes seconds. What exists already, of the same model and rows, is not made or scored again;
speed is measured at every call, one file after the other, so that all files are timed under the same load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from fgkit import atomic_files, progress, schema, tables
from fgkit.atomic_files import replacing
from fgkit.bundles import create as bundle, read as bundle_files
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset.rows import RunData, rows_hash
from fgkit.errors import ConfigError
from fgkit.evaluation import paired, tables as score_table
from fgkit.evaluation.gate import Verdict, gate
from fgkit.evaluation.score_model import score_bundle
from fgkit.evaluation.scores import without_rows
from fgkit.export import conversion, quantization
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.files import sha256, write_json, write_text
from fgkit.models.record import prompt_setup
from fgkit.plots import BLUE, INK, VERMILION, new, save
from fgkit.record_types import Score, TfliteParameters, Variant
from fgkit.runtime import speed as runtime_speed
from fgkit.text import nearest

from . import conversion_record, summary
from .stages.score_steps import score_tuned
from .stages.to_task_steps import sidecar

FOLDER, NAME = "variants", "quantization"


class _Origin(TypedDict):
    model_sha256: str
    rows_sha256: str


MENU = ("none", *(name for name, recipe in QUANTIZATIONS.items() if recipe.rules))


def study(settings: TaskConfig, rows: RunData, names: Sequence[str] = MENU) -> dict[str, Variant]:
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
    belongs: _Origin = {
        "model_sha256": sha256(model / "model.safetensors"),
        "rows_sha256": rows_hash(rows.held_out),
    }
    record = folder / f"{NAME}.json"
    variants = _known(record, belongs)
    source = None
    for number, name in enumerate(names, 1):
        if name in variants:
            progress.note(
                f"[{number}/{len(names)}] {name}: already measured, of the same model and rows"
            )
            continue
        progress.note(f"[{number}/{len(names)}] {name}")
        source = source or _float_file(settings, folder, belongs["model_sha256"])
        variants[name] = _measured(settings, rows, folder, name, source, tuned, belongs)
        write_json(record, variants)
    kept = {name: variants[name] for name in MENU if name in variants}
    # One after the other and at every call, so that all files are timed under the same load.
    for variant in progress.bar(kept.values(), desc="speed", unit="file"):
        variant["speed"] = runtime_speed.measure(folder / variant["file"])
        bundle_files.update_sidecar(folder / variant["file"], speed=variant["speed"])
    write_json(record, kept)
    write_text(folder / f"{NAME}.md", table(kept, tuned) + "\n\n" + recommendation(kept) + "\n")
    plot(kept, folder / f"{NAME}.png")
    summary.update(
        settings.folder,
        variants={
            name: {**variant, "score": without_rows(variant["score"])}
            for name, variant in kept.items()
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
    recorded = summary.of_run(folder)["settings"]
    own: dict[str, Any] = {**(recorded.get("to_task") or recorded.get("finetune") or {})}
    values: dict[str, Any] = {
        field.name: own[field.name] for field in fields(TaskConfig) if field.name in own
    }
    values.update({name: value for name, value in named.items() if value}, output=str(folder))
    return TaskConfig(**values)


def table(variants: Mapping[str, Variant], tuned: Score) -> str:
    """Write the study as a Markdown table, a line for each quantization, the smallest file last."""
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
    for name, one in sorted(variants.items(), key=lambda item: -item[1]["bytes"]):
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
                "passed" if one["gate"].get("passed") else "failed",
            )
        )
    return tables.markdown(lines)


def recommendation(variants: Mapping[str, Variant]) -> str:
    """Recommend the smallest that passed the gate, and the one with the best answers if that is another."""
    passed = {name: one for name, one in variants.items() if one["gate"].get("passed")}
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
    """Draw size against exact match, with intervals, and size against writing speed."""
    figure, (score_axes, speed_axes) = new(9.0, 4.2, 1, 2)
    for index, (name, one) in enumerate(
        sorted(variants.items(), key=lambda item: item[1]["bytes"])
    ):
        size, rate = one["bytes"] / 1e6, 100 * (one["score"]["exact_match"] or 0)
        ends = one["score"].get("intervals", {}).get("exact_match") or (0.0, 1.0)
        low, high = (100 * end for end in ends)
        color = BLUE if one["gate"].get("passed") else VERMILION
        score_axes.errorbar(
            size,
            rate,
            yerr=[[rate - low], [high - rate]],
            color=color,
            capsize=3,
            marker="o" if one["gate"].get("passed") else "X",
        )
        speed = one["speed"]["decode_tokens_per_second"]
        speed_axes.plot(size, speed, color=color, marker="o" if one["gate"].get("passed") else "X")
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
        sizes = sorted({round(one["bytes"] / 1e6, -1) for one in variants.values()})
        axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes], rotation=45, fontsize=8)
    return save(figure, path)


def _float_file(settings: TaskConfig, folder: Path, model_sha256: str) -> Path:
    """The model converted without quantization, with the prefills and the KV cache of the run's own `.tflite`."""
    made = sorted(settings.folder.glob(f"{settings.name}_*.tflite.json"))
    default = TfliteConfig()
    parameters: TfliteParameters = {
        "prefill_seq_len": default.prefill_seq_len,
        "extra_prefill_seq_lens": default.extra_prefill_seq_lens,
        "kv_cache_max_len": default.kv_cache_max_len,
    }
    if made:
        parameters = conversion_record.read(made[0].with_suffix(""))["parameters"]
    context = parameters["kv_cache_max_len"]
    path = folder / f"{settings.name}_{QUANTIZATIONS['none'].suffix}_ekv{context}.tflite"
    if not path.is_file() or conversion_record.read(path)["model_sha256"] != model_sha256:
        conversion.convert(
            settings.model_folder,
            folder,
            name=settings.name,
            quantize="none",
            prefill_seq_len=parameters["prefill_seq_len"],
            extra_prefill_seq_lens=parameters.get("extra_prefill_seq_lens", []),
            kv_cache_max_len=context,
        )
    return path


def _known(record: Path, belongs: _Origin) -> dict[str, Variant]:
    """Read what an earlier study measured, as far as it is of the same model and rows and its files exist."""
    if not record.is_file():
        return {}
    variants = schema.read(
        record, dict[str, Variant], remedy="Delete the file; the variants are then measured again."
    )
    return {
        name: variant
        for name, variant in variants.items()
        if belongs.items() <= variant.items() and _exists(record.parent, variant["file"])
    }


def _measured(
    settings: TaskConfig,
    rows: RunData,
    folder: Path,
    name: str,
    source: Path,
    tuned: Score,
    belongs: _Origin,
) -> Variant:
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
        atomic_files.remove(network)
    score = score_bundle(
        output,
        rows,
        prompt_setup(settings.model_folder, rows.tools, settings.style).only(),
        tokenizer_folder=settings.model_folder,
        probe_modes=False,
    )
    verdict: Verdict = gate(
        tuned,
        score,
        max_exact_match_loss=settings.max_exact_match_loss,
        max_tool_accuracy_loss=settings.max_tool_accuracy_loss,
    )
    bundle_files.update_sidecar(
        output,
        gate=verdict.to_dict(),
        scores={"task": without_rows(score)},
    )
    return {
        "file": output.name,
        "bytes": output.stat().st_size,
        "score": score,
        "gate": verdict.to_dict(),
        **belongs,
    }


def _facts(one: Variant) -> str:
    return (
        f"{one['bytes'] / 1e6:.0f} MB, {score_table.rate(one['score'], 'exact_match')} exact match, "
        f"{one['speed']['decode_tokens_per_second']:.0f} tokens a second"
    )


def _exists(folder: Path, name: str) -> bool:
    """Tell whether a name is that of a file in the folder itself, not one that leads elsewhere."""
    return Path(name).name == name and "\0" not in name and (folder / name).is_file()
