"""runtime_speed: a tiny bundle measured in LiteRT-LM; a child that fails is one message."""

from __future__ import annotations

import pytest

from fgkit.bundles import create as bundle
from fgkit.errors import BundleError
from fgkit.runtime import speed
from tests.bundles.test_create import tiny_tokenizer
from tests.export.test_conversion import tiny_tflite


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tokenizer.model").write_bytes(tiny_tokenizer())
    return bundle.create_task(
        tiny_tflite(), tmp_path / "tokenizer.model", tmp_path / "out" / "tiny.task", sidecar={}
    )


def test_a_bundle_is_measured_and_nothing_is_left_beside_it(task):
    before = sorted(task.parent.iterdir())
    found = speed.measure(task, threads=1, prefill_tokens=16, decode_tokens=8)
    assert found["prefill_tokens_per_second"] > 0 and found["decode_tokens_per_second"] > 0
    assert found["time_to_first_token"] > 0 and found["load_seconds"] > 0
    assert 1e7 < found["peak_memory_bytes"] < 4e9
    assert (found["threads"], found["prefill_tokens"], found["decode_tokens"]) == (1, 16, 8)
    assert sorted(task.parent.iterdir()) == before


def test_a_benchmark_that_fails_is_one_message(task, monkeypatch):
    monkeypatch.setattr(speed.sys, "executable", "/bin/false")
    with pytest.raises(
        BundleError, match=r"tiny.task: LiteRT-LM's benchmark failed \(exit code 1: no message\)"
    ):
        speed.measure(task)
