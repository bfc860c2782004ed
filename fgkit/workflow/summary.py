"""Read and write `summary.json`: the scores, files, times and settings of a run.

The steps add their results one by one; the file is complete JSON at every moment. Its fields:

    base, tuned, task, litertlm   scores, each the object that `evaluate --json` writes, or null
    gate                          the combined verdict on the bundles, or null
    files                         size and SHA-256 of each output
    speed                         of each bundle, in LiteRT-LM on this machine
    variants                      the quantizations that `quantize` measured
    seconds, peak_memory_gb       by stage and by part of a stage
    settings                      by notebook
    versions                      of Python, fgkit and the packages
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from fgkit import devices, schema
from fgkit.errors import FgkitError
from fgkit.evaluation.gate import HEAD
from fgkit.evaluation.tables import compare
from fgkit.files import read_json, sha256, write_json
from fgkit.record_types import FileRecord, Score, Speed, Summary
from fgkit.subprocesses import peak_memory_gb

NAME = "summary.json"
BUNDLES = ("task", "litertlm")
SCORES = ("base", "tuned", *BUNDLES)
# The parts that `update` merges key by key; it replaces the others.
_MERGED = ("files", "speed", "variants", "seconds", "peak_memory_gb", "settings", "versions")
# The packages whose versions may change a result.
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


def read(folder: Path) -> Summary:
    """Read the summary in a folder; missing parts are empty, and so are all without a file.

    Args:
        folder: the output folder of a run.
    Raises:
        FgkitError: the file is not JSON, or fields have wrong types; the message names them.
    """
    path = folder / NAME
    empty: dict[str, Any] = dict.fromkeys((*SCORES, "gate")) | {key: {} for key in _MERGED}
    content = read_json(path) if path.is_file() else {}
    if isinstance(content, dict):
        content = empty | content
    return schema.check(content, Summary, path, remedy="Delete the file; a run writes it again.")


def of_run(folder: Path) -> Summary:
    """Read the summary of a folder that a user named as the folder of a run.

    Args:
        folder: the folder.
    Raises:
        FgkitError: the folder has no summary, or `read` refuses it.
    """
    if not (folder / NAME).is_file():
        raise FgkitError(
            f"{folder}: holds no {NAME}, so it is not the folder of a run. Give what "
            "`python -m fgkit run --output` wrote."
        )
    return read(folder)


def update(folder: Path, **parts: Any) -> Summary:
    """Put values into the summary, write it and return it.

    Args:
        folder: the output folder of a run.
        parts: top-level fields and their values. The fields in `_MERGED` are updated key by key;
            the others are replaced, None for a field without a value.
    """
    summary: dict[str, Any] = {**read(folder)}
    for key, value in parts.items():
        summary[key] = summary[key] | value if key in _MERGED else value
    write_json(folder / NAME, summary)
    return cast(Summary, summary)


@contextmanager
def timed(folder: Path, what: str) -> Iterator[None]:
    """Write the duration of a block and the peak memory of this process into the summary.

    Of several processes only the main one writes.

    Args:
        folder: the output folder of a run.
        what: the name of the block in `seconds` and `peak_memory_gb`.
    """
    start = time.monotonic()
    yield
    if devices.main_process():
        update(
            folder,
            seconds={what: round(time.monotonic() - start, 1)},
            peak_memory_gb={what: peak_memory_gb()},
        )


def describe_file(path: Path) -> FileRecord:
    """Return the size and the hash of an output, for the field `files`."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def versions() -> dict[str, str]:
    """Return the versions of Python, fgkit and the installed packages that may change a result."""
    from fgkit import __version__

    installed = {"python": platform.python_version(), "fgkit": __version__}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def table(summary: Summary) -> str:
    """Format the text at the end of a run: scores side by side, the verdict, files and time.

    Args:
        summary: the summary of the run.
    """
    scores = scores_of(summary)
    lines = [compare(scores)] if scores else []
    if gate := summary["gate"]:
        bundles = sum(name in scores for name in BUNDLES)
        lines += ["", *gate.get("lines", [])[: HEAD * max(1, bundles)]]
    lines.append("")
    for name, file in summary["files"].items():
        lines.append(f"{name}  {file['bytes'] / 1e6:,.1f} MB{_speed(summary['speed'].get(name))}")
    if summary["seconds"]:
        minutes = (f"{name} {value / 60:.1f} min" for name, value in summary["seconds"].items())
        lines.append("time: " + ", ".join(minutes))
    return "\n".join(lines)


def scores_of(summary: Summary) -> dict[str, Score]:
    """Return the scores that a run has so far, by their names in SCORES."""
    scores = {
        "base": summary["base"],
        "tuned": summary["tuned"],
        "task": summary["task"],
        "litertlm": summary["litertlm"],
    }
    return {name: score for name, score in scores.items() if score}


def _speed(speed: Speed | None) -> str:
    if speed is None:
        return ""
    threads = f" on {speed['threads']} threads" if "threads" in speed else ""
    return (
        f", reads {speed['prefill_tokens_per_second']:,.0f} and writes "
        f"{speed['decode_tokens_per_second']:,.0f} tokens a second in "
        f"{speed['peak_memory_bytes'] / 1e9:.1f} GB{threads}"
    )
