"""A tools file goes in, the list of tool declarations comes out: checked, so that the prompt shows every word of it.

A `.py` file holds functions with type hints and a Google-style docstring, a `.json` file schemas as OpenAI, Hugging
Face, MCP or Google write them; `docs/tools.md` shows each, and the rules of the linter.

>>> load_tools("data/tools.py")[0]
{'type': 'function', 'function': {'name': 'change_background_color', 'description': 'Changes the app ...',
 'parameters': {'type': 'object', 'properties': {'color': {...}}, 'required': ['color']}}}
"""

from __future__ import annotations

import ast
import collections
import hashlib
import inspect
import json
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from fgkit.errors import ToolError
from fgkit.text import nearest

from .json_forms import has_more_pages, normal_tool, tools_in
from .lint import lint
from .python_schemas import function_tool
from .report import ToolReport
from .rules import Finding

__all__ = [
    "check_tools",
    "lint_tools",
    "load_tools",
    "nearest",
    "strict_json",
    "tools_from_json",
    "tools_hash",
]


def load_tools(path: str | Path) -> list[dict]:
    """Read the tools of one file and check them.

    Args:
        path: a `.py` file: its list `TOOLS` (functions or schemas) where there is one, else its public functions in
            source order; or a `.json` file: a list of tools, or an object that holds one under `tools`. The file's code
            is run; nothing is written beside it and `sys.path` stays as it is.
    Returns:
        the tools in file order as {"type": "function", "function": {"name", "description", "parameters"}}, types in
        lower case.
    Raises:
        ToolError: the file is missing, broken or empty, or a tool breaks a rule of severity error; all are named.
    """
    tools, found = _read(Path(path))
    _raise(found)
    return tools


def lint_tools(path_or_tools: str | Path | list[dict], tokenizer: Any = None) -> ToolReport:
    """Check tools and report every broken rule, errors and warnings, and what each tool costs in every prompt.

    Args:
        path_or_tools: a file as `load_tools` reads it, or a list of tools in any form that a JSON file may hold.
        tokenizer: the model's; left out, the cost is given in characters.
    Raises:
        ToolError: the file cannot be read at all. Tools that break rules are in the report.
    """
    if isinstance(path_or_tools, (str, Path)):
        tools, found = _read(Path(path_or_tools))
        return ToolReport.of(str(path_or_tools), tools, found, tokenizer)
    tools, found = _from_value(path_or_tools, "tools")
    return ToolReport.of("tools", tools, found, tokenizer)


def check_tools(tools: list[dict], where: str) -> None:
    """Refuse tools that the prompt format would show wrongly or in part.

    Args:
        tools: declarations as `load_tools` returns them.
        where: what to call their source in messages, usually a file name.
    Raises:
        ToolError: one line a problem, all problems.
    """
    if not isinstance(tools, list):
        raise ToolError(f"{where}: T005 found a {type(tools).__name__}, expected a list of tools.")
    _raise(lint(tools, [where] * len(tools)))


def tools_from_json(value: Any, where: str) -> list[dict]:
    """Read the tools of parsed JSON, such as a data row's own, and check them.

    Args:
        value: whatever a `.json` file of tools may hold.
        where: what to call its source in messages, such as `rows.jsonl:7`.
    Raises:
        ToolError: as `load_tools`.
    """
    tools, found = _from_value(value, where)
    _raise(found)
    return tools


def tools_hash(tools: list[dict]) -> str:
    """Hex SHA-256 of the declarations; the order of tools and keys counts, because prompts depend on it."""
    return hashlib.sha256(
        json.dumps(tools, ensure_ascii=False, allow_nan=False).encode()
    ).hexdigest()


def strict_json(text: str) -> Any:
    """Parse JSON that means one thing: no key twice, no NaN.

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


def _read(path: Path) -> tuple[list, list[Finding]]:
    """The tools of a file and everything that is wrong with them."""
    if path.suffix not in (".py", ".json"):
        raise ToolError(
            f"{path}: T001 is no tools file: found the ending {path.suffix!r}, expected .py or .json. "
            "Give a Python file with functions or a JSON file with a list of schemas."
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ToolError(
            f"{path}: T001 cannot be read: {error.strerror}. Give the path of your tools file."
        ) from error
    if path.suffix == ".py":
        return _from_python(source, path)
    try:
        value = strict_json(source.decode("utf-8-sig"))
    except ValueError as error:  # UnicodeDecodeError is one too
        raise ToolError(
            f"{path}: T004 cannot be read: {error}. Expected UTF-8 JSON: a list of tools."
        ) from error
    return _from_value(value, str(path))


def _from_value(value: Any, where: str) -> tuple[list, list[Finding]]:
    tools = tools_in(value)
    if tools is None:
        raise ToolError(
            f"{where}: T005 holds a {type(value).__name__}, expected a list of tools. Put [ and ] around "
            "it, or give the object that holds the list under 'tools'."
        )
    places = [f"{where}: tool {number}" for number in range(1, len(tools) + 1)]
    found = (
        [
            Finding(
                "T006",
                where,
                "has a 'nextCursor', so it is one page of an MCP server's tools. Ask the server "
                "for the other pages and put all tools into one list.",
            )
        ]
        if has_more_pages(value)
        else []
    )
    return _checked(where, tools, places, found)


def _checked(
    where: str, tools: list, places: list[str], found: list[Finding]
) -> tuple[list, list[Finding]]:
    try:
        tools = [normal_tool(tool) for tool in tools]
        found = found + lint(tools, places)
    except RecursionError as error:
        raise ToolError(
            f"{where}: T412 a tool is nested too deeply. Flatten its schema."
        ) from error
    if not tools and not found:
        raise ToolError(
            f"{where}: T005 holds no tools. Write at least one public function with type hints and a "
            "docstring, or a JSON list with at least one tool."
        )
    return tools, found


def _from_python(source: bytes, path: Path) -> tuple[list, list[Finding]]:
    try:
        tree = ast.parse(source, filename=str(path))
        code = compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = getattr(error, "msg", error)
        raise ToolError(
            f"{path}{line}: T002 is not valid Python: {reason}. Correct the file."
        ) from error
    module = types.ModuleType(
        f"_fgkit_tools_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    )
    module.__file__ = str(path)
    # Run by hand: an import would leave __pycache__ beside the user's file and could serve an outdated copy of it.
    # Dataclasses and hints in quotes look their module up, so it stays known until every function has been read.
    sys.modules[module.__name__] = module
    try:
        _run(code, module, path)
        return _checked(str(path), *_python_tools(module, tree, path))
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
            f"{path}:{lines[-1]}: T003 stopped with {type(error).__name__}: {error}. The file is run once "
            "to read its functions: keep it self-contained and free of side effects."
        ) from error


def _python_tools(
    module: types.ModuleType, tree: ast.Module, path: Path
) -> tuple[list, list[str], list[Finding]]:
    """The tools of a module that has been run, the place of each, and what is wrong with its functions."""
    listed = getattr(module, "TOOLS", None)
    if listed is not None and not isinstance(listed, (list, tuple)):
        raise ToolError(
            f"{path}: T005 TOOLS is a {type(listed).__name__}, expected a list of functions or schemas."
        )
    if listed is None:
        listed = [
            item
            for name, item in vars(module).items()
            if inspect.isfunction(item)
            and not name.startswith("_")
            and item.__module__ == module.__name__
            and item.__name__ == name
        ]
    names = collections.Counter(
        node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    twice = [name for name, count in names.items() if count > 1 and not name.startswith("_")]
    found = [
        Finding(
            "T106",
            str(path),
            f"function {name!r} is defined twice and only the last counts. Rename one.",
        )
        for name in twice
    ]
    tools, places = [], []
    for number, item in enumerate(listed):
        place = f"{path}: TOOLS[{number}]"
        if inspect.isfunction(item) or inspect.ismethod(item):
            code = inspect.unwrap(item).__code__
            if code.co_filename == str(path):
                place = f"{path}:{code.co_firstlineno}"
            item, problems = function_tool(item)
            found += [Finding(rule, place, text) for rule, text in problems]
            if item is None:
                continue
        tools.append(item)
        places.append(place)
    return tools, places, found


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(
            key for key, count in collections.Counter(key for key, _ in pairs).items() if count > 1
        )
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _raise(found: list[Finding]) -> None:
    errors = [str(finding) for finding in found if finding.severity == "error"]
    if errors:
        raise ToolError("\n".join(errors))
