"""quantization_study: what is made again and what is not, the table, the recommendation, the picture; the work is faked."""

from __future__ import annotations

import pytest

from fgkit import files
from fgkit.bundles import create as bundle
from fgkit.calls import Call
from fgkit.config.task import TaskConfig
from fgkit.errors import ConfigError, FgkitError
from fgkit.evaluation import scores as evaluation
from fgkit.export import conversion, quantization
from fgkit.prompts import completion
from fgkit.runtime import speed
from fgkit.workflow import quantization_study as study, summary
from tests.workflow.test_stages import rows, tokenizer_folder

SIZES = {
    "none": 1000,
    "dynamic_int8": 280,
    "dynamic_int8_embedding_int4": 200,
    "dynamic_int4_block32": 150,
}
WRONG = {"none": 0, "dynamic_int8": 0, "dynamic_int8_embedding_int4": 1, "dynamic_int4_block32": 12}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A run of 20 held-out rows whose network, bundles, answers and speeds are made up; counts what is done."""
    done = {"converted": 0, "scored": []}
    asked = rows(20)
    tokenizer_folder(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")

    def convert(
        model, folder, *, name, quantize, prefill_seq_len, extra_prefill_seq_lens, kv_cache_max_len
    ):
        assert (prefill_seq_len, [*extra_prefill_seq_lens]) == (256, [32])
        done["converted"] += 1
        path = folder / f"{name}_f32_ekv{kv_cache_max_len}.tflite"
        files.write_text(path, "floats")
        parameters = {"prefill_seq_len": 256, "kv_cache_max_len": kv_cache_max_len}
        digest = files.sha256(model / "model.safetensors")
        files.write_json(f"{path}.json", {"parameters": parameters, "model_sha256": digest})

    def create_task(network, tokenizer, output, *, profile, sidecar):
        files.write_text(output, "\0" * SIZES[sidecar["quantize"]])
        files.write_json(f"{output}.json", sidecar)

    def score(path, data, setup, **_):
        name = files.read_json(f"{path}.json")["quantize"]
        done["scored"].append(name)
        texts = [
            completion(row.calls if place >= WRONG[name] else [Call("show_alert", {})])
            for place, row in enumerate(data.held_out)
        ]
        return evaluation.score(data.held_out, texts)

    monkeypatch.setattr(conversion, "convert", convert)
    monkeypatch.setattr(quantization, "quantize", lambda source, part, name: part.write_text(name))
    monkeypatch.setattr(bundle, "create_task", create_task)
    monkeypatch.setattr(study, "score_bundle", score)
    monkeypatch.setattr(
        study,
        "score_tuned",
        lambda settings, data: evaluation.score(
            data.held_out, [completion(row.calls) for row in data.held_out]
        ),
    )
    monkeypatch.setattr(
        speed,
        "measure",
        lambda path: {
            "prefill_tokens_per_second": 1000.0,
            "decode_tokens_per_second": 50.0,
            "peak_memory_bytes": 5e8,
        },
    )
    return TaskConfig(output=str(tmp_path)), asked, done


def test_each_is_made_once_and_the_smallest_that_passes_is_recommended(work, tmp_path):
    settings, asked, done = work
    found = study.study(settings, asked, list(SIZES))
    assert done == {"converted": 1, "scored": list(SIZES)}
    assert [name for name, one in found.items() if not one["gate"]["passed"]] == [
        "dynamic_int4_block32"
    ]
    folder = tmp_path / "variants"
    assert sorted(path.suffix for path in folder.iterdir()) == [
        ".json",
        ".json",
        ".json",
        ".json",
        ".json",
        ".json",
        ".md",
        ".png",
        ".task",
        ".task",
        ".task",
        ".task",
        ".tflite",
    ]
    text = (folder / "quantization.md").read_text()
    assert "The smallest that passed the gate: `dynamic_int8_embedding_int4`" in text
    assert "The best answers: `dynamic_int8`" in text and text.index("`none`") < text.index(
        "`dynamic_int4_block32`"
    )
    assert (folder / "quantization.png").stat().st_size > 10_000
    stored = summary.read(tmp_path)["variants"]
    assert stored["none"]["score"]["exact_match"] == 1.0 and "rows" not in stored["none"]["score"]

    study.study(settings, asked, list(SIZES))
    assert done["scored"] == list(SIZES)  # nothing again
    (folder / "functiongemma-flutter_q8.task").unlink()
    study.study(settings, asked, list(SIZES))
    assert done["scored"] == [*SIZES, "dynamic_int8"] and done["converted"] == 1
    (tmp_path / "model" / "model.safetensors").write_bytes(b"others")
    study.study(settings, asked, ["none"])
    assert done["scored"][-1] == "none" and done["converted"] == 2


def test_where_none_passes_it_says_so(work):
    settings, asked, _ = work
    found = study.study(settings, asked, ["dynamic_int4_block32"])
    assert study.recommendation(found).startswith("None passed the gate")


def test_an_unknown_name_is_refused_before_any_work(work):
    settings, asked, done = work
    with pytest.raises(
        ConfigError, match="quantization is 'dynamic_int9', expected one of none, .*dynamic_int8"
    ):
        study.study(settings, asked, ["none", "dynamic_int9"])
    assert done == {"converted": 0, "scored": []}


def test_a_runs_own_settings_count_and_named_ones_go_before(tmp_path):
    with pytest.raises(FgkitError, match="holds no summary.json, so it is not the folder of a run"):
        study.settings_of(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.touch()
    own = {
        "data": str(rows),
        "seed": 7,
        "model": str(tmp_path),
        "name": "mine",
        "profile": "google",
        "output": "elsewhere",
        "max_exact_match_loss": 1.0,
        "of_an_older_fgkit": True,
    }
    summary.update(tmp_path, settings={"to_task": own})
    found = study.settings_of(tmp_path, name="other", tools="")
    assert (found.data, found.seed, found.model, found.profile) == (
        str(rows),
        7,
        str(tmp_path),
        "google",
    )
    assert (found.name, found.tools, found.output, found.max_exact_match_loss) == (
        "other",
        "",
        str(tmp_path),
        1.0,
    )
