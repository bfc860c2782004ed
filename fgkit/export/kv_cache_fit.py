"""Whether the rows fit the KV cache that a network is converted with.

Example:

    tokens = longest(Path("run/model"), rows, setup)    # 403
    check(tokens, 1024).status                                 # 'pass'
"""

from __future__ import annotations

import sys
from pathlib import Path

from fgkit import checks
from fgkit.dataset.rows import RunData
from fgkit.models.base import load_tokenizer
from fgkit.prompts import PromptSetup

from . import conversion


def longest(folder: Path, rows: RunData, setup: PromptSetup) -> int:
    """Tokens of the longest prompt with its answer.

    Args:
        folder: the model's, with its tokenizer.
        rows: training and held-out rows.
        setup: how the model is prompted; each of its styles counts.
    """
    tokenizer = load_tokenizer(folder)
    rendered = rows.rendered(setup)
    return max(
        len(example.tokens)
        for name in setup.styles
        for part in (rendered.train, rendered.held_out)
        for example in part.tokenized(tokenizer, max_length=sys.maxsize, styles=(name,))
    )


def check(tokens: int, asked: int) -> checks.Check:
    """Check that a prompt and its answer fit the KV cache, or a longer one that is chosen for them.

    Args:
        tokens: of the longest prompt with its answer.
        asked: length of the KV cache that the user set, in tokens.
    """
    context = conversion.fitting_context(tokens, asked)
    instead = f" instead of {asked}" if context not in (None, asked) else ""
    return checks.Check(
        0,
        "fits the KV cache",
        "fail" if context is None else "pass",
        f"longest row {tokens} tokens, KV cache {context or asked}{instead}.",
        too_long(tokens, asked),
    )


def too_long(tokens: int, asked: int) -> str:
    """The message for rows that are longer than any KV cache that is chosen automatically.

    Args:
        tokens: of the longest prompt with its answer.
        asked: length of the KV cache that the user set, in tokens.
    """
    largest = max(asked, *conversion.CONTEXTS)
    return (
        f"The longest prompt and answer have {tokens} tokens, {tokens - largest} more than the "
        f"largest KV cache that is chosen by itself ({largest}). Shorten tools or rows, or set "
        "kv_cache_max_len."
    )
