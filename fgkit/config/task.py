"""The settings of `to_task.ipynb`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fgkit.bundles.profiles import DEFAULT, PROFILES
from fgkit.models.spec import default_spec
from fgkit.prompts import styles

from .checks import choice_problems, model_problems, name_problems
from .data import DataConfig, setting


@dataclass(frozen=True, kw_only=True)
class TaskConfig(DataConfig):
    """Settings of `to_task.ipynb`."""

    model: str = setting(
        "",
        "Folder of the tuned model that the `.tflite` was made from; empty: `model` in the "
        "output folder.",
    )
    name: str = setting(default_spec().file_stem, "First part of the file names.")
    style: str = setting(
        "",
        "Prompt style, one of the model's own; empty: as stored with the model. Others are "
        "refused.",
    )
    profile: str = setting(
        "",
        "Start, stop and prompt strings in the bundle: guide (one call per answer), google "
        "(several "
        "calls survive), flutter_gemma (the plugin sends the complete text) or baked (the tools "
        "are "
        "in the bundle, the app sends the question alone); empty: guide, or google where rows have "
        "answers with several calls.",
    )
    max_exact_match_loss: float = setting(
        3.0, "Points of exact match the bundle may lose against its model."
    )
    max_tool_accuracy_loss: float = setting(
        2.0, "Points of tool accuracy the bundle may lose against its model."
    )

    def _problems(self) -> Iterable[str]:
        yield from super()._problems()
        yield from model_problems(self.model)
        yield from name_problems(self.name)
        yield from styles.problems(self.style) if self.style else ()
        yield from choice_problems("profile", self.profile or DEFAULT, PROFILES)
        for name in ("max_exact_match_loss", "max_tool_accuracy_loss"):
            if not 0 <= getattr(self, name) <= 100:
                yield f"{name} is {getattr(self, name)}, expected 0 to 100 points"
