"""`summary.json`: what a run measured, written stage by stage and whole at every moment.

Top level: `base`, `tuned`, `task`, `litertlm` (each the object that `evaluate` writes, or null), `gate`, `files`, `speed`
(of bundles, in LiteRT-LM on this machine), `variants` (what `quantize` measured), `seconds`, `peak_memory_gb`, `settings`, `versions`.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fgkit import devices
from fgkit.errors import FgkitError
from fgkit.evaluation.gate import HEAD
from fgkit.evaluation.tables import compare
from fgkit.files import read_json, sha256, write_json
from fgkit.subprocesses import peak_memory_gb

NAME = "summary.json"
BUNDLES = ("task", "litertlm")
SCORES = ("base", "tuned", *BUNDLES)
_MERGED = ("files", "speed", "variants", "seconds", "peak_memory_gb", "settings", "versions")
_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "accelerate",
    "litert-torch",
    "ai-edge-litert",
    "mediapipe",
    "litert-lm",
    "numpy",
    "sentencepiece",
)


def read(folder: Path) -> dict[str, Any]:
    """The summary in `folder`, or an empty one."""
    path = folder / NAME
    empty: dict[str, Any] = dict.fromkeys((*SCORES, "gate")) | {key: {} for key in _MERGED}
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise FgkitError(
            f"{path}: holds a {type(found).__name__}, expected an object. Delete it; a run writes it again."
        )
    return empty | found


def of_run(folder: Path) -> dict[str, Any]:
    """The summary of a folder that a user named as a run's.

    Raises:
        FgkitError: it holds none.
    """
    if not (folder / NAME).is_file():
        raise FgkitError(
            f"{folder}: holds no {NAME}, so it is not the folder of a run. Give what "
            "`python -m fgkit run --output` wrote."
        )
    return read(folder)


def update(folder: Path, **parts: Any) -> dict[str, Any]:
    """Put parts into the summary; dicts under the names in `_MERGED` are merged.

    Args:
        folder: the run's output folder.
        parts: top-level keys and their values; None empties one.
    """
    summary = read(folder)
    for key, value in parts.items():
        summary[key] = summary[key] | value if key in _MERGED else value
    write_json(folder / NAME, summary)
    return summary


@contextmanager
def timed(folder: Path, what: str) -> Iterator[None]:
    """Put the seconds of a block, and the most memory held so far, into the summary; of several processes the main one does."""
    start = time.monotonic()
    yield
    if devices.main_process():
        update(
            folder,
            seconds={what: round(time.monotonic() - start, 1)},
            peak_memory_gb={what: peak_memory_gb()},
        )


def describe_file(path: Path) -> dict[str, Any]:
    """Size and hash of an output, for the `files` part."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def versions() -> dict[str, str]:
    """Versions of Python, fgkit and the packages that shape a result, as far as they are installed."""
    from fgkit import __version__

    found = {"python": platform.python_version(), "fgkit": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(summary: dict[str, Any]) -> str:
    """The short table at the end of a run: scores side by side, the gate, files, time."""
    scores = {name: summary[name] for name in SCORES if summary[name]}
    lines = [compare(scores)] if scores else []
    if summary["gate"]:
        bundles = sum(summary[name] is not None for name in BUNDLES)
        lines += ["", *summary["gate"]["lines"][: HEAD * max(1, bundles)]]
    lines += [
        "",
        *(
            f"{name}  {facts['bytes'] / 1e6:,.1f} MB{_speed(summary['speed'].get(name))}"
            for name, facts in summary["files"].items()
        ),
    ]
    if summary["seconds"]:
        lines.append(
            "time: "
            + ", ".join(
                f"{name} {seconds / 60:.1f} min" for name, seconds in summary["seconds"].items()
            )
        )
    return "\n".join(lines)


def _speed(found: dict[str, Any] | None) -> str:
    return (
        ""
        if found is None
        else (
            f", reads {found['prefill_tokens_per_second']:,.0f} and writes {found['decode_tokens_per_second']:,.0f} tokens a "
            f"second in {found['peak_memory_bytes'] / 1e9:.1f} GB on {found['threads']} threads"
        )
    )
