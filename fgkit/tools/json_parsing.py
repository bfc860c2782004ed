"""Strict JSON: a text that could be read in two ways is refused."""

from __future__ import annotations

import collections
import json
from typing import NoReturn

from fgkit.chat_types import JsonObject, JsonValue


def strict_json(text: str) -> JsonValue:
    """Parse JSON that has only one meaning: no key twice in an object, no NaN and no infinity.

    Args:
        text: one JSON value.
    Raises:
        ValueError: with a short reason; every parser error becomes one.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON ({error.msg}, line {error.lineno} column {error.colno})"
        ) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = collections.Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
