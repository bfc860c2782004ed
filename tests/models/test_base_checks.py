"""A base of another kind or shape is refused before training: one message that says what it is, what is expected and what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from fgkit.cli.main import main
from fgkit.errors import ModelError
from fgkit.models import base as base_model, base_checks, model_checks, offline_base, spec
from fgkit.models.base import find_base


@pytest.fixture
def base(tmp_path, monkeypatch) -> Path:
    """A base that is accepted; each test changes it in one way."""
    monkeypatch.setenv("FGKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(offline_base, "build", lambda *asked: pytest.fail("a substitute was made"))
    return tiny.untrained(tmp_path / "base")


def config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def weights_become(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for name in names:
            (folder / name).write_bytes(b"\x80\x02}q\0.")

    return change


def tensors(change: Callable[[dict[str, list[int]]], object], dtype: str = "BF16"):
    def write(folder: Path) -> None:
        shapes = base_checks.tensors(json.loads((folder / "config.json").read_text()))
        change(shapes)
        tiny.stand_in_weights(folder, shapes, dtype)

    return write


GEMMA_3_1B = config(hidden_size=1152, num_hidden_layers=26, intermediate_size=6912)
OTHERS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a larger Gemma": (GEMMA_3_1B, ["hidden_size is 1152, expected 640", "only Gemma 3 270M"]),
    "a Llama": (config(model_type="llama"), ["model_type is 'llama', expected 'gemma3_text'"]),
    "a multimodal Gemma": (config(model_type="gemma3"), ["model_type is 'gemma3', expected"]),
    "a type that is a list": (config(model_type=["llama"]), ["model_type is ['llama'], expected"]),
    "a type without end": (config(model_type="x" * 10**5), ["model_type is 'xxx", "…"]),
    "a model with code of its own": (
        config(model_type="own", auto_map={"AutoConfig": "own.Config"}),
        ["model_type is 'own'"],
    ),
    "no type": (config(model_type=None), ["model_type is None, expected 'gemma3_text'"]),
    "a config that is a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        ["holds a list, expected an object"],
    ),
    "a config that is no JSON": (
        lambda folder: (folder / "config.json").write_text("[" * 10**5),
        ["is not JSON"],
    ),
    "a config far too large": (
        lambda folder: (folder / "config.json").write_text(" " * 1_100_000),
        ["config.json has more than 1 MB"],
    ),
    "GPTQ": (
        config(quantization_config={"quant_method": "gptq", "bits": 4}),
        ["weights are quantised ('gptq'), expected plain bfloat16", "that they were made from"],
    ),
    "bitsandbytes, without a name": (
        config(quantization_config={"load_in_4bit": True}),
        ["weights are quantised ('quantization_config')"],
    ),
    "quantised by a word": (config(quantization_config="q"), ["weights are quantised"]),
    "compressed": (
        config(compression_config={"quant_method": "compressed-tensors"}),
        ["'compressed-tensors'"],
    ),
    "bytes for weights": (
        tensors(lambda shapes: None, "I8"),
        ["holds I8, expected BF16, F16 or F32", "quantised weights cannot be trained"],
    ),
    "a LoRA adapter": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        ["LoRA or PEFT adapter", "expected all weights", "merge_and_unload"],
    ),
    "a LoRA adapter alone": (
        lambda folder: (
            weights_become("adapter_model.safetensors")(folder),
            (folder / "adapter_config.json").write_text("{}"),
        ),
        ["LoRA or PEFT adapter"],
    ),
    "GGUF alone": (
        weights_become("gemma-q4.gguf", "gemma-q8.gguf"),
        ["GGUF weights (gemma-q4.gguf, gemma-q8.gguf)", "expected safetensors"],
    ),
    "weights in parts": (
        weights_become("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        ["weights in several files", "expected one", "max_shard_size"],
    ),
    "an index of parts": (weights_become("model.safetensors.index.json"), ["in several files"]),
    "pickles": (
        weights_become("pytorch_model.bin"),
        ["pickled weights (pytorch_model.bin)", "pickle files are not read", "save_pretrained"],
    ),
    "many pickles": (
        weights_become(*(f"pytorch_model-{n}.bin" for n in range(9))),
        ["pytorch_model-2.bin and 6 more"],
    ),
    "a layer is missing": (
        tensors(lambda shapes: shapes.pop("model.layers.17.mlp.up_proj.weight")),
        ["1 of 236 tensors are missing, first model.layers.17.mlp.up_proj.weight"],
    ),
    "other names": (
        tensors(
            lambda shapes: shapes.update({f"x.{name}": shapes.pop(name) for name in [*shapes]})
        ),
        ["236 of 236 tensors are missing, first model.embed_tokens.weight"],
    ),
    "another width": (
        tensors(lambda shapes: shapes.update({"model.norm.weight": [1152]})),
        ["model.norm.weight has the shape [1152], expected [640]"],
    ),
    "fewer rows than pieces": (
        tensors(lambda shapes: shapes.update({"model.embed_tokens.weight": [7, 640]})),
        ["embed_tokens.weight has the shape [7, 640], expected [460, 640]"],
    ),
    "a shape that is none": (
        tensors(lambda shapes: shapes.update({"model.norm.weight": None})),  # type: ignore[dict-item]
        ["model.safetensors: cannot be read"],
    ),
    "another vocabulary": (config(vocab_size=262_144), ["460 pieces", "vocab_size 262144"]),
    "no control tokens": (
        lambda folder: (folder / "tokenizer.json").write_text('{"added_tokens": []}'),
        ["<escape> has id None, expected 52", "Take tokenizer.json from the base model"],
    ),
    "Gemma's own stop ids": (
        lambda folder: (folder / "generation_config.json").write_text('{"eos_token_id": [1, 106]}'),
        ["eos_token_id is [1, 106], expected [1, 50, 106]", 'Set "eos_token_id"'],
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_kind_of_base_is_one_message_before_training(base, capsys, case) -> None:
    change, parts = OTHERS[case]
    change(base)
    started = time.monotonic()
    with pytest.raises(ModelError) as info:
        find_base(str(base))
    message = str(info.value)
    assert [part for part in [str(base), *parts] if part not in message] == []
    assert len(message) < 2500 and message.count(parts[0]) == 1
    assert time.monotonic() - started < 5
    assert not message.startswith("Traceback") and capsys.readouterr().out == ""


def test_the_command_line_says_it_in_a_line_and_writes_nothing(base, tmp_path, capsys) -> None:
    config(quantization_config={"quant_method": "gptq"})(base)
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    code = main(["finetune", "--base", str(base), "--output", str(tmp_path / "out")])
    err = capsys.readouterr().err
    assert code == 2 and "weights are quantised ('gptq')" in err and "Traceback" not in err
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    assert not (tmp_path / "out" / "model").exists()


def test_what_is_asked_of_a_base_is_what_to_tflite_asks_of_its_model() -> None:
    names = {check.name for check in model_checks.FOLDER_CHECKS}
    # What training writes itself, and what `check_folder` has asked before.
    assert names - set(base_checks._ASKED) == {
        "files",
        "weights",
        "data type",
        "fgkit.json",
        "checksums",
    }
    assert set(base_checks._ASKED) < names


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_full_precision_bases_are_accepted(base, dtype) -> None:
    tensors(lambda shapes: shapes.update({"lm_head.weight": [460, 640]}), dtype)(base)
    found = find_base(str(base))
    assert found.folder == base and found.origin is spec.GEMMA_3_270M.bases[0]


def test_the_names_and_shapes_are_those_of_transformers(tmp_path, monkeypatch) -> None:
    tiny.known(monkeypatch)
    folder = tiny.model_folder(tmp_path / "model")
    assert find_base(str(folder)).folder == folder
    written = json.loads((folder / "config.json").read_text())
    header = base_checks.read_header(folder / "model.safetensors")
    assert {name: entry["shape"] for name, entry in header.items()} == base_checks.tensors(written)


def test_a_folder_that_cannot_be_loaded_is_one_message(tmp_path) -> None:
    folder = tiny.model_folder(tmp_path / "model")
    right = (folder / "config.json").read_bytes()
    for values in ({"layer_types": ["none"] * 4}, {"num_attention_heads": "four"}):
        config(**values)(folder)
        with pytest.raises(ModelError, match=r"its (model|tokenizer) cannot be (loaded|read)"):
            base_model.load(folder)
    (folder / "config.json").write_bytes(right)
    tiny.stand_in_weights(folder, base_checks.tensors(json.loads(right)))
    with pytest.raises(ModelError, match=r"its model cannot be loaded: .*Get the model's files"):
        base_model.load(folder)
