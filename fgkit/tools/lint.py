"""The tool linter: lists every rule of `rules.RULES` that tools break, each at its place.

Example:
    tool = {"function": {"name": "go", "description": "Goes.", "parameters": {"type": "object",
            "properties": {"type": {"type": "string", "description": "How."}}}}}
    print(*lint([tool], ["tools.json: tool 1"]))
    # tools.json: tool 1: T206 go.parameters.properties.type: a parameter called 'type' is left out
    # by the model's template. Rename it, to 'type_' for example.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fgkit.chat_types import JsonValue
from fgkit.lint_rules import Finding
from fgkit.prompts.declarations import Problem, declaration_problems
from fgkit.text import shown

from .lint_schemas import (
    composition_problems,
    hidden_keyword_problems,
    length_problems,
    name_problems,
    property_problems,
)
from .rules import MAX_TOOLS, RULES

# The words of a name: `turnOn_LEDs2` has turn, On, LED, s, 2.
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def lint(tools: Sequence[JsonValue], places: Sequence[str]) -> list[Finding]:
    """Check tools one by one and against each other.

    Args:
        tools: as `json_forms.normal_tool` returns them.
        places: how messages name the source of each tool, such as `tools.py:12`.
    """
    findings = []
    neighbours = _Neighbours()
    for tool, place in zip(tools, places, strict=True):
        problems = [
            *declaration_problems(tool, ""),
            *_tool_problems(tool),
            *neighbours.problems(tool, place),
        ]
        findings += [Finding(RULES[rule], place, text.lstrip(" :.")) for rule, text in problems]
    if len(tools) > MAX_TOOLS:
        message = (
            f"this is tool {MAX_TOOLS + 1} of {len(tools)}, and the model gets weak at choosing "
            "among so many. Offer fewer on each screen or step."
        )
        findings.append(Finding(RULES["T207"], places[MAX_TOOLS], message))
    return findings


def _function_of(tool: JsonValue) -> Mapping[str, Any]:
    """The tool's function, or an empty mapping where it has none."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return function if isinstance(function, Mapping) else {}


class _Neighbours:
    """Compares each tool with those before it: equal or similar names, equal descriptions."""

    def __init__(self) -> None:
        # Where each name was seen first.
        self.places: dict[str, str] = {}
        # The first name that consists of these words.
        self.name_by_words: dict[tuple[str, ...], str] = {}
        # The first name that has this description.
        self.name_by_description: dict[str, str] = {}

    def problems(self, tool: JsonValue, place: str) -> Iterator[Problem]:
        function = _function_of(tool)
        name, description = function.get("name"), function.get("description")
        if not isinstance(name, str):
            return
        similar = self.name_by_words.setdefault(_words(name), name)
        if name in self.places:
            yield (
                "T203",
                f"{name}: two tools are called {name!r}, the other one at {self.places[name]}. "
                "Rename one.",
            )
        elif similar != name:
            yield (
                "T204",
                (
                    f"{name}: differs from {similar!r} at {self.places[similar]} only in case, "
                    "separators or a plural s, which a small model confuses. Give one a name that "
                    "differs in a word."
                ),
            )
        self.places.setdefault(name, place)
        if isinstance(description, str) and description.strip():
            other = self.name_by_description.setdefault(description.strip(), name)
            if other != name:
                yield (
                    "T303",
                    (
                        f"{name}.description: repeats that of {other}, so it does not tell the "
                        "model which of the two to call. Say what sets this one apart."
                    ),
                )


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case and in the singular; the name where it has no words."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return tuple(word.removesuffix("s") if len(word) > 3 else word for word in words) or (name,)


def _tool_problems(tool: JsonValue) -> Iterator[Problem]:
    """What is wrong with one tool beyond what its declaration cannot express."""
    function = _function_of(tool)
    if not function:
        return
    name, description = function.get("name"), function.get("description", "")
    yield from name_problems(name, "name")
    yield from _json_problems(function)
    if isinstance(description, str) and not description.strip():
        yield (
            "T301",
            f"{name}.description: is empty, but the model is shown it. Say in one sentence what "
            "the tool does.",
        )
    yield from length_problems(description, f"{name}.description")
    shown_keys = ("name", "description", "parameters")
    yield from hidden_keyword_problems(function, shown_keys, f"{name}")
    parameters = function.get("parameters")
    if isinstance(parameters, dict) and parameters:
        yield from _parameters_problems(parameters, name)


def _json_problems(function: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        json.dumps(function, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        yield (
            "T413",
            f"{function.get('name')}: cannot be written as JSON: {error}. Use texts, finite "
            "numbers, booleans, lists and dicts.",
        )


def _parameters_problems(parameters: dict[str, Any], name: JsonValue) -> Iterator[Problem]:
    is_valid = True
    for error in _meta_validator().iter_errors(parameters):
        is_valid = False
        place = ".".join(map(str, [name, "parameters", *error.path]))
        yield (
            "T411",
            f"{place}: is no valid JSON Schema: {error.message[:200]}. Correct or remove it.",
        )
    # The remaining checks need a well-formed schema.
    if not is_valid:
        return
    where = f"{name}.parameters"
    if parameters.get("type", "object") != "object":
        yield (
            "T409",
            f'{where}.type: is {shown(parameters["type"])}, expected "object". Arguments always '
            "have names.",
        )
    yield from hidden_keyword_problems(parameters, ("type", "properties", "required"), where)
    yield from composition_problems(parameters, where)
    yield from property_problems(parameters, where)


@functools.cache
def _meta_validator() -> Any:
    """The validator of JSON schemas themselves, patterns included."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(
        Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
