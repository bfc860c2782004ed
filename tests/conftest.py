"""What every test run shares: a header with the versions that results depend on. Markers and paths: setup.cfg."""

from __future__ import annotations

import importlib.metadata

REPORTED = ("torch", "transformers", "trl", "datasets", "litert-torch", "ai-edge-litert", "mediapipe", "litert-lm",
            "numpy")


def pytest_report_header() -> str:
    """One line of versions at the top of every test run."""
    found = {dist.name.lower().replace("_", "-"): dist.version for dist in importlib.metadata.distributions()}
    return "stack: " + ", ".join(f"{name} {found.get(name, 'missing')}" for name in REPORTED)
