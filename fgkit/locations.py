"""Where things are: the files that come with fgkit, and its cache."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import FgkitError

PACKAGE = Path(__file__).parent


def cache_dir(*parts: str) -> Path:
    """The folder for what can be made again: $FGKIT_CACHE, or fgkit under the user's cache folder.

    Raises:
        FgkitError: it cannot be made.
    """
    home = (
        os.environ.get("FGKIT_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgkit"
    )
    folder = Path(home).expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FgkitError(
            f"{folder}: the cache folder cannot be made: {error.strerror or error}. "
            "Set FGKIT_CACHE to a folder you may write to."
        ) from error
    return folder


def shipped(*parts: str) -> Path:
    """Find a file that comes with fgkit: beside the package in a checkout, inside it in a wheel."""
    inside = PACKAGE.joinpath(*parts)
    return inside if inside.exists() else PACKAGE.parent.joinpath(*parts)
