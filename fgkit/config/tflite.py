"""The settings of `to_tflite.ipynb`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fgkit.export.quantization import QUANTIZATIONS
from fgkit.models.spec import default_spec, max_context
from fgkit.prompts import styles

from .checks import choice_problems, model_problems, name_problems
from .data import DataConfig, setting


@dataclass(frozen=True, kw_only=True)
class TfliteConfig(DataConfig):
    """Settings of `to_tflite.ipynb`."""

    model: str = setting("", "Folder of a tuned model; empty: `model` in the output folder.")
    name: str = setting(default_spec().file_stem, "First part of the file names.")
    style: str = setting(
        "",
        "Prompt style, one of the model's own; empty: as stored with the model. Others are "
        "refused.",
    )
    prefill_seq_len: int = setting(
        256, "Prompt tokens the phone computes at a time (Google's value)."
    )
    extra_prefill_seq_len: int = setting(
        32,
        "A second, shorter prefill for what follows a developer turn that is already "
        "computed: the first token comes several times sooner; 0: none.",
    )
    kv_cache_max_len: int = setting(
        1024, "Longest context in tokens, prompt and answer; 2048 if yours do not fit."
    )
    quantize: str = setting(
        "dynamic_int8",
        f"How the weights are stored: {', '.join(QUANTIZATIONS)}. dynamic_int8 halves the size.",
    )

    def _problems(self) -> Iterable[str]:
        yield from super()._problems()
        yield from model_problems(self.model)
        yield from name_problems(self.name)
        yield from styles.problems(self.style) if self.style else ()
        if not 2 <= self.kv_cache_max_len <= max_context():
            yield f"kv_cache_max_len is {self.kv_cache_max_len}, expected 2 to {max_context()}"
        elif not 1 <= self.prefill_seq_len < self.kv_cache_max_len:
            yield (
                f"prefill_seq_len is {self.prefill_seq_len}, "
                f"expected 1 to {self.kv_cache_max_len - 1}"
            )
        if self.extra_prefill_seq_len < 0:
            yield f"extra_prefill_seq_len is {self.extra_prefill_seq_len}, expected 0 or more"
        yield from choice_problems("quantize", self.quantize, QUANTIZATIONS)

    @property
    def extra_prefill_seq_lens(self) -> list[int]:
        """The further prefills that `conversion.convert` is asked for: only shorter ones."""
        shorter = 0 < self.extra_prefill_seq_len < self.prefill_seq_len
        return [self.extra_prefill_seq_len] if shorter else []
