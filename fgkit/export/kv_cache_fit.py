"""Whether the rows fit the KV cache that a network is converted with.

>>> longest(settings, rows), check(settings, rows).status
(403, 'pass')
"""

from __future__ import annotations

import sys

from fgkit import checks
from fgkit.config import TfliteConfig
from fgkit.dataset.rows import Rows
from fgkit.models.base import load_tokenizer
from fgkit.models.record import prompt_setup

from . import conversion


def longest(settings: TfliteConfig, rows: Rows) -> int:
    """Tokens of the longest prompt with its answer, in the model's styles."""
    tokenizer = load_tokenizer(settings.model_folder)
    setup = prompt_setup(settings.model_folder, rows.tools, settings.style)
    rendered = rows.rendered(setup)
    return max(
        len(example.tokens)
        for name in setup.styles
        for part in (rendered.train, rendered.held_out)
        for example in part.tokenized(tokenizer, max_length=sys.maxsize, styles=(name,))
    )


def check(settings: TfliteConfig, rows: Rows) -> checks.Check:
    """Check that the longest prompt and its answer fit the KV cache, or the next that `convert` may take."""
    tokens, asked = longest(settings, rows), settings.kv_cache_max_len
    context = conversion.fitting_context(tokens, asked)
    found = f"longest row {tokens} tokens, KV cache {context or asked}" + (
        f" instead of {asked}." if context not in (None, asked) else "."
    )
    return checks.Check(
        0,
        "fits the KV cache",
        "fail" if context is None else "pass",
        found,
        too_long(tokens, asked),
    )


def too_long(tokens: int, asked: int) -> str:
    largest = max(asked, *conversion.CONTEXTS)
    return (
        f"The longest prompt and answer have {tokens} tokens, {tokens - largest} more than the largest KV cache that "
        f"is chosen by itself ({largest}). Shorten tools or rows, or set kv_cache_max_len."
    )
