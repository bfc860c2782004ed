"""What names in Dart and in Kotlin must avoid, and how each language writes a type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .types import Type


def words(text: str) -> frozenset[str]:
    """Split a text at white space."""
    return frozenset(text.split())


# Types of the generated code itself and of both languages' own libraries. A generated class with
# one of these names would hide the original.
LIBRARY_TYPES = words("""
    AnswerReader Any Array Boolean Byte Char Comparable Companion DateTime Double Duration Enum
    Error Exception Float Function FunctionCallsKt Functions FunctionsKt FunctionsTest Future
    FutureOr Int Invocation Iterable Iterator JsonReader LiteRtLmToolsKt List Long Map MapEntry
    MatchResult ModelCall ModelCallException MyFunctions Never Nothing Null Number Object Override
    Pair Pattern R Reader Record Recorder Regex RegExp Runes Set Short StateError Stream String
    StringBuffer Symbol Throwable Test Tool Triple Type UnimplementedError Unit
    """)

# Members that every object, data class or enum of the two languages has, and those that the
# generated classes add.
INHERITED_MEMBERS = words("""
    component1 component2 component3 component4 component5 component6 component7 component8
    component9 copy equals finalize hashCode index name noSuchMethod notify notifyAll of ordinal
    runtimeType toJson toString values wait wire
    """)


@dataclass(frozen=True)
class Language:
    """What generated names must avoid in a language, and how it writes types and enum values.

    Args:
        words: the reserved words.
        scalars: the language's type for each `Type.kind` that is neither enum, object nor list.
        upper_values: write enum values as RED_WINE instead of redWine.
    """

    words: frozenset[str]
    scalars: Mapping[str, str]
    upper_values: bool = False

    def type_name(self, value_type: Type) -> str:
        """Write a type in this language; a nullable one ends in a question mark."""
        if value_type.kind == "list":
            name = f"List<{self.type_name(value_type.element)}>"
        else:
            name = self.scalars.get(value_type.kind, value_type.name)
        # The type of "any" allows null already.
        return f"{name}?" if value_type.nullable and value_type.kind != "any" else name


# https://dart.dev/language/keywords
DART = Language(
    words("""
        abstract as assert await bool break case catch class const continue covariant default
        deferred do double dynamic else enum export extends extension external factory false final
        finally for get if implements import in int interface is late library mixin new null num
        operator part required rethrow return set static super switch this throw true try typedef
        var void while with yield
        """),
    {
        "string": "String",
        "integer": "int",
        "number": "double",
        "boolean": "bool",
        "map": "Map<String, Object?>",
        "any": "Object?",
    },
)

# The hard keywords of https://kotlinlang.org/docs/keyword-reference.html, and getClass, which every
# object on the JVM has.
KOTLIN = Language(
    words("""
        as break class continue do else false for fun getClass if in interface is null object
        package return super this throw true try typealias typeof val var when while
        """),
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
