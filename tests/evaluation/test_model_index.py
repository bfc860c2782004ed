"""The model-index block: what huggingface_hub itself reads back from it."""

from __future__ import annotations

import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results
from scored import RECORDS, perfect

from fgkit.evaluation.model_index import HUB_METRICS, card_data
from fgkit.evaluation.scores import METRICS, score


def test_every_metric_has_a_name_on_the_hub() -> None:
    assert list(HUB_METRICS) == list(METRICS) and len(set(HUB_METRICS.values())) == len(METRICS)


def test_the_hub_reads_the_block_back() -> None:
    result = score(RECORDS, [*perfect()[:3], "no"]) | {"rows_sha256": "abc"}
    block = yaml.safe_load(card_data(result, "my-app", data="eval.jsonl").to_yaml())
    name, found = model_index_to_eval_results(block["model-index"])
    assert name == "my-app" and len(block["model-index"][0]["results"]) == 1
    assert [(one.metric_type, one.metric_name, one.metric_value) for one in found] == [
        ("parse_rate", "parse rate", 0.75),
        ("accuracy", "tool accuracy", 0.75),
        ("exact_match", "exact match", 0.75),
        ("precision", "argument precision", 1.0),
        ("recall", "argument recall", 0.8),
    ]
    assert {one.task_type for one in found} == {"text-generation"}
    assert all(one.dataset_args == {"rows": 4, "rows_sha256": "abc"} for one in found)
    assert found[0].metric_args == {"interval_95": [0.0, 1.0], "groups": 4}


def test_what_was_not_measured_is_left_out() -> None:
    old = {"n": 4, "parse_rate": 1.0, "tool_accuracy": 0.75, "exact_match": 0.5, "per_tool": {}}
    metrics = card_data(old, "m", data="d").to_dict()["model-index"][0]["results"][0]["metrics"]
    assert {one["type"]: one["value"] for one in metrics} == {
        "parse_rate": 1.0,
        "accuracy": 0.75,
        "exact_match": 0.5,
    }
    assert not any("args" in one for one in metrics)
    silent = score(RECORDS, ["no"] * 4)
    assert "precision" not in str(card_data(silent, "m", data="d").to_dict())
