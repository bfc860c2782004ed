"""`manifest.json` of a run's folder: what each stage was made from, how far it came, and what it left.

In: a stage's settings. Out: whether it is done: all its steps ended well, with these very settings, inputs, code and
versions, and what it left still has the hashes written down then. Nothing else counts. Steps write it themselves, so a
notebook that is run by hand counts as one that `run` executes:

    {"to_tflite": {"state": "done", "fingerprint": "5f70...", "inputs": {"run/model/model.safetensors": "e3b0..."},
                   "settings": {...}, "versions": {...}, "outputs": {"functiongemma-flutter_q8_ekv1024.tflite": "9f86..."},
                   "steps": {"validate": {"state": "done", "started": "2026-01-31T12:00:00+00:00", "seconds": 20.1}}}}

A stage or step is `running`, `done` or `failed`. One that is `running` while nobody holds the folder's lock was killed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from fgkit import devices
from fgkit.config import FinetuneConfig, TaskConfig, TfliteConfig
from fgkit.dataset import rows as run_rows
from fgkit.errors import DataError, FgkitError
from fgkit.files import read_json, sha256, write_json
from fgkit.locations import PACKAGE, shipped
from fgkit.models import record

from . import locks, summary

NAME = "manifest.json"
NOTEBOOKS = {"finetune": FinetuneConfig, "to_tflite": TfliteConfig, "to_task": TaskConfig}
# What has to end well, in this order; a step that begins again takes those behind it back.
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
_PATHS = (
    "output",
    "model",
    "data",
    "eval_data",
    "tools",
)  # settings of which the contents count, not the names

P, T = ParamSpec("P"), TypeVar("T")


def step(function: Callable[P, T]) -> Callable[P, T]:
    """Have a stage's function, whose first argument is the settings, hold the folder and write down how it went.

    A function that is no step of the settings' stage, such as a score that is asked for again, only holds the folder.
    """

    @functools.wraps(function)
    def recording(*arguments: P.args, **options: P.kwargs) -> T:
        settings: Any = arguments[0] if arguments else options["settings"]
        rows = next(
            (
                value
                for value in (*arguments, *options.values())
                if isinstance(value, run_rows.Rows)
            ),
            None,
        )
        with locks.only_step(settings.folder):
            if function.__name__ not in STEPS[stage_of(settings)] or not devices.main_process():
                return function(*arguments, **options)
            with recorded(settings, function.__name__, rows) as outcome:
                result = function(*arguments, **options)
                outcome["passed"] = _passed(result)
            return result

    return recording


@contextmanager
def recorded(
    settings: Any, name: str, rows: run_rows.Rows | None = None
) -> Iterator[dict[str, bool]]:
    """Write down that a step runs and, at the end of the block, how it ended and what it left.

    Args:
        settings: its stage's.
        name: one of STEPS.
        rows: what it works on; read from files that changed since, they are refused.
    Yields:
        a dict; with `passed` False the step counts as failed although nothing was raised.
    Raises:
        DataError: the files of the rows changed; FgkitError: the manifest is damaged.
    """
    folder, stage = settings.folder, stage_of(settings)
    inputs = _inputs(settings)
    if rows is not None and rows.sources and not rows.sources.items() <= inputs.items():
        changed = [path for path, digest in rows.sources.items() if inputs.get(path) != digest]
        raise DataError(
            "\n".join(
                [
                    *(f"{path}: changed after its rows were read." for path in changed),
                    "Run the cell with load_rows again, then this one.",
                ]
            )
        )
    entry = _begin(folder, stage, name, settings, inputs)
    before = _stamps(folder, settings)
    outcome, start = {"passed": True}, time.monotonic()
    note = entry["steps"][name]
    try:
        yield outcome
        note["state"] = "done" if outcome["passed"] else "failed"
    except BaseException as error:
        note |= {"state": "failed", "error": _short(error)}
        raise
    finally:
        note["seconds"] = round(time.monotonic() - start, 1)
        entry["outputs"] = _hashed(folder, settings, entry["outputs"], before)
        _write(folder, stage, entry)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest in a folder, or an empty one.

    Raises:
        FgkitError: it is damaged.
    """
    path = folder / NAME
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict) or not all(map(_is_entry, found.values())):
        raise FgkitError(f"{path}: is no manifest of stages. Delete it; the stages then run again.")
    return found


def is_done(folder: Path, stage: str, settings: Any) -> bool:
    """Whether a stage needs not run: it is done, nothing it depends on changed, and what it left is as it left it."""
    entry = read(folder).get(stage, {})
    return (
        entry.get("state") == "done"
        and bool(entry.get("outputs"))
        and not changed(folder, stage)
        and entry.get("fingerprint") == fingerprint(stage, settings, _inputs(settings))
    )


def changed(folder: Path, stage: str) -> list[str]:
    """Which files that a stage left are gone or have other bytes now, one sentence each."""
    found = []
    for name, digest in read(folder).get(stage, {}).get("outputs", {}).items():
        if not (folder / name).is_file():
            found.append(f"{name} is gone")
        elif sha256(folder / name) != digest:
            found.append(f"{name} has other bytes than {stage} wrote")
    return found


def outputs(settings: Any) -> list[Path]:
    """The files of a stage that are there, by their names."""
    patterns = [
        pattern.format(name=getattr(settings, "name", ""))
        for pattern in _OUTPUTS[stage_of(settings)]
    ]
    return [
        path
        for pattern in patterns
        for path in sorted(settings.folder.glob(pattern))
        if path.is_file() and not path.name.startswith(".")
    ]


def forget(folder: Path, stages: Iterable[str]) -> None:
    """Have stages run again; which files they wrote stays known, so that those can be replaced."""
    found = read(folder)
    for stage in stages:
        if stage in found:
            found[stage] |= {"state": "forgotten", "steps": {}}
    if found:
        write_json(folder / NAME, found)


def failed(folder: Path, stage: str, error: BaseException) -> None:
    """Write down that a stage failed outside its steps, such as for a kernel that died."""
    found = read(folder)
    found.setdefault(stage, {}).update(state="failed", error=_short(error))
    write_json(folder / NAME, found)


def settle(settings: Any, seconds: float) -> None:
    """Write down the files that a stage has now, after those of an earlier name were removed, and what it took."""
    folder, stage = settings.folder, stage_of(settings)
    if entry := read(folder).get(stage):
        known = {
            name: digest
            for name, digest in entry.get("outputs", {}).items()
            if (folder / name).is_file()
        }
        _write(folder, stage, entry | {"outputs": known, "seconds": seconds})


def stage_of(settings: Any) -> str:
    """The notebook that settings belong to."""
    return next(name for name, kind in NOTEBOOKS.items() if type(settings) is kind)


def fingerprint(stage: str, settings: Any, inputs: dict[str, str]) -> str:
    """Hash of everything a stage's outputs depend on: settings, contents of files, code, package versions."""
    values = {key: value for key, value in vars(settings).items() if key not in _PATHS}
    if (base := values.get("base")) and Path(base).expanduser().is_dir():
        values["base"] = str(Path(base).expanduser().absolute())
    if stage == "finetune":
        values["token"] = _has_token()
    code = [
        sha256(path)
        for path in (*sorted(PACKAGE.rglob("*.py")), shipped("notebooks", f"{stage}.ipynb"))
    ]
    text = json.dumps(
        [stage, values, list(inputs.values()), code, summary.versions()], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _inputs(settings: Any) -> dict[str, str]:
    """The files a stage reads and their SHA-256: data and tools, the model it starts from, what it bundles."""
    found, stage = run_rows.sources(settings), stage_of(settings)
    folder = Path(settings.base).expanduser() if stage == "finetune" and settings.base else None
    if stage != "finetune":
        folder = settings.model_folder
    paths = sorted(folder.glob("*")) if folder and folder.is_dir() else []
    if stage == "to_task":
        paths += sorted(settings.folder.glob(f"{settings.name}_*.tflite"))
    return found | {
        str(path.absolute()): sha256(path)
        for path in paths
        if path.is_file() and not path.name.startswith(".")
    }


def _begin(
    folder: Path, stage: str, name: str, settings: Any, inputs: dict[str, str]
) -> dict[str, Any]:
    """The entry of a stage whose step begins: without what was made before it with other inputs, or comes behind it."""
    found, mark = read(folder), fingerprint(stage, settings, inputs)
    old = found.get(stage, {})
    steps = old.get("steps", {}) if old.get("fingerprint") == mark else {}
    earlier = STEPS[stage][: STEPS[stage].index(name)]
    entry = {
        "state": "running",
        "fingerprint": mark,
        "inputs": inputs,
        "settings": asdict(settings),
        "versions": summary.versions(),
        "outputs": old.get("outputs", {}),
        "steps": {one: steps[one] for one in earlier if one in steps}
        | {
            name: {
                "state": "running",
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "process": os.getpid(),
            }
        },
    }
    later = list(STEPS)[list(STEPS).index(stage) + 1 :]
    write_json(
        folder / NAME,
        found
        | {stage: entry}
        | {
            other: found[other] | {"state": "forgotten", "steps": {}}
            for other in later
            if other in found
        },
    )
    return entry


def _write(folder: Path, stage: str, entry: dict[str, Any]) -> None:
    states = [entry["steps"].get(name, {}).get("state") for name in STEPS[stage]]
    entry["state"] = (
        "failed" if "failed" in states else "done" if set(states) == {"done"} else "running"
    )
    write_json(folder / NAME, read(folder) | {stage: entry})


def _stamps(folder: Path, settings: Any) -> dict[str, tuple[int, ...]]:
    """What tells a file from one that took its place, whatever the clock says."""
    return {
        str(path.relative_to(folder)): (found.st_ino, found.st_size, found.st_mtime_ns)
        for path in outputs(settings)
        for found in [path.stat()]
    }


def _hashed(
    folder: Path, settings: Any, known: dict[str, str], before: dict[str, tuple[int, ...]]
) -> dict[str, str]:
    """The outputs with their hashes, new ones where a file was written; of earlier names those that are still there."""
    now = _stamps(folder, settings)
    kept = {name: digest for name, digest in known.items() if (folder / name).is_file()}
    return kept | {
        name: known[name] if name in known and before.get(name) == stamp else sha256(folder / name)
        for name, stamp in now.items()
    }


def _passed(result: Any) -> bool:
    """Whether what a step gave is what was asked for: no failed verdict, and no model whose training was stopped."""
    if isinstance(result, Path) and result.is_dir():
        return not record.model_facts(result).get("stopped_after")
    return getattr(result, "passed", True)


def _is_entry(entry: Any) -> bool:
    """Whether this can be a stage's part; files of an earlier name are removed, so outputs must lie in the folder."""
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key, {}), dict) for key in ("steps", "outputs"))
        and all(isinstance(step, dict) for step in entry.get("steps", {}).values())
        and all(
            isinstance(digest, str)
            and len(name) < 200
            and not {"", ".", ".."} & {*re.split(r"[/\\]", name)}
            and "\0" not in name
            and ":" not in name
            for name, digest in entry.get("outputs", {}).items()
        )
    )


def _short(error: BaseException) -> str:
    """The first line of an error of fgkit's; of another only its kind, because its text may hold anything."""
    text = f": {str(error).splitlines()[0]}" if isinstance(error, FgkitError) and str(error) else ""
    return f"{type(error).__name__}{text}"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())
