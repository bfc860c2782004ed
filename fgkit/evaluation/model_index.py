"""The model index of a score: the evaluation results in a model card on the Hugging Face Hub.

For example:

    card = card_data(score, "my-app-functions", data="eval_data.jsonl").to_dict()
    card["model-index"][0]["results"][0]["metrics"][1]
    # {'type': 'accuracy', 'value': 0.9936, 'name': 'tool accuracy',
    #  'args': {'interval_95': [0.9679, 1.0], 'groups': 156}}

A metric has the Hub's name where the Hub has one; fgkit's name and the interval are added to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fgkit.record_types import Score

from .scores import METRICS
from .tables import share_of

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

HUB_METRICS = {
    "parse_rate": "parse_rate",
    "tool_accuracy": "accuracy",
    "exact_match": "exact_match",
    "argument_precision": "precision",
    "argument_recall": "recall",
}


def card_data(score: Score, model_name: str, *, data: str) -> ModelCardData:
    """Make the front matter of a model card, with the score as its model index.

    Args:
        score: what `evaluation.score` or `evaluate --json` gave; metrics it lacks are left out.
        model_name: the model's name on the Hub.
        data: a name for the rows it was scored on, such as a file name or the id of a data set.
    Returns:
        the front matter, which its methods `to_dict()` and `to_yaml()` convert.
    """
    from huggingface_hub import EvalResult, ModelCardData

    rows: dict[str, Any] = {"rows": score["n"]}
    if "rows_sha256" in score:
        rows["rows_sha256"] = score["rows_sha256"]
    return ModelCardData(
        model_name=model_name,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                task_name="function calling",
                dataset_type=data,
                dataset_name=data,
                dataset_args=rows,
                metric_type=HUB_METRICS[metric],
                metric_name=label,
                metric_value=round(share, 4),
                metric_args=_interval(score, metric),
            )
            for metric, label in METRICS.items()
            if (share := share_of(score, metric)) is not None
        ],
    )


def _interval(score: Score, metric: str) -> dict[str, Any] | None:
    interval = score.get("intervals", {}).get(metric)
    return interval and {
        "interval_95": [round(end, 4) for end in interval],
        "groups": score.get("groups"),
    }
