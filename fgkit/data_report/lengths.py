"""Rows in tokens against the three limits they meet: `max_length` in training, prefill and KV cache on the phone.

In: records, tools and the base's tokenizer. Out: prompt and answer lengths; a finding for each row that does not fit,
and for each text of which too much is written in bytes because the vocabulary has no piece for it.

>>> lengths.prompt[:3], lengths.answer[:3]
(array([241, 245, 242]), array([15, 24, 17]))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgkit import progress, prompts
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record
from fgkit.prompts import PromptSetup

from .rules import Findings, quoted

if TYPE_CHECKING:
    import numpy

BYTES = 0.25  # share of a text's tokens from which it is said to be read byte by byte
_CHUNK = 2000
_TURN = "<start_of_turn>"


@dataclass(frozen=True)
class Lengths:
    """Tokens of each row, in the order of the records: int32 arrays [rows]."""

    prompt: numpy.ndarray
    answer: numpy.ndarray

    @property
    def total(self) -> numpy.ndarray:
        """Prompt and answer together."""
        return self.prompt + self.answer

    def summary(self) -> dict[str, int]:
        """Shortest, middle, 95th percentile and longest row, and the longest prompt and answer."""
        import numpy as np

        names = ("shortest", "median", "p95", "longest")
        found = dict(
            zip(
                names,
                np.percentile(self.total, (0, 50, 95, 100), method="higher").tolist(),
                strict=True,
            )
        )
        return found | {
            "longest_prompt": int(self.prompt.max()),
            "longest_answer": int(self.answer.max()),
        }


def measure(records: Sequence[Record], setup: PromptSetup, tokenizer: Any) -> Lengths:
    """Count the tokens of each row as it is trained and served.

    Args:
        records: at least one row.
        setup: how the model is prompted; the prompts of its first style are counted.
        tokenizer: the base model's.
    """
    import numpy as np

    counts: tuple[list[int], list[int]] = ([], [])
    with progress.bar(
        total=len(records), desc="counting tokens", unit="row", disable=len(records) < _CHUNK
    ) as bar:
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            texts = tokenize.prompt_texts(chunk, setup)
            answers = [prompts.answer(record.calls, record.text) for record in chunk]
            for count, lengths in zip(
                counts, (_lengths(tokenizer, texts), _lengths(tokenizer, answers)), strict=True
            ):
                count += lengths
            bar.update(len(chunk))
    return Lengths(*(np.array(count, dtype=np.int32) for count in counts))


def _lengths(tokenizer: Any, texts: list[str]) -> list[int]:
    """Token counts; what all texts begin with is counted once, up to a control token, which no other reaches across."""
    cut = max(os.path.commonprefix(texts).rfind(_TURN), 0)
    head = len(tokenizer(texts[0][:cut], add_special_tokens=False).input_ids) if cut else 0
    return [
        head + len(ids)
        for ids in tokenizer([text[cut:] for text in texts], add_special_tokens=False).input_ids
    ]


def check(
    findings: Findings,
    path: str,
    records: Sequence[Record],
    lengths: Lengths,
    *,
    max_length: int,
    prefill_seq_len: int,
    kv_cache_max_len: int,
) -> None:
    """Note each row that does not fit, with how long it is and the setting that would take the longest one.

    Args:
        findings: collects.
        path, records: the file and its rows.
        lengths: of these rows.
        max_length, prefill_seq_len, kv_cache_max_len: the settings of the notebooks, in tokens.
    """
    total = lengths.total
    for rule, limit in (("D231", max_length), ("D232", kv_cache_max_len)):
        for place in (total > limit).nonzero()[0].tolist():
            findings.add(
                rule,
                path,
                records[place].line,
                f"{total[place]} tokens, {total[place] - limit} too many",
                limit=limit,
                enough=_power(int(total.max())),
            )
    longer = int((lengths.prompt > prefill_seq_len).sum())
    if longer:
        place = int(lengths.prompt.argmax())
        findings.add(
            "D233",
            path,
            records[place].line,
            f"{longer} of {len(records)} prompts, this one the longest with {lengths.prompt[place]} tokens",
            limit=prefill_seq_len,
            enough=_power(int(lengths.prompt.max())),
        )


def check_bytes(findings: Findings, path: str, records: Sequence[Record], tokenizer: Any) -> None:
    """Note each row whose user text is mostly spelt in bytes, as other scripts and emoji are after a cut.

    Args:
        findings: collects.
        path, records: the file and its rows.
        tokenizer: the one the model is trained with.
    """
    known = tokenizer.get_vocab()
    single = {known[name] for name in (f"<0x{byte:02X}>" for byte in range(256)) if name in known}
    for start in range(0, len(records), _CHUNK):
        chunk = records[start : start + _CHUNK]
        texts = tokenizer(
            [record.user_content for record in chunk], add_special_tokens=False
        ).input_ids
        for record, ids in zip(chunk, texts, strict=True):
            count = sum(index in single for index in ids)
            if count > BYTES * len(ids):
                findings.add(
                    "D234",
                    path,
                    record.line,
                    f"{count} of {len(ids)} in {quoted(record.user_content)}",
                    limit=round(100 * BYTES),
                )


def _power(length: int) -> int:
    """The next power of two, as these settings usually are."""
    return 1 << (length - 1).bit_length()
