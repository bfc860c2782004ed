"""Measure how fast a bundle answers in LiteRT-LM on this CPU, and how much memory it takes.

For example:

    measure("run/functiongemma-flutter.task")["decode_tokens_per_second"]
    # 53.1

LiteRT-LM's own benchmark runs in a child process, so that the peak memory is that of the bundle
alone. It runs twice and the second run counts, because the first one compiles the weights into
fgkit's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

from fgkit.bundles import read as bundle_files
from fgkit.errors import BundleError
from fgkit.subprocesses import end_with_parent, peak_memory_bytes, python_path

from .session import default_threads, own_cache

PREFILL_TOKENS, DECODE_TOKENS = 256, 64
# Runs in the child process: the request is its argument, the result its last line on stdout.
_CHILD_CODE = "import sys; from fgkit.runtime import speed; speed._run_benchmark(sys.argv[1])"


class Measured(TypedDict):
    """What LiteRT-LM's benchmark measures.

    Times are in seconds. `peak_memory_bytes` is None where the system does not report it.
    """

    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    time_to_first_token: float
    load_seconds: float
    peak_memory_bytes: int | None


class Speed(Measured):
    """What a bundle's speed was measured as, and with how many threads and tokens."""

    threads: int
    prefill_tokens: int
    decode_tokens: int


class _Request(TypedDict):
    path: str
    cache: str
    threads: int
    prefill_tokens: int
    decode_tokens: int


def measure(
    path: str | Path,
    *,
    threads: int | None = None,
    prefill_tokens: int = PREFILL_TOKENS,
    decode_tokens: int = DECODE_TOKENS,
) -> Speed:
    """Measure one bundle.

    Args:
        path: a `.task` or `.litertlm`.
        threads: of the runtime; None for `session.default_threads()`.
        prefill_tokens: the number of tokens of the prompt.
        decode_tokens: the number of tokens of the answer.
    Raises:
        BundleError: the bundle is damaged, or LiteRT-LM does not run it.
    """
    path = Path(path)
    bundle_files.read_bundle(path)
    request: _Request = {
        "path": str(path.resolve()),
        "cache": str(own_cache(path)),
        "threads": threads or default_threads(),
        "prefill_tokens": prefill_tokens,
        "decode_tokens": decode_tokens,
    }
    # The first run compiles the weights; its times are not those of an app that is in use.
    _measure_in_child(path, request)
    measured = _measure_in_child(path, request)
    return {
        **measured,
        "threads": request["threads"],
        "prefill_tokens": prefill_tokens,
        "decode_tokens": decode_tokens,
    }


def _measure_in_child(path: Path, request: _Request) -> Measured:
    with tempfile.TemporaryFile() as errors:
        # The child ends when its standard input does, so it cannot outlive this process.
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD_CODE, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": python_path()},
        ) as child:
            try:
                lines = child.stdout.read().splitlines() if child.stdout else []
                exit_code = child.wait()
            finally:
                child.kill()
        if exit_code or not lines:
            errors.seek(0)
            messages = errors.read().decode(errors="replace").splitlines()
            last = next((line for line in reversed(messages) if line.strip()), "no message")
            raise BundleError(
                f"{path}: LiteRT-LM's benchmark failed (exit code {exit_code}: {last[:200]}). "
                "Make the bundle again from a freshly converted .tflite."
            )
    measured: Measured = json.loads(lines[-1])
    return measured


def _run_benchmark(request_json: str) -> None:
    """Run LiteRT-LM's benchmark in the child process and print the result as one line of JSON."""
    end_with_parent()
    import litert_lm

    request: _Request = json.loads(request_json)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    result = litert_lm.Benchmark(
        request["path"],
        litert_lm.Backend.CPU(thread_count=request["threads"]),
        prefill_tokens=request["prefill_tokens"],
        decode_tokens=request["decode_tokens"],
        cache_dir=request["cache"],
    ).run()
    measured: Measured = {
        "prefill_tokens_per_second": round(result.last_prefill_tokens_per_second, 1),
        "decode_tokens_per_second": round(result.last_decode_tokens_per_second, 1),
        "time_to_first_token": round(result.time_to_first_token_in_second, 3),
        "load_seconds": round(result.init_time_in_second, 2),
        "peak_memory_bytes": peak_memory_bytes(),
    }
    # On a line of its own: native code may have left one unfinished.
    print("\n" + json.dumps(measured), flush=True)
