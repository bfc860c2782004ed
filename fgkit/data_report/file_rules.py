"""The rules that rows break together or by their length: copies, leaks, balance, tokens.

The ids: D20. inside a file, D21. between training and held-out rows, D22. balance, D23. length.
Each rule is followed by its remedy and by what is expected; a finding fills in the `{names}` in
braces.
"""

from __future__ import annotations

from fgkit.lint_rules import Rule

FILE_RULES = (
    Rule(
        "D201",
        "warning",
        "same text but for case, spacing or punctuation",
        "Reword one of them: copies add weight to an answer, not variety.",
        "other words for the same answer",
    ),
    Rule(
        "D202",
        "note",
        "near-duplicate with the same answer",
        "Reword or delete one of them.",
        "other words for the same answer",
    ),
    Rule(
        "D203",
        "warning",
        "nearly the same text, another answer",
        (
            "Correct one of the answers, or say the difference in words: punctuation alone is "
            "easily overlooked."
        ),
        "texts that tell the answers apart",
    ),
    Rule(
        "D204",
        "note",
        "same phrasing, another tool",
        "Check that both answers are meant; if so, name in the text what is to be changed.",
        "phrasings that tell the tools apart by more than a value",
    ),
    Rule(
        "D205",
        "note",
        "few phrasings",
        "Write more different sentences; more values in the same sentence teach little.",
        "a new phrasing at least every {limit} rows",
    ),
    Rule(
        "D211",
        "warning",
        "held-out text is also trained on",
        "Remove or reword the line in one of the files: the score flatters.",
        "held-out texts that training never sees",
    ),
    Rule(
        "D212",
        "warning",
        "held-out text is trained on but for case, spacing or punctuation",
        "Remove or reword the line in one of the files: the score flatters.",
        "held-out texts that training never sees",
    ),
    Rule(
        "D213",
        "warning",
        "held-out text nearly is a training text with the same answer",
        "Reword the line in one of the files: the score flatters.",
        "held-out texts that training never sees",
    ),
    Rule(
        "D214",
        "warning",
        "held-out phrasings are trained on with other values",
        "Keep all rows of a phrasing in one file; a split by fgkit does (leave the eval file out).",
        "held-out sentences that differ in more than the values",
    ),
    Rule(
        "D215",
        "note",
        "held-out values are trained on",
        "Use other values in the held-out rows, so that copying a value cannot be told by heart.",
        "values that training never sees",
    ),
    Rule(
        "D216",
        "error",
        "training and held-out rows contradict each other",
        "Correct one of the two lines.",
        "one answer to one text",
    ),
    Rule(
        "D221",
        "warning",
        "tool without rows",
        (
            "Add rows that call it, or take the tool out of the tools file: it costs tokens in "
            "every prompt."
        ),
        "at least {limit} rows a tool",
    ),
    Rule(
        "D222",
        "warning",
        "tool with few rows",
        "Add rows that call it.",
        "at least {limit} rows",
    ),
    Rule(
        "D223",
        "note",
        "one value dominates an argument",
        "Add rows with other values, or the model learns this one by heart.",
        "at most {limit}% of its rows with one value",
    ),
    Rule(
        "D224",
        "warning",
        "enum values without rows",
        "Add rows for them, or take them out of the enum.",
        "every value of the enum in some row",
    ),
    Rule(
        "D225",
        "warning",
        "no rows without a call",
        (
            "Add requests that no tool serves, with a plain answer: a model that has only seen "
            "calls calls always."
        ),
        "some rows (a tenth, say) that are answered in plain text",
    ),
    Rule(
        "D226",
        "warning",
        "more rows without a call than with one",
        "Add rows with calls: a model that mostly sees plain answers calls too rarely.",
        "calls in most rows",
    ),
    Rule(
        "D227",
        "note",
        "several calls in one answer",
        (
            "Leave `profile` empty or say google: the guide's stop tokens cut an answer off after "
            "its first call."
        ),
        "a bundle profile that lets them through",
    ),
    Rule(
        "D231",
        "error",
        "row longer than max_length",
        "Shorten the tools or the row, or train with `-p max_length {enough}`.",
        "at most {limit} tokens",
    ),
    Rule(
        "D232",
        "warning",
        "row longer than the KV cache",
        "Shorten the tools or the row, or convert with `-p kv_cache_max_len {enough}`.",
        "at most {limit} tokens, prompt and answer",
    ),
    Rule(
        "D233",
        "note",
        "prompts longer than one prefill",
        (
            "The phone then takes several passes. Shorten the tools, or convert with `-p "
            "prefill_seq_len {enough}`."
        ),
        "at most {limit} tokens for the fastest first answer",
    ),
    Rule(
        "D234",
        "warning",
        "text that is read byte by byte",
        (
            "The vocabulary has no piece for these characters, so the model hardly understands "
            "them. Add training rows with them, or keep more pieces (`-p vocab_size`, 0 for all)."
        ),
        "at most {limit}% of its tokens single bytes",
    ),
)
