"""What a model card says of the base and the recipe that a model was trained with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fgkit.markdown_text import code, plain
from fgkit.models.spec import base_named, spec_of_base


def base_sentence(base: Any) -> str:
    """Write the sentence that names the base."""
    known = base_named(base)
    if known and known.card_description:
        return f"This is {known.card_description}, all weights fine-tuned."
    if _is_hub_name(base):
        return f"This is [{base}](https://huggingface.co/{base}), all weights fine-tuned."
    return (
        f"This is a {spec_of_base(base).title} with FunctionGemma's prompt format, all weights "
        "fine-tuned."
    )


def published_as_of(base: Any) -> str | None:
    """The model on the Hub that a base comes from; None for a folder of the author's.

    The path of a folder is of no use to others, and could name its owner.
    """
    known = base_named(base)
    if known:
        return known.published_as
    return base if _is_hub_name(base) else None


def base_row(base: Any) -> str:
    """The base, for the table of what the model was made from."""
    known = base_named(base)
    if known and known.card_row:
        return f"{known.card_row} ({known.published_as})"
    return code(base) if _is_hub_name(base) else "a folder of the author's"


def recipe(settings: Mapping[str, Any]) -> list[str]:
    """The hyperparameters of the training, as far as they are known."""
    labels = {"num_train_epochs": "epochs", "learning_rate": "peak learning rate"}
    parts = [
        f"{settings[key]:g} {label}"
        for key, label in labels.items()
        if settings.get(key) is not None
    ]
    batch = (settings.get("per_device_train_batch_size") or 0) * (
        settings.get("gradient_accumulation_steps") or 0
    )
    if batch:
        parts.append(f"{batch} rows a step")
    if settings.get("precision"):
        parts.append(f"precision {plain(settings['precision'])}")
    return parts


def _is_hub_name(base: object) -> bool:
    return isinstance(base, str) and bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base, re.ASCII))
