"""quantization: a tiny network stored in every way, compared with the converter's own bytes and with PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from fgkit import config
from fgkit.errors import BundleError, ConfigError
from fgkit.export import conversion_worker, first_token, quantization, tflite
from fgkit.export.quantization import QUANTIZATIONS
from tests.export.test_conversion import KV, TINY, pytorch_logits, tiny_tflite


def test_names_and_suffixes_are_unique_and_the_converters_names_are_its_own():
    conversion_worker.import_lora_layers()
    from litert_torch.generative.utilities import converter

    assert len({recipe.suffix for recipe in QUANTIZATIONS.values()}) == len(QUANTIZATIONS)
    known = {
        name.value: converter.create_quantize_suffix(name) for name in converter.QuantizationName
    }
    assert known == {
        name: recipe.suffix for name, recipe in QUANTIZATIONS.items() if not recipe.own
    }
    with pytest.raises(ConfigError, match="quantize is 'int8'"):
        config.TfliteConfig(quantize="int8")


def test_a_file_that_is_no_network_is_one_message(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(500))
    with pytest.raises((BundleError), match="bad.tflite: cannot be stored as dynamic_int8"):
        quantization.quantize(tmp_path / "bad.tflite", tmp_path / "out", "dynamic_int8")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_float_file_becomes_what_the_converter_makes_and_what_it_does_not(tmp_path):
    floats = tiny_tflite("none")
    ids = np.random.default_rng(3).integers(4, TINY["vocab_size"], 20).tolist()
    sizes, wanted = {"none": floats.stat().st_size}, pytorch_logits(ids)
    for name, recipe in QUANTIZATIONS.items():
        if (
            not recipe.rules or name == "dynamic_int4_block128"
        ):  # the tiny network's rows are shorter than its blocks
            continue
        made = quantization.quantize(floats, tmp_path / f"{name}.tflite", name)
        tflite.check_signatures(made, prefill_seq_lens=[8, 16], kv_cache_max_len=KV)
        assert first_token.compare(wanted, first_token.logits_of(made, ids))["cosine"] > 0.8, name
        sizes[name] = made.stat().st_size
    assert (tmp_path / "dynamic_int8.tflite").read_bytes() == tiny_tflite().read_bytes()
    assert (
        sizes["dynamic_int4_block32"]
        < sizes["dynamic_int4_attention_int8"]
        < sizes["dynamic_int8"]
        < sizes["none"]
    )
    assert (
        sizes["dynamic_int8_embedding_int4"] < sizes["dynamic_int8"]
    )  # one table, shared by embedding and head
