"""Dart expressions: JSON values as constants, and the conversions between JSON and typed values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from .languages import DART
from .source_code import quoted
from .types import Member, Type


def literal(value: object, indent: str = "") -> str:
    """Write a JSON value as a Dart constant.

    Args:
        value: any JSON value; each entry of an object gets a line of its own.
        indent: of the line on which the value begins.
    """
    if isinstance(value, str):
        return quoted(value, "'", lambda code: f"\\u{{{code:x}}}")
    if isinstance(value, dict):
        entries = [
            f"{indent}  {literal(key)}: {literal(item, indent + '  ')},\n"
            for key, item in value.items()
        ]
        return "{\n" + "".join(entries) + f"{indent}}}" if entries else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(literal(item, indent) for item in value) + "]"
    # Dart refuses to compile an integer of more than 64 bits, but not a double of that size.
    if type(value) is int and not -(2**63) <= value < 2**63:
        return f"{value}.0"
    return json.dumps(value)


def arguments(members: Iterable[Member]) -> Iterator[str]:
    """Write the named arguments that pass the checked JSON values in `given` on."""
    return (f"{member.name}: {_argument(member)}" for member in members)


def to_map(members: Iterable[Member]) -> str:
    """Write the map that turns members back into JSON."""
    return f"{{{', '.join(map(_entry, members))}}}"


def _argument(member: Member) -> str:
    value = f"given[{literal(member.wire)}]"
    if member.default is not None:
        value = f"({value} ?? {literal(member.default)})"
    return _from_json(value, member.type, member.optional)


def _from_json(value: str, value_type: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a checked JSON value into its Dart type.

    Args:
        value: the expression of the JSON value.
        value_type: its declared type.
        nullable: whether it may be null.
        depth: of nested lists, so that each has a loop variable of its own.
    """
    if value_type.kind == "any":
        return value
    if value_type.kind in DART.scalars:
        return f"{value} as {DART.scalars[value_type.kind]}{'?' * nullable}"
    if value_type.kind == "list":
        item, element = f"item{depth}" if depth else "item", value_type.element
        converted = _from_json(item, element, element.nullable, depth + 1)
        inner = f"[for (final {item} in {value} as List) {converted}]"
    else:
        inner = f"{value_type.name}.of({value})"
    return f"{value} == null ? null : {inner}" if nullable else inner


def _entry(member: Member) -> str:
    """One entry of a map; an optional member without a value is left out."""
    name = member.name
    if not member.optional or member.required:
        return f"{literal(member.wire)}: {_to_json(name, member.type, member.optional)}"
    value = _to_json(name, member.type, False)
    # Dart does not promote a field to its non-null type after `!= null`, so where the value is used
    # for more than itself the case pattern binds it to a variable.
    condition = f"{name} != null" if value == name else f"{name} case final {name}?"
    return f"if ({condition}) {literal(member.wire)}: {value}"


def _to_json(value: str, value_type: Type, nullable: bool, depth: int = 0) -> str:
    """The expression that turns a Dart value back into JSON; arguments as for `_from_json`."""
    dot = "?." if nullable else "."
    if value_type.kind == "enum":
        return f"{value}{dot}wire"
    if value_type.kind == "object":
        return f"{value}{dot}toJson()"
    if value_type.kind == "list" and value_type.element.kind in ("enum", "object", "list"):
        item, element = f"item{depth}" if depth else "item", value_type.element
        converted = _to_json(item, element, element.nullable, depth + 1)
        return f"{value}{dot}map(({item}) => {converted}).toList()"
    return value
