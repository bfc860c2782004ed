"""The record beside a converted network, `<name>.tflite.json`."""

from __future__ import annotations

from pathlib import Path

from fgkit import schema
from fgkit.errors import BundleError
from fgkit.record_types import TfliteRecord


def read(tflite: Path) -> TfliteRecord:
    """Read the record beside a network.

    Args:
        tflite: the network's file.
    Raises:
        BundleError: the record has fields of wrong types; FgkitError: it is missing or not JSON.
    """
    return schema.read(
        f"{tflite}.json",
        TfliteRecord,
        remedy="Convert the model again: run to_tflite.",
        error=BundleError,
    )
