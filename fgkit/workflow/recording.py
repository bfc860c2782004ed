"""Record the steps of the notebooks in `manifest.json` of the run folder.

For example:

    @step
    def convert(settings: TfliteConfig, rows: RunData) -> Path: ...

A step holds the lock of the folder while it runs. The manifest records that it started and, at its
end, whether it succeeded and which files it wrote. When a step starts again, the records of the
later steps are removed.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from fgkit import devices
from fgkit.dataset.rows import RunData
from fgkit.errors import DataError
from fgkit.files import sha256
from fgkit.models import record
from fgkit.record_types import Settings, StageRecord, StepRecord

from . import locks, manifest, summary
from .claims import claim, require_free
from .manifest import STEPS, StageSettings, stage_of

P = ParamSpec("P")
T = TypeVar("T")
# Besides the first step of a stage, these look first whether something is in the way.
_LONG = ("report_data", "finetune", "convert")
# Inode, size and modification time of a file.
_Stamp = tuple[int, int, int]


def step(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function of a stage so that it locks the run folder and records its result.

    A function that is not a step of the stage only locks the folder, for example when a later
    notebook reads a score again.

    Args:
        function: its first argument, or `settings`, is the settings of a notebook.
    """

    @functools.wraps(function)
    def recording(*arguments: P.args, **options: P.kwargs) -> T:
        settings = cast(StageSettings, arguments[0] if arguments else options["settings"])
        values = (*arguments, *options.values())
        rows = next((value for value in values if isinstance(value, RunData)), None)
        stage, main = stage_of(settings), devices.main_process()
        begins = function.__name__ in (*_LONG, STEPS[stage][0])
        if begins and main and not locks.are_there(settings.folder):
            require_free({stage: settings}, notebooks=False)
        with locks.only_step(settings.folder):
            if begins and main:
                claim({stage: settings}, notebooks=False)
            if function.__name__ not in STEPS[stage] or not main:
                return function(*arguments, **options)
            with recorded(settings, function.__name__, rows) as outcome:
                result = function(*arguments, **options)
                outcome["passed"] = _passed(result)
            return result

    return recording


@contextmanager
def recorded(
    settings: StageSettings, name: str, rows: RunData | None = None
) -> Iterator[dict[str, bool]]:
    """Record that a step started and, at the end of the block, its result and its outputs.

    Args:
        settings: the settings of the stage.
        name: the step, one of STEPS.
        rows: the rows that the step uses; None if it uses none.
    Yields:
        a dict; if the block sets `passed` to False, the step is recorded as failed although it
        raised nothing.
    Raises:
        DataError: a file of the rows changed after it was read.
        FgkitError: the manifest is damaged.
    """
    folder, stage = settings.folder, stage_of(settings)
    inputs = manifest.inputs_of(settings)
    if rows is not None:
        _require_unchanged(rows, inputs)
    entry = _begin(folder, stage, name, settings, inputs)
    before = _stamps(folder, settings)
    outcome, start = {"passed": True}, time.monotonic()
    own = entry["steps"][name]
    try:
        yield outcome
        own["state"] = "done" if outcome["passed"] else "failed"
    except BaseException as error:
        own |= {"state": "failed", "error": manifest.error_text(error)}
        raise
    finally:
        own["seconds"] = round(time.monotonic() - start, 1)
        entry["outputs"] = _hashed(folder, settings, entry["outputs"], before)
        manifest.write_entry(folder, stage, entry)


def _require_unchanged(rows: RunData, inputs: dict[str, str]) -> None:
    """Refuse rows whose files changed after they were read (DataError)."""
    changed = [path for path, digest in rows.sources.items() if inputs.get(path) != digest]
    if changed:
        lines = [f"{path}: changed after its rows were read." for path in changed]
        raise DataError("\n".join([*lines, "Run the cell with load_rows again, then this one."]))


def _begin(
    folder: Path, stage: str, name: str, settings: StageSettings, inputs: dict[str, str]
) -> StageRecord:
    """Write and return the entry of a stage one of whose steps starts.

    Earlier steps stay recorded if they ran with the same inputs. Later steps and later stages have
    to run again.
    """
    entries, mark = manifest.read(folder), manifest.fingerprint(stage, settings, inputs)
    old = entries.get(stage, StageRecord())
    steps = old.get("steps", {}) if old.get("fingerprint") == mark else {}
    earlier = STEPS[stage][: STEPS[stage].index(name)]
    own: StepRecord = {
        "state": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "process": os.getpid(),
    }
    entry: StageRecord = {
        "state": "running",
        "fingerprint": mark,
        "inputs": inputs,
        "settings": cast(Settings, asdict(settings)),
        "versions": summary.versions(),
        "outputs": old.get("outputs", {}),
        "steps": {done: steps[done] for done in earlier if done in steps} | {name: own},
    }
    entries[stage] = entry
    for later in list(STEPS)[list(STEPS).index(stage) + 1 :]:
        if later in entries:
            entries[later] |= {"state": "forgotten", "steps": {}}
    manifest.write(folder, entries)
    return entry


def _stamps(folder: Path, settings: StageSettings) -> dict[str, _Stamp]:
    """Identify the present version of each output, without relying on the clock alone."""
    stamps = {}
    for path in manifest.outputs(settings):
        status = path.stat()
        stamps[str(path.relative_to(folder))] = (
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
        )
    return stamps


def _hashed(
    folder: Path, settings: StageSettings, known: dict[str, str], before: dict[str, _Stamp]
) -> dict[str, str]:
    """Return the outputs with their hashes; only files that the step wrote are hashed again."""
    kept = {name: digest for name, digest in known.items() if (folder / name).is_file()}
    for name, stamp in _stamps(folder, settings).items():
        unchanged = name in known and before.get(name) == stamp
        kept[name] = known[name] if unchanged else sha256(folder / name)
    return kept


def _passed(result: Any) -> bool:
    """Tell whether a step succeeded: no failed verdict, and no training that was stopped."""
    if isinstance(result, Path) and result.is_dir():
        return not record.model_facts(result).get("stopped_after")
    return getattr(result, "passed", True)
