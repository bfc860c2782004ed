"""Plan an app's interface: a name and a type for every function, argument, enum and class.

In: checked tool declarations and a language. Out: a `Plan` that `dart` and `kotlin` write as code.

For example:

    plan(tools, DART).functions[0]
    # Function(wire="set_timer", name="setTimer", members=(Member(wire="minutes", ...), ...), ...)

Every name is valid in the language and unique where it is used. Words are joined to lowerCamelCase
(UpperCamelCase for types), a reserved word gets a trailing `_`, a name that is taken gets a number.
Two arguments with the same name and the same allowed values share one enum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fgkit.chat_types import ToolDeclaration

from .languages import INHERITED_MEMBERS, LIBRARY_TYPES, Language, words
from .types import Class, Default, Enum, Function, Kind, Member, Plan, Type

_WORDS = re.compile(r"[A-Za-z0-9]+")
_SCALARS: dict[str, Kind] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "map",
}

# JSON Schema keywords that the checks in function_calls.dart and FunctionCalls.kt leave out.
_UNCHECKED = words("""
    pattern format multipleOf uniqueItems const minLength maxLength exclusiveMinimum
    exclusiveMaximum additionalProperties patternProperties minProperties maxProperties contains
    prefixItems not if dependentRequired allOf anyOf oneOf
    """)


def plan(tools: list[ToolDeclaration], language: Language) -> Plan:
    """Name everything in checked tools for one language; the same tools give the same names.

    Args:
        tools: declarations that `check_tools` accepts.
        language: `DART` or `KOTLIN`.
    """
    return _Planner(language).plan(tools)


def unchecked(tools: list[ToolDeclaration]) -> list[str]:
    """List the schema keywords that generated code does not check.

    Args:
        tools: checked declarations.
    Returns:
        one line for each argument that has some, such as `set_code.code: pattern`.
    """
    lines = []
    for tool in tools:
        function = tool["function"]
        for path, schema in _schemas(function.get("parameters") or {}, function["name"]):
            if keywords := sorted(_UNCHECKED & schema.keys()):
                lines.append(f"{path}: {', '.join(keywords)}")
    return lines


def _schemas(schema: object, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A schema and every schema inside it, each with the path to it."""
    if isinstance(schema, Mapping):
        yield path, schema
        for name, inner in (schema.get("properties") or {}).items():
            yield from _schemas(inner, f"{path}.{name}")
        yield from _schemas(schema.get("items"), f"{path}[]")


class _Planner:
    """Collects the enums and classes while it goes through the tools."""

    def __init__(self, language: Language):
        self.language = language
        self.members_to_avoid = language.words | INHERITED_MEMBERS
        # Compared without case: Kotlin compiles each class to a file of its own, and two that
        # differ in case only overwrite each other on macOS and Windows.
        self.type_names = {name.casefold() for name in LIBRARY_TYPES}
        self.enums: dict[tuple[str, tuple[str, ...]], Enum] = {}
        self.classes: list[Class] = []

    def plan(self, tools: list[ToolDeclaration]) -> Plan:
        name_of = self._namer(self.members_to_avoid, "function")
        functions = []
        for tool in tools:
            function = tool["function"]
            functions.append(
                Function(
                    function["name"],
                    name_of(function["name"]),
                    self._members(function.get("parameters") or {}, function["name"]),
                    function.get("description") or "",
                )
            )
        return Plan(tuple(functions), tuple(self.enums.values()), tuple(self.classes))

    def _members(self, schema: Mapping[str, Any], owner: str) -> tuple[Member, ...]:
        name_of = self._namer(self.members_to_avoid, "value")
        required = schema.get("required") or ()
        return tuple(
            Member(
                wire,
                name_of(wire),
                self._type(inner, wire, owner),
                wire in required,
                inner.get("description") or "",
                _usable_default(inner.get("default"), inner),
            )
            for wire, inner in (schema.get("properties") or {}).items()
        )

    def _type(self, schema: object, wire: str, owner: str) -> Type:
        """The type of a value; enums and classes that it needs are added to the plan."""
        schema = schema if isinstance(schema, Mapping) else {}
        declared, nullable = schema.get("type"), schema.get("nullable") is True
        if declared == "string" and schema.get("enum"):
            name = self._enum(wire, owner, tuple(schema["enum"])).name
            return Type("enum", name, nullable=nullable)
        if declared == "object" and schema.get("properties"):
            # The name is taken before those of the classes inside it, so that the outer class gets
            # the shorter one.
            name = self._type_name(wire, owner)
            members = self._members(schema, f"{owner}_{wire}")
            self.classes.append(Class(name, members, schema.get("description") or ""))
            return Type("object", name, nullable=nullable)
        if declared == "array":
            element = self._type(schema.get("items"), wire, owner)
            return Type("list", item=element, nullable=nullable)
        kind = _SCALARS.get(declared, "any") if isinstance(declared, str) else "any"
        return Type(kind, nullable=nullable)

    def _enum(self, wire: str, owner: str, values: tuple[str, ...]) -> Enum:
        if (wire, values) not in self.enums:
            upper = self.language.upper_values
            # No reserved word is in capitals, so RED_WINE cannot be one.
            reserved = INHERITED_MEMBERS if upper else self.members_to_avoid
            name_of = self._namer(reserved, "value", upper=upper)
            self.enums[wire, values] = Enum(
                self._type_name(wire, owner),
                tuple((name_of(value), value) for value in dict.fromkeys(values)),
            )
        return self.enums[wire, values]

    def _type_name(self, wire: str, owner: str) -> str:
        """The argument's own name where it is free, otherwise with its owner's name in front."""
        short = _camel_case(wire, "Value", upper_first=True)
        long = _camel_case(f"{owner}_{wire}", "Value", upper_first=True)
        name = short if short.casefold() not in self.type_names else long
        return _take_unused(name, self.type_names, str.casefold)

    def _namer(
        self, reserved: frozenset[str], fallback: str, *, upper: bool = False
    ) -> Callable[[str], str]:
        """Make a function that turns wire names into identifiers that are all different.

        Args:
            reserved: names that get a trailing underscore.
            fallback: the beginning of a name that would be empty or begin with a digit.
            upper: write RED_WINE instead of redWine.
        """
        taken: set[str] = set()

        def name_of(wire: str) -> str:
            if upper:
                name = "_".join(_WORDS.findall(_split_camel_case(wire))).upper()
            else:
                name = _camel_case(wire, fallback)
            if not name or name[0].isdigit():
                prefix = f"{fallback.upper()}_" if upper else fallback
                name = f"{prefix}{name}".rstrip("_")
            return _take_unused(f"{name}_" if name in reserved else name, taken)

        return name_of


def _take_unused(name: str, taken: set[str], key: Callable[[str], str] = str) -> str:
    """Take the name, or the first of name2, name3, ... that is free."""
    candidate, number = name, 2
    while key(candidate) in taken:
        candidate, number = f"{name}{number}", number + 1
    taken.add(key(candidate))
    return candidate


def _camel_case(wire: str, fallback: str, *, upper_first: bool = False) -> str:
    """Join the words of a name to camelCase; `fallback` goes before a leading digit."""
    words = _WORDS.findall(wire)
    if not words or words[0][0].isdigit():
        words = [fallback, *words]
    # A first word in capitals is an abbreviation: HTTP_get becomes httpGet, not hTTPGet.
    head = words[0].lower() if words[0].isupper() else words[0][0].lower() + words[0][1:]
    name = head + "".join(word[0].upper() + word[1:] for word in words[1:])
    return name[0].upper() + name[1:] if upper_first else name


def _split_camel_case(name: str) -> str:
    """Put underscores between the words of a camelCase name."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


def _usable_default(default: object, schema: Mapping[str, Any]) -> Default:
    """A default that every language can write: a scalar that fits its type; otherwise None."""
    if schema.get("enum") and default not in schema["enum"]:
        return None
    declared = schema.get("type")
    # In Python True is an int as well, but no schema accepts it as a number.
    if isinstance(default, bool):
        return default if declared == "boolean" else None
    if isinstance(default, str):
        return default if declared == "string" else None
    if isinstance(default, int) and declared == "integer":
        # Both languages hold integers in 64 bits.
        return default if abs(default) < 2**63 else None
    return float(default) if isinstance(default, int | float) and declared == "number" else None
