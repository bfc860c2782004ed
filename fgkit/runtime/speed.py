"""How fast a bundle answers in LiteRT-LM on this machine's CPU, and how much memory that takes.

>>> measure("run/functiongemma-flutter.task")["decode_tokens_per_second"]
53.1

LiteRT-LM's own benchmark runs in a process of its own, so that the peak memory is the bundle's alone; the second of two
runs counts, because the first one compiles the weights into fgkit's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fgkit.bundles import read as bundle_files
from fgkit.errors import BundleError
from fgkit.subprocesses import end_with_parent, peak_memory_bytes, python_path

from .session import default_threads, own_cache

PREFILL_TOKENS, DECODE_TOKENS = 256, 64


def measure(
    path: str | Path,
    *,
    threads: int | None = None,
    prefill_tokens: int = PREFILL_TOKENS,
    decode_tokens: int = DECODE_TOKENS,
) -> dict[str, Any]:
    """Measure one bundle.

    Args:
        path: a `.task` or `.litertlm`.
        threads: of the runtime; None: `runtime.default_threads()`.
        prefill_tokens, decode_tokens: how many tokens are read and written.
    Returns:
        `prefill_tokens_per_second`, `decode_tokens_per_second`, `time_to_first_token` and `load_seconds` (seconds),
        `peak_memory_bytes`, `threads`, and how many tokens it was.
    Raises:
        BundleError: the bundle is damaged, or LiteRT-LM does not run it.
    """
    path = Path(path)
    bundle_files.read_bundle(path)
    request = {
        "path": str(path.resolve()),
        "cache": str(own_cache(path)),
        "threads": threads or default_threads(),
        "prefill_tokens": prefill_tokens,
        "decode_tokens": decode_tokens,
    }
    for _ in range(2):
        found = _run(path, request)
    return {
        **found,
        "threads": request["threads"],
        "prefill_tokens": prefill_tokens,
        "decode_tokens": decode_tokens,
    }


def _run(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    code = "import sys; from fgkit.runtime import speed; speed._worker(sys.argv[1])"
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=os.environ | {"PYTHONPATH": python_path()},
        )
        try:
            lines = child.stdout.read().splitlines()
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
        if code or not lines:
            said.seek(0)
            last = [
                line for line in said.read().decode(errors="replace").splitlines() if line.strip()
            ][-1:] or ["no message"]
            raise BundleError(
                f"{path}: LiteRT-LM's benchmark failed (exit code {code}: {last[0][:200]}). "
                "Make the bundle again from a freshly converted .tflite."
            )
    return json.loads(lines[-1])


def _worker(request: str) -> None:
    """The child's side: one JSON line on stdout."""
    end_with_parent()
    import litert_lm

    asked = json.loads(request)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    found = litert_lm.Benchmark(
        asked["path"],
        litert_lm.Backend.CPU(thread_count=asked["threads"]),
        prefill_tokens=asked["prefill_tokens"],
        decode_tokens=asked["decode_tokens"],
        cache_dir=asked["cache"],
    ).run()
    print(
        "\n"
        + json.dumps(
            {
                "prefill_tokens_per_second": round(found.last_prefill_tokens_per_second, 1),
                "decode_tokens_per_second": round(found.last_decode_tokens_per_second, 1),
                "time_to_first_token": round(found.time_to_first_token_in_second, 3),
                "load_seconds": round(found.init_time_in_second, 2),
                "peak_memory_bytes": peak_memory_bytes(),
            }
        ),
        flush=True,
    )
