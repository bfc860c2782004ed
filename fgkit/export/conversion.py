"""A tuned model folder converted to a quantized `.tflite`, which is read back before it is named.

Example:

    convert("run/model", "run")    # 97 s and 6.3 GB of memory on 2 cores, 279 MB on disk
    # PosixPath('run/functiongemma-flutter_q8_ekv1024.tflite')

Beside it goes `functiongemma-flutter_q8_ekv1024.tflite.json`: what it was made from and how, the
seconds and the peak memory. The conversion runs in a process of its own: its memory is released at
the end, its output does not fill the notebook, and interrupting the cell ends it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from fgkit import atomic_files, files
from fgkit.errors import BundleError, ConfigError, ModelError
from fgkit.models import spec
from fgkit.models.network_shape import shape_problems, spec_of_folder
from fgkit.models.weights import weight_problems
from fgkit.progress import bar
from fgkit.subprocesses import python_path

from .conversion_worker import Request
from .quantization import QUANTIZATIONS, Quantization
from .tflite import check_signatures

# Longer KV caches that are chosen automatically where rows need them.
CONTEXTS = (2048, 4096)
_NO_MEMORY = (
    "(?i)MemoryError|pthread_create|bad_alloc|(cannot|can't) allocate memory|"
    "LLVM ERROR: out of memory"
)
_NO_SPACE = r"No space left on device|Errno 28\b"


class Outcome(TypedDict):
    """What a conversion took."""

    seconds: float
    peak_memory_bytes: int | None


def convert(
    model_dir: str | Path,
    output_dir: str | Path,
    *,
    name: str = spec.GEMMA_3_270M.file_stem,
    prefill_seq_len: int = 256,
    extra_prefill_seq_lens: Sequence[int] = (),
    kv_cache_max_len: int = 1024,
    quantize: str = "dynamic_int8",
    progress: bool = True,
) -> Path:
    """Convert a model folder with the guide's parameters and return the path of the `.tflite`.

    Args:
        model_dir: a folder with `config.json` and `model.safetensors` of a registered network.
        output_dir: where the file goes; made when missing.
        name: start of the file name; the rest follows from the parameters (`_q8_ekv1024.tflite`).
        prefill_seq_len: prompt tokens read at once, fewer than `kv_cache_max_len`.
        extra_prefill_seq_lens: further, shorter lengths; a runtime reads the rest of a prompt with
            the shortest that holds it.
        kv_cache_max_len: longest prompt and answer together, in tokens.
        quantize: one of QUANTIZATIONS; `dynamic_int8` halves the size (docs/quantisation.md).
        progress: show the running stage and the elapsed time.
    Raises:
        ConfigError: one or more parameters are wrong; all are listed.
        ModelError: the folder is missing, incomplete or has another shape.
        BundleError: the conversion failed, or the file read back is not what was asked for.
    """
    lengths = sorted({prefill_seq_len, *extra_prefill_seq_lens})
    _check_parameters(name, prefill_seq_len, extra_prefill_seq_lens, kv_cache_max_len, quantize)
    model_dir, output_dir = Path(model_dir), Path(output_dir)
    if problems := weight_problems(model_dir) + shape_problems(model_dir):
        raise ModelError("\n".join(problems))
    weights, network = model_dir / "model.safetensors", spec_of_folder(model_dir)
    wanted = QUANTIZATIONS[quantize]
    _require_space(output_dir, weights, wanted)
    output = output_dir / f"{name}_{wanted.suffix}_ekv{kv_cache_max_len}.tflite"
    with atomic_files.replacing(output) as part:
        # A folder beside the output, so that the finished file can be renamed instead of copied.
        with atomic_files.working_folder(output_dir) as folder:
            request: Request = {
                "model_dir": str(model_dir.resolve()),
                "decoder_config": network.decoder_config,
                "output_path": str(folder),
                "output_name_prefix": name,
                "prefill_seq_len": lengths,
                "kv_cache_max_len": kv_cache_max_len,
                "quantize": quantize,
            }
            outcome = _run(request, folder, progress, network.memory_gb["to_tflite"])
            os.replace(folder / output.name, part)
        check_signatures(part, prefill_seq_lens=lengths, kv_cache_max_len=kv_cache_max_len)
    parameters = {
        "prefill_seq_len": prefill_seq_len,
        "extra_prefill_seq_lens": [*extra_prefill_seq_lens],
        "kv_cache_max_len": kv_cache_max_len,
        "quantize": quantize,
    }
    _write_record(output, parameters, outcome, weights)
    return output


def fitting_context(tokens: int, asked: int) -> int | None:
    """The KV cache to convert with: the one asked for, the next of CONTEXTS that fits, or None.

    Args:
        tokens: the longest prompt with its answer.
        asked: the length that the user set.
    """
    return next((length for length in (asked, *CONTEXTS) if length >= max(tokens, asked)), None)


def _require_space(output_dir: Path, weights: Path, wanted: Quantization) -> None:
    """Refuse to start where the finished file would not fit."""
    # Weights are stored in two bytes each. Our own quantizations need the float file besides.
    needed = weights.stat().st_size / 2 * (wanted.bytes_per_weight + 4.1 * wanted.own)
    files.require_space(output_dir, int(needed), f"the .tflite in {output_dir}")


def _write_record(
    output: Path, parameters: dict[str, Any], outcome: Outcome, weights: Path
) -> None:
    files.write_json(
        f"{output}.json",
        {
            "parameters": parameters | {"kvcache_layout": "transposed", "mask_as_input": True},
            **outcome,
            "bytes": output.stat().st_size,
            "sha256": files.sha256(output),
            "model_sha256": files.sha256(weights),
        },
    )


def _check_parameters(
    name: str, prefill_seq_len: int, extra: Sequence[int], kv_cache_max_len: int, quantize: str
) -> None:
    problems, longest = [], spec.max_context()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        problems.append(
            f"name is {name!r}, expected letters, digits, '.', '_' and '-' only: it becomes a file "
            "name."
        )
    if quantize not in QUANTIZATIONS:
        problems.append(f"quantize is {quantize!r}, expected one of {', '.join(QUANTIZATIONS)}.")
    lengths = {"prefill_seq_len": prefill_seq_len, "kv_cache_max_len": kv_cache_max_len}
    for key, value in lengths.items():
        if type(value) is not int or not 1 <= value <= longest:
            problems.append(f"{key} is {value!r}, expected a whole number from 1 to {longest}.")
    if not problems and prefill_seq_len >= kv_cache_max_len:
        problems.append(
            f"prefill_seq_len is {prefill_seq_len}, expected less than kv_cache_max_len "
            f"({kv_cache_max_len}): the answer needs room in the cache too."
        )
    problems += [
        f"extra_prefill_seq_lens holds {length!r}, "
        f"expected whole numbers from 1 to {prefill_seq_len - 1}."
        for length in extra
        if not problems and (type(length) is not int or not 1 <= length < prefill_seq_len)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _run(request: Request, folder: Path, progress: bool, memory_gb: int) -> Outcome:
    """Run the conversion in a child process; its output is shown only when it fails.

    Args:
        request: what to convert.
        folder: for the child's output.
        progress: show the running stage.
        memory_gb: what the conversion needs, for the message when it ran out of memory.
    """
    log, start = folder / "log.txt", time.monotonic()
    # ipykernel sets these two, and colours would end up in the log.
    plain = {
        key: value
        for key, value in os.environ.items()
        if key not in ("FORCE_COLOR", "CLICOLOR_FORCE")
    }
    with open(log, "wb") as output:
        child = subprocess.Popen(
            _command(request),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            env=plain | {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        )
    try:
        _show_stages(child, log, progress)
    finally:
        child.kill()
        child.wait()
        if child.stdin:
            child.stdin.close()
    text = log.read_text(errors="replace")
    if child.returncode:
        raise BundleError(_failure(child.returncode, text, folder.parent, memory_gb))
    reported = json.loads(text.splitlines()[-1])
    return {
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_bytes": reported.get("peak_memory_bytes"),
    }


def _show_stages(child: subprocess.Popen[bytes], log: Path, progress: bool) -> None:
    """Wait for the child and show the stage that litert_torch's log names."""
    with bar(total=None, bar_format="{desc} [{elapsed}]", disable=not progress) as shown:
        while child.poll() is None:
            stages = re.findall(
                r"\[START\] LiteRT-Torch Convert > ([^>\n]+)", log.read_text(errors="replace")
            )
            shown.set_description_str(f"to .tflite: {stages[-1].strip() if stages else 'loading'}")
            time.sleep(0.5)
        # A notebook's bar of unknown length is full at 1.
        shown.update(child.returncode == 0)


def _failure(code: int, log: str, output_dir: Path, memory_gb: int) -> str:
    """Why the child failed and what to do about it.

    Args:
        code: its exit code; -9 where the system killed it.
        log: what it printed.
        output_dir: where the `.tflite` was to go.
        memory_gb: what the conversion needs.
    """
    if code == -9 or re.search(_NO_MEMORY, log):
        return (
            f"the conversion ended for lack of memory, most likely: it needs about {memory_gb} GB. "
            "Close other programs, restart notebooks that hold a model, and run it again."
        )
    if re.search(_NO_SPACE, log):
        return (
            f"{output_dir}: the disk is full: no space is left for the .tflite. Free some, or "
            f"choose "
            "another --output."
        )
    tail = "\n".join(line.rstrip()[:300] for line in log.splitlines()[-15:])
    return (
        f"the conversion failed (exit code {code}). Its last lines:\n{tail}\n"
        "`python -m fgkit doctor` checks the packages it needs."
    )


def _command(request: Request) -> list[str]:
    code = (
        "import sys; from fgkit import subprocesses; from fgkit.export import conversion_worker; "
        "subprocesses.end_with_parent(); conversion_worker.run(sys.argv[1])"
    )
    return [sys.executable, "-c", code, json.dumps(request)]
