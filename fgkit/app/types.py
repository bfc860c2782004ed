"""Tools go in, what an app's code calls them comes out: functions, arguments, enums and classes of one language.

>>> plan(tools, DART).functions[0]
Function(wire='set_timer', name='setTimer', members=(Member(wire='minutes', name='minutes', ...), ...), ...)

Every name is valid and its own: words are joined to lowerCamelCase (types to UpperCamelCase), a reserved word gets `_`,
a name that is taken gets a number. The name on the wire is kept beside it, and is what the model reads and writes. Two
arguments that allow the same texts under the same name share one enum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

_WORDS = re.compile(r"[A-Za-z0-9]+")
# What the generated code and both languages' own libraries call themselves.
_TYPES = frozenset(
    [
        "AnswerReader",
        "Any",
        "Array",
        "Boolean",
        "Byte",
        "Char",
        "Comparable",
        "Companion",
        "DateTime",
        "Double",
        "Duration",
        "Enum",
        "Error",
        "Exception",
        "Float",
        "Function",
        "FunctionCallsKt",
        "Functions",
        "FunctionsKt",
        "FunctionsTest",
        "Future",
        "FutureOr",
        "Int",
        "Invocation",
        "Iterable",
        "Iterator",
        "JsonReader",
        "LiteRtLmToolsKt",
        "List",
        "Long",
        "Map",
        "MapEntry",
        "MatchResult",
        "ModelCall",
        "ModelCallException",
        "MyFunctions",
        "Never",
        "Nothing",
        "Null",
        "Number",
        "Object",
        "Override",
        "Pair",
        "Pattern",
        "R",
        "Reader",
        "Record",
        "Recorder",
        "Regex",
        "RegExp",
        "Runes",
        "Set",
        "Short",
        "StateError",
        "Stream",
        "String",
        "StringBuffer",
        "Symbol",
        "Throwable",
        "Test",
        "Tool",
        "Triple",
        "Type",
        "UnimplementedError",
        "Unit",
    ]
)
_MEMBERS = frozenset(
    [
        "component1",
        "component2",
        "component3",
        "component4",
        "component5",
        "component6",
        "component7",
        "component8",
        "component9",
        "copy",
        "equals",
        "finalize",
        "hashCode",
        "index",
        "name",
        "noSuchMethod",
        "notify",
        "notifyAll",
        "of",
        "ordinal",
        "runtimeType",
        "toJson",
        "toString",
        "values",
        "wait",
        "wire",
    ]
)


@dataclass(frozen=True)
class Type:
    """The type of a value.

    Args:
        kind: string, integer, number, boolean, enum, object, list, map (an object of free names) or any.
        name: of an enum or class.
        item: what a list holds.
        nullable: null is a value, too.
    """

    kind: str
    name: str = ""
    item: Type | None = None
    nullable: bool = False


@dataclass(frozen=True)
class Language:
    """What names must keep clear of, and how types and the values of an enum are written.

    Args:
        words: the reserved words.
        scalars: the types of kinds that have no name of their own.
        upper_values: RED_WINE instead of redWine.
    """

    words: frozenset[str]
    scalars: Mapping[str, str]
    upper_values: bool = False

    def written(self, kind: Type) -> str:
        """A type in the words of the language."""
        name = (
            f"List<{self.written(kind.item)}>"
            if kind.kind == "list"
            else self.scalars.get(kind.kind, kind.name)
        )
        return f"{name}?" if kind.nullable and kind.kind != "any" else name


DART = Language(
    frozenset(
        [
            "abstract",
            "as",
            "assert",
            "await",
            "bool",
            "break",
            "case",
            "catch",
            "class",
            "const",
            "continue",
            "covariant",
            "default",
            "deferred",
            "do",
            "double",
            "dynamic",
            "else",
            "enum",
            "export",
            "extends",
            "extension",
            "external",
            "factory",
            "false",
            "final",
            "finally",
            "for",
            "get",
            "if",
            "implements",
            "import",
            "in",
            "int",
            "interface",
            "is",
            "late",
            "library",
            "mixin",
            "new",
            "null",
            "num",
            "operator",
            "part",
            "required",
            "rethrow",
            "return",
            "set",
            "static",
            "super",
            "switch",
            "this",
            "throw",
            "true",
            "try",
            "typedef",
            "var",
            "void",
            "while",
            "with",
            "yield",
        ]
    ),
    {
        "string": "String",
        "integer": "int",
        "number": "double",
        "boolean": "bool",
        "map": "Map<String, Object?>",
        "any": "Object?",
    },
)
KOTLIN = Language(
    frozenset(
        [
            "as",
            "break",
            "class",
            "continue",
            "do",
            "else",
            "false",
            "for",
            "fun",
            "getClass",
            "if",
            "in",
            "interface",
            "is",
            "null",
            "object",
            "package",
            "return",
            "super",
            "this",
            "throw",
            "true",
            "try",
            "typealias",
            "typeof",
            "val",
            "var",
            "when",
            "while",
        ]
    ),
    {
        "string": "String",
        "integer": "Long",
        "number": "Double",
        "boolean": "Boolean",
        "map": "Map<String, Any?>",
        "any": "Any?",
    },
    upper_values=True,
)


@dataclass(frozen=True)
class Member:
    """An argument of a function or a property of a class; `default` is None where its schema has none."""

    wire: str
    name: str
    type: Type
    required: bool
    description: str
    default: Any = None

    @property
    def optional(self) -> bool:
        """Whether the app may get nothing: the type is written with a question mark."""
        return (not self.required and self.default is None) or self.type.nullable

    @property
    def given(self) -> Type:
        """The type that the app gets."""
        return replace(self.type, nullable=self.optional)


@dataclass(frozen=True)
class Function:
    """One tool as a method."""

    wire: str
    name: str
    members: tuple[Member, ...]
    description: str


@dataclass(frozen=True)
class Enum:
    """The texts that an argument allows, as (name, text on the wire)."""

    name: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Class:
    """An object with named properties."""

    name: str
    members: tuple[Member, ...]
    description: str


@dataclass(frozen=True)
class Plan:
    """Everything that an app's code has a name for, in the order of the tools."""

    functions: tuple[Function, ...]
    enums: tuple[Enum, ...]
    classes: tuple[Class, ...]


def plan(tools: list[dict], language: Language) -> Plan:
    """Name everything in checked tools for one language; the same tools give the same names."""
    return _Planner(language).plan(tools)


def unchecked(tools: list[dict]) -> list[str]:
    """Name the keywords of schemas that generated code does not check, such as `set_code.code: pattern`."""
    found = [
        (place, sorted(_UNCHECKED & schema.keys()))
        for tool in tools
        for place, schema in _schemas(
            tool["function"].get("parameters") or {}, tool["function"]["name"]
        )
    ]
    return [f"{place}: {', '.join(lost)}" for place, lost in found if lost]


_UNCHECKED = {
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "const",
    "minLength",
    "maxLength",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "contains",
    "prefixItems",
    "not",
    "if",
    "dependentRequired",
    "allOf",
    "anyOf",
    "oneOf",
}


def _schemas(schema: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(schema, Mapping):
        yield place, schema
        for name, inner in (schema.get("properties") or {}).items():
            yield from _schemas(inner, f"{place}.{name}")
        yield from _schemas(schema.get("items"), f"{place}[]")


class _Planner:
    def __init__(self, language: Language):
        self.language = language
        self.types = {
            name.casefold() for name in _TYPES
        }  # files of classes meet on file systems that ignore case
        self.enums: dict[tuple[str, tuple[str, ...]], Enum] = {}
        self.classes: list[Class] = []

    def plan(self, tools: list[dict]) -> Plan:
        name_of = self._names(self.language.words | _MEMBERS, "function")
        functions = []
        for tool in tools:
            body = tool["function"]
            functions.append(
                Function(
                    body["name"],
                    name_of(body["name"]),
                    self._members(body.get("parameters") or {}, body["name"]),
                    body.get("description") or "",
                )
            )
        return Plan(tuple(functions), tuple(self.enums.values()), tuple(self.classes))

    def _members(self, schema: Mapping[str, Any], owner: str) -> tuple[Member, ...]:
        name_of, required = (
            self._names(self.language.words | _MEMBERS, "value"),
            schema.get("required") or (),
        )
        return tuple(
            Member(
                wire,
                name_of(wire),
                self._type(inner, wire, owner),
                wire in required,
                inner.get("description") or "",
                _plain(inner.get("default"), inner),
            )
            for wire, inner in (schema.get("properties") or {}).items()
        )

    def _type(self, schema: Any, wire: str, owner: str) -> Type:
        schema = schema if isinstance(schema, Mapping) else {}
        kind, nullable = schema.get("type"), schema.get("nullable") is True
        if kind == "string" and schema.get("enum"):
            return Type(
                "enum", self._enum(wire, owner, tuple(schema["enum"])).name, nullable=nullable
            )
        if kind == "object" and schema.get("properties"):
            name = self._type_name(wire, owner)
            members = self._members(schema, f"{owner}_{wire}")
            self.classes.append(Class(name, members, schema.get("description") or ""))
            return Type("object", name, nullable=nullable)
        if kind == "array":
            return Type(
                "list", item=self._type(schema.get("items"), wire, owner), nullable=nullable
            )
        return Type(
            {"object": "map"}.get(
                kind, kind if kind in ("string", "integer", "number", "boolean") else "any"
            ),
            nullable=nullable,
        )

    def _enum(self, wire: str, owner: str, values: tuple[str, ...]) -> Enum:
        if (wire, values) not in self.enums:
            upper = self.language.upper_values
            name_of = self._names(
                _MEMBERS if upper else self.language.words | _MEMBERS, "value", upper=upper
            )
            self.enums[wire, values] = Enum(
                self._type_name(wire, owner),
                tuple((name_of(value), value) for value in dict.fromkeys(values)),
            )
        return self.enums[wire, values]

    def _type_name(self, wire: str, owner: str) -> str:
        short, long = (
            _camel(wire, "Value", first=True),
            _camel(f"{owner}_{wire}", "Value", first=True),
        )
        return _unused(
            short if short.casefold() not in self.types else long, self.types, str.casefold
        )

    def _names(
        self, reserved: frozenset[str], fallback: str, *, upper: bool = False
    ) -> Callable[[str], str]:
        """A namer whose names are all different."""
        taken: set[str] = set()

        def name_of(wire: str) -> str:
            name = (
                "_".join(_WORDS.findall(_split(wire))).upper() if upper else _camel(wire, fallback)
            )
            if not name or name[0].isdigit():
                name = f"{fallback.upper() if upper else fallback}{'_' * upper}{name}".rstrip("_")
            return _unused(f"{name}_" if name in reserved else name, taken)

        return name_of


def _unused(name: str, taken: set[str], key: Callable[[str], str] = str) -> str:
    found, number = name, 2
    while key(found) in taken:
        found, number = f"{name}{number}", number + 1
    taken.add(key(found))
    return found


def _camel(wire: str, fallback: str, *, first: bool = False) -> str:
    words = _WORDS.findall(wire)
    if not words or words[0][0].isdigit():
        words = [fallback, *words]
    head = words[0].lower() if words[0].isupper() else words[0][0].lower() + words[0][1:]
    name = head + "".join(word[0].upper() + word[1:] for word in words[1:])
    return name[0].upper() + name[1:] if first else name


def _split(wire: str) -> str:
    """Words of a camelCase text set apart."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", wire)


def _plain(default: Any, schema: Mapping[str, Any]) -> Any:
    """A default that every language can write: a text, number or boolean that fits its type; None for any other."""
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    kind = kinds.get(schema.get("type"))
    fits = (
        kind is not None
        and isinstance(default, kind)
        and isinstance(default, bool) == (kind is bool)
    )
    if schema.get("enum") and default not in schema["enum"]:
        return None
    if not fits or kind is int and abs(default) >= 2**63:
        return None
    return float(default) if kind == (int, float) else default
