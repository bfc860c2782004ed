"""A tuned model folder goes in, a quantized `.tflite` comes out, read back before it gets its final name.

>>> convert("run/model", "run")          # 97 s and 6.3 GB of memory on 2 cores, 279 MB on disk
PosixPath('run/functiongemma-flutter_q8_ekv1024.tflite')

Beside it lies `functiongemma-flutter_q8_ekv1024.tflite.json`: what it was made from and with, the seconds and the peak
memory. The conversion runs in a process of its own: its memory goes back to the system at the end, its output stays out
of the notebook, and interrupting the cell ends it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgkit import files
from fgkit.errors import BundleError, ConfigError, ModelError
from fgkit.models import model_checks
from fgkit.models.spec import MAX_CONTEXT
from fgkit.progress import bar
from fgkit.subprocesses import peak_memory_bytes, python_path

from . import quantization
from .quantization import QUANTIZATIONS

CONTEXTS = (2048, 4096)  # KV caches that are taken without being asked for, where rows need them
_NO_MEMORY = "(?i)MemoryError|pthread_create|bad_alloc|(cannot|can't) allocate memory|LLVM ERROR: out of memory"
_NO_SPACE = r"No space left on device|Errno 28\b"


def convert(
    model_dir: str | Path,
    output_dir: str | Path,
    *,
    name: str = "functiongemma-flutter",
    prefill_seq_len: int = 256,
    extra_prefill_seq_lens: Sequence[int] = (),
    kv_cache_max_len: int = 1024,
    quantize: str = "dynamic_int8",
    progress: bool = True,
) -> Path:
    """Convert a model folder with the guide's parameters and return the path of the `.tflite`.

    Args:
        model_dir: a Gemma 3 270M folder with `config.json` and `model.safetensors`.
        output_dir: where the file goes; made when missing.
        name: start of the file name; the rest follows from the parameters (`_q8_ekv1024.tflite`).
        prefill_seq_len: prompt tokens read at once, fewer than `kv_cache_max_len`.
        extra_prefill_seq_lens: further, shorter lengths; a runtime reads the rest of a prompt with the shortest that holds it.
        kv_cache_max_len: longest prompt and answer together, in tokens.
        quantize: one of QUANTIZATIONS; `dynamic_int8` halves the size; docs/quantisation.md compares them.
        progress: show the running stage and the elapsed time.
    Raises:
        ConfigError: one or more parameters are wrong; all are listed.
        ModelError: the folder is missing, incomplete or has another shape.
        BundleError: the conversion failed, or the file read back is not what was asked for.
    """
    lengths = sorted({prefill_seq_len, *extra_prefill_seq_lens})
    _check_parameters(name, prefill_seq_len, extra_prefill_seq_lens, kv_cache_max_len, quantize)
    model_dir, output_dir = Path(model_dir), Path(output_dir)
    problems = model_checks.weight_problems(model_dir) + model_checks.shape_problems(model_dir)
    if problems:
        raise ModelError("\n".join(problems))
    wanted = QUANTIZATIONS[quantize]
    weights = model_dir / "model.safetensors"
    files.require_space(
        output_dir,
        int(weights.stat().st_size / 2 * (wanted.bytes_per_weight + 4.1 * wanted.own)),
        f"the .tflite in {output_dir}",
    )
    output = output_dir / f"{name}_{wanted.suffix}_ekv{kv_cache_max_len}.tflite"
    with files.replacing(output) as part:
        # A folder beside the output, so that the finished file can be renamed instead of copied.
        with tempfile.TemporaryDirectory(dir=output_dir, prefix=".tflite-") as folder:
            request = {
                "model_dir": str(model_dir.resolve()),
                "output_path": folder,
                "output_name_prefix": name,
                "prefill_seq_len": lengths,
                "kv_cache_max_len": kv_cache_max_len,
                "quantize": quantize,
            }
            result = _run(request, Path(folder), progress)
            os.replace(Path(folder) / output.name, part)
        check_signatures(part, prefill_seq_lens=lengths, kv_cache_max_len=kv_cache_max_len)
    parameters = {
        "prefill_seq_len": prefill_seq_len,
        "extra_prefill_seq_lens": [*extra_prefill_seq_lens],
        "kv_cache_max_len": kv_cache_max_len,
        "quantize": quantize,
    }
    files.write_json(
        f"{output}.json",
        {
            "parameters": parameters | {"kvcache_layout": "transposed", "mask_as_input": True},
            **result,
            "bytes": output.stat().st_size,
            "sha256": files.sha256(output),
            "model_sha256": files.sha256(weights),
        },
    )
    return output


def fitting_context(tokens: int, asked: int) -> int | None:
    """The KV cache to convert with: the one asked for, the next of CONTEXTS that is long enough, or None.

    Args:
        tokens: the longest prompt with its answer.
        asked: the length that the user set.
    """
    return next((length for length in (asked, *CONTEXTS) if length >= max(tokens, asked)), None)


def signatures(tflite: str | Path | bytes) -> dict[str, dict[str, dict[str, list[int]]]]:
    """Read a `.tflite`, or its bytes: `{signature: {"inputs": {tensor: shape}, "outputs": {tensor: shape}}}`.

    Raises:
        BundleError: the file is missing, truncated or no `.tflite`.
    """
    network = interpreter(tflite, delegate=False)
    found = {}
    for signature in network.get_signature_list():
        runner = network.get_signature_runner(signature)
        found[signature] = {
            "inputs": {
                tensor: detail["shape"].tolist()
                for tensor, detail in runner.get_input_details().items()
            },
            "outputs": {
                tensor: detail["shape"].tolist()
                for tensor, detail in runner.get_output_details().items()
            },
        }
    return found


def check_signatures(
    tflite_path: str | Path, *, prefill_seq_lens: Sequence[int], kv_cache_max_len: int
) -> dict[str, Any]:
    """Compare a file's signatures with what was asked for and return them.

    Args:
        tflite_path: the file.
        prefill_seq_lens: prompt tokens that its prefill signatures must take, one each.
        kv_cache_max_len: length its mask and its KV cache must have.
    Raises:
        BundleError: unreadable, or different; every difference is listed.
    """
    found = signatures(tflite_path)
    wanted = {"decode": 1} | {f"prefill_{length}": length for length in prefill_seq_lens}
    if found.keys() != wanted.keys():
        raise BundleError(
            f"{tflite_path}: has the signatures {sorted(found)}, expected {sorted(wanted)}. "
            "Convert the model again."
        )
    problems = []
    for signature, length in wanted.items():
        inputs = found[signature]["inputs"]
        # Transposed layout: keys are (1, heads, KV length, head size), values (1, heads, head size, KV length).
        got = {
            "tokens": inputs.get("tokens"),
            "mask": inputs.get("mask"),
            "kv_cache_k_0": inputs.get("kv_cache_k_0", [])[2:3],
            "kv_cache_v_0": inputs.get("kv_cache_v_0", [])[3:4],
        }
        want = {
            "tokens": [1, length],
            "mask": [1, 1, length, kv_cache_max_len],
            "kv_cache_k_0": [kv_cache_max_len],
            "kv_cache_v_0": [kv_cache_max_len],
        }
        problems += [
            f"{tflite_path}: {signature}: {tensor} has the shape {got[tensor]}, expected {want[tensor]}."
            for tensor in want
            if got[tensor] != want[tensor]
        ]
    if "logits" not in found["decode"]["outputs"]:
        problems.append(f"{tflite_path}: decode has no output 'logits'.")
    if problems:
        raise BundleError("\n".join([*problems, "Convert the model again."]))
    return found


def _check_parameters(
    name: str, prefill_seq_len: int, extra: Sequence[int], kv_cache_max_len: int, quantize: str
) -> None:
    problems = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        problems.append(
            f"name is {name!r}, expected letters, digits, '.', '_' and '-' only: it becomes a file name."
        )
    if quantize not in QUANTIZATIONS:
        problems.append(f"quantize is {quantize!r}, expected one of {', '.join(QUANTIZATIONS)}.")
    lengths = {"prefill_seq_len": prefill_seq_len, "kv_cache_max_len": kv_cache_max_len}
    for key, value in lengths.items():
        if type(value) is not int or not 1 <= value <= MAX_CONTEXT:
            problems.append(f"{key} is {value!r}, expected a whole number from 1 to {MAX_CONTEXT}.")
    if not problems and prefill_seq_len >= kv_cache_max_len:
        problems.append(
            f"prefill_seq_len is {prefill_seq_len}, expected less than kv_cache_max_len "
            f"({kv_cache_max_len}): the answer needs room in the cache too."
        )
    problems += [
        f"extra_prefill_seq_lens holds {length!r}, expected whole numbers from 1 to {prefill_seq_len - 1}."
        for length in extra
        if not problems and (type(length) is not int or not 1 <= length < prefill_seq_len)
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _run(request: dict[str, Any], folder: Path, progress: bool) -> dict[str, float | int]:
    """Run `_worker` in a child process; its output goes to a file and is shown only when it fails."""
    log, start = folder / "log.txt", time.monotonic()
    plain = {
        key: value
        for key, value in os.environ.items()
        if key not in ("FORCE_COLOR", "CLICOLOR_FORCE")
    }  # ipykernel's
    with open(log, "wb") as output:
        child = subprocess.Popen(
            _command(request),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            env=plain | {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        )
    try:
        with bar(total=None, bar_format="{desc} [{elapsed}]", disable=not progress) as shown:
            while child.poll() is None:
                stages = re.findall(
                    r"\[START\] LiteRT-Torch Convert > ([^>\n]+)", log.read_text(errors="replace")
                )
                shown.set_description_str(
                    f"to .tflite: {stages[-1].strip() if stages else 'loading'}"
                )
                time.sleep(0.5)
            shown.update(child.returncode == 0)  # a notebook's bar of unknown length is full at 1
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
    text = log.read_text(errors="replace")
    if child.returncode == -9 or child.returncode and re.search(_NO_MEMORY, text):
        raise BundleError(
            "the conversion ended for lack of memory, most likely: it needs about 7 GB. Close other "
            "programs, restart notebooks that hold a model, and run it again."
        )
    if child.returncode and re.search(_NO_SPACE, text):
        raise BundleError(
            f"{folder.parent}: the disk is full: no space is left for the .tflite. Free some, or choose "
            "another --output."
        )
    if child.returncode:
        tail = "\n".join(line.rstrip()[:300] for line in text.splitlines()[-15:])
        raise BundleError(
            f"the conversion failed (exit code {child.returncode}). Its last lines:\n{tail}\n"
            "`python -m fgkit doctor` checks the packages it needs."
        )
    return {"seconds": round(time.monotonic() - start, 1), **json.loads(text.splitlines()[-1])}


def _command(request: dict[str, Any]) -> list[str]:
    code = (
        "import sys; from fgkit import subprocesses; from fgkit.export import conversion; "
        "subprocesses.end_with_parent(); conversion._worker(sys.argv[1])"
    )
    return [sys.executable, "-c", code, json.dumps(request)]


def _worker(request: str) -> None:
    """The child's side of `convert`: the guide's cell, then one JSON line with the peak memory on stdout."""
    settings = json.loads(request)
    _import_lora_layers()
    from litert_torch.generative.layers import kv_cache
    from litert_torch.generative.utilities import converter
    from litert_torch.generative.utilities.export_config import ExportConfig

    pytorch_model = _build(Path(settings.pop("model_dir")))
    export_config = ExportConfig()
    export_config.kvcache_layout = kv_cache.KV_LAYOUT_TRANSPOSED
    export_config.mask_as_input = True
    name, wanted = settings["quantize"], QUANTIZATIONS[settings["quantize"]]
    made = converter.convert_to_tflite(
        pytorch_model,
        export_config=export_config,
        **settings | {"quantize": "none" if wanted.own else name},
    )
    if wanted.own:
        del pytorch_model
        quantization.quantize(
            made, made.replace(f"_{QUANTIZATIONS['none'].suffix}_", f"_{wanted.suffix}_"), name
        )
    print("\n" + json.dumps({"peak_memory_bytes": peak_memory_bytes()}), flush=True)


def _build(folder: Path) -> Any:
    """litert_torch's Gemma 3 270M with the folder's weights and as many pieces as the folder has."""
    from litert_torch.generative.examples.gemma3 import decoder
    from litert_torch.generative.utilities.model_builder import build_decoder_only_model

    config = decoder.get_decoder_config_270m()
    config.vocab_size = files.read_json(folder / "config.json")["vocab_size"]
    for names in decoder.TENSOR_NAMES_DICT.values():
        try:
            return build_decoder_only_model(str(folder), config, names, decoder.Decoder)
        except KeyError:  # the names are those of another way to save the model
            continue
    raise ModelError(
        "litert_torch found no Gemma 3 tensor names in model.safetensors. Save the model with "
        "save_pretrained."
    )


def _import_lora_layers() -> None:
    """Import litert_torch's LoRA layers, also where TensorFlow is not installed.

    litert-torch 0.10 imports TensorFlow's flatbuffer schema there without declaring TensorFlow, which has no wheel for
    some of our platforms and takes 1.3 GB. ai_edge_litert, which it does declare, holds the identical schema module; it
    stands in under TensorFlow's name for this one import only: others probe for TensorFlow and must not find it.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        return
    from ai_edge_litert import schema_py_generated

    # What lora.py pulls in besides the schema is imported first, while the name tensorflow is still free.
    importlib.import_module("litert_torch.generative.layers.model_config")
    names = ["tensorflow", "tensorflow.lite", "tensorflow.lite.python"]
    sys.modules.update({name: types.ModuleType(name) for name in names})
    sys.modules[names[-1]].schema_py_generated = schema_py_generated
    try:
        importlib.import_module("litert_torch.generative.layers.lora")
    finally:
        for name in names:
            del sys.modules[name]


def interpreter(tflite: str | Path | bytes, *, delegate: bool) -> Any:
    """Open a `.tflite`; without the XNNPACK delegate nothing is compiled, which is enough for reading shapes."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    source = {"model_content": tflite} if isinstance(tflite, bytes) else {"model_path": str(tflite)}
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        return Interpreter(
            **source, num_threads=os.cpu_count(), experimental_op_resolver_type=resolver
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "its network" if isinstance(tflite, bytes) else tflite
        raise BundleError(
            f"{where}: is not a readable .tflite ({reason[:200]}). Convert the model again."
        ) from error
