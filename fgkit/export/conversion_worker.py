"""The conversion itself, in the child process that `conversion.convert` starts.

In: one JSON request as the process's argument. Out: the `.tflite` in the request's folder, and one
JSON line with the peak memory at the end of stdout.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any, TypedDict

from fgkit import files
from fgkit.errors import ModelError
from fgkit.subprocesses import peak_memory_bytes

from . import quantization
from .quantization import QUANTIZATIONS


class Request(TypedDict):
    """What is to be converted, and how.

    `model_dir` is the model folder and `decoder_config` the `module:function` of its network's
    configuration (`ModelSpec.decoder_config`); all others are arguments of litert_torch's
    `convert_to_tflite`.
    """

    model_dir: str
    decoder_config: str
    output_path: str
    output_name_prefix: str
    prefill_seq_len: list[int]
    kv_cache_max_len: int
    quantize: str


def run(request: str) -> None:
    """Convert a model as the guide's cell does, then print one JSON line with the peak memory.

    Args:
        request: a `Request` as JSON.
    """
    settings = json.loads(request)
    import_lora_layers()
    from litert_torch.generative.layers import kv_cache
    from litert_torch.generative.utilities import converter
    from litert_torch.generative.utilities.export_config import ExportConfig

    pytorch_model = build(Path(settings.pop("model_dir")), settings.pop("decoder_config"))
    export_config = ExportConfig()
    export_config.kvcache_layout = kv_cache.KV_LAYOUT_TRANSPOSED
    export_config.mask_as_input = True
    name = settings["quantize"]
    wanted = QUANTIZATIONS[name]
    output = converter.convert_to_tflite(
        pytorch_model,
        export_config=export_config,
        **settings | {"quantize": "none" if wanted.own else name},
    )
    if wanted.own:
        # The float file is quantized in a second pass; the model's memory is needed for it.
        del pytorch_model
        float_suffix = QUANTIZATIONS["none"].suffix
        target = output.replace(f"_{float_suffix}_", f"_{wanted.suffix}_")
        quantization.quantize(output, target, name)
    print("\n" + json.dumps({"peak_memory_bytes": peak_memory_bytes()}), flush=True)


def build(folder: Path, decoder_config: str) -> Any:
    """litert_torch's network with the folder's weights and as many pieces as the folder has.

    Args:
        folder: a model folder.
        decoder_config: `module:function` of the network's configuration; the module also holds the
            `Decoder` class and the tensor names.
    Raises:
        ModelError: the weights have other names than litert_torch knows.
    """
    from litert_torch.generative.utilities.model_builder import build_decoder_only_model

    module_name, _, function = decoder_config.partition(":")
    decoder = importlib.import_module(module_name)
    config = getattr(decoder, function)()
    config.vocab_size = files.read_json(folder / "config.json")["vocab_size"]
    for names in decoder.TENSOR_NAMES_DICT.values():
        try:
            return build_decoder_only_model(str(folder), config, names, decoder.Decoder)
        except KeyError:
            # These are the tensor names of another way to save the model.
            continue
    raise ModelError(
        "litert_torch found no Gemma 3 tensor names in model.safetensors. Save the model with "
        "save_pretrained."
    )


def import_lora_layers() -> None:
    """Import litert_torch's LoRA layers, also where TensorFlow is not installed.

    litert-torch 0.10 imports TensorFlow's flatbuffer schema there without declaring TensorFlow,
    which has no wheel for some of our platforms and takes 1.3 GB. ai_edge_litert, which it does
    declare, holds the identical schema module. That module is registered under TensorFlow's name
    for this one import only: other packages probe for TensorFlow and must not find it.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        return
    from ai_edge_litert import schema_py_generated

    # What lora.py imports besides the schema comes first, while the name is still free.
    importlib.import_module("litert_torch.generative.layers.model_config")
    names = ["tensorflow", "tensorflow.lite", "tensorflow.lite.python"]
    modules = {name: types.ModuleType(name) for name in names}
    vars(modules[names[-1]])["schema_py_generated"] = schema_py_generated
    sys.modules.update(modules)
    try:
        importlib.import_module("litert_torch.generative.layers.lora")
    finally:
        for name in names:
            del sys.modules[name]
