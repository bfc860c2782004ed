"""The tool linter: tools in fgkit's form in, every broken rule of `tool_rules.RULES` out, each at its place.

>>> tool = {"function": {"name": "go", "description": "Goes.", "parameters": {"type": "object", "properties": {
...     "type": {"type": "string", "description": "How."}}}}}
>>> print(*lint([tool], ["tools.json: tool 1"]))
tools.json: tool 1: T206 go.parameters.properties.type: a parameter called 'type' is left out by the model's ...
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fgkit.prompts.declarations import Problem, declaration_problems
from fgkit.prompts.format import NAME, PLAIN_NAME
from fgkit.text import nearest, shown

from .json_forms import COMPOSED, DEFINITIONS, JSON_TYPES, REFERENCES, UNNAMED
from .rules import MAX_DESCRIPTION, MAX_TOOLS, Finding

# LiteRT-LM's grammar has these as words of its own.
_RUNTIME_WORDS = ("call", "true", "false", "null")
# What the prompt shows of a schema; everything in `items` is shown.
_SHOWN = {
    "parameters": ("type", "properties", "required"),
    "object": ("type", "description", "properties", "required"),
    "array": ("type", "description", "items"),
    "string": ("type", "description", "enum"),
}
# Reported by rules of their own, or of no interest to a model.
_UNREPORTED = (*REFERENCES, *DEFINITIONS, *COMPOSED, "enum", "nullable")
# A composition whose options say any of these is a union; others only restrict: `anyOf: [{required: ...}, ...]`.
_TYPING = ("type", "properties", "items", "enum", "const", *REFERENCES, *COMPOSED)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def lint(tools: Sequence[Any], places: Sequence[str]) -> list[Finding]:
    """Check tools one by one and against each other.

    Args:
        tools: as `tool_json.normal_tool` gives them.
        places: for each tool what messages call its source, such as `tools.py:12`.
    """
    found = []
    beside = _Neighbours()
    for tool, place in zip(tools, places, strict=True):
        problems = [
            *declaration_problems(tool, ""),
            *_tool_problems(tool),
            *beside.problems(tool, place),
        ]
        found += [Finding(rule, place, text.lstrip(" :.")) for rule, text in problems]
    if len(tools) > MAX_TOOLS:
        found.append(
            Finding(
                "T207",
                places[MAX_TOOLS],
                f"this is tool {MAX_TOOLS + 1} of {len(tools)}, and the model "
                "gets weak at choosing among so many. Offer fewer on each screen or step.",
            )
        )
    return found


def _body(tool: Any) -> Mapping[str, Any]:
    body = tool.get("function") if isinstance(tool, Mapping) else None
    return body if isinstance(body, Mapping) else {}


class _Neighbours:
    """What is wrong with a tool beside those that came before it."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}  # where each name was seen first
        self.worded: dict[tuple[str, ...], str] = {}  # a name's words, and the first name of these
        self.described: dict[str, str] = {}  # a description, and the first name that has it

    def problems(self, tool: Any, place: str) -> Iterator[Problem]:
        name, description = _body(tool).get("name"), _body(tool).get("description")
        if not isinstance(name, str):
            return
        alike = self.worded.setdefault(_words(name), name)
        if name in self.places:
            yield (
                "T203",
                f"{name}: two tools are called {name!r}, the other one at {self.places[name]}. Rename one.",
            )
        elif alike != name:
            yield (
                "T204",
                (
                    f"{name}: differs from {alike!r} at {self.places[alike]} only in case, separators or a "
                    "plural s, which a small model confuses. Give one a name that differs in a word."
                ),
            )
        self.places.setdefault(name, place)
        if isinstance(description, str) and description.strip():
            other = self.described.setdefault(description.strip(), name)
            if other != name:
                yield (
                    "T303",
                    (
                        f"{name}.description: repeats that of {other}, so it does not tell the model which of "
                        "the two to call. Say what sets this one apart."
                    ),
                )


def _words(name: str) -> tuple[str, ...]:
    words = [word.lower() for word in _WORDS.findall(name)]
    return tuple(word.removesuffix("s") if len(word) > 3 else word for word in words) or (name,)


def _tool_problems(tool: Any) -> Iterator[Problem]:
    body = _body(tool)
    if not body:
        return
    name, description, parameters = (
        body.get("name"),
        body.get("description", ""),
        body.get("parameters"),
    )
    yield from _name_problems(name, "name")
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        yield (
            "T413",
            (
                f"{name}: cannot be written as JSON: {error}. Use texts, finite numbers, booleans, lists and "
                "dicts."
            ),
        )
    if isinstance(description, str) and not description.strip():
        yield (
            "T301",
            (
                f"{name}.description: is empty, but the model is shown it. Say in one sentence what the tool "
                "does."
            ),
        )
    yield from _length_problems(description, f"{name}.description")
    yield from _left_out(body, ("name", "description", "parameters"), f"{name}")
    if not isinstance(parameters, dict) or not parameters:
        return
    errors = list(_schema_of_schemas().iter_errors(parameters))
    for error in errors:
        place = ".".join(map(str, [name, "parameters", *error.path]))
        yield (
            "T411",
            f"{place}: is no valid JSON Schema: {error.message[:200]}. Correct or remove it.",
        )
    if errors:
        return  # what follows needs a well-formed schema
    where = f"{name}.parameters"
    if parameters.get("type", "object") != "object":
        yield (
            "T409",
            f'{where}.type: is {shown(parameters["type"])}, expected "object". Arguments always have names.',
        )
    yield from _left_out(parameters, _SHOWN["parameters"], where)
    yield from _composed_problems(parameters, where)
    yield from _member_problems(parameters, where)


@functools.cache
def _schema_of_schemas() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(
        Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
    )  # checks patterns


def _member_problems(schema: dict, where: str) -> Iterator[Problem]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for name in required:
        if name not in properties:
            yield (
                "T410",
                (
                    f"{where}.required: names {shown(name)}, which is no property{nearest(name, properties)} "
                    "Add the property or take the name out."
                ),
            )
    for name, inner in properties.items():
        place = f"{where}.properties.{name}"
        yield from _name_problems(name, place)
        if not isinstance(inner, dict):
            continue
        if not inner.get("description"):
            yield "T302", f"{place}: has no description. Say what goes in, in which unit or form."
        elif inner.get("nullable") is True and name in required:
            yield (
                "T415",
                (
                    f"{place}: is required and may be null, but the prompt does not say that null is allowed. "
                    "Take it out of `required`."
                ),
            )
        yield from _length_problems(inner.get("description"), f"{place}.description")
        yield from _schema_problems(inner, place)
        if isinstance(inner.get("type"), str):
            yield from _left_out(inner, _SHOWN.get(inner["type"], ("type", "description")), place)


def _schema_problems(schema: dict, where: str, *, in_array: bool = False) -> Iterator[Problem]:
    """What is wrong with the schema of one value; `in_array` is what an array holds, of which the prompt shows all."""
    kind, enum = schema.get("type"), schema.get("enum")
    composed = list(_composed_problems(schema, where))
    yield from composed
    if kind is None and not composed:
        yield (
            "T401",
            (
                f"{where}: has no type, and the prompt would show an empty one. Give it one of "
                f'{", ".join(JSON_TYPES)}; for an optional value add "nullable": true.'
            ),
        )
    if enum == []:
        yield "T404", f"{where}.enum: is empty, so no value fits. Name the values or drop the enum."
    elif kind != "string" and not in_array and (enum is not None or "const" in schema):
        yield (
            "T403",
            (
                f"{where}.enum: is left out of the prompt, which shows enums of strings only. Make the type "
                "string, or name the values in the description and drop the enum."
            ),
        )
    if kind == "object":
        unnamed = [key for key in UNNAMED if isinstance(schema.get(key), Mapping)]
        if (
            not schema.get("properties") and unnamed and in_array
        ):  # elsewhere `declaration_problems` says so
            yield (
                "T407",
                (
                    f"{where}: an object without 'properties' would show {', '.join(unnamed)} to the model as "
                    "it stands. Name the object's properties."
                ),
            )
        elif not schema.get("properties") and not unnamed:
            yield (
                "T408",
                (
                    f"{where}: names no properties, so the model cannot know what goes in. Name them, or take "
                    "the data as separate parameters."
                ),
            )
        yield from _member_problems(schema, where)
    elif kind == "array" and isinstance(schema.get("items"), dict) and schema["items"]:
        yield from _schema_problems(schema["items"], f"{where}.items", in_array=True)
    elif kind == "array" and not in_array:
        yield (
            "T406",
            f'{where}: does not say what it holds. Add "items", such as {{"type": "string"}}.',
        )


def _composed_problems(schema: dict, where: str) -> Iterator[Problem]:
    for key in REFERENCES:
        if key in schema:
            yield (
                "T414",
                (
                    f"{where}: refers to {shown(schema[key])}, which leads to itself, to nothing or out of the "
                    "tool, so the prompt cannot show it. Write the schema out in its place."
                ),
            )
    for key in COMPOSED:
        options = [option for option in schema.get(key, ()) if isinstance(option, dict)]
        if any(word in option for option in options for word in _TYPING):
            kinds = ", ".join(
                dict.fromkeys(str(option.get("type", "no type")) for option in options)
            )
            yield (
                "T402",
                (
                    f"{where}.{key}: is a union of {len(schema[key])} schemas ({kinds}), which the prompt "
                    "cannot show. Choose one, or make it several parameters."
                ),
            )
        elif key in schema:
            yield from _left_out({key: None}, (), where)


def _left_out(schema: Mapping[str, Any], visible: Sequence[str], where: str) -> Iterator[Problem]:
    """The keywords that the prompt has no room for."""
    from jsonschema import Draft202012Validator

    lost = [
        key
        for key in schema
        if key not in visible
        and (not visible or key not in _UNREPORTED)
        and (key, schema[key]) != ("additionalProperties", True)
    ]  # which is what leaving it out means
    if lost:
        misspelt = [
            key
            for key in lost
            if isinstance(key, str)
            and key not in Draft202012Validator.VALIDATORS
            and key not in ("title", "default", "example", "examples", "deprecated")
        ]
        hint = nearest(misspelt[0], visible) if misspelt else "."
        yield (
            "T501",
            (
                f"{where}: is shown to the model without {', '.join(map(shown, lost))}{hint} Say in the "
                "description what the model must know."
            ),
        )


def _length_problems(description: Any, where: str) -> Iterator[Problem]:
    if isinstance(description, str) and len(description) > MAX_DESCRIPTION:
        yield (
            "T305",
            (
                f"{where}: has {len(description)} characters, and every prompt carries them. Keep to "
                f"{MAX_DESCRIPTION}: one or two sentences."
            ),
        )


def _name_problems(name: Any, where: str) -> Iterator[Problem]:
    if name in _RUNTIME_WORDS:
        yield (
            "T205",
            (
                f"{where}: is {name!r}, a word of LiteRT-LM's call grammar, which then cannot read the call. "
                f"Rename it, to {'make_call' if name == 'call' else name + '_'!r} for example."
            ),
        )
    # A declaration can hold more names than a call; the others are reported by `declaration_problems`.
    if isinstance(name, str) and PLAIN_NAME.fullmatch(name) and not NAME.fullmatch(name):
        yield (
            "T202",
            (
                f"{where}: is {shown(name)}, which cannot be written in a call: names start with an ASCII "
                "letter or _ and go on with these, digits, . and -. Rename it."
            ),
        )
