"""The steps of the notebook `to_tflite`: check the model, convert it, compare both."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fgkit import checks, checksums, progress
from fgkit.config.tflite import TfliteConfig
from fgkit.dataset import tokenize
from fgkit.dataset.rows import RunData
from fgkit.errors import CheckFailed
from fgkit.export import conversion, first_token, kv_cache_fit
from fgkit.models import answer_checks, model_checks
from fgkit.models.record import prompt_setup, require_same_tools
from fgkit.workflow import summary
from fgkit.workflow.conversion_record import read as conversion_record
from fgkit.workflow.recording import step

from .score_steps import score_tuned

# The lowest cosine of int8 and bfloat16 logits that rounding explains; 0.997 was measured on the
# offline base.
SAME_LOGITS = 0.98


@step
def validate(settings: TfliteConfig, rows: RunData) -> list[checks.Check]:
    """Check the model folder, the model's answers and the length of the rows before the conversion.

    Args:
        settings: the settings of the notebook.
        rows: the rows of the run.
    Returns:
        the numbered checks; the last ones are the guide's four answer checks.
    Raises:
        CheckFailed: checks failed; the message lists each with its remedy.
        ModelError: the model was tuned with other tools.
    """
    folder_checks = checks.require(model_checks.check_model_folder(settings.model_folder))
    require_same_tools(settings.model_folder, rows)
    score = score_tuned(settings, rows)
    texts = [row["text"] for row in score.get("rows", []) if row["expected"]]
    answers = list(answer_checks.check_answers(texts)) if texts else []
    answers.append(kv_cache_fit.check(_longest(settings, rows), settings.kv_cache_max_len))
    numbered = [
        replace(check, number=number) for number, check in enumerate([*folder_checks, *answers], 1)
    ]
    print(checks.table(numbered))
    return checks.require(numbered)


@step
def convert(settings: TfliteConfig, rows: RunData) -> Path:
    """Convert the tuned model into a `.tflite`, with a longer KV cache if the rows need one.

    Args:
        settings: the settings of the notebook; the defaults are those of Google's guide.
        rows: the rows of the run, whose longest prompt with its answer has to fit the KV cache.
    Returns:
        the path of the `.tflite`.
    Raises:
        CheckFailed: a row is too long for every KV cache.
        ModelError: a file of the model changed after the training.
    """
    checksums.require(settings.model_folder)
    longest = _longest(settings, rows)
    context = conversion.fitting_context(longest, settings.kv_cache_max_len)
    if context is None:
        raise CheckFailed(kv_cache_fit.too_long(longest, settings.kv_cache_max_len))
    if context != settings.kv_cache_max_len:
        progress.note(
            f"KV cache: {context} tokens instead of {settings.kv_cache_max_len}, because the "
            f"longest row has {longest}; the file name has ekv{context}."
        )
    with summary.timed(settings.folder, "conversion"):
        path = conversion.convert(
            settings.model_folder,
            settings.folder,
            name=settings.name,
            quantize=settings.quantize,
            prefill_seq_len=settings.prefill_seq_len,
            kv_cache_max_len=context,
            extra_prefill_seq_lens=settings.extra_prefill_seq_lens,
        )
    record = conversion_record(path)
    summary.update(
        settings.folder,
        settings={"to_tflite": asdict(settings)},
        versions=summary.versions(),
        # The conversion runs in a child process, so its record has the peak, not this process.
        peak_memory_gb={"conversion": round(record.get("peak_memory_bytes", 0) / 1e9, 2)},
        files={path.name: summary.describe_file(path)},
    )
    return path


def _longest(settings: TfliteConfig, rows: RunData) -> int:
    """Count the tokens of the longest prompt with its answer, in the model's styles."""
    setup = prompt_setup(settings.model_folder, rows.tools, settings.style)
    return kv_cache_fit.longest(settings.model_folder, rows, setup)


@step
def compare_first_token(settings: TfliteConfig, rows: RunData, path: Path) -> dict[str, Any]:
    """Compare the network with the PyTorch model on the first answer token of a held-out row.

    Args:
        settings: the settings of the notebook.
        rows: the rows of the run; the first held-out one is used.
        path: the converted network.
    Returns:
        the fields of `first_token.compare`.
    Raises:
        CheckFailed: the networks choose different tokens, and their logits differ by more than
            rounding explains (SAME_LOGITS).
        BundleError: the network's file changed after the conversion.
    """
    from fgkit.models import base as base_model
    from fgkit.training import generation

    checksums.require(path)
    model, tokenizer = base_model.load(settings.model_folder)
    setup = prompt_setup(settings.model_folder, rows.tools, settings.style)
    text = rows.rendered(setup).held_out.prompts()[0]
    reference = generation.first_logits(model, tokenizer, text)
    result = first_token.compare(
        reference, first_token.logits_of(path, tokenize.encode(tokenizer, text))
    )
    if not result["argmax_agrees"] and result["cosine"] < SAME_LOGITS:
        raise CheckFailed(
            f"{path.name}: the first answer token differs from PyTorch's: {result}. "
            "Convert again with quantize 'none' to see whether the quantisation is to blame."
        )
    return result
