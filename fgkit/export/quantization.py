"""Quantizations of a `.tflite` by name, and a float file quantized with any of them in seconds.

The first six are litert_torch's own, by its names. The mixed ones are written for this network: two
thirds of its weights are the embedding, which the head shares, so its bits decide the size, and the
bits of the attention decide the score. Four bits need a scale for every 32 weights of a row: with
one scale for a row this model answers nothing sensible (docs/quantisation.md).

Example:

    QUANTIZATIONS["dynamic_int8_embedding_int4"].suffix    # 'q8_emb4'
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fgkit.errors import BundleError

# Regular expressions for parts of the network, over the names that litert_torch gives operations.
_EVERYTHING, _EMBEDDING, _HEAD, _ATTENTION = (
    ".*",
    "Embedding_tok_embedding",
    "decode_logits_output",
    "layers.attention",
)
_CHANNEL = "CHANNELWISE"


@dataclass(frozen=True)
class Quantization:
    """One way to store weights.

    Args:
        suffix: part of the file's name.
        bytes_per_weight: bytes that a parameter takes on disk, rounded up.
        rules: (parts of the network, bits, granularity); later rules override earlier ones. None
            where litert_torch quantizes.
        own: whether it is fgkit's own; litert_torch knows the others by the same name.
    """

    suffix: str
    bytes_per_weight: float
    rules: tuple[tuple[tuple[str, ...], int, str], ...] = ()
    own: bool = False


QUANTIZATIONS = {
    "dynamic_int8": Quantization("q8", 1.1, (((_EVERYTHING,), 8, _CHANNEL),)),
    "weight_only_int8": Quantization("q8_wo", 1.1),
    "fp16": Quantization("fp16", 2.1),
    "none": Quantization("f32", 4.1),
    "dynamic_int4_block32": Quantization("q4_block32", 0.8, (((_EVERYTHING,), 4, "BLOCKWISE_32"),)),
    "dynamic_int4_block128": Quantization(
        "q4_block128", 0.8, (((_EVERYTHING,), 4, "BLOCKWISE_128"),)
    ),
    "dynamic_int8_embedding_int4": Quantization(
        "q8_emb4",
        0.9,
        (((_EVERYTHING,), 8, _CHANNEL), ((_EMBEDDING, _HEAD), 4, "BLOCKWISE_32")),
        own=True,
    ),
    "dynamic_int4_attention_int8": Quantization(
        "q4_att8",
        0.8,
        (((_EVERYTHING,), 4, "BLOCKWISE_32"), ((_ATTENTION,), 8, _CHANNEL)),
        own=True,
    ),
}


def quantize(source: str | Path, output: str | Path, name: str) -> Path:
    """Quantize a float `.tflite`; `dynamic_int8` gives the same bytes as litert_torch.

    Args:
        source: a file converted with `none`.
        output: the file to write; it is written in place, so give a temporary name and rename.
        name: a quantization with rules.
    Raises:
        BundleError: AI Edge Quantizer cannot read the file.
    """
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe_manager

    recipe = recipe_manager.RecipeManager()
    operations = qtyping.TFLOperationName
    for scopes, bits, granularity in QUANTIZATIONS[name].rules:
        weights = qtyping.TensorQuantizationConfig(
            num_bits=bits,
            symmetric=True,
            dtype=qtyping.TensorDataType.INT,
            granularity=qtyping.QuantGranularity(granularity),
        )
        for scope in scopes:
            recipe.add_quantization_config(
                regex=scope,
                operation_name=operations.FULLY_CONNECTED
                if scope == _HEAD
                else operations.ALL_SUPPORTED,
                op_config=qtyping.OpQuantizationConfig(
                    weight_tensor_config=weights,
                    explicit_dequantize=False,
                    compute_precision=qtyping.ComputePrecision.INTEGER,
                ),
                algorithm_key=algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT,
            )
    try:
        quantized = quantizer.Quantizer(str(source), recipe.get_quantization_recipe()).quantize()
    except (ValueError, RuntimeError, TypeError) as error:
        raise BundleError(
            f"{source}: cannot be stored as {name} ({str(error)[:200]}). Convert the model with "
            "quantize 'none' again."
        ) from error
    Path(output).write_bytes(quantized.quantized_model)
    return Path(output)
