"""`manifest.json` of a run's folder: what each stage was made from, how far it came, and what it left.

A stage is a notebook, a step one of its functions. A stage is done when all its steps ended well with the same settings,
inputs, code and versions, and the files that it wrote still have the hashes recorded then. The steps write the manifest
themselves (recording.py), so a notebook that is run by hand counts like one that `run` executes:

    {"to_tflite": {"state": "done", "fingerprint": "5f70...", "inputs": {"run/model/model.safetensors": "e3b0..."},
                   "settings": {...}, "versions": {...}, "outputs": {"functiongemma-flutter_q8_ekv1024.tflite": "9f86..."},
                   "steps": {"validate": {"state": "done", "started": "2026-01-31T12:00:00+00:00", "seconds": 20.1}}}}

A stage or step is `running`, `done` or `failed`. One that is `running` while no process holds the folder's lock was
killed.
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
# The steps that have to end well, in this order; a step that begins again undoes the later ones.
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
# Settings that name files: the contents count, not the names.
_PATHS = ("output", "model", "data", "eval_data", "tools")
# No file that a stage writes has a longer name.
_LONGEST_NAME = 200


def read(folder: Path) -> Manifest:
    """Read the manifest in a folder; an empty one where there is none.

    Raises:
        FgkitError: it is damaged, has fields of wrong types, or lists outputs that do not lie in the folder.
    """
    path = folder / NAME
    remedy = "It is no manifest of stages. Delete it; the stages then run again."
    content = read_json(path) if path.is_file() else {}
    manifest = schema.check(content, Manifest, path, remedy=remedy)
    for stage, entry in manifest.items():
        for name in entry.get("outputs", {}):
            # `run` removes outputs of an earlier name: a name that leads elsewhere would remove a file of the user's.
            if not _is_inside(name):
                raise FgkitError(
                    f"{path}: {stage}.outputs names {name[:80]!r}, expected files in this folder. {remedy}"
                )
    return manifest


def is_done(folder: Path, stage: str, settings: StageSettings) -> bool:
    """Tell whether a stage is done, nothing that it depends on changed, and its files are as it left them."""
    entry = read(folder).get(stage, StageRecord())
    return (
        entry.get("state") == "done"
        and bool(entry.get("outputs"))
        and not changed(folder, stage)
        and entry.get("fingerprint") == fingerprint(stage, settings, inputs_of(settings))
    )


def changed(folder: Path, stage: str) -> list[str]:
    """List the files of a stage that are missing or have other bytes than it wrote, one sentence each."""
    problems = []
    for name, digest in read(folder).get(stage, StageRecord()).get("outputs", {}).items():
        if not (folder / name).is_file():
            problems.append(f"{name} is gone")
        elif sha256(folder / name) != digest:
            problems.append(f"{name} has other bytes than {stage} wrote")
    return problems


def outputs(settings: StageSettings) -> list[Path]:
    """List the files of a stage that exist, found by their names."""
    name = getattr(settings, "name", "")
    return [
        path
        for pattern in _OUTPUTS[stage_of(settings)]
        for path in sorted(settings.folder.glob(pattern.format(name=name)))
        if path.is_file() and not path.name.startswith(".")
    ]


def forget(folder: Path, stages: Iterable[str]) -> None:
    """Have stages run again; the files that they wrote stay recorded, so that those can be replaced."""
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
    """Record a stage's duration and the files that it still has after those of an earlier name were removed."""
    folder, manifest, stage = settings.folder, read(settings.folder), stage_of(settings)
    if entry := manifest.get(stage):
        recorded = entry.get("outputs", {})
        kept = {name: digest for name, digest in recorded.items() if (folder / name).is_file()}
        write_entry(folder, stage, entry | {"outputs": kept, "seconds": seconds})


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder."""
    write_json(folder / NAME, manifest)


def write_entry(folder: Path, stage: str, entry: StageRecord) -> None:
    """Write the entry of one stage, with the state that follows from its steps."""
    steps = entry.get("steps", {})
    states = [steps[name].get("state") if name in steps else None for name in STEPS[stage]]
    if "failed" in states:
        entry["state"] = "failed"
    else:
        entry["state"] = "done" if set(states) == {"done"} else "running"
    write(folder, read(folder) | {stage: entry})


def stage_of(settings: StageSettings) -> str:
    """Give the notebook that settings belong to."""
    return next(name for name, config in NOTEBOOKS.items() if type(settings) is config)


def fingerprint(stage: str, settings: StageSettings, inputs: dict[str, str]) -> str:
    """Hash everything that a stage's outputs depend on: settings, file contents, code, package versions.

    Args:
        stage: the notebook.
        settings: its settings.
        inputs: the files that it reads, with their SHA-256.
    """
    values = {key: value for key, value in vars(settings).items() if key not in _PATHS}
    if (base := values.get("base")) and Path(base).expanduser().is_dir():
        values["base"] = str(Path(base).expanduser().absolute())
    if stage == "finetune":
        # Without a base named, a token decides which one is taken.
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
    """Hash the files that a stage reads: data and tools, the model that it starts from, the network that it bundles."""
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
    """Give the first line of an FgkitError; of another error only its class, because its text may hold anything."""
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
