"""Read the record beside a converted network, `<name>.tflite.json`."""

from __future__ import annotations

from pathlib import Path

from fgkit import schema
from fgkit.errors import BundleError
from fgkit.record_types import TfliteRecord


def read(tflite: Path) -> TfliteRecord:
    """Read the record beside a network.

    Args:
        tflite: the path of the `.tflite`.
    Raises:
        BundleError: fields of the record have wrong types.
        FgkitError: the record is missing or not JSON.
    """
    return schema.read(
        f"{tflite}.json",
        TfliteRecord,
        remedy="Convert the model again: run to_tflite.",
        error=BundleError,
    )
