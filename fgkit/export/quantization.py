"""How the weights of a `.tflite` are stored: recipes by name, and a float file turned into any of them in seconds.

>>> QUANTIZATIONS["dynamic_int8_embedding_int4"].suffix
'q8_emb4'

The first six are litert_torch's own, by its names. The mixed ones are written for this network: two thirds of its weights
are the embedding, which the head shares, so its bits decide the size, and the bits of the attention decide the score.
Four bits need a scale for each 32 weights of a row: one a row leaves nothing of this model (docs/quantisation.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fgkit.errors import BundleError

# Where AI Edge Quantizer finds parts of the network: by the names that litert_torch gives operations.
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
        suffix: what the file's name says.
        bytes_per_weight: bytes a parameter takes on disk, a little too many.
        rules: (parts of the network, bits, granularity), later ones over earlier ones; none where litert_torch does it.
        own: whether it is ours; litert_torch knows the others by the same name.
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
    """Store the weights of a float `.tflite` otherwise; `dynamic_int8` gives the bytes that litert_torch gives.

    Args:
        source: a file converted with `none`.
        output: the file to write, as it stands: give a temporary name and rename.
        name: a quantization with rules.
    Raises:
        BundleError: the file is none that AI Edge Quantizer reads.
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
        found = quantizer.Quantizer(str(source), recipe.get_quantization_recipe()).quantize()
    except (ValueError, RuntimeError, TypeError) as error:
        raise BundleError(
            f"{source}: cannot be stored as {name} ({str(error)[:200]}). Convert the model with quantize "
            "'none' again."
        ) from error
    Path(output).write_bytes(found.quantized_model)
    return Path(output)
