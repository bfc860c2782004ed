"""spec: a second network is one entry, and everything that depends on a network reads it there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fgkit import files
from fgkit.config.finetune import FinetuneConfig
from fgkit.errors import ModelError
from fgkit.export import conversion
from fgkit.hub import model_card_origins
from fgkit.licence import Licence
from fgkit.models import base as base_model, model_checks, network_shape, spec
from fgkit.models.base import Base
from fgkit.workflow import doctor
from fgkit.workflow.stages import finetune_steps

SHAPE = {
    "model_type": "gemma3_text",
    "hidden_size": 1152,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "intermediate_size": 6912,
    "sliding_window": 512,
}
RECIPE = spec.Recipe(
    num_train_epochs=2,
    learning_rate=2e-6,
    per_device_train_batch_size=1,
    gradient_accumulation_steps=64,
    precision="fp32",
)
MADE_UP = spec.ModelSpec(
    key="made-up-1b",
    title="Made Up 1B",
    shape=SHAPE,
    vocabulary_size=300_000,
    max_context=65_536,
    decoder_config="litert_torch.generative.examples.gemma3.decoder:get_decoder_config_1b",
    memory_gb={"finetune": 50_001, "to_tflite": 50_002, "to_task": 50_003},
    disk_gb={"finetune": 60_001, "to_tflite": 60_002, "to_task": 60_003},
    file_stem="made-up",
    licence=Licence("made-up", "Made-Up Terms", "https://example.org/terms", "NOTICE-GEMMA.txt"),
    stop_ids=(1, 7),
    bases=(
        spec.KnownBase(
            name="somebody/made-up-1b-it",
            label="Made Up",
            recipe=RECIPE,
            published_as="somebody/made-up-1b",
            card_description="the made-up base",
            card_row="Made Up from a drawer",
            modifications="ids renamed",
        ),
    ),
)


@pytest.fixture
def made_up(monkeypatch) -> spec.KnownBase:
    """The made-up network beside the others, and its only base."""
    monkeypatch.setattr(spec, "SPECS", dict(spec.SPECS))
    spec.register(MADE_UP)
    return MADE_UP.bases[0]


def model_folder(path: Path, **config) -> Path:
    """A folder with a config and one tensor, which is all that is read before a conversion."""
    path.mkdir(parents=True)
    files.write_json(path / "config.json", {**SHAPE, "vocab_size": 4, **config})
    files.write_json(path / "generation_config.json", {"eos_token_id": [7, 1]})
    entry = {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}
    header = json.dumps({"model.embed_tokens.weight": entry}).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return path


def test_the_checks_of_a_folder_take_shape_vocabulary_and_stop_ids(made_up, tmp_path) -> None:
    folder = model_folder(tmp_path / "model")
    results = {check.name: check for check in model_checks.check_model_folder(folder)}
    assert (results["shape"].status, results["shape"].reason) == ("pass", "Made Up 1B.")
    assert results["stop ids"].reason == "generation stops at [1, 7]."
    assert network_shape.shape_problems(model_folder(tmp_path / "a", vocab_size=300_000)) == []
    (problem,) = network_shape.shape_problems(model_folder(tmp_path / "b", vocab_size=300_001))
    assert "expected 300000 or, after a cut, fewer" in problem
    (problem,) = network_shape.shape_problems(model_folder(tmp_path / "c", num_hidden_layers=25))
    assert "num_hidden_layers is 25, expected 26" in problem
    assert "only Gemma 3 270M or Made Up 1B can be converted" in problem


def test_a_base_brings_its_recipe_and_its_modifications(made_up, tmp_path) -> None:
    folder = model_folder(tmp_path / "model")
    assert base_model.origin_of("somebody/made-up-1b-it", folder) is made_up
    # A model on the Hub that is not registered is known by its shape.
    assert base_model.origin_of("somebody/else", folder) is made_up
    base = Base(made_up.name, folder, base_model.origin_of(made_up.name, folder), "")
    assert FinetuneConfig().recipe(base.recipe) == RECIPE
    assert FinetuneConfig(num_train_epochs=9).recipe(base.recipe) == replace(
        RECIPE, num_train_epochs=9
    )
    assert finetune_steps._modifications(base, 3).startswith("ids renamed; ")
    assert "Made Up 2e-6" in spec.recipe_values("learning_rate")
    assert "Made Up 1 x 64 = 64 rows" in spec.batch_values()
    assert FinetuneConfig(vocab_size=299_999, max_length=65_536).vocab_size == 299_999


def test_the_conversion_asks_for_its_builder_and_names_its_memory(
    made_up, tmp_path, monkeypatch
) -> None:
    seen = {}

    def run(request, folder, progress, memory_gb):
        seen.update(request, memory_gb=memory_gb)
        raise ModelError("seen enough")

    monkeypatch.setattr(conversion, "_run", run)
    with pytest.raises(ModelError, match="seen enough"):
        conversion.convert(model_folder(tmp_path / "model"), tmp_path / "out", progress=False)
    assert seen["decoder_config"].endswith(":get_decoder_config_1b")
    message = conversion._failure(-9, "", tmp_path, seen["memory_gb"])
    assert "needs about 50002 GB" in message


def test_doctor_asks_for_its_memory_and_disk(made_up) -> None:
    results = {check.name: check for check in doctor.check_environment("all", spec=MADE_UP)}
    assert "about 50003 GB are used" in results["memory"].reason
    assert "about 180006 GB are used" in results["disk"].reason
    assert {"memory", "disk"} <= {name for name, it in results.items() if it.status == "fail"}


def test_the_card_names_its_base_and_its_licence(made_up) -> None:
    assert model_card_origins.base_sentence(made_up.name) == (
        "This is the made-up base, all weights fine-tuned."
    )
    assert model_card_origins.published_as_of(made_up.name) == "somebody/made-up-1b"
    assert (
        model_card_origins.base_row(made_up.name) == "Made Up from a drawer (somebody/made-up-1b)"
    )
    assert spec.spec_of_base(made_up.name).licence.hub_id == "made-up"


def test_what_is_not_registered_is_the_default_network() -> None:
    assert spec.spec_of_base("somebody/else") is spec.GEMMA_3_270M
    assert spec.spec_of([]) is spec.spec_of({}) is spec.GEMMA_3_270M
    assert spec.base_named("somebody/else") is None


def test_every_entry_is_complete_and_its_builder_exists() -> None:
    assert spec.SPECS
    for key, entry in spec.SPECS.items():
        assert entry.key == key and entry.bases and entry.shape
        assert set(entry.memory_gb) == set(entry.disk_gb) == set(doctor.STEPS)
        module, _, function = entry.decoder_config.partition(":")
        assert module.startswith("litert_torch.") and function
