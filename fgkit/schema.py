"""Check values read from JSON files against the types that the code declares for them.

For example:

    score = schema.check(read_json(path), Score, path, remedy="Score the model again.")

A record type is a `TypedDict`; record_types.py holds those of the files that fgkit writes. Keys
that the type does not declare are kept. The whole value, declared or not, is checked for what no
file of fgkit contains: numbers that are infinite, NaN or above 1e18, text with lone surrogates, and
more than MAX_DEPTH levels of nesting.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import (
    Any,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from .errors import FgkitError
from .files import read_json

MAX_DEPTH = 100
# Tables format numbers as floats; a much larger integer raises OverflowError there.
MAX_NUMBER = 10**18
SHOWN_PROBLEMS = 10
# How messages name the types of JSON.
_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    tuple: "a list",
    type(None): "null",
}

T = TypeVar("T")


def check(
    value: object,
    record: type[T],
    where: str | Path,
    *,
    remedy: str,
    error: type[FgkitError] = FgkitError,
) -> T:
    """Check a value against a record type and return it with that type.

    Args:
        value: what `json.loads` returned.
        record: a TypedDict, or a generic type such as `dict[str, Entry]`.
        where: the file, which the message names.
        remedy: a sentence that tells the user what to do; it ends the message.
        error: the class of the exception.
    Raises:
        FgkitError: a value has the wrong type; the message names the file, the first SHOWN_PROBLEMS
            such fields, what was found and what was expected.
    """
    problems = list(_unusable(value)) or list(_mismatches(value, record, ""))
    if problems:
        lines = [f"{where}: {problem}." for problem in problems[:SHOWN_PROBLEMS]]
        if len(problems) > SHOWN_PROBLEMS:
            lines.append(f"{where}: {len(problems) - SHOWN_PROBLEMS} more fields are wrong.")
        raise error("\n".join([*lines, remedy]))
    return cast(T, value)


def read(
    path: str | Path, record: type[T], *, remedy: str, error: type[FgkitError] = FgkitError
) -> T:
    """Read a JSON file and check it against a record type.

    Args:
        path: the JSON file.
        record, remedy, error: as for `check`.
    Raises:
        FgkitError: the file is missing, unreadable or not JSON, or a value has the wrong type.
    """
    return check(read_json(path), record, path, remedy=remedy, error=error)


def _mismatches(value: object, expected: Any, field: str) -> Iterator[str]:
    """Describe each field whose value does not have the expected type."""
    if expected is Any or expected is object:
        return
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Required, NotRequired):
        yield from _mismatches(value, arguments[0], field)
    elif is_typeddict(expected):
        yield from _record_mismatches(value, expected, field)
    elif origin in (Union, types.UnionType):
        yield from _union_mismatches(value, arguments, field)
    elif origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(arguments):
            yield _mismatch(value, f"a list of {len(arguments)} values", field)
            return
        for index, (item, item_type) in enumerate(zip(value, arguments, strict=True)):
            yield from _mismatches(item, item_type, f"{field}[{index}]")
    elif origin is list:
        if not isinstance(value, list):
            yield _mismatch(value, "a list", field)
            return
        for index, item in enumerate(value):
            yield from _mismatches(item, arguments[0], f"{field}[{index}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield _mismatch(value, "an object", field)
            return
        for key, item in value.items():
            yield from _mismatches(item, arguments[1], _inside(field, key))
    elif not _has_type(value, expected):
        yield _mismatch(value, _NAMES.get(expected, str(expected)), field)


def _record_mismatches(value: object, expected: Any, field: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _mismatch(value, "an object", field)
        return
    for key, item_type in _fields(expected).items():
        if key in value:
            yield from _mismatches(value[key], item_type, _inside(field, key))
        elif key in expected.__required_keys__:
            yield f"{_inside(field, key)} is missing"


@functools.cache
def _fields(record: Any) -> dict[str, Any]:
    return get_type_hints(record, include_extras=True)


def _union_mismatches(value: object, members: Iterable[Any], field: str) -> Iterator[str]:
    """Describe why a value fits no member of a union."""
    by_member = [list(_mismatches(value, member, field)) for member in members]
    if all(by_member):
        # For an object where a record or null is allowed, name the wrong fields inside the object.
        objects = [
            problems
            for member, problems in zip(members, by_member, strict=True)
            if isinstance(value, dict) and (is_typeddict(member) or get_origin(member) is dict)
        ]
        names = " or ".join(_name(member) for member in members)
        yield from objects[0] if objects else [_mismatch(value, names, field)]


def _unusable(value: object) -> Iterator[str]:
    """Describe the first value, at any depth, that no file of fgkit contains."""
    # An explicit stack, because deep nesting would end a recursive function in RecursionError.
    stack: list[tuple[object, str, int]] = [(value, "", 0)]
    while stack:
        item, field, depth = stack.pop()
        if depth > MAX_DEPTH:
            yield f"{field.partition('.')[0][:80]} is nested more than {MAX_DEPTH} levels deep"
            return
        if isinstance(item, dict):
            stack += [(key, field, depth) for key in item]
            stack += [(inner, _inside(field, str(key)), depth + 1) for key, inner in item.items()]
        elif isinstance(item, (list, tuple)):
            stack += [(member, f"{field}[{index}]", depth + 1) for index, member in enumerate(item)]
        elif isinstance(item, float) and not math.isfinite(item):
            yield _mismatch(item, "a finite number", field)
            return
        elif isinstance(item, (int, float)) and abs(item) > MAX_NUMBER:
            yield f"{_shown(field)} is a number above 1e18, expected a smaller one"
            return
        elif isinstance(item, str) and not _is_unicode(item):
            yield f"{_shown(field)} is {ascii(item)[:80]}, expected text without lone surrogates"
            return


def _has_type(value: object, expected: Any) -> bool:
    # True is an int in Python but not in JSON, and an integer is allowed where a float is expected.
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, (int, float) if expected is float else expected)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _mismatch(value: object, expected: str, field: str) -> str:
    shown = _NAMES.get(type(value), type(value).__name__)
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        text = repr(value)
        shown += f", {text[:60]}{'...' if len(text) > 60 else ''}"
    return f"{_shown(field)} is {shown}, expected {expected}"


def _name(expected: Any) -> str:
    if is_typeddict(expected):
        return "an object"
    return _NAMES.get(get_origin(expected) or expected, str(expected))


def _inside(field: str, key: str) -> str:
    return f"{field}.{ascii(key)[1:-1][:60]}" if field else ascii(key)[1:-1][:60]


def _shown(field: str) -> str:
    return field or "the content"
