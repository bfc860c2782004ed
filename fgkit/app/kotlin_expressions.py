"""Kotlin expressions: JSON values as code, and the conversions between JSON and typed values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from .languages import KOTLIN
from .source_code import quoted
from .types import Member, Type


def literal(value: object, indent: str = "") -> str:
    """Write a JSON value as a Kotlin expression.

    Args:
        value: any JSON value; each entry of an object gets a line of its own.
        indent: of the line on which the value begins.
    """
    if isinstance(value, str):
        return quoted(value, '"', _escape)
    if isinstance(value, dict):
        entries = [
            f"{indent}    {literal(key)} to {literal(item, indent + '    ')},\n"
            for key, item in value.items()
        ]
        return "json(\n" + "".join(entries) + f"{indent})" if entries else "json()"
    if isinstance(value, list):
        return "listOf<Any?>(" + ", ".join(literal(item, indent) for item in value) + ")"
    if type(value) is int:
        # Kotlin reads -9223372036854775808L as the negative of a Long that is too large.
        return f"{value}L" if -(2**63) < value < 2**63 else f"{value}.0"
    return "null" if value is None else json.dumps(value)


def arguments(members: Iterable[Member]) -> Iterator[str]:
    """Write the named arguments that pass the checked JSON values in `given` on."""
    return (f"{member.name} = {_argument(member)}" for member in members)


def to_map(members: Iterable[Member]) -> str:
    """Write the map that turns members back into JSON, without optional ones that are null."""
    members = list(members)
    entries = ", ".join(
        f"{literal(member.wire)} to {_to_json(member.name, member.type, member.optional)}"
        for member in members
    )
    may_be_absent = [
        literal(member.wire) for member in members if member.optional and not member.required
    ]
    absent = f"value != null || key !in setOf({', '.join(may_be_absent)})"
    drop_absent = f".filter {{ (key, value) -> {absent} }}" if may_be_absent else ""
    return f"mapOf<String, Any?>({entries}){drop_absent}"


def _argument(member: Member) -> str:
    value = f"given[{literal(member.wire)}]"
    if member.default is not None:
        value = f"({value} ?: {literal(member.default)})"
    return _from_json(value, member.type, member.optional)


def _from_json(value: str, value_type: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a checked JSON value into its Kotlin type.

    Args:
        value: the expression of the JSON value.
        value_type: its declared type.
        nullable: whether it may be null.
        depth: of nested lists, so that each has a loop variable of its own.
    """
    kind = value_type.kind
    if kind == "any":
        return value
    if kind in KOTLIN.scalars and kind != "map":
        return f"{value} as {KOTLIN.scalars[kind]}{'?' * nullable}"
    if nullable:
        return f"{value}?.let {{ {_from_json('it', value_type, False, depth)} }}"
    if kind == "map":
        # A cast of the whole map would be unchecked, which the compiler warns about.
        return f"({value} as Map<*, *>).mapKeys {{ entry -> entry.key as String }}"
    if kind == "list":
        item, element = f"item{depth}" if depth else "item", value_type.element
        converted = _from_json(item, element, element.nullable, depth + 1)
        return f"({value} as List<*>).map {{ {item} -> {converted} }}"
    return f"{value_type.name}.of({value})"


def _to_json(value: str, value_type: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a Kotlin value back into JSON; arguments as for `_from_json`."""
    dot = "?." if nullable else "."
    if value_type.kind == "enum":
        return f"{value}{dot}wire"
    if value_type.kind == "object":
        return f"{value}{dot}toJson()"
    if value_type.kind == "list" and value_type.element.kind in ("enum", "object", "list"):
        item, element = f"item{depth}" if depth else "item", value_type.element
        converted = _to_json(item, element, element.nullable, depth + 1)
        return f"{value}{dot}map {{ {item} -> {converted} }}"
    return value


def _escape(code: int) -> str:
    """The escape sequence of a code point; beyond the first 65,536 it takes two UTF-16 units."""
    units = chr(code).encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
