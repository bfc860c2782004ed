"""Outputs that a user names: refused before any work if they are inputs or cannot be written.

require_outputs({"--json": "report.json"}, {"DATA": "rows.jsonl"})
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from os.path import expanduser, isdir  # unlike Path's methods, these accept any text
from pathlib import Path

from .atomic_files import is_stream, require_ours
from .errors import FgkitError
from .locations import cache_dir
from .ownership import Owner


def require_outputs(outputs: Mapping[str, str], inputs: Mapping[str, str]) -> None:
    """Refuse outputs that are inputs or would replace somebody's file, before any work begins.

    Args:
        outputs: option and path of each output; empty paths are skipped.
        inputs: option and path of each input; empty paths are skipped.
    Raises:
        FgkitError: with every problem.
    """
    problems = []
    named = {option: Path(expanduser(output)) for option, output in outputs.items() if output}
    for option, output in named.items():
        for other, source in inputs.items():
            if source and same_file(output, Path(source)):
                problems.append(f"{option} {output}: is the input {other}. Choose another name.")
            elif source and isdir(expanduser(source)) and lies_in(output, Path(source)):
                problems.append(f"{option} {output}: lies in the input {other}. Choose another.")
        for earlier in list(named)[: list(named).index(option)]:
            if same_file(output, named[earlier]) and not is_stream(output):
                problems.append(f"{option} {output}: is {earlier}, too. Choose another name.")
        problems += _place_problems(option, output)
    if problems:
        raise FgkitError("\n".join(problems))
    owners = [Owner(path, cache_dir()) for path in named.values() if not is_stream(path)]
    require_ours(named.values())
    problems = [
        f"{owner.path}: belongs to the run in {owner.run}. Choose another name."
        for owner in owners
        if owner.belongs_to_a_run()
    ]
    if problems:
        raise FgkitError("\n".join(problems))
    for owner in owners:
        if owner.run:
            owner.name_by_user()


def _place_problems(option: str, output: Path) -> list[str]:
    """Say why a file could not be written in a place, so far as that is known before the work."""
    if output.is_dir():
        return [f"{option} {output}: is a folder, expected the name of a file."]
    parent = output.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        return [f"{option} {output}: {parent} is no folder. Choose another place."]
    if not is_stream(output) and not os.access(parent, os.W_OK):
        return [f"{option} {output}: {parent} may not be written to. Choose another place."]
    return []


def lies_in(path: Path, place: Path) -> bool:
    """Say whether a path is a place or lies in it, through links and other spellings, too."""
    try:
        path = path.expanduser()
        absolute, real = path.absolute(), path.resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    around = dict.fromkeys([absolute, *absolute.parents, real, *real.parents])
    return any(same_file(place, outer) for outer in around)


def same_file(path: Path, other: Path) -> bool:
    """Say whether two paths lead to the same file, through links and other spellings, too."""
    try:
        path, other = path.expanduser(), other.expanduser()
        if path.exists() and other.exists():
            return path.samefile(other)
        return path.resolve() == other.resolve()
    except (OSError, RuntimeError, ValueError):
        return False
