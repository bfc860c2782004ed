"""Makes a tool from a Python function: types from the hints, descriptions from the docstring.

>>> def paint(shade: Literal["red", "blue"], coats: int = 1):
...     \"\"\"Paints the wall.
...
...     Args:
...         shade: The colour.
...         coats: How often.
...     \"\"\"
>>> parameters = function_tool(paint)[0]["function"]["parameters"]
>>> parameters["properties"]["shade"]
{'type': 'string', 'enum': ['red', 'blue'], 'description': 'The colour.'}
>>> parameters["required"]
['shade']

transformers' `get_json_schema` gives the same for the hints it knows. But it does not know
TypedDict, dataclass or Annotated, cannot be extended, and imports torch to compare every hint with
a tensor. Docstrings are split as it does (`docstrings`).
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from fgkit.chat_types import JsonSchema, ToolDeclaration
from fgkit.prompts.declarations import Problem
from fgkit.text import nearest, shown

from .docstrings import split_docstring
from .rules import RULES

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}
_HINTS = "str, int, float, bool, Literal, a string Enum, list[...], a TypedDict or a dataclass"
# transformers' notation of an enum in a docstring.
_CHOICES = re.compile(r"\(choices:\s*(\[.*\])\s*\)\s*$", re.IGNORECASE | re.DOTALL)


def function_tool(
    function: Callable[..., Any],
) -> tuple[ToolDeclaration | None, list[Problem]]:
    """Return a function's tool and what is wrong with the function.

    Args:
        function: a function or method with type hints and a Google-style docstring. An argument
            with a default is not required; `X | None` is nullable. A key of a TypedDict or field of
            a dataclass is described in the class's own docstring (`Args:` or `Attributes:`), or as
            in `Annotated[int, "in seconds"]`, which works everywhere.
    Returns:
        the tool, or None if a problem is an error; and every problem with its rule.
    """
    reader = _Reader(f"function {function.__name__!r}")
    documentation = inspect.getdoc(function)
    if not documentation:
        reader.refuse(
            "T101",
            "",
            "has no docstring, but the model is shown it. Say what the function does, and "
            "describe each argument under `Args:`.",
        )
    description, described = split_docstring(documentation or "")
    parameters = reader.parameters(function, described)
    for name, schema in parameters["properties"].items():
        if documentation and not schema.get("description"):
            reader.refuse(
                "T105",
                name,
                f"is not described in the docstring{nearest(name, described)} Write a line "
                f"`{name}: ...` under `Args:`.",
            )
    for name in described:
        if name not in parameters["properties"] and name[0].islower():
            reader.refuse(
                "T107",
                "",
                f"the docstring describes {shown(name)}, which is no argument"
                f"{nearest(name, parameters['properties'])} Correct or delete the line.",
            )
    if any(RULES[rule].severity == "error" for rule, _ in reader.problems):
        return None, reader.problems
    return {
        "type": "function",
        "function": {
            "name": function.__name__,
            "description": description,
            "parameters": parameters,
        },
    }, reader.problems


class _Reader:
    """Turns the hints of one function into schemas and collects what is wrong.

    Args:
        where: how messages name the function.
    """

    def __init__(self, where: str):
        self.where = where
        self.problems: list[Problem] = []
        # The classes whose members are being read, outermost first.
        self.open: list[type] = []

    def refuse(self, rule: str, name: str, text: str) -> JsonSchema:
        """Add a problem, of a parameter or (name "") of the function; return an empty schema."""
        self.problems.append(
            (rule, f"{self.where}: " + (f"parameter {name!r} {text}" if name else text))
        )
        return {}

    def parameters(self, function: Callable[..., Any], described: dict[str, str]) -> JsonSchema:
        """Return the schema of a function's arguments."""
        members = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self.refuse(
                    "T102",
                    "",
                    f"has the parameter {str(parameter)!r}, expected named ones only. Name each "
                    "argument.",
                )
            elif parameter.annotation is parameter.empty:
                self.refuse("T103", name, f"has no type hint. Write `{name}: str` or such.")
            else:
                members[name] = parameter.default is parameter.empty
        return self.object(function, members, described, "")

    def object(
        self, owner: Any, members: dict[str, bool], described: dict[str, str], where: str
    ) -> JsonSchema:
        """Return the schema of an object; `members` says for each name whether it is required."""
        # Hints in quotes are evaluated, which may raise any exception.
        try:
            hints = get_type_hints(owner, include_extras=True)
        except Exception as error:  # noqa: BLE001
            self.refuse(
                "T104", where, f"has a type hint that gives no type: {error}. Correct or import it."
            )
            return {"type": "object", "properties": {}}
        properties: dict[str, JsonSchema] = {}
        required: list[str] = []
        for name, is_required in members.items():
            # A decorator may have given the function another signature.
            if name not in hints:
                self.refuse("T103", name, f"has no type hint. Write `{name}: str` or such.")
                continue
            schema = self.schema(hints[name], f"{where}.{name}" if where else name)
            if described.get(name):
                schema |= _described(described[name])
            properties[name] = schema
            if get_origin(hints[name]) in (Required, NotRequired):
                is_required = get_origin(hints[name]) is Required
            if is_required:
                required.append(name)
        result: JsonSchema = {"type": "object", "properties": properties}
        if required:
            result["required"] = required
        return result

    def schema(self, hint: Any, where: str) -> JsonSchema:
        """Return the schema of one hint; `where` is the parameter for messages."""
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            texts = [text for text in inner[1:] if isinstance(text, str)]
            annotated = self.schema(inner[0], where)
            return annotated | {"description": texts[0]} if texts else annotated
        if origin in (Required, NotRequired):
            return self.schema(inner[0], where)
        if origin in (Union, types.UnionType):
            not_none = [option for option in inner if option is not types.NoneType]
            if len(not_none) > 1:
                return self.refuse(
                    "T402",
                    where,
                    f"may be one of several types ({_shown(hint)}), but the model was "
                    "trained on one. Choose one, or make it two parameters.",
                )
            return self.schema(not_none[0], where) | {"nullable": True}
        if origin is Literal:
            return self.choice(inner, where)
        if origin is list:
            return {"type": "array", "items": self.schema(inner[0], where)}
        if hint is list:
            return {"type": "array"}
        if hint is dict or origin is dict:
            return self.refuse(
                "T407",
                where,
                f"is a {_shown(hint)}, which does not name its keys. Write a TypedDict, "
                "or a list of TypedDicts with a key and a value.",
            )
        if isinstance(hint, NewType):
            return self.schema(hint.__supertype__, where)
        # `type X = ...`, from Python 3.12 on.
        alias_type: Any = getattr(typing, "TypeAliasType", ())
        if isinstance(hint, alias_type):
            return self.schema(hint.__value__, where)
        if hint is Any or hint is object:
            return self.refuse("T401", where, f"may be anything. Use {_HINTS}.")
        return self.class_schema(hint, where)

    def class_schema(self, hint: Any, where: str) -> JsonSchema:
        """Return the schema of a scalar, an enum, a TypedDict or a dataclass."""
        if isinstance(hint, type) and hint in _SCALARS:
            return {"type": _SCALARS[hint]}
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self.choice([member.value for member in hint], where)
        documentation = hint.__doc__ if isinstance(hint.__doc__, str) else ""
        if typing.is_typeddict(hint):
            members = {name: name in hint.__required_keys__ for name in hint.__annotations__}
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            members = {
                field.name: field.default is field.default_factory  # both are MISSING
                for field in dataclasses.fields(hint)
                if field.init
            }
            # A dataclass without a docstring has its signature as one.
            if documentation.startswith(f"{hint.__name__}("):
                documentation = ""
        else:
            return self.refuse(
                "T104",
                where,
                f"has the type hint {_shown(hint)}, which has no declaration. Use "
                f"{_HINTS}; take dates, times and identifiers as text.",
            )
        if hint in self.open:
            return self.refuse(
                "T412", where, f"is a {hint.__name__}, which contains itself. Flatten it."
            )
        description, described = split_docstring(inspect.cleandoc(documentation))
        self.open.append(hint)
        schema = self.object(hint, members, described, where)
        self.open.pop()
        return schema | {"description": description} if description else schema

    def choice(self, values: Sequence[Any], where: str) -> JsonSchema:
        """Return the schema of an enum of strings, perhaps with None."""
        named = [value for value in values if value is not None]
        if not named or not all(isinstance(value, str) for value in named):
            listed = ", ".join(map(repr, values)) or "no value"
            return self.refuse(
                "T403",
                where,
                f"allows {listed[:80]}, but the prompt shows choices of texts only. Write "
                "them as texts, or take an int and name the values in the description.",
            )
        schema: JsonSchema = {"type": "string", "enum": named}
        return schema | {"nullable": True} if len(named) < len(values) else schema


def _described(text: str) -> JsonSchema:
    """The description of an argument, and its enum if the text has one."""
    choices = _CHOICES.search(text)
    if choices:
        try:
            values = [
                value.strip() if isinstance(value, str) else value
                for value in json.loads(choices[1])
            ]
            return {"enum": values, "description": text[: choices.start()].strip()}
        except ValueError:
            pass  # not JSON: the text is shown unchanged
    return {"description": text}


def _shown(hint: Any) -> str:
    text = inspect.formatannotation(hint)
    return f"`{text if len(text) <= 80 else text[:77] + '...'}`"
