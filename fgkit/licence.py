"""The Gemma licence notice, which travels with everything that derives from Gemma."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from fgkit.errors import BundleError

NOTICE = "NOTICE-GEMMA.txt"


def notice_text() -> str:
    """The Gemma licence notice that must travel with every bundle, from the checkout or the installed package.

    Raises:
        BundleError: it is in neither place.
    """
    checkout = Path(__file__).resolve().parents[1] / NOTICE
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    try:
        for file in importlib.metadata.files("fgkit") or []:
            if file.name == NOTICE:
                return file.read_text(encoding="utf-8")
    except (importlib.metadata.PackageNotFoundError, OSError):
        pass  # reported below, with the place it was looked for
    raise BundleError(
        f"{checkout}: missing, and the installed fgkit carries none. A bundle must not be made without "
        "the Gemma notice: install fgkit again."
    )
