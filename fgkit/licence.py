"""Licences of the networks that fgkit knows, and the notice that travels with derived files."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from fgkit.errors import BundleError


@dataclass(frozen=True)
class Licence:
    """The terms of a model.

    Args:
        hub_id: its identifier on the Hub.
        name: the title that a notice must name.
        url: where the terms are published.
        notice: name of the notice file, in a checkout's root and beside every derived file.
    """

    hub_id: str
    name: str
    url: str
    notice: str


GEMMA = Licence(
    hub_id="gemma",
    name="Gemma Terms of Use",
    url="https://ai.google.dev/gemma/terms",
    notice="NOTICE-GEMMA.txt",
)
NOTICE = GEMMA.notice


def notice_text(licence: Licence = GEMMA) -> str:
    """The notice that must travel with every bundle, from the checkout or the installed package.

    Args:
        licence: whose notice.
    Raises:
        BundleError: it is in neither place.
    """
    checkout = Path(__file__).resolve().parents[1] / licence.notice
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    try:
        for file in importlib.metadata.files("fgkit") or []:
            if file.name == licence.notice:
                return file.read_text(encoding="utf-8")
    except (importlib.metadata.PackageNotFoundError, OSError):
        # Reported below, with the path of the checkout.
        pass
    raise BundleError(
        f"{checkout}: missing, and the installed fgkit carries none. A bundle must not be made "
        f"without "
        "the Gemma notice: install fgkit again."
    )
