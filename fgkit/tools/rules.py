"""The rules of the tool linter, each with a stable id: what breaks it and what to do about it.

`docs/tools.md` shows the table of `RULES`; `rules_table()` writes it, and a test compares the two.

Errors stop every command: the prompt would show the tool wrongly or in part, or a call to it could
not be read. Warnings are shown by the linter only: the prompt is right, but the model is likely to
do worse than it could.
"""

from __future__ import annotations

from fgkit import lint_rules
from fgkit.lint_rules import Rule, Severity

# FunctionGemma 270M gets weak past this many tools (Google's advice, and what its users found).
MAX_TOOLS = 14
# In characters, about 70 tokens; every prompt carries every description.
MAX_DESCRIPTION = 300


def _errors(*rules: tuple[str, str, str]) -> list[Rule]:
    return _rules("error", rules)


def _warnings(*rules: tuple[str, str, str]) -> list[Rule]:
    return _rules("warning", rules)


def _rules(severity: Severity, rules: tuple[tuple[str, str, str], ...]) -> list[Rule]:
    """Make rules of (id, what breaks the rule, what to do)."""
    return [Rule(id, severity, what, remedy) for id, what, remedy in rules]


_ALL = [
    *_errors(
        (
            "T001",
            "a tools file that cannot be read or is neither `.py` nor `.json`",
            "correct the path",
        ),
        ("T002", "a `.py` file that is not Python", "correct the line"),
        (
            "T003",
            "a `.py` file that stops with an error when it is read",
            "keep it free of side effects and of imports that are not installed",
        ),
        (
            "T004",
            "a `.json` file that is not JSON in UTF-8, or has a key twice in one object",
            "correct the file",
        ),
        (
            "T005",
            "a file without tools, or with none where they are looked for",
            "write functions, or tools",
        ),
    ),
    *_warnings(
        (
            "T006",
            "an MCP `tools/list` answer with a `nextCursor`: more tools follow on other pages",
            "put all pages into one list",
        )
    ),
    *_errors(
        ("T101", "a function without a docstring", "say what it does in its first line"),
        ("T102", "`*args` or `**kwargs`", "name each argument"),
        ("T103", "an argument without a type hint", "add one"),
        (
            "T104",
            "a type hint with no declaration, such as `datetime`, `tuple` or a class",
            "use str, int, float, bool, Literal, a string Enum, list, TypedDict or dataclass",
        ),
        (
            "T105",
            "an argument that the docstring does not describe",
            "describe it under `Args:`, or with `Annotated`",
        ),
        ("T106", "a function that is defined twice", "rename one"),
    ),
    *_warnings(
        (
            "T107",
            "a docstring that describes an argument which does not exist",
            "correct its name or delete the line",
        )
    ),
    *_errors(
        ("T201", "something that is no tool", "write {'type': 'function', 'function': {...}}"),
        (
            "T202",
            "a name of a tool or parameter that a call cannot hold",
            "use ASCII letters, digits, `_`, `.` and `-`; start with a letter or `_`",
        ),
        ("T203", "two tools with one name", "rename one"),
    ),
    *_warnings(
        (
            "T204",
            "two tool names that differ only in case, separators or a plural s",
            "let names differ in a word",
        )
    ),
    *_errors(
        (
            "T205",
            "a tool or parameter called `call`, `true`, `false` or `null`: LiteRT-LM reads them "
            "as its own words",
            "rename it, to `make_call` for example",
        ),
        (
            "T206",
            "a parameter called `description`, `type`, `properties`, `required` or `nullable`, at "
            "any level: the model's template leaves it out",
            "rename it",
        ),
    ),
    *_warnings(
        (
            "T207",
            f"more than {MAX_TOOLS} tools: the model gets weak at choosing",
            "offer fewer on each screen",
        )
    ),
    *_errors(("T301", "a tool without a description", "say in one sentence what it does")),
    *_warnings(
        ("T302", "a parameter without a description", "say what goes in, in which unit or form"),
        ("T303", "a description that repeats another tool's", "say what sets the two apart"),
    ),
    *_errors(
        (
            "T304",
            "a text (description, enum value, name) that holds a control token or is no text",
            "reword it",
        )
    ),
    *_warnings(
        (
            "T305",
            f"a description of more than {MAX_DESCRIPTION} characters: every prompt carries it",
            "shorten it",
        )
    ),
    *_errors(
        ("T401", "a parameter without a type", "name one type"),
        (
            "T402",
            "a union of types (anyOf, oneOf, allOf or a list of types)",
            "choose one, or split the parameter",
        ),
        (
            "T403",
            "an enum whose values are not all strings: the prompt would not show it",
            "make them strings, or name them in the description",
        ),
        ("T404", "an enum without values", "name the values or drop the enum"),
        ("T405", "an array of arrays", "use an array of objects or of strings"),
    ),
    *_warnings(
        (
            "T406",
            "an array that does not say what it holds",
            "add `items`, in Python `list[str]` or such",
        )
    ),
    *_errors(
        (
            "T407",
            "an object of unnamed properties, such as `dict[str, int]`",
            "name the properties, or use an array of objects with a key and a value",
        )
    ),
    *_warnings(
        (
            "T408",
            "an object that names no properties: the model cannot know what goes in",
            "name the properties",
        )
    ),
    *_errors(
        (
            "T409",
            "parameters that are no JSON schema of type object",
            "write {'type': 'object', 'properties': {...}}",
        ),
        ("T410", "a required entry that is no property", "correct the name or take it out"),
        ("T411", "what is no valid JSON Schema", "correct it"),
        ("T412", "a schema that is nested too deeply", "flatten it"),
        (
            "T413",
            "a value that JSON does not have",
            "use texts, finite numbers, booleans, lists and objects",
        ),
        (
            "T414",
            "a $ref that leads to itself, to nothing or out of the schema",
            "write the schema out in its place",
        ),
    ),
    *_warnings(
        (
            "T415",
            "a parameter that is required and may be null: the prompt does not say that null is "
            "allowed",
            "take it out of `required`",
        ),
        (
            "T501",
            "keywords that the prompt leaves out (default, minimum, pattern, format, title, ...)",
            "say in the description what the model must know",
        ),
    ),
]
RULES = lint_rules.rules_by_id(_ALL)


def rules_table() -> str:
    """Return the rules as a Markdown table, as `docs/tools.md` shows it."""
    columns = {
        "rule": "id",
        "severity": "severity",
        "what it finds": "what",
        "what to do": "remedy",
    }
    return lint_rules.rules_table(RULES.values(), columns)
