"""Settings built from the variables of a notebook."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from fgkit import credentials
from fgkit.errors import ConfigError
from fgkit.text import nearest

from .data import DataConfig
from .finetune import FinetuneConfig
from .task import TaskConfig
from .tflite import TfliteConfig

_Config = TypeVar("_Config", bound=DataConfig)


def from_notebook(settings_class: type[_Config], names: dict[str, Any]) -> _Config:
    """Build settings from a notebook's variables and refuse injected ones that it does not declare.

    Papermill only warns about a misspelt parameter and runs with the default; this refuses it. A
    name that only another of the three notebooks declares is accepted, because one parameter file
    serves them all.

    Args:
        settings_class: one of the settings classes.
        names: the notebook's `globals()`; `In` is IPython's history of executed cells.
    Raises:
        ConfigError: a parameter is undeclared (the nearest name is given), missing or has a wrong
            value.
    """
    known = [item.name for item in fields(settings_class)]
    of_any_notebook = {
        item.name for other in (FinetuneConfig, TfliteConfig, TaskConfig) for item in fields(other)
    }
    unknown = _injected(names.get("In", [])) - of_any_notebook
    problems = [unknown_parameter(name, known) for name in sorted(unknown)]
    problems += [
        f"{name} is gone from the parameters cell; put its line back"
        for name in known
        if name not in names
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return settings_class(**{name: names[name] for name in known})


def _injected(cells: Iterable[str]) -> set[str]:
    """Names that papermill's own cells assign; each begins with the same comment."""
    return {
        target.id
        for source in cells
        if source.startswith("# Parameters\n")
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def unknown_parameter(name: str, known: Iterable[str]) -> str:
    """The message for a parameter that no notebook declares, or that is an access token.

    Args:
        name: the parameter; a token is never repeated, because papermill would write it down.
        known: the declared names.
    """
    if credentials.secret_in(name):
        return f"a parameter's name is an access token. {credentials.REMEDY}"
    if credentials.names_a_secret(name):
        return (
            f"parameter {name!r} does not exist: parameters are written into the executed "
            f"notebooks, so a token is never one. {credentials.REMEDY}"
        )
    expected = f"expected one of {', '.join(known)}{nearest(name, known)}"
    return f"parameter {name!r} does not exist, {expected}"
