"""Rows with their prompts and answers as text, each written once and handed on.

In: rows and how the model is prompted. Out: texts by style, tokenized examples.

Example:
    rendered = rows.rendered(rows.setup(system_message, ("template",)))
    rendered.held_out.prompts()             # the text that each held-out row puts before the model
    rendered.train.tokenized(tokenizer, max_length=1024, seed=42)

Writing a prompt means writing every declaration again, so for many rows with many tools it costs
as much as tokenizing. Texts are written when they are first asked for and kept as long as the rows:
some 2 kB a row and style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fgkit.prompts import PromptSetup

from .records import Record
from .tokenize import TokenizedExample, answer_texts, prompt_texts, tokenize_texts


class RenderedRecords:
    """The texts of some rows.

    Args:
        records: the rows.
        setup: how the model is prompted.
    """

    def __init__(self, records: Sequence[Record], setup: PromptSetup):
        self.records, self.setup = records, setup
        self._prompts: dict[str, list[str]] = {}
        self._answers: dict[str, list[str]] = {}

    def prompts(self, style: str | None = None) -> list[str]:
        """Give each row's prompt up to the model's turn.

        Args:
            style: whose text; None for the setup's first style.
        Raises:
            DataError, ToolError: as for `tokenize.prompt_texts`.
        """
        style = style or self.setup.style
        if style not in self._prompts:
            self._prompts[style] = prompt_texts(self.records, self.setup, style)
        return self._prompts[style]

    def answers(self, style: str | None = None) -> list[str]:
        """Give each row's answer; arguments and errors as for `prompts`."""
        style = style or self.setup.style
        if style not in self._answers:
            self._answers[style] = answer_texts(self.records, style)
        return self._answers[style]

    def texts(self) -> list[str]:
        """Give every prompt with its answer, in each style of the setup one after the other."""
        return [
            prompt + answer
            for style in self.setup.styles
            for prompt, answer in zip(self.prompts(style), self.answers(style))
        ]

    def tokenized(
        self,
        tokenizer: Any,
        *,
        max_length: int,
        seed: int = 0,
        styles: Sequence[str] | None = None,
    ) -> list[TokenizedExample]:
        """Give each row as a tokenized example, in one of the styles.

        Args:
            tokenizer, max_length, seed: as for `tokenize.tokenize_records`.
            styles: the styles to choose from; None for those of the setup.
        Raises:
            DataError, ToolError: as for `tokenize.tokenize_records`.
        """
        names = self.setup.styles if styles is None else styles
        return tokenize_texts(
            self.records,
            {name: self.prompts(name) for name in names},
            {name: self.answers(name) for name in names},
            tokenizer,
            max_length=max_length,
            seed=seed,
        )


@dataclass(frozen=True)
class RenderedRows:
    """The texts of a run's rows.

    Args:
        setup: how the model is prompted.
        train, held_out: training and held-out rows.
    """

    setup: PromptSetup
    train: RenderedRecords
    held_out: RenderedRecords
