"""What test files share: a header with the versions that results depend on, the order, and fixtures. Markers and paths: setup.cfg."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

import pytest

# Workers share the cores: torch's threads wait for each other in a loop, and lose several times over where there are too few.
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

REPORTED = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "litert-torch",
    "ai-edge-litert",
    "mediapipe",
    "litert-lm",
    "numpy",
)


def pytest_report_header() -> str:
    """One line of versions at the top of every test run."""
    found = {
        dist.name.lower().replace("_", "-"): dist.version
        for dist in importlib.metadata.distributions()
    }
    return "stack: " + ", ".join(f"{name} {found.get(name, 'missing')}" for name in REPORTED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The main job first, then the other files with slow tests, so that workers end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_main_job.py", item.path not in slow))


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer with the format's tokens and few others, as transformers loads it."""
    import tiny

    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer_files(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)
