"""Read and write `manifest.json` of a run folder: the inputs, progress and outputs of each stage.

A stage is a notebook, and a step is one of its functions. A stage is done if all its steps
succeeded with the same settings, inputs, code and versions, and its outputs still have the recorded
hashes. The steps write the manifest themselves (recording.py), so it does not matter whether `run`
or a user executes the notebook. For example:

    {"to_tflite": {
        "state": "done",
        "fingerprint": "5f70...",
        "inputs": {"run/model/model.safetensors": "e3b0..."},
        "settings": {...},
        "versions": {...},
        "outputs": {"functiongemma-flutter_q8_ekv1024.tflite": "9f86..."},
        "steps": {"validate": {
            "state": "done", "started": "2026-01-31T12:00:00+00:00", "seconds": 20.1}}}}

The state of a stage or step is `running`, `done` or `failed`; that of a stage that has to run again
is `forgotten`. A stage that is `running` while no process holds the lock of the folder was killed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from fgkit import schema
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset import rows as run_rows
from fgkit.errors import FgkitError
from fgkit.files import read_json, sha256, write_json
from fgkit.locations import PACKAGE, shipped
from fgkit.record_types import Manifest, StageRecord

from . import summary

NAME = "manifest.json"
StageSettings = FinetuneConfig | TfliteConfig | TaskConfig
NOTEBOOKS: dict[str, type[StageSettings]] = {
    "finetune": FinetuneConfig,
    "to_tflite": TfliteConfig,
    "to_task": TaskConfig,
}
# The steps that have to succeed, in this order. When a step starts again, the later ones have to
# run again, too.
STEPS = {
    "finetune": ("score_base", "finetune", "score_tuned"),
    "to_tflite": ("validate", "convert", "compare_first_token"),
    "to_task": ("bundle_task", "bundle_litertlm", "check_bundles", "score_bundles", "judge"),
}
_OUTPUTS = {
    "finetune": ("model/*",),
    "to_tflite": ("{name}_*.tflite", "{name}_*.tflite.json"),
    "to_task": ("{name}.task", "{name}.task.json", "{name}.litertlm", "{name}.litertlm.json"),
}
# Settings that name files: the fingerprint depends on their contents, not on their names.
_PATHS = ("output", "model", "data", "eval_data", "tools")
# Longer than the name of any file that a stage writes.
_LONGEST_NAME = 200


def read(folder: Path) -> Manifest:
    """Read the manifest in a folder; without the file, return an empty one.

    Raises:
        FgkitError: the manifest is not JSON, fields have wrong types, or it lists outputs outside
            the folder.
    """
    path = folder / NAME
    remedy = "It is no manifest of stages. Delete it; the stages then run again."
    content = read_json(path) if path.is_file() else {}
    manifest = schema.check(content, Manifest, path, remedy=remedy)
    for stage, entry in manifest.items():
        for name in entry.get("outputs", {}):
            # `run` removes outputs with earlier names. A path out of the folder would make it
            # remove a file of the user.
            if not _is_inside(name):
                raise FgkitError(
                    f"{path}: {stage}.outputs names {name[:80]!r}, "
                    f"expected files in this folder. {remedy}"
                )
    return manifest


def is_done(folder: Path, stage: str, settings: StageSettings) -> bool:
    """Tell whether a stage is done and neither its inputs nor its outputs have changed since."""
    entry = read(folder).get(stage, StageRecord())
    return (
        entry.get("state") == "done"
        and bool(entry.get("outputs"))
        and not changed(folder, stage)
        and entry.get("fingerprint") == fingerprint(stage, settings, inputs_of(settings))
    )


def changed(folder: Path, stage: str) -> list[str]:
    """Describe each output of a stage that is missing or was changed."""
    problems = []
    for name, digest in read(folder).get(stage, StageRecord()).get("outputs", {}).items():
        if not (folder / name).is_file():
            problems.append(f"{name} is gone")
        elif sha256(folder / name) != digest:
            problems.append(f"{name} has other bytes than {stage} wrote")
    return problems


def outputs(settings: StageSettings) -> list[Path]:
    """List the existing output files of a stage, which are found by their names."""
    name = getattr(settings, "name", "")
    return [
        path
        for pattern in _OUTPUTS[stage_of(settings)]
        for path in sorted(settings.folder.glob(pattern.format(name=name)))
        if path.is_file() and not path.name.startswith(".")
    ]


def forget(folder: Path, stages: Iterable[str]) -> None:
    """Mark stages so that they run again; their outputs stay recorded and can be replaced."""
    manifest = read(folder)
    for stage in stages:
        if stage in manifest:
            manifest[stage] |= {"state": "forgotten", "steps": {}}
    if manifest:
        write(folder, manifest)


def failed(folder: Path, stage: str, error: BaseException) -> None:
    """Record that a stage failed outside its steps, for example because its kernel died."""
    manifest = read(folder)
    manifest.setdefault(stage, {}).update({"state": "failed", "error": error_text(error)})
    write(folder, manifest)


def settle(settings: StageSettings, seconds: float) -> None:
    """Record the duration of a stage, and only those outputs that still exist."""
    folder, manifest, stage = settings.folder, read(settings.folder), stage_of(settings)
    if entry := manifest.get(stage):
        recorded = entry.get("outputs", {})
        kept = {name: digest for name, digest in recorded.items() if (folder / name).is_file()}
        write_entry(folder, stage, entry | {"outputs": kept, "seconds": seconds})


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder."""
    write_json(folder / NAME, manifest)


def write_entry(folder: Path, stage: str, entry: StageRecord) -> None:
    """Write the entry of one stage; its state follows from the states of its steps."""
    steps = entry.get("steps", {})
    states = [steps[name].get("state") if name in steps else None for name in STEPS[stage]]
    if "failed" in states:
        entry["state"] = "failed"
    else:
        entry["state"] = "done" if set(states) == {"done"} else "running"
    write(folder, read(folder) | {stage: entry})


def stage_of(settings: StageSettings) -> str:
    """Return the name of the notebook that settings belong to."""
    return next(name for name, config in NOTEBOOKS.items() if type(settings) is config)


def fingerprint(stage: str, settings: StageSettings, inputs: dict[str, str]) -> str:
    """Hash all that the outputs of a stage depend on: settings, inputs, code, package versions.

    Args:
        stage: the name of the notebook.
        settings: its settings.
        inputs: the files that the stage reads, with their SHA-256.
    """
    values = {key: value for key, value in vars(settings).items() if key not in _PATHS}
    if (base := values.get("base")) and Path(base).expanduser().is_dir():
        values["base"] = str(Path(base).expanduser().absolute())
    if stage == "finetune":
        # If no base is named, it depends on the token which one is used.
        values["token"] = _has_token()
    code = [
        sha256(path)
        for path in (*sorted(PACKAGE.rglob("*.py")), shipped("notebooks", f"{stage}.ipynb"))
    ]
    text = json.dumps(
        [stage, values, list(inputs.values()), code, summary.versions()], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def inputs_of(settings: StageSettings) -> dict[str, str]:
    """Hash the input files of a stage: data, tools, and the model or network that it uses."""
    inputs = run_rows.sources(settings.data, settings.eval_data, settings.tools)
    folder: Path | None = settings.model_folder
    if isinstance(settings, FinetuneConfig):
        folder = Path(settings.base).expanduser() if settings.base else None
    paths = sorted(folder.glob("*")) if folder and folder.is_dir() else []
    if isinstance(settings, TaskConfig):
        paths += sorted(settings.folder.glob(f"{settings.name}_*.tflite"))
    return inputs | {
        str(path.absolute()): sha256(path)
        for path in paths
        if path.is_file() and not path.name.startswith(".")
    }


def error_text(error: BaseException) -> str:
    """Return the class of an error and, for an FgkitError, its first line.

    The text of any other error may contain anything, including secrets, so it is left out.
    """
    text = f": {str(error).splitlines()[0]}" if isinstance(error, FgkitError) and str(error) else ""
    return f"{type(error).__name__}{text}"


def _is_inside(name: str) -> bool:
    return (
        len(name) < _LONGEST_NAME
        and not {"", ".", ".."} & {*re.split(r"[/\\]", name)}
        and "\0" not in name
        and ":" not in name
    )


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())
