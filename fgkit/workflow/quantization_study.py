"""Compare quantizations: build a `.task` with each of them, run it, score it and measure it.

    python -m fgkit quantize run

Input is a run folder with its tuned model. Output is `run/variants/`, with a `.task` for each
quantization, `quantization.json`, `quantization.md` and `quantization.png`, and the figures in
`summary.json`.

The model is converted once, without quantization; to quantize that file then takes seconds. Bundles
and scores of an earlier study of the same model and rows are reused. Speed is measured at every
call, one file after the other, so that all files are timed under the same load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from fgkit import atomic_files, licence, ownership, progress, schema
from fgkit.atomic_files import replacing
from fgkit.bundles import create as bundle, read as bundle_files
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset.rows import RunData, rows_hash
from fgkit.errors import ConfigError
from fgkit.evaluation.gate import Verdict, gate
from fgkit.evaluation.score_model import score_bundle
from fgkit.evaluation.scores import without_rows
from fgkit.export import conversion, quantization
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.files import sha256, write_json, write_text
from fgkit.models.record import prompt_setup
from fgkit.record_types import Score, TfliteParameters, Variant
from fgkit.runtime import speed as runtime_speed
from fgkit.text import nearest

from . import claims, conversion_record, locks, summary
from .quantization_report import plot, recommendation, table
from .stages.score_steps import score_tuned
from .stages.to_task_steps import sidecar

__all__ = [
    "FOLDER",
    "MENU",
    "NAME",
    "plot",
    "recommendation",
    "settings_of",
    "study",
    "table",
]

FOLDER, NAME = "variants", "quantization"
# The quantizations that can be made from a float file; "none" is that file itself.
MENU = ("none", *(name for name, recipe in QUANTIZATIONS.items() if recipe.rules))


class _Origin(TypedDict):
    """The model and the rows that a measurement belongs to."""

    model_sha256: str
    rows_sha256: str


def study(settings: TaskConfig, rows: RunData, names: Sequence[str] = MENU) -> dict[str, Variant]:
    """Build, run, score and measure a `.task` for each quantization.

    Args:
        settings: the settings of `to_task`: the folder with the tuned model, the bundle profile and
            the limits of the gate.
        rows: the tools and the held-out rows.
        names: the quantizations, each one of MENU.
    Returns:
        the measured quantizations by name, in the order of MENU; those of earlier studies are
        included.
    Raises:
        ConfigError: a name is not in MENU; the message lists every such name.
        FgkitError: something of somebody else's is in the way; everything is listed.
    """
    if wrong := [name for name in names if name not in MENU]:
        raise ConfigError(
            "\n".join(
                f"quantization is {name!r}, expected one of {', '.join(MENU)}{nearest(name, MENU)}"
                for name in wrong
            )
        )
    _require_free(settings, names)
    with locks.only_step(settings.folder):
        ownership.mark(settings.folder)
        return _study(settings, rows, names)


def _require_free(settings: TaskConfig, names: Sequence[str]) -> None:
    """Refuse to start if a file of somebody else's, or an input, is where the study writes."""
    folder = settings.folder / FOLDER
    paths = [folder / f"{NAME}.{ending}" for ending in ("json", "md", "png")]
    for name in names:
        stem = f"{settings.name}_{QUANTIZATIONS[name].suffix}"
        paths += [folder / f"{stem}{ending}" for ending in (".task", ".task.json", ".tflite")]
    paths += folder.glob(f"{settings.name}_{QUANTIZATIONS['none'].suffix}_ekv*.tflite*")
    paths += [settings.folder / summary.NAME, folder / licence.NOTICE]
    problems = claims.inputs_in_the_way(settings, paths)
    if folder.is_symlink():
        problems.append(f"{folder}: is a symbolic link that fgkit did not make")
    claims.require_no_problems(settings.folder, problems, paths)


def _study(settings: TaskConfig, rows: RunData, names: Sequence[str]) -> dict[str, Variant]:
    folder, model = settings.folder / FOLDER, settings.model_folder
    tuned = score_tuned(settings, rows)
    origin: _Origin = {
        "model_sha256": sha256(model / "model.safetensors"),
        "rows_sha256": rows_hash(rows.held_out),
    }
    record = folder / f"{NAME}.json"
    variants = _known(record, origin)
    source = None
    for number, name in enumerate(names, 1):
        if name in variants:
            progress.note(
                f"[{number}/{len(names)}] {name}: already measured with this model and these rows"
            )
            continue
        progress.note(f"[{number}/{len(names)}] {name}")
        source = source or _float_file(settings, folder, origin["model_sha256"])
        variants[name] = _measured(settings, rows, folder, name, source, tuned, origin)
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
    """Return the settings with which a run made its bundles.

    Args:
        folder: the run's folder.
        named: values that replace recorded settings; empty ones are ignored.
    Raises:
        FgkitError: the folder is not a run folder.
    """
    folder = Path(folder).expanduser()
    recorded = summary.of_run(folder)["settings"]
    own: dict[str, Any] = {**(recorded.get("to_task") or recorded.get("finetune") or {})}
    values: dict[str, Any] = {
        field.name: own[field.name] for field in fields(TaskConfig) if field.name in own
    }
    values.update({name: value for name, value in named.items() if value}, output=str(folder))
    return TaskConfig(**values)


def _float_file(settings: TaskConfig, folder: Path, model_sha256: str) -> Path:
    """Convert the model without quantization, unless that file exists already.

    The prefill lengths and the size of the KV cache are those of the run's own `.tflite`.
    """
    records = sorted(settings.folder.glob(f"{settings.name}_*.tflite.json"))
    default = TfliteConfig()
    parameters: TfliteParameters = {
        "prefill_seq_len": default.prefill_seq_len,
        "extra_prefill_seq_lens": default.extra_prefill_seq_lens,
        "kv_cache_max_len": default.kv_cache_max_len,
    }
    if records:
        parameters = conversion_record.read(records[0].with_suffix(""))["parameters"]
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


def _known(record: Path, origin: _Origin) -> dict[str, Variant]:
    """Read the results of earlier studies of the same model and rows whose bundles still exist."""
    if not record.is_file():
        return {}
    variants = schema.read(
        record, dict[str, Variant], remedy="Delete the file; the variants are then measured again."
    )
    return {
        name: variant
        for name, variant in variants.items()
        if origin.items() <= variant.items() and _exists(record.parent, variant["file"])
    }


def _measured(
    settings: TaskConfig,
    rows: RunData,
    folder: Path,
    name: str,
    source: Path,
    tuned: Score,
    origin: _Origin,
) -> Variant:
    """Build the bundle of one quantization, score it and compare it with the tuned model."""
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
        **origin,
    }


def _exists(folder: Path, name: str) -> bool:
    """Tell whether a name, read from JSON, is that of a file directly inside the folder."""
    return Path(name).name == name and "\0" not in name and (folder / name).is_file()
