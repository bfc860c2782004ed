"""The rules that a single row breaks: reading, odd characters, spaces, values not in the text.

The ids: D10. reading a row, D24. characters, D25. spaces, D26. values. Each rule is followed by its
remedy and by what is expected; a finding fills in the `{names}` in braces.
"""

from __future__ import annotations

from fgkit.lint_rules import Rule

ROW_RULES = (
    Rule(
        "D101",
        "error",
        "a row that cannot be used",
        "Correct the line; the message says how.",
        "a row in the data format whose answer fits its tool",
    ),
    Rule(
        "D102",
        "warning",
        "exact duplicate",
        "Delete one of the lines; only the first is used.",
        "each request and answer once",
    ),
    Rule(
        "D103",
        "error",
        "contradiction",
        "Keep one of them, or say the difference in the text.",
        "one answer to one text",
    ),
    Rule(
        "D104",
        "warning",
        "nulls that Arrow filled in",
        (
            "Export the data as text, one json.dumps a row; the nulls of optional arguments are "
            "left out."
        ),
        "arguments that are absent where they have no value",
    ),
    Rule(
        "D241",
        "warning",
        "control character",
        "Delete it.",
        "text that a keyboard writes",
    ),
    Rule(
        "D242",
        "warning",
        "invisible character",
        "Delete it.",
        "text that a keyboard writes",
    ),
    Rule(
        "D243",
        "warning",
        "character that turns the writing direction",
        "Delete it.",
        "text that reads as it is stored",
    ),
    Rule(
        "D244",
        "warning",
        "look-alike letter of another script inside a word",
        "Type the word again: the model sees other letters than you.",
        "words in one script",
    ),
    Rule(
        "D245",
        "note",
        "unusual space",
        "Write a plain space, unless your users' keyboards type this one.",
        "plain spaces",
    ),
    Rule(
        "D246",
        "warning",
        "replacement character U+FFFD",
        "Read the source again with the encoding it was written in.",
        "the character that was lost in conversion",
    ),
    Rule(
        "D247",
        "warning",
        "text decoded with the wrong encoding",
        "Read the source again as UTF-8, or correct the text.",
        "{repaired}",
    ),
    Rule(
        "D248",
        "warning",
        "private-use character or noncharacter",
        "Delete or replace it.",
        "characters with a meaning",
    ),
    Rule(
        "D249",
        "note",
        "letter with a separate accent",
        "Normalise the text to NFC: other characters are other tokens.",
        "composed characters (Unicode NFC), as keyboards write them",
    ),
    Rule(
        "D251",
        "note",
        "spaces around the text",
        "Delete them; the prompt leaves them out anyway.",
        "a text without them",
    ),
    Rule(
        "D252",
        "warning",
        "spaces around an argument value",
        "Delete them, or the model learns to write them.",
        "a value without them",
    ),
    Rule(
        "D261",
        "note",
        "argument value that the text does not hold",
        "Write the value as the text has it, or the text as the value has it.",
        "a copy: {share}% of this argument's values are one",
    ),
    Rule(
        "D262",
        "note",
        "argument value in another case than in the text",
        "Write both alike.",
        "a copy: {share}% of this argument's values are one",
    ),
)
