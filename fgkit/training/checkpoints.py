"""Checkpoints of a training run: how often, which of them is complete, and the space they need.

A checkpoint holds weights, optimizer state, learning-rate schedule and random state, 3.2 GB with
FunctionGemma. So only the newest one is kept, and it is complete exactly if its files match the
checksums that are written last. A training that was killed while it wrote one resumes from the one
before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fgkit import checksums, devices, ownership
from fgkit.errors import FgkitError

if TYPE_CHECKING:
    import torch

_KEY = re.compile("[0-9a-f]{12}")
_CHECKPOINT = re.compile(r"checkpoint-\d+")
# Least time between two checkpoints: what an interruption costs at most.
SAVE_SECONDS = 60.0
# Largest share of the time that goes into writing checkpoints. On a slow disk this makes them
# rarer.
SAVE_SHARE = 0.05


def checkpoint_folder(folder: Path, facts: Mapping[str, object]) -> Path:
    """Return the checkpoint folder of exactly this training, and remove those of others in the run.

    Args:
        folder: the run folder.
        facts: what the training depends on (base, rows, settings, versions, ...); their order does
            not matter. The folder's name is a hash of them, so a training with other settings never
            resumes from these checkpoints.
    """
    key = hashlib.sha256(repr(sorted(facts.items(), key=str)).encode()).hexdigest()[:12]
    if devices.main_process():
        if (folder_of(folder) / key).is_symlink():
            raise FgkitError(
                f"{folder_of(folder) / key}: is a symbolic link that fgkit did not make. Remove it."
            )
        remove(folder, keep=key)
        ownership.mark(folder_of(folder))
    return folder_of(folder) / key


def folder_of(folder: Path) -> Path:
    """The folder in a run's folder that holds its checkpoints while a training is under way."""
    return folder / "checkpoints"


def is_ours(folder: Path) -> bool:
    """Say whether checkpoints may be written to a folder: nothing is in it, or fgkit made it."""
    if not os.path.lexists(folder):
        return True
    if folder.is_symlink() or not folder.is_dir():
        return False
    # A process may be killed between making the folder and marking it.
    return ownership.is_marked(folder) or not _others_in(folder)


def _others_in(folder: Path) -> set[str]:
    """List what is in a folder besides fgkit's mark."""
    return {path.name for path in folder.iterdir()} - {ownership.RECORD, f"{ownership.RECORD}.part"}


def remove(folder: Path, keep: str = "") -> None:
    """Remove a run's checkpoints, and nothing else that somebody put beside them.

    Args:
        folder: the run folder.
        keep: name of one training's checkpoints that stay.
    """
    checkpoints = folder_of(folder)
    if not checkpoints.is_dir() or not is_ours(checkpoints):
        return
    for training in checkpoints.iterdir():
        if not _KEY.fullmatch(training.name) or training.name == keep or training.is_symlink():
            continue
        keep_only(None, training)
        with contextlib.suppress(OSError):  # somebody's file is in it
            training.rmdir()
    if not keep and not _others_in(checkpoints):
        for path in checkpoints.iterdir():
            path.unlink()
        checkpoints.rmdir()


def newest_complete(checkpoints: Path) -> Path | None:
    """Return the newest checkpoint that matches its checksums, or None, and remove all others."""
    candidates = sorted(
        (path for path in _checkpoints(checkpoints) if (path / checksums.NAME).is_file()),
        key=lambda path: int(path.name.removeprefix("checkpoint-")),
        reverse=True,
    )
    newest = next((path for path in candidates if not checksums.problems(path)), None)
    keep_only(newest, checkpoints)
    return newest


def keep_only(newest: Path | None, checkpoints: Path) -> None:
    """Remove every checkpoint but this one."""
    for other in _checkpoints(checkpoints):
        if other != newest:
            shutil.rmtree(other)


def _checkpoints(folder: Path) -> list[Path]:
    """List a training's checkpoints; links and other names are somebody else's."""
    return [
        path
        for path in folder.glob("checkpoint-*")
        if _CHECKPOINT.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]


def space_problem(checkpoints: Path, model: torch.nn.Module) -> str:
    """Say why the disk is too full for another checkpoint; "" if there is room.

    The checkpoint before is removed only after the new one is complete, so both need room, and so
    does the tuned model that is written at the end: a checkpoint must not take its place.
    """
    # The weights and AdamW's two moments for each of them.
    needed = 3 * sum(weights.nbytes for weights in model.parameters()) + saved_model_bytes(model)
    free = shutil.disk_usage(checkpoints).free
    if free > needed:
        return ""
    return (
        f"{needed / 1e9:.1f} GB are needed for it and the tuned model, {free / 1e9:.1f} GB are free"
    )


def saved_model_bytes(model: torch.nn.Module) -> int:
    """Size of the tuned model's file, which holds bfloat16."""
    return sum(2 * weights.numel() for weights in model.parameters())
