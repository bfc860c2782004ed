"""The child process of `python_files`: it runs one tools file and reports its tools as JSON.

The file's code may do anything to the process, such as end it or replace modules. So the parent
trusts nothing in here: it takes one line of JSON, or the fact that none came.
"""

from __future__ import annotations

import ast
import collections
import hashlib
import inspect
import json
import os
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from fgkit.chat_types import JsonValue
from fgkit.errors import ToolError

from .python_schemas import function_tool

_LONGEST_REASON = 1000
# A rule's id, the place and the message.
_Finding = tuple[str, str, str]


def main(file: str, source: bytes) -> NoReturn:
    """Answer on standard output and end the process at once, whatever threads are left.

    Args:
        file: the tools file's path, for messages and for `__file__`.
        source: its bytes.
    """
    answers, parent = os.dup(1), os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    # What the file prints must not mix with the answer, and it must not wait for a keyboard.
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    sys.dont_write_bytecode = True
    try:
        answer = _encoded(read(source, file))
    except ToolError as error:
        answer = _encoded({"error": str(error)})
    except RecursionError:
        answer = _encoded({"error": f"{file}: T412 a tool is nested too deeply. Flatten it."})
    # Code that replaced parts of Python may make anything fail in any way.
    except BaseException as error:  # noqa: BLE001
        answer = _encoded({"error": _stopped(error, file)})
    while answer:
        answer = answer[os.write(answers, answer) :]
    os._exit(0)


def read(source: bytes, file: str) -> dict[str, Any]:
    """Run a Python file and return what `python_files.PythonTools` holds.

    Args:
        source, file: as for `main`.
    Raises:
        ToolError: the source is not Python, it stops with an error, or its `TOOLS` is not a list.
    """
    try:
        tree = ast.parse(source, filename=file)
        code = compile(tree, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = getattr(error, "msg", error) or "it is nested too deeply"
        raise ToolError(
            f"{file}{line}: T002 is not valid Python: {reason}. Correct the file."
        ) from error
    digest = hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()
    module = types.ModuleType(f"_fgkit_tools_{digest[:16]}")
    module.__file__ = file
    # An import would leave __pycache__ beside the user's file and could use an outdated copy of it.
    # Dataclasses and hints in quotes look their module up by name in `sys.modules`.
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        raise ToolError(_stopped(error, file)) from error
    return _tools_of(module, tree, file)


def _stopped(error: BaseException, file: str) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    try:
        reason = str(error)
    except BaseException:  # noqa: BLE001, an exception's text is the user's code as well
        reason = "(its text cannot be shown)"
    return (
        f"{file}{f':{lines[-1]}' if lines else ''}: T003 stopped with {type(error).__name__}: "
        f"{reason[:_LONGEST_REASON]}. The file is run once to read its functions: keep it "
        "self-contained and free of side effects."
    )


def _tools_of(module: types.ModuleType, tree: ast.Module, file: str) -> dict[str, Any]:
    """The tools of a module that has been run."""
    tools: list[JsonValue] = []
    places: list[str] = []
    findings = _defined_twice(tree, file)
    for number, item in enumerate(_listed(module, file)):
        place = f"{file}: TOOLS[{number}]"
        if function := _function_in(item):
            code = inspect.unwrap(function).__code__
            if code.co_filename == file:
                place = f"{file}:{code.co_firstlineno}"
            item, problems = function_tool(item)
            findings += [(rule, place, text) for rule, text in problems]
            if item is None:
                continue
        try:
            tools.append(_plain(item, ""))
            places.append(place)
        except ValueError as error:
            findings.append(("T201", place, str(error)))
    return {"tools": tools, "places": places, "findings": findings}


def _function_in(item: object) -> Callable[..., Any] | None:
    """The function that an object is, or wraps as `functools.cache` does; else None."""
    if not isinstance(item, type) and "__wrapped__" in getattr(item, "__dict__", ()):
        if not callable(item):
            return None
        item = inspect.unwrap(item)
    return item if inspect.isfunction(item) or inspect.ismethod(item) else None


def _listed(module: types.ModuleType, file: str) -> Sequence[Any]:
    """The entries of `TOOLS`; without that list, the module's own public functions."""
    # Not `getattr`, which would ask a `__getattr__` of the file.
    listed = vars(module).get("TOOLS")
    if isinstance(listed, (list, tuple)):
        return listed
    if listed is not None:
        raise ToolError(
            f"{file}: T005 TOOLS is a {type(listed).__name__}, expected a list of functions or "
            "schemas. Write one."
        )
    return [
        item
        for name, item in vars(module).items()
        if not name.startswith("_")
        and _function_in(item)
        and item.__module__ == module.__name__
        and item.__name__ == name
    ]


def _defined_twice(tree: ast.Module, file: str) -> list[_Finding]:
    names = collections.Counter(
        node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return [
        ("T106", file, f"function {name!r} is defined twice and only the last counts. Rename one.")
        for name, count in names.items()
        if count > 1 and not name.startswith("_")
    ]


def _plain(value: object, where: str) -> JsonValue:
    """Copy a value of JSON's types, also of subclasses of them.

    Raises:
        ValueError: something in it is of another type; says where.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and value.bit_length() < 10_000:
        return int(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            str.__str__(key): _plain(item, f"{where}.{key}" if where else str(key))
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise ValueError(
        f"{where[:200] or 'this'} is a {type(value).__name__} that JSON cannot hold. Give "
        "functions, or schemas of texts, numbers, lists and mappings with texts as keys."
    )


def _encoded(answer: dict[str, Any]) -> bytes:
    """One line of ASCII; surrogates and line breaks are escaped."""
    return json.dumps(answer).encode() + b"\n"


def _end_with_parent(pipe: int) -> None:
    """End this process when the parent's end of the pipe closes."""
    os.read(pipe, 1)
    os._exit(1)
