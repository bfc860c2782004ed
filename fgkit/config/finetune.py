"""The settings of `finetune.ipynb`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from fgkit import devices
from fgkit.models.spec import Recipe, batch_values, max_context, max_vocabulary, recipe_values
from fgkit.prompts import STYLES, styles

from .checks import choice_problems, range_problems
from .data import DataConfig, setting

SCHEDULERS = ("cosine", "linear", "constant_with_warmup")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(DataConfig):
    """Settings of `finetune.ipynb`: the guide's defaults; `None` takes the base's recipe."""

    base: str = setting(
        "",
        "A Hub name, a model folder or `offline`; empty: FunctionGemma if a token or a local copy "
        "gives access, the offline base otherwise.",
    )
    vocab_size: int = setting(
        0,
        "Pieces of the base's vocabulary to train with, such as 32768, which makes the `.task` "
        "less than half as large; 0: all (docs/vocabulary.md).",
    )
    num_train_epochs: int | None = setting(
        None, f"Passes over the training rows. {_sentence(recipe_values('num_train_epochs'))}"
    )
    learning_rate: float | None = setting(
        None,
        f"Peak step size. {_sentence(recipe_values('learning_rate'))} A small one keeps what the "
        "model knows; the offline base has to learn the format.",
    )
    per_device_train_batch_size: int | None = setting(
        None, "Rows of a step are this number times the next one, however many devices share them."
    )
    gradient_accumulation_steps: int | None = setting(
        None, f"See above. {_sentence(batch_values())}"
    )
    max_length: int = setting(
        1024, "Longest row in tokens, prompt and answer; longer rows are named, never cut."
    )
    lr_scheduler_type: str = setting(
        "cosine", "How the step size falls: cosine, linear or constant_with_warmup."
    )
    warmup_ratio: float = setting(0.1, "Share of the steps during which the step size rises.")
    precision: str | None = setting(
        None,
        "fp32, bf16 (fp32 weights, bfloat16 arithmetic) or bf16_weights (all bfloat16: "
        "two thirds of the memory, docs/speed.md says what it costs); None: bf16 where the "
        "device has it, else fp32. Never fp16: the model was trained in bfloat16 and "
        "overflows.",
    )
    system_message: str = setting(
        "", "Developer text in front of the tools; empty: the official trigger sentence."
    )
    style: str = setting(
        styles.DEFAULT,
        f"Whose prompt text is trained and scored: {', '.join(STYLES)}; several "
        "with commas between are mixed, and scored one by one (docs/prompts.md).",
    )

    def _problems(self) -> Iterable[str]:
        yield from super()._problems()
        for name, low, high in (
            ("num_train_epochs", 1, 1000),
            ("learning_rate", 1e-8, 1e-2),
            ("per_device_train_batch_size", 1, 4096),
            ("gradient_accumulation_steps", 1, 4096),
            ("max_length", 16, max_context()),
            ("warmup_ratio", 0.0, 1.0),
            ("vocab_size", 0, max_vocabulary() - 1),
        ):
            yield from range_problems(name, getattr(self, name), low, high)
        if wrong := styles.problems(self.style):
            yield from wrong
        else:
            for style in map(styles.get, styles.split(self.style)):
                fixed = style.fixed_system_message
                if fixed and self.system_message not in ("", fixed):
                    yield (
                        f"system_message is set, but style {style.name} always sends the official "
                        "trigger sentence; leave it empty, or choose another style"
                    )
        yield from choice_problems("lr_scheduler_type", self.lr_scheduler_type, SCHEDULERS)
        if self.precision in ("fp16", "float16"):
            yield (
                "precision is 'fp16', which this model overflows in (answers turn to <pad>); use "
                "bf16, or fp32 on a GPU without bfloat16 such as the T4"
            )
        elif self.precision is not None:
            yield from choice_problems("precision", self.precision, devices.PRECISIONS)

    def recipe(self, base_recipe: Recipe) -> Recipe:
        """The hyperparameters of this run: the base's recipe, overridden by what the user set.

        Args:
            base_recipe: that of the base that training starts from (`Base.recipe`).
        """
        own = {item.name: getattr(self, item.name) for item in fields(Recipe)}
        recipe = replace(
            base_recipe, **{name: value for name, value in own.items() if value is not None}
        )
        if recipe.precision == "auto":
            return replace(recipe, precision=devices.default_precision())
        return recipe
