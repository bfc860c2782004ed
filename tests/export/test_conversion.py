"""tflite: a tiny random Gemma 3 is converted for real and compared with PyTorch; failures come from fake children."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from fgkit import atomic_files, files
from fgkit.errors import BundleError, ConfigError, FgkitError, ModelError
from fgkit.export import conversion, conversion_worker, first_token, quantization, tflite
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.models.spec import GEMMA_3_270M

TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "intermediate_size": 64,
    "vocab_size": 484,
    "sliding_window": 16,
}
KEPT = Path(__file__).parents[2] / ".pytest_cache" / "d" / "tiny_tflite"
SHORT, PREFILL, KV = (
    8,
    16,
    72,
)  # no multiple: the last tokens of a long prompt do not fit a padded prefill


@functools.cache
def tiny_model() -> Path:
    """A model folder of the 270M's architecture with tiny widths, whose answers depend on every token of the prompt."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(7)
    model = Gemma3ForCausalLM(
        Gemma3TextConfig(
            **TINY,
            max_position_embeddings=256,
            query_pre_attn_scalar=32,
            layer_types=["sliding_attention", "full_attention"],
        )
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(0, 0.1)
            if "post_attention_layernorm" in name or "post_feedforward_layernorm" in name:
                weight.fill_(1.5)  # or the last token alone, through the tied head, would decide
    folder = Path(tempfile.mkdtemp(prefix="fgkit-tiny-"))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@functools.cache
def tiny_tflite(quantize: str = "dynamic_int8") -> Path:
    """The tiny model converted by the very code that the child process of `convert` runs; kept for the next test run."""
    made_from = [
        Path(module.__file__).read_text(encoding="utf-8")
        for module in (conversion, quantization, sys.modules[__name__])
    ]
    made_from += [
        importlib.metadata.version(package)
        for package in ("litert-torch", "ai-edge-quantizer", "torch")
    ]
    key = hashlib.sha256("".join(made_from).encode()).hexdigest()[:16]
    kept = KEPT / f"{key}_{QUANTIZATIONS[quantize].suffix}.tflite"
    if not kept.is_file():
        with atomic_files.replacing(kept) as part:
            shutil.copy(_converted(quantize), part)
    return kept


def _converted(quantize: str) -> Path:
    conversion_worker.import_lora_layers()
    from litert_torch.generative.examples.gemma3 import decoder
    from litert_torch.generative.layers import model_config

    real = decoder.get_decoder_config_270m

    def tiny_config():
        config = real()
        config.num_layers, config.max_seq_len = TINY["num_hidden_layers"], 256
        config.embedding_dim, config.embedding_scale = (
            TINY["hidden_size"],
            TINY["hidden_size"] ** 0.5,
        )
        config.block_configs = config.block_configs[: TINY["num_hidden_layers"]]
        for block in config.block_configs:
            block.attn_config.head_dim, block.attn_config.sliding_window_size = (
                TINY["head_dim"],
                TINY["sliding_window"],
            )
            block.ff_config.intermediate_size = TINY["intermediate_size"]
        attention = config.block_configs[-1].attn_config
        attention.attn_type, attention.rotary_base = model_config.AttentionType.GLOBAL, 1_000_000
        return config

    folder = Path(tempfile.mkdtemp(prefix="fgkit-tiny-"))
    decoder.get_decoder_config_270m = tiny_config
    try:
        conversion_worker.run(
            json.dumps(
                {
                    "model_dir": str(tiny_model()),
                    "decoder_config": GEMMA_3_270M.decoder_config,
                    "output_path": str(folder),
                    "output_name_prefix": "tiny",
                    "prefill_seq_len": [SHORT, PREFILL],
                    "kv_cache_max_len": KV,
                    "quantize": quantize,
                }
            )
        )
    finally:
        decoder.get_decoder_config_270m = real
    return folder / f"tiny_{QUANTIZATIONS[quantize].suffix}_ekv{KV}.tflite"


def pytorch_logits(ids: list[int]) -> np.ndarray:
    import torch
    from transformers import Gemma3ForCausalLM

    model = Gemma3ForCausalLM.from_pretrained(
        tiny_model(), dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1].numpy()


def test_conversion_leaves_no_false_tensorflow():
    conversion_worker.import_lora_layers()
    import litert_torch.generative.layers.lora as lora

    false = sys.modules.get("tensorflow")
    assert lora.schema_fb.ModelT is not None
    assert false is None or false.__file__


def test_signatures_are_read_back_and_compared():
    found = tflite.check_signatures(
        tiny_tflite(), prefill_seq_lens=[SHORT, PREFILL], kv_cache_max_len=KV
    )
    assert sorted(found) == ["decode", "prefill_16", "prefill_8"]
    assert found["prefill_8"]["inputs"]["mask"] == [1, 1, SHORT, KV]
    assert found["prefill_16"]["inputs"]["mask"] == [1, 1, PREFILL, KV]
    assert found["decode"]["outputs"]["logits"] == [1, 1, TINY["vocab_size"]]
    with pytest.raises(BundleError, match="decode: mask has the shape .*expected .*128"):
        tflite.check_signatures(
            tiny_tflite(), prefill_seq_lens=[SHORT, PREFILL], kv_cache_max_len=128
        )
    with pytest.raises(BundleError, match="expected \\['decode', 'prefill_256'\\]"):
        tflite.check_signatures(tiny_tflite(), prefill_seq_lens=[256], kv_cache_max_len=KV)


# Shorter than a prefill, just over one, several with a padded last, and a last part whose padding would not fit.
@pytest.mark.parametrize("length", [1, 9, 17, 40, 72])
def test_first_token_logits_match_pytorch(length):
    ids = np.random.default_rng(length).integers(4, TINY["vocab_size"], length).tolist()
    same = first_token.compare(pytorch_logits(ids), first_token.logits_of(tiny_tflite(), ids))
    assert same["cosine"] > 0.99, same
    if length > 1:
        other = first_token.compare(
            pytorch_logits(ids), first_token.logits_of(tiny_tflite(), ids[1:])
        )
        assert other["cosine"] < same["cosine"]


def test_a_prompt_longer_than_the_cache_is_refused():
    with pytest.raises(BundleError, match="73 tokens, the file takes 1 to 72"):
        first_token.logits_of(tiny_tflite(), [5] * (KV + 1))


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"<html>" * 100]
)
def test_a_damaged_file_is_one_message(tmp_path, damage):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(damage(tiny_tflite().read_bytes()))
    with pytest.raises(BundleError, match="bad.tflite: is not a readable .tflite"):
        tflite.signatures(bad)
    with pytest.raises(BundleError, match="absent.tflite"):
        tflite.signatures(tmp_path / "absent.tflite")


def test_compare_logits():
    reference = np.array([0.0, 3.0, 1.0, -2.0])
    equal = first_token.compare(reference, reference + 0.001)
    assert equal["argmax_agrees"] and equal["cosine"] > 0.9999 and equal["reference_margin"] == 2.0
    other = first_token.compare(reference, np.array([0.0, 1.0, 3.0, -2.0]))
    assert not other["argmax_agrees"] and (other["argmax_reference"], other["argmax_got"]) == (1, 2)
    assert other["max_abs_difference"] == 2.0
    for bad in (reference[:3], np.array([0.0, np.nan, 1.0, 2.0])):
        with pytest.raises(BundleError):
            first_token.compare(reference, bad)


def fake_folder(path: Path) -> Path:
    """A folder that passes the checks before conversion: the 270M's config, a cut vocabulary and one tensor with a true header."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**GEMMA_3_270M.shape, "vocab_size": 2}))
    header = json.dumps(
        {"model.embed_tokens.weight": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    ).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    return path


def child(monkeypatch, code: str) -> None:
    """Replace the conversion by `code`, which sees the request as `r`."""
    code = f"import json, os, sys, shutil, signal\nr = json.loads(sys.argv[1])\n{code}"
    monkeypatch.setattr(
        conversion, "_command", lambda request: [sys.executable, "-c", code, json.dumps(request)]
    )


def test_convert_names_the_file_and_records_what_it_did(tmp_path, monkeypatch):
    model = fake_folder(tmp_path / "model")
    child(
        monkeypatch,
        f"print('noise')\nshutil.copy({str(tiny_tflite())!r}, "
        "os.path.join(r['output_path'], f\"{r['output_name_prefix']}_q8_ekv{r['kv_cache_max_len']}.tflite\"))\n"
        "print(json.dumps({'peak_memory_bytes': 7}))",
    )
    made = conversion.convert(
        model,
        tmp_path / "out",
        prefill_seq_len=PREFILL,
        extra_prefill_seq_lens=[SHORT],
        kv_cache_max_len=KV,
        progress=False,
    )
    assert made == tmp_path / "out" / "functiongemma-flutter_q8_ekv72.tflite"
    assert made.read_bytes() == tiny_tflite().read_bytes()
    record = json.loads(made.with_name(made.name + ".json").read_text())
    assert record["peak_memory_bytes"] == 7 and record["bytes"] == made.stat().st_size
    assert record["parameters"] == {
        "prefill_seq_len": PREFILL,
        "extra_prefill_seq_lens": [SHORT],
        "kv_cache_max_len": KV,
        "quantize": "dynamic_int8",
        "kvcache_layout": "transposed",
        "mask_as_input": True,
    }
    assert sorted(p.name for p in made.parent.iterdir()) == [made.name, made.name + ".json"]


def test_a_file_that_is_not_what_was_asked_for_never_gets_its_name(tmp_path, monkeypatch):
    model = fake_folder(tmp_path / "model")
    child(
        monkeypatch,
        f"shutil.copy({str(tiny_tflite())!r}, os.path.join(r['output_path'], "
        "'functiongemma-flutter_q8_ekv1024.tflite'))\nprint('{}')",
    )
    with pytest.raises(BundleError, match="has the signatures"):
        conversion.convert(model, tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "code, message",
    [
        (
            "print('first'); sys.exit('ValueError: no such tensor')",
            "exit code 1.*\n.*no such tensor",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", "lack of memory"),
        ("raise OSError(28, 'No space left on device')", "out: the disk is full"),
        ("bytearray(1 << 60)", "lack of memory"),
        (
            "print('cannot allocate memory for thread-local data: ABORT', flush=True); sys.exit(127)",
            "lack of memory",
        ),  # glibc
        (
            "print('Check failed: Thread tf_ creation via pthread_create() failed.', flush=True); os.abort()",
            "lack of memory",
        ),
    ],
)
def test_a_failed_conversion_keeps_the_old_file(tmp_path, monkeypatch, code, message):
    model = fake_folder(tmp_path / "model")
    old = tmp_path / "out" / "functiongemma-flutter_q8_ekv1024.tflite"
    files.write_text(old, "old")
    child(monkeypatch, code)
    with pytest.raises(BundleError, match=f"(?s){message}"):
        conversion.convert(model, old.parent, progress=False)
    assert old.read_text() == "old" and list(old.parent.iterdir()) == [old]


def test_interrupting_ends_the_child(tmp_path, monkeypatch):
    started = []
    real = conversion.subprocess.Popen
    monkeypatch.setattr(
        conversion.subprocess,
        "Popen",
        lambda *args, **more: started.append(real(*args, **more)) or started[0],
    )
    monkeypatch.setattr(
        conversion.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    child(monkeypatch, "import time\ntime.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        conversion.convert(fake_folder(tmp_path / "model"), tmp_path / "out", progress=False)
    assert started[0].returncode == -9 and list((tmp_path / "out").iterdir()) == []


def test_wrong_parameters_are_all_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        conversion.convert(
            tmp_path,
            tmp_path,
            name="a/b",
            prefill_seq_len=0,
            kv_cache_max_len=True,
            quantize="int3",
        )
    for problem in (
        "name is 'a/b'",
        "prefill_seq_len is 0",
        "kv_cache_max_len is True",
        "quantize is 'int3'",
    ):
        assert problem in str(caught.value)
    with pytest.raises(ConfigError, match="less than kv_cache_max_len"):
        conversion.convert(tmp_path, tmp_path, prefill_seq_len=1024)
    with pytest.raises(
        ConfigError, match="extra_prefill_seq_lens holds 256, expected whole numbers from 1 to 255"
    ):
        conversion.convert(tmp_path, tmp_path, extra_prefill_seq_lens=[32, 256])


def test_a_wrong_model_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    child(monkeypatch, "sys.exit('must not run')")
    with pytest.raises(ModelError, match="no such folder"):
        conversion.convert(tmp_path / "absent", tmp_path / "out")
    model = fake_folder(tmp_path / "model")
    (model / "config.json").write_text(json.dumps(TINY | {"model_type": "gemma3_text"}))
    with pytest.raises(ModelError, match="hidden_size is 64, expected 640"):
        conversion.convert(model, tmp_path / "out")
    monkeypatch.setattr(
        conversion.files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 0})
    )
    with pytest.raises(FgkitError, match="GB are needed"):
        conversion.convert(fake_folder(tmp_path / "good"), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
