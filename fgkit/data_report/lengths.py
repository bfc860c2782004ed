"""Compares rows in tokens with the three limits they meet in training, prefill and the KV cache.

Also finds texts that are mostly written in bytes because the vocabulary has no piece for them.

Example:
    lengths = measure(records, setup, tokenizer)
    lengths.prompt[:3], lengths.answer[:3]
    # (array([241, 245, 242]), array([15, 24, 17]))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fgkit import progress, prompts
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record
from fgkit.prompts import PromptSetup

from .findings import Findings, quoted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A text is reported as read byte by byte from this share of byte tokens on.
BYTE_SHARE = 0.25
_CHUNK = 2000
_TURN = "<start_of_turn>"


class BaseTokenizer(Protocol):
    """The part of a transformers tokenizer that the report uses."""

    def __call__(self, text: str | list[str], *, add_special_tokens: bool) -> Any:
        """Tokenize a text, or each text of a list; the result has `input_ids`."""
        ...

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each piece."""
        ...


@dataclass(frozen=True)
class TokenLimits:
    """The settings that rows have to fit, in tokens.

    Args:
        max_length: prompt and answer in training.
        prefill_seq_len: the prompt that the phone reads in one pass.
        kv_cache_max_len: prompt and answer on the phone.
    """

    max_length: int
    prefill_seq_len: int
    kv_cache_max_len: int


@dataclass(frozen=True)
class Lengths:
    """Tokens of each row, in the order of the records: int32 arrays [rows]."""

    prompt: NDArray[np.int32]
    answer: NDArray[np.int32]

    @property
    def total(self) -> NDArray[np.int32]:
        """Prompt and answer together."""
        return self.prompt + self.answer

    def summary(self) -> dict[str, int]:
        """Return the shortest, median, 95th percentile and longest row, prompt and answer."""
        import numpy as np

        names = ("shortest", "median", "p95", "longest")
        percentiles = np.percentile(self.total, (0, 50, 95, 100), method="higher").tolist()
        return dict(zip(names, percentiles, strict=True)) | {
            "longest_prompt": int(self.prompt.max()),
            "longest_answer": int(self.answer.max()),
        }


def measure(records: Sequence[Record], setup: PromptSetup, tokenizer: BaseTokenizer) -> Lengths:
    """Count the tokens of each row as it is trained and served.

    Args:
        records: at least one row.
        setup: how the model is prompted; the prompts of its first style are counted. They are
            rendered in chunks, so that not all of them are in memory.
        tokenizer: the base model's.
    """
    import numpy as np

    prompt_lengths: list[int] = []
    answer_lengths: list[int] = []
    with progress.bar(
        total=len(records), desc="counting tokens", unit="row", disable=len(records) < _CHUNK
    ) as bar:
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            answers = [prompts.answer(record.calls, record.text) for record in chunk]
            prompt_lengths += _token_counts(tokenizer, tokenize.prompt_texts(chunk, setup))
            answer_lengths += _token_counts(tokenizer, answers)
            bar.update(len(chunk))
    return Lengths(
        np.array(prompt_lengths, dtype=np.int32), np.array(answer_lengths, dtype=np.int32)
    )


def _token_counts(tokenizer: BaseTokenizer, texts: Sequence[str]) -> list[int]:
    """The tokens of each text; what all texts begin with is tokenized once."""
    # The common beginning ends before a control token, because no other token reaches across one.
    cut = max(os.path.commonprefix(list(texts)).rfind(_TURN), 0)
    shared = len(tokenizer(texts[0][:cut], add_special_tokens=False).input_ids) if cut else 0
    rest = tokenizer([text[cut:] for text in texts], add_special_tokens=False).input_ids
    return [shared + len(ids) for ids in rest]


def check(
    findings: Findings,
    path: str,
    records: Sequence[Record],
    lengths: Lengths,
    limits: TokenLimits,
) -> None:
    """Report each row that does not fit, its length and the setting that fits the longest one.

    Args:
        findings: collects.
        path, records: the file and its rows.
        lengths: of these rows.
        limits: what the rows have to fit.
    """
    total = lengths.total
    for rule, limit in (("D231", limits.max_length), ("D232", limits.kv_cache_max_len)):
        for index in (total > limit).nonzero()[0].tolist():
            findings.add(
                rule,
                path,
                records[index].line,
                f"{total[index]} tokens, {total[index] - limit} too many",
                limit=limit,
                enough=_next_power_of_two(int(total.max())),
            )
    longer = int((lengths.prompt > limits.prefill_seq_len).sum())
    if longer:
        longest = int(lengths.prompt.argmax())
        findings.add(
            "D233",
            path,
            records[longest].line,
            f"{longer} of {len(records)} prompts, this one the longest with "
            f"{lengths.prompt[longest]} tokens",
            limit=limits.prefill_seq_len,
            enough=_next_power_of_two(int(lengths.prompt.max())),
        )


def check_bytes(
    findings: Findings, path: str, records: Sequence[Record], tokenizer: BaseTokenizer
) -> None:
    """Report each row whose request is mostly tokenized as bytes.

    A reduced vocabulary does this to other scripts and to emoji.

    Args:
        findings: collects.
        path, records: the file and its rows.
        tokenizer: the one the model is trained with.
    """
    vocabulary = tokenizer.get_vocab()
    byte_names = (f"<0x{byte:02X}>" for byte in range(256))
    byte_ids = {vocabulary[name] for name in byte_names if name in vocabulary}
    for start in range(0, len(records), _CHUNK):
        chunk = records[start : start + _CHUNK]
        texts = [record.user_content for record in chunk]
        rows = tokenizer(texts, add_special_tokens=False).input_ids
        for record, ids in zip(chunk, rows, strict=True):
            count = sum(id in byte_ids for id in ids)
            if count > BYTE_SHARE * len(ids):
                findings.add(
                    "D234",
                    path,
                    record.line,
                    f"{count} of {len(ids)} in {quoted(record.user_content)}",
                    limit=round(100 * BYTE_SHARE),
                )


def _next_power_of_two(length: int) -> int:
    """The next power of two, which these settings usually are."""
    return 1 << (length - 1).bit_length()
