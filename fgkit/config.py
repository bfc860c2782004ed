"""Settings of the three notebooks: frozen, explained field by field, all problems raised together.

A notebook's parameters cell has one literal per field, with the field's name; the next cell builds the settings with
`from_notebook`. Elsewhere:

>>> config = FinetuneConfig(output="run", base="offline")
>>> config.recipe(offline=True).learning_rate
5e-05
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fgkit.bundles.profiles import BAKED, PROFILES
from fgkit.dataset.formats.detection import FORMATS
from fgkit.errors import ConfigError
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.models.spec import GUIDE_RECIPE, MAX_CONTEXT, OFFLINE_RECIPE, Recipe
from fgkit.prompts import styles
from fgkit.text import nearest

from . import credentials, devices, prompts


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class _DataConfig:
    """What all three notebooks ask: where things are, and which rows are held out."""

    output: str = _setting("run", "Folder for everything the run writes.")
    data: str = _setting("", "Training rows, a .jsonl or .csv file; empty: the example's 284 rows.")
    eval_data: str = _setting(
        "",
        "Held-out rows, a .jsonl or .csv file; empty: the example's own for the example's "
        "rows; otherwise those that `data` marks for evaluation, or a tenth of it.",
    )
    data_format: str = _setting(
        "auto", f"Format of the rows: {', '.join(FORMATS)}. auto looks at each row."
    )
    tools: str = _setting("", "Tools, a .py or .json file; empty: the example's three functions.")
    seed: int = _setting(
        42, "Seed of the split, of the order of the rows and of everything else that is random."
    )

    def __post_init__(self) -> None:
        # A token is not repeated by another message, and ranges mean nothing for a wrong type.
        problems = (
            list(_secret_problems(self)) or list(_type_problems(self)) or list(self._problems())
        )
        if problems:
            raise ConfigError(
                f"{type(self).__name__}: {len(problems)} wrong:\n"
                + "\n".join(f"  {p}" for p in problems)
            )

    def _problems(self) -> Iterable[str]:
        for name in ("data", "eval_data", "tools"):
            value = getattr(self, name)
            if value and not _is(Path.is_file, value):
                yield f"{name} is {value!r}, which is not a file; give the path of an existing one"
        yield from _choice("data_format", self.data_format, FORMATS)
        if not self.output:
            yield "output is empty; give the folder that the run may write to"
        elif _is(Path.is_file, self.output) or (
            self.output.startswith("~") and not _is(Path.is_absolute, self.output)
        ):
            yield f"output is {self.output!r}, which is a file or in nobody's home; give a folder"
        if not 0 <= self.seed < 2**32:  # NumPy's range
            yield f"seed is {self.seed}, expected 0 to {2**32 - 1}"

    @property
    def folder(self) -> Path:
        """The output folder as an absolute path."""
        return Path(self.output).expanduser().absolute()

    @property
    def model_folder(self) -> Path:
        """The tuned model's folder."""
        model = getattr(self, "model", "")
        return Path(model).expanduser().absolute() if model else self.folder / "model"


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(_DataConfig):
    """Settings of `finetune.ipynb`; the defaults are the guide's, `None` leaves a value to the base's recipe."""

    base: str = _setting(
        "",
        "A Hub name, a model folder or `offline`; empty: FunctionGemma if a token or a local copy "
        "gives access, the offline base otherwise.",
    )
    vocab_size: int = _setting(
        0,
        "Pieces of the base's vocabulary to train with, such as 32768, which makes the `.task` "
        "less than half as large; 0: all (docs/vocabulary.md).",
    )
    num_train_epochs: int | None = _setting(None, "Passes over the training rows. Both recipes: 3.")
    learning_rate: float | None = _setting(
        None,
        "Peak step size. FunctionGemma 1e-5, which keeps what it knows; "
        "offline base 5e-5, which has to learn the format.",
    )
    per_device_train_batch_size: int | None = _setting(
        None, "Rows of a step are this number times the next one, however many devices share them."
    )
    gradient_accumulation_steps: int | None = _setting(
        None, "See above. FunctionGemma 4 x 8 = 32 rows, offline base 4 x 4 = 16."
    )
    max_length: int = _setting(
        1024, "Longest row in tokens, prompt and answer; longer rows are named, never cut."
    )
    lr_scheduler_type: str = _setting(
        "cosine", "How the step size falls: cosine, linear or constant_with_warmup."
    )
    warmup_ratio: float = _setting(0.1, "Share of the steps during which the step size rises.")
    precision: str | None = _setting(
        None,
        "fp32, bf16 (fp32 weights, bfloat16 arithmetic) or bf16_weights (all bfloat16: "
        "two thirds of the memory, docs/speed.md says what it costs); None: bf16 where the "
        "device has it, else fp32. Never fp16: the model was trained in bfloat16 and "
        "overflows.",
    )
    system_message: str = _setting(
        "", "Developer text in front of the tools; empty: the official trigger sentence."
    )
    style: str = _setting(
        styles.DEFAULT,
        f"Whose prompt text is trained and scored: {', '.join(prompts.STYLES)}; several "
        "with commas between are mixed, and scored one by one (docs/prompts.md).",
    )

    def _problems(self) -> Iterable[str]:
        yield from super()._problems()
        for name, low, high in (
            ("num_train_epochs", 1, 1000),
            ("learning_rate", 1e-8, 1e-2),
            ("per_device_train_batch_size", 1, 4096),
            ("gradient_accumulation_steps", 1, 4096),
            ("max_length", 16, 32768),
            ("warmup_ratio", 0.0, 1.0),
            ("vocab_size", 0, 262_143),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                yield f"{name} is {value}, expected {low} to {high}"
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
        yield from _choice(
            "lr_scheduler_type",
            self.lr_scheduler_type,
            ("cosine", "linear", "constant_with_warmup"),
        )
        if self.precision in ("fp16", "float16"):
            yield (
                "precision is 'fp16', which this model overflows in (answers turn to <pad>); use bf16, "
                "or fp32 on a GPU without bfloat16 such as the T4"
            )
        elif self.precision is not None:
            yield from _choice("precision", self.precision, devices.PRECISIONS)

    def recipe(self, offline: bool) -> Recipe:
        """The hyperparameters of this run: the base's recipe with what the user set put over it.

        Args:
            offline: whether training starts from the offline base.
        """
        start = OFFLINE_RECIPE if offline else GUIDE_RECIPE
        found = Recipe(
            **{
                f.name: getattr(start if getattr(self, f.name) is None else self, f.name)
                for f in fields(Recipe)
            }
        )
        return (
            replace(found, precision=devices.default_precision())
            if found.precision == "auto"
            else found
        )


@dataclass(frozen=True, kw_only=True)
class TfliteConfig(_DataConfig):
    """Settings of `to_tflite.ipynb`."""

    model: str = _setting("", "Folder of a tuned model; empty: `model` in the output folder.")
    name: str = _setting("functiongemma-flutter", "First part of the file names.")
    style: str = _setting(
        "",
        "Prompt style, one of the model's own; empty: as stored with the model. Others are "
        "refused.",
    )
    prefill_seq_len: int = _setting(
        256, "Prompt tokens the phone computes at a time (Google's value)."
    )
    extra_prefill_seq_len: int = _setting(
        32,
        "A second, shorter prefill for what follows a developer turn that is already "
        "computed: the first token comes several times sooner; 0: none.",
    )
    kv_cache_max_len: int = _setting(
        1024, "Longest context in tokens, prompt and answer; 2048 if yours do not fit."
    )
    quantize: str = _setting(
        "dynamic_int8",
        f"How the weights are stored: {', '.join(QUANTIZATIONS)}. dynamic_int8 halves the size.",
    )

    def _problems(self) -> Iterable[str]:
        yield from super()._problems()
        yield from _model_problems(self.model)
        yield from _name_problems(self.name)
        yield from styles.problems(self.style) if self.style else ()
        if not 2 <= self.kv_cache_max_len <= MAX_CONTEXT:
            yield f"kv_cache_max_len is {self.kv_cache_max_len}, expected 2 to {MAX_CONTEXT}"
        elif not 1 <= self.prefill_seq_len < self.kv_cache_max_len:
            yield f"prefill_seq_len is {self.prefill_seq_len}, expected 1 to {self.kv_cache_max_len - 1}"
        if self.extra_prefill_seq_len < 0:
            yield f"extra_prefill_seq_len is {self.extra_prefill_seq_len}, expected 0 or more"
        yield from _choice("quantize", self.quantize, QUANTIZATIONS)

    @property
    def extra_prefill_seq_lens(self) -> list[int]:
        """The further prefills that `tflite.convert` is asked for: none that is no shorter than the first."""
        return (
            [self.extra_prefill_seq_len]
            if 0 < self.extra_prefill_seq_len < self.prefill_seq_len
            else []
        )


@dataclass(frozen=True, kw_only=True)
class TaskConfig(_DataConfig):
    """Settings of `to_task.ipynb`."""

    model: str = _setting(
        "",
        "Folder of the tuned model that the `.tflite` was made from; empty: `model` in the "
        "output folder.",
    )
    name: str = _setting("functiongemma-flutter", "First part of the file names.")
    style: str = _setting(
        "",
        "Prompt style, one of the model's own; empty: as stored with the model. Others are "
        "refused.",
    )
    profile: str = _setting(
        "",
        "Start, stop and prompt strings in the bundle: guide (one call an answer), google (several "
        "calls survive), flutter_gemma (the plugin sends the whole text) or baked (the tools are in "
        "the bundle, the app sends the question alone); empty: guide, or "
        "google where rows have answers with several calls.",
    )
    max_exact_match_loss: float = _setting(
        3.0, "Points of exact match the bundle may lose against its model."
    )
    max_tool_accuracy_loss: float = _setting(
        2.0, "Points of tool accuracy the bundle may lose against its model."
    )

    def _problems(self) -> Iterable[str]:
        yield from super()._problems()
        yield from _model_problems(self.model)
        yield from _name_problems(self.name)
        yield from styles.problems(self.style) if self.style else ()
        yield from _choice("profile", self.profile or "guide", (*PROFILES, BAKED))
        for name in ("max_exact_match_loss", "max_tool_accuracy_loss"):
            if not 0 <= getattr(self, name) <= 100:
                yield f"{name} is {getattr(self, name)}, expected 0 to 100 points"


def from_notebook(kind: type, names: dict[str, Any]) -> Any:
    """Build settings from a notebook's variables and refuse injected ones that it does not declare.

    Papermill only warns about a misspelt parameter and runs with the default; this refuses it. What only another of the
    three notebooks declares may be there: one parameter file serves them all.

    Args:
        kind: one of the settings classes.
        names: the notebook's `globals()`; `In` is IPython's history of executed cells.
    Raises:
        ConfigError: a parameter is undeclared (the nearest name is given), missing or has a wrong value.
    """
    known = [item.name for item in fields(kind)]
    somewhere = {
        item.name for other in (FinetuneConfig, TfliteConfig, TaskConfig) for item in fields(other)
    }
    injected = {
        target.id
        for source in names.get("In", [])
        if source.startswith("# Parameters\n")
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    problems = [unknown_parameter(name, known) for name in sorted(injected - somewhere)]
    problems += [
        f"{name} is gone from the parameters cell; put its line back"
        for name in known
        if name not in names
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return kind(**{name: names[name] for name in known})


def unknown_parameter(name: str, known: Iterable[str]) -> str:
    """Message for a parameter that no notebook declares; a token is none, because papermill would write it down."""
    if credentials.kind(name):
        return f"a parameter's name is an access token. {credentials.REMEDY}"
    if credentials.asks_for_one(name):
        return (
            f"parameter {name!r} does not exist: parameters are written into the executed notebooks, so a token is never "
            f"one. {credentials.REMEDY}"
        )
    return f"parameter {name!r} does not exist, expected one of {', '.join(known)}{nearest(name, known)}"


def _secret_problems(config: Any) -> Iterable[str]:
    for item in fields(config):
        if what := credentials.kind(str(getattr(config, item.name))):
            yield (
                f"{item.name} holds {what}, which would be written into notebooks and results. {credentials.REMEDY} An "
                "executed notebook that holds it has to go, too."
            )


def _type_problems(config: Any) -> Iterable[str]:
    for item in fields(config):
        value = getattr(config, item.name)
        optional, kind = "None" in item.type, item.type.split(" |")[0]
        wanted = {"int": int, "float": (int, float), "str": str}[kind]
        if (optional and value is None) or (
            isinstance(value, wanted) and not isinstance(value, bool)
        ):
            continue
        yield f"{item.name} is {value!r}, expected {item.type}. {item.metadata['help']}"


def _is(test: Callable[[Path], bool], path: str) -> bool:
    """Whether a path passes a test; one that no disk can have (too long, in nobody's home) does not."""
    try:
        return test(Path(path).expanduser())
    except (OSError, RuntimeError):
        return False


def _choice(name: str, value: str, known: Iterable[str]) -> Iterable[str]:
    if value not in known:
        yield f"{name} is {value!r}, expected one of {', '.join(known)}{nearest(value, known)}"


def _model_problems(model: str) -> Iterable[str]:
    if model and not _is(Path.is_dir, model):
        yield f"model is {model!r}, which is not a folder; give the folder that holds model.safetensors"


def _name_problems(name: str) -> Iterable[str]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        yield f"name is {name!r}, expected letters, digits, '.', '_' and '-'"
