"""What lint can find: every rule in one table, and one finding a place.

In: a rule's id, a place and what was found there. Out: `file:line: D202 note: what: found ..., expected .... remedy`.

>>> str(Finding("D252", "rows.jsonl", 7, "arguments.title is ' Hello'"))
"rows.jsonl:7: D252 warning: spaces around an argument value: found arguments.title is ' Hello', expected a value ..."

`docs/data-report.md` shows this table; `rules_table()` writes it, and a test compares the two.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from fgkit.text import short

KEPT = 1000  # findings of one rule that are kept with their place; all are counted
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Rule:
    """One kind of fault.

    Args:
        id: stable: D1.. reading a row, D20. inside a file, D21. between training and held-out rows, D22. balance,
            D23. length, D24. characters, D25. spaces, D26. values.
        severity: an error stops; a warning lowers the score or flatters it; a note is worth a look.
        what: the fault in a few words.
        expected: what should stand there instead; may hold `{names}` that the finding fills in.
        remedy: what to do, likewise.
    """

    id: str
    severity: Literal["error", "warning", "note"]
    what: str
    expected: str
    remedy: str


RULES = {
    rule.id: rule
    for rule in (
        Rule(
            "D101",
            "error",
            "a row that cannot be used",
            "a row in the data format whose answer fits its tool",
            "Correct the line; the message says how.",
        ),
        Rule(
            "D102",
            "warning",
            "exact duplicate",
            "each request and answer once",
            "Delete one of the lines; only the first is used.",
        ),
        Rule(
            "D103",
            "error",
            "contradiction",
            "one answer to one text",
            "Keep one of them, or say the difference in the text.",
        ),
        Rule(
            "D104",
            "warning",
            "nulls that Arrow filled in",
            "arguments that are absent where they have no value",
            "Export the data as text, one json.dumps a row; the nulls of optional arguments are left out.",
        ),
        Rule(
            "D201",
            "warning",
            "same text but for case, spacing or punctuation",
            "other words for the same answer",
            "Reword one of them: copies add weight to an answer, not variety.",
        ),
        Rule(
            "D202",
            "note",
            "near-duplicate with the same answer",
            "other words for the same answer",
            "Reword or delete one of them.",
        ),
        Rule(
            "D203",
            "warning",
            "nearly the same text, another answer",
            "texts that tell the answers apart",
            "Correct one of the answers, or say the difference in words: punctuation alone is easily overlooked.",
        ),
        Rule(
            "D204",
            "note",
            "same phrasing, another tool",
            "phrasings that tell the tools apart by more than a value",
            "Check that both answers are meant; if so, name in the text what is to be changed.",
        ),
        Rule(
            "D205",
            "note",
            "few phrasings",
            "a new phrasing at least every {limit} rows",
            "Write more different sentences; more values in the same sentence teach little.",
        ),
        Rule(
            "D211",
            "warning",
            "held-out text is also trained on",
            "held-out texts that training never sees",
            "Remove or reword the line in one of the files: the score flatters.",
        ),
        Rule(
            "D212",
            "warning",
            "held-out text is trained on but for case, spacing or punctuation",
            "held-out texts that training never sees",
            "Remove or reword the line in one of the files: the score flatters.",
        ),
        Rule(
            "D213",
            "warning",
            "held-out text nearly is a training text with the same answer",
            "held-out texts that training never sees",
            "Reword the line in one of the files: the score flatters.",
        ),
        Rule(
            "D214",
            "warning",
            "held-out phrasings are trained on with other values",
            "held-out sentences that differ in more than the values",
            "Keep all rows of a phrasing in one file; a split by fgkit does (leave the eval file out).",
        ),
        Rule(
            "D215",
            "note",
            "held-out values are trained on",
            "values that training never sees",
            "Use other values in the held-out rows, so that copying a value cannot be told by heart.",
        ),
        Rule(
            "D216",
            "error",
            "training and held-out rows contradict each other",
            "one answer to one text",
            "Correct one of the two lines.",
        ),
        Rule(
            "D221",
            "warning",
            "tool without rows",
            "at least {limit} rows a tool",
            "Add rows that call it, or take the tool out of the tools file: it costs tokens in every prompt.",
        ),
        Rule(
            "D222",
            "warning",
            "tool with few rows",
            "at least {limit} rows",
            "Add rows that call it.",
        ),
        Rule(
            "D223",
            "note",
            "one value dominates an argument",
            "at most {limit}% of its rows with one value",
            "Add rows with other values, or the model learns this one by heart.",
        ),
        Rule(
            "D224",
            "warning",
            "enum values without rows",
            "every value of the enum in some row",
            "Add rows for them, or take them out of the enum.",
        ),
        Rule(
            "D225",
            "warning",
            "no rows without a call",
            "some rows (a tenth, say) that are answered in plain text",
            "Add requests that no tool serves, with a plain answer: a model that has only seen calls calls always.",
        ),
        Rule(
            "D226",
            "warning",
            "more rows without a call than with one",
            "calls in most rows",
            "Add rows with calls: a model that mostly sees plain answers calls too rarely.",
        ),
        Rule(
            "D227",
            "note",
            "several calls in one answer",
            "a bundle profile that lets them through",
            "Leave `profile` empty or say google: the guide's stop tokens cut an answer off after its first call.",
        ),
        Rule(
            "D231",
            "error",
            "row longer than max_length",
            "at most {limit} tokens",
            "Shorten the tools or the row, or train with `-p max_length {enough}`.",
        ),
        Rule(
            "D232",
            "warning",
            "row longer than the KV cache",
            "at most {limit} tokens, prompt and answer",
            "Shorten the tools or the row, or convert with `-p kv_cache_max_len {enough}`.",
        ),
        Rule(
            "D233",
            "note",
            "prompts longer than one prefill",
            "at most {limit} tokens for the fastest first answer",
            "The phone then takes several passes. Shorten the tools, or convert with `-p prefill_seq_len {enough}`.",
        ),
        Rule(
            "D234",
            "warning",
            "text that is read byte by byte",
            "at most {limit}% of its tokens single bytes",
            "The vocabulary has no piece for these characters, so the model hardly understands them. Add training rows with "
            "them, or keep more pieces (`-p vocab_size`, 0 for all).",
        ),
        Rule("D241", "warning", "control character", "text that a keyboard writes", "Delete it."),
        Rule("D242", "warning", "invisible character", "text that a keyboard writes", "Delete it."),
        Rule(
            "D243",
            "warning",
            "character that turns the writing direction",
            "text that reads as it is stored",
            "Delete it.",
        ),
        Rule(
            "D244",
            "warning",
            "look-alike letter of another script inside a word",
            "words in one script",
            "Type the word again: the model sees other letters than you.",
        ),
        Rule(
            "D245",
            "note",
            "unusual space",
            "plain spaces",
            "Write a plain space, unless your users' keyboards type this one.",
        ),
        Rule(
            "D246",
            "warning",
            "replacement character U+FFFD",
            "the character that was lost in conversion",
            "Read the source again with the encoding it was written in.",
        ),
        Rule(
            "D247",
            "warning",
            "text decoded with the wrong encoding",
            "{repaired}",
            "Read the source again as UTF-8, or correct the text.",
        ),
        Rule(
            "D248",
            "warning",
            "private-use character or noncharacter",
            "characters with a meaning",
            "Delete or replace it.",
        ),
        Rule(
            "D249",
            "note",
            "letter with a separate accent",
            "composed characters (Unicode NFC), as keyboards write them",
            "Normalise the text to NFC: other characters are other tokens.",
        ),
        Rule(
            "D251",
            "note",
            "spaces around the text",
            "a text without them",
            "Delete them; the prompt leaves them out anyway.",
        ),
        Rule(
            "D252",
            "warning",
            "spaces around an argument value",
            "a value without them",
            "Delete them, or the model learns to write them.",
        ),
        Rule(
            "D261",
            "note",
            "argument value that the text does not hold",
            "a copy: {share}% of this argument's values are one",
            "Write the value as the text has it, or the text as the value has it.",
        ),
        Rule(
            "D262",
            "note",
            "argument value in another case than in the text",
            "a copy: {share}% of this argument's values are one",
            "Write both alike.",
        ),
    )
}


@dataclass(frozen=True)
class Finding:
    """One fault at one place.

    Args:
        rule: a key of `RULES`.
        path: the file.
        line: 1-based; what concerns a whole file stands at its first line, or at the first row that shows it.
        found: what stands there, with the line it is compared with. For a rule of the reader the whole message.
        expected, remedy: filled in from the rule.
    """

    rule: str
    path: str
    line: int
    found: str
    expected: str = ""
    remedy: str = ""

    @property
    def severity(self) -> str:
        """error, warning or note."""
        return RULES[self.rule].severity

    @property
    def message(self) -> str:
        """What, found, expected, remedy in one line."""
        rule = RULES[self.rule]
        if not self.expected:
            return self.found
        return f"{rule.what}: found {self.found}, expected {self.expected}. {self.remedy}"

    def __str__(self) -> str:
        return printable(f"{self.path}:{self.line}: {self.rule} {self.severity}: {self.message}")


class Findings:
    """Collects findings, at most `KEPT` of a rule; `counts` has them all."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.kept: list[Finding] = []

    def add(self, rule: str, path: str, line: int, found: str, **values: Any) -> None:
        """Note a finding; `values` fill the braces of the rule's texts."""
        self.counts[rule] += 1
        if self.counts[rule] <= KEPT:
            own = RULES[rule]
            self.kept.append(
                Finding(
                    rule,
                    path,
                    line,
                    found,
                    own.expected.format(**values),
                    own.remedy.format(**values),
                )
            )

    def add_message(self, rule: str, path: str, line: int, message: str) -> None:
        """Note a finding whose message is whole already, as the reader's are."""
        self.counts[rule] += 1
        if self.counts[rule] <= KEPT:
            self.kept.append(Finding(rule, path, line, message))

    def in_order(self) -> list[Finding]:
        """Errors, warnings, notes; each file by file in the order in which they came, line by line."""
        files = list(dict.fromkeys(finding.path for finding in self.kept))
        return sorted(
            self.kept,
            key=lambda finding: (
                SEVERITIES.index(finding.severity),
                files.index(finding.path),
                finding.line,
                finding.rule,
            ),
        )


def printable(text: str) -> str:
    """One line in which nothing is hidden: control and invisible characters are written as escapes."""
    return (
        text
        if text.isprintable()
        else "".join(
            char
            if char.isprintable()
            else char.encode("unicode_escape", "backslashreplace").decode()
            for char in text
        )
    )


def quoted(text: str) -> str:
    """A text as findings show it: long enough to be told from its near-duplicate."""
    return repr(short(text, 100))


def rules_table() -> str:
    """The rules as a Markdown table."""
    rows = [
        (rule.id, rule.severity, rule.what, rule.expected, rule.remedy) for rule in RULES.values()
    ]
    return "\n".join(
        [
            "| rule | severity | what | expected | remedy |",
            "|---|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )
