"""What test files share: a header with the versions that results depend on, and fixtures. Markers and paths: setup.cfg."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

REPORTED = ("torch", "transformers", "trl", "datasets", "litert-torch", "ai-edge-litert", "mediapipe", "litert-lm",
            "numpy")


def pytest_report_header() -> str:
    """One line of versions at the top of every test run."""
    found = {dist.name.lower().replace("_", "-"): dist.version for dist in importlib.metadata.distributions()}
    return "stack: " + ", ".join(f"{name} {found.get(name, 'missing')}" for name in REPORTED)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer with the format's tokens and few others, as transformers loads it."""
    import tiny

    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer_files(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)
