"""The tools of a Python file: its functions, or what its list `TOOLS` holds.

The file's code is run once, without importing it, so that nothing is written beside it.
"""

from __future__ import annotations

import ast
import collections
import hashlib
import inspect
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fgkit.chat_types import JsonValue
from fgkit.errors import ToolError
from fgkit.lint_rules import Finding

from .python_schemas import function_tool
from .rules import RULES


class PythonTools(NamedTuple):
    """What a Python file holds.

    Args:
        tools: in order; entries of `TOOLS` that are no functions are as they were written.
        places: how messages name the source of each tool.
        findings: what is wrong with the functions.
    """

    tools: list[JsonValue]
    places: list[str]
    findings: list[Finding]


def read_python_tools(source: bytes, path: Path) -> PythonTools:
    """Run a Python file and return its tools.

    Args:
        source: the file's bytes.
        path: the file, for messages and for `__file__`.
    Raises:
        ToolError: the source is not Python, it stops with an error, or its `TOOLS` is not a list.
    """
    try:
        tree = ast.parse(source, filename=str(path))
        code = compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = getattr(error, "msg", error)
        raise ToolError(
            f"{path}{line}: T002 is not valid Python: {reason}. Correct the file."
        ) from error
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    module = types.ModuleType(f"_fgkit_tools_{digest[:16]}")
    module.__file__ = str(path)
    # An import would leave __pycache__ beside the user's file and could use an outdated copy of it.
    # Dataclasses and hints in quotes look their module up by name, so it stays in `sys.modules`
    # until every function has been read.
    sys.modules[module.__name__] = module
    try:
        _run(code, module, path)
        return _tools_of(module, tree, path)
    finally:
        del sys.modules[module.__name__]


def _run(code: types.CodeType, module: types.ModuleType, path: Path) -> None:
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path)
        ]
        raise ToolError(
            f"{path}:{lines[-1]}: T003 stopped with {type(error).__name__}: {error}. The file is "
            "run once to read its functions: keep it self-contained and free of side effects."
        ) from error


def _tools_of(module: types.ModuleType, tree: ast.Module, path: Path) -> PythonTools:
    """The tools of a module that has been run."""
    result = PythonTools([], [], _defined_twice(tree, path))
    for number, item in enumerate(_listed(module, path)):
        place = f"{path}: TOOLS[{number}]"
        if inspect.isfunction(item) or inspect.ismethod(item):
            code = inspect.unwrap(item).__code__
            if code.co_filename == str(path):
                place = f"{path}:{code.co_firstlineno}"
            item, problems = function_tool(item)
            result.findings.extend(Finding(RULES[rule], place, text) for rule, text in problems)
            if item is None:
                continue
        result.tools.append(item)
        result.places.append(place)
    return result


def _listed(module: types.ModuleType, path: Path) -> Sequence[JsonValue]:
    """The entries of `TOOLS`; without that list, the module's own public functions."""
    listed = getattr(module, "TOOLS", None)
    if isinstance(listed, (list, tuple)):
        return listed
    if listed is not None:
        raise ToolError(
            f"{path}: T005 TOOLS is a {type(listed).__name__}, expected a list of functions or "
            "schemas. Write one."
        )
    return [
        item
        for name, item in vars(module).items()
        if inspect.isfunction(item)
        and not name.startswith("_")
        and item.__module__ == module.__name__
        and item.__name__ == name
    ]


def _defined_twice(tree: ast.Module, path: Path) -> list[Finding]:
    names = collections.Counter(
        node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return [
        Finding(
            RULES["T106"],
            str(path),
            f"function {name!r} is defined twice and only the last counts. Rename one.",
        )
        for name, count in names.items()
        if count > 1 and not name.startswith("_")
    ]
