"""The questions that `config` asks of the values of its settings.

Each function yields sentences that name the setting, the value and what is expected; none where the
value is fine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from fgkit import credentials
from fgkit.text import nearest

_LARGEST_INTEGER = 10**18


def secret_problems(config: Any) -> Iterable[str]:
    """Settings whose value is an access token.

    Args:
        config: an instance of a settings class.
    """
    for item in fields(config):
        if secret := credentials.secret_in(brief(getattr(config, item.name), 10_000)):
            yield (
                f"{item.name} holds {secret}, which would be written into notebooks and results. "
                f"{credentials.REMEDY} An executed notebook that holds it has to go, too."
            )


def type_problems(config: Any) -> Iterable[str]:
    """Settings whose value has another type than the field declares.

    Args:
        config: an instance of a settings class, whose fields are `int`, `float` or `str`, or one of
            these or None.
    """
    accepted: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}
    for item in fields(config):
        value, declared = getattr(config, item.name), str(item.type)
        if value is None and "None" in declared:
            continue
        # A bool is an int to Python, but never a setting of ours.
        if isinstance(value, bool) or not isinstance(value, accepted[declared.split(" |")[0]]):
            yield f"{item.name} is {brief(value)}, expected {declared}. {item.metadata['help']}"
        elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
            yield f"{item.name} is {brief(value)}, expected at most 18 digits"


def brief(value: object, longest: int = 200) -> str:
    """The value as Python writes it, shortened; also of what Python refuses to write."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= longest else f"{text[:longest]}..."


def is_unicode(text: str) -> bool:
    """Whether text has no half of a surrogate pair, which a path that is no UTF-8 is full of."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_problems(config: Any) -> Iterable[str]:
    """Settings that no file name, notebook or record can hold.

    Args:
        config: an instance of a settings class whose types are right.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, str) and ("\0" in value or not is_unicode(value)):
            yield (
                f"{item.name} is {ascii(value)[:200]}, expected text that UTF-8 can hold, without "
                "NUL characters"
            )


def range_problems(name: str, value: float | None, low: float, high: float) -> Iterable[str]:
    """A number outside its bounds; None is within any.

    Args:
        name: the setting.
        value: its value.
        low, high: the bounds, both allowed.
    """
    if value is not None and not low <= value <= high:
        yield f"{name} is {value}, expected {low} to {high}"


def choice_problems(name: str, value: str, known: Iterable[str]) -> Iterable[str]:
    """A value that is not one of the known ones; the nearest is proposed.

    Args:
        name: the setting.
        value: its value.
        known: what is accepted.
    """
    if value not in known:
        yield f"{name} is {value!r}, expected one of {', '.join(known)}{nearest(value, known)}"


def model_problems(model: str) -> Iterable[str]:
    """A model folder that does not exist; empty is fine."""
    if model and not is_path(Path.is_dir, model):
        yield (
            f"model is {model!r}, which is not a folder; give the folder that holds "
            "model.safetensors"
        )


def name_problems(name: str) -> Iterable[str]:
    """A first part of file names that not every disk takes."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        yield f"name is {name!r}, expected letters, digits, '.', '_' and '-'"


def is_path(test: Callable[[Path], bool], path: str) -> bool:
    """Whether a path passes a test.

    Args:
        test: such as `Path.is_dir`.
        path: as the user wrote it. One that no disk can have (too long, or `~` for an unknown
            user) does not pass.
    """
    try:
        return test(Path(path).expanduser())
    except (OSError, RuntimeError, ValueError):
        return False
