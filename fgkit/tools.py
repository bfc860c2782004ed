"""A tools file goes in, the list of tool declarations comes out: checked, so that the prompt shows every word of it.

A `.py` file holds functions with type hints and a Google-style docstring, a `.json` file a list of JSON schemas.

>>> load_tools("data/tools.py")[0]
{'type': 'function', 'function': {'name': 'change_background_color', 'description': 'Changes the app ...',
 'parameters': {'type': 'object', 'properties': {'color': {...}}, 'required': ['color']}}}
"""

from __future__ import annotations

import ast
import collections
import difflib
import hashlib
import inspect
import json
import sys
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .declarations import tool_problems
from .errors import ToolError
from .wire import NAME, PLAIN_NAME, shown

_JSON_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")


def load_tools(path: str | Path) -> list[dict]:
    """Read the tools of one file and check them.

    Args:
        path: a `.py` file: its list `TOOLS` (functions or schemas) where there is one, else its public functions in
            source order; or a `.json` file: a list of `{"type": "function", "function": {...}}` or of the inner
            objects alone. The file's code is run; nothing is written beside it and `sys.path` stays as it is.
    Returns:
        the tools in file order, types in lower case, without the `return` entry that no prompt shows.
    Raises:
        ToolError: the file is missing, broken or empty, or a tool fails `check_tools`; all problems at once.
    """
    path = Path(path)
    read = {".py": _from_python, ".json": _from_json}.get(path.suffix)
    if read is None:
        raise ToolError(f"{path}: is no tools file: found the ending {path.suffix!r}, expected .py or .json. "
                        "Give a Python file with functions or a JSON file with a list of schemas.")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ToolError(f"{path}: cannot be read: {error.strerror}. Give the path of your tools file.") from error
    try:
        tools, places, problems = read(source, path)
        problems += _problems(tools, places)
    except RecursionError as error:
        raise ToolError(f"{path}: a tool is nested too deeply. Flatten its schema.") from error
    if not tools and not problems:
        problems = [f"{path}: holds no tools. Write at least one public function with type hints and a docstring, "
                    "or a JSON list with at least one tool."]
    _raise(problems)
    return tools


def check_tools(tools: list[dict], where: str) -> None:
    """Refuse tools that the prompt format would show wrongly or in part.

    Args:
        tools: declarations as `load_tools` returns them.
        where: what to call their source in messages, usually a file name.
    Raises:
        ToolError: one line a problem, all problems.
    """
    _raise(_problems(tools, [where] * len(tools)))


def tools_hash(tools: list[dict]) -> str:
    """Hex SHA-256 of the declarations; the order of tools and keys counts, because prompts depend on it."""
    return hashlib.sha256(json.dumps(tools, ensure_ascii=False, allow_nan=False).encode()).hexdigest()


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence's end: `; did you mean 'x'?` for the closest of `names`, a full stop when none is close."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def strict_json(text: str) -> Any:
    """Parse JSON that means one thing: no key twice, no NaN.

    Raises:
        ValueError: with a short reason; every parser error becomes one.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, line {error.lineno} column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _from_python(source: bytes, path: Path) -> tuple[list, list[str], list[str]]:
    try:
        tree = ast.parse(source, filename=str(path))
        code = compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = getattr(error, "msg", error)
        raise ToolError(f"{path}{line}: is not valid Python: {reason}. Correct the file.") from error
    module = types.ModuleType(f"_fgkit_tools_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}")
    module.__file__ = str(path)
    # Run by hand: an import would leave __pycache__ beside the user's file and could serve an outdated copy of it.
    sys.modules[module.__name__] = module
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise ToolError(f"{path}:{lines[-1]}: stopped with {type(error).__name__}: {error}. The file is run once to "
                        "read its functions: keep it self-contained and free of side effects.") from error
    finally:
        del sys.modules[module.__name__]

    listed = getattr(module, "TOOLS", None)
    if listed is not None and not isinstance(listed, (list, tuple)):
        raise ToolError(f"{path}: TOOLS is a {type(listed).__name__}, expected a list of functions or schemas.")
    if listed is None:
        listed = [item for name, item in vars(module).items() if inspect.isfunction(item) and not name.startswith("_")
                  and item.__module__ == module.__name__ and item.__name__ == name]
    tools, places, problems = [], [], []
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for name in [name for name, count in collections.Counter(names).items() if count > 1 and not name.startswith("_")]:
        problems.append(f"{path}: function {name!r} is defined twice and only the last would count. Rename one.")
    for number, item in enumerate(listed):
        place = f"{path}: TOOLS[{number}]"
        if inspect.isfunction(item):
            code = inspect.unwrap(item).__code__
            if code.co_filename == str(path):
                place = f"{path}:{code.co_firstlineno}"
            try:
                item = _schema(item)
            except ValueError as error:
                problems.append(f"{place}: function {item.__name__!r}: {error}")
                continue
        tools.append(_wrapped(item))
        places.append(place)
    return tools, places, problems


def _schema(function: types.FunctionType) -> dict:
    if not inspect.getdoc(function):
        raise ValueError("has no docstring, but the model is shown it. Say what the function does, and describe each "
                         "argument under `Args:`.")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(f"has the parameter {str(parameter)!r}, expected named ones only. Name each argument.")
        if parameter.annotation is parameter.empty:
            raise ValueError(f"parameter {parameter.name!r} has no type hint. Write `{parameter.name}: str` or such.")
    from transformers.utils import get_json_schema

    try:
        return get_json_schema(function)
    except Exception as error:  # besides its two exceptions: names that do not resolve, broken `(choices: ...)`
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise ValueError(f"gives no schema: {reason} Use plain type hints, and a docstring whose `Args:` section has "
                         "a line for each argument.") from error


def _from_json(source: bytes, path: Path) -> tuple[list, list[str], list[str]]:
    try:
        tools = strict_json(source.decode("utf-8-sig"))
    except ValueError as error:  # UnicodeDecodeError is one too
        raise ToolError(f"{path}: cannot be read: {error}. Expected UTF-8 JSON: a list of tools.") from error
    if not isinstance(tools, list):
        raise ToolError(f"{path}: holds a {type(tools).__name__}, expected a list of tools. Put [ and ] around it.")
    return [_wrapped(tool) for tool in tools], [f"{path}: tool {number}" for number in range(1, len(tools) + 1)], []


def _wrapped(tool: Any) -> Any:
    """The nested form of a tool, nested or flat; what is neither comes back as it is, for `_problems` to name."""
    if not isinstance(tool, dict):
        return tool
    if isinstance(tool.get("function"), dict):
        body = {key: value for key, value in tool["function"].items() if key != "return"}
    elif "name" in tool:
        body = {key: value for key, value in tool.items() if key not in ("type", "return")}
    else:
        return tool
    return {"type": "function", "function": _lower_types(body)}


def _lower_types(value: Any) -> Any:
    # Google's declarations say "STRING", JSON Schema says "string"; prompts print upper case either way.
    if isinstance(value, list):
        return [_lower_types(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: item.lower() if key == "type" and isinstance(item, str) and item.lower() in _JSON_TYPES
            else _lower_types(item) for key, item in value.items()}


def _problems(tools: list, places: list[str]) -> list[str]:
    if not isinstance(tools, list):
        return [f"found a {type(tools).__name__}, expected a list of tools."]
    found, first = [], {}
    for tool, place in zip(tools, places, strict=True):
        found += [f"{place}: {problem}" for problem in _tool_problems(tool)]
        body = tool.get("function") if isinstance(tool, dict) else None
        name = body.get("name") if isinstance(body, dict) else None
        if isinstance(name, str):
            if name in first:
                found.append(f"{place}: two tools are called {name!r}, the other one at {first[name]}. Rename one.")
            first.setdefault(name, place)
    return found


def _tool_problems(tool: Any) -> Iterator[str]:
    from jsonschema import Draft202012Validator

    yield from (problem.removeprefix("tools[0]").lstrip(" :.") for problem in tool_problems([tool]))
    body = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(body, dict):
        return
    name, description, parameters = body.get("name"), body.get("description", ""), body.get("parameters")
    yield from _name_problems(name, "name")
    try:
        tools_hash([body])
    except (TypeError, ValueError) as error:
        yield f"{name}: cannot be written as JSON: {error}. Use texts, finite numbers, booleans, lists and dicts."
    if isinstance(description, str) and not description.strip():
        yield f"{name}.description: is empty, but the model is shown it. Say in one sentence what the tool does."
    if not isinstance(parameters, dict) or not parameters:
        return
    schema_of_schemas = Draft202012Validator(Draft202012Validator.META_SCHEMA,
                                             format_checker=Draft202012Validator.FORMAT_CHECKER)  # checks patterns
    errors = list(schema_of_schemas.iter_errors(parameters))
    for error in errors:
        place = ".".join(map(str, [name, "parameters", *error.path]))
        yield f"{place}: is no valid JSON Schema: {error.message[:200]}. Correct it."
    if errors:
        return  # what follows needs a well-formed schema
    if parameters.get("type", "object") != "object":
        yield f'{name}.parameters.type: is {shown(parameters["type"])}, expected "object". Arguments always have names.'
    if _has_reference(parameters):
        yield f"{name}.parameters: uses $ref, which the prompt does not follow. Write the schema out in its place."
    yield from _member_problems(parameters, f"{name}.parameters")


def _member_problems(schema: dict, where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in properties:
            yield (f"{where}.required: names {shown(name)}, which is no property{nearest(name, properties)} "
                   "Add the property or take the name out.")
    for name, inner in properties.items():
        place = f"{where}.properties.{name}"
        yield from _name_problems(name, place)
        if not isinstance(inner, dict):
            continue
        kind, enum = inner.get("type"), inner.get("enum")
        if kind is None:
            yield (f"{place}: has no type, and the prompt would show an empty one. Give it one of "
                   f'{", ".join(_JSON_TYPES)}; for an optional value add "nullable": true.')
        if enum is not None and kind != "string":
            yield (f"{place}.enum: is left out of the prompt, which shows enums of strings only. Make the type string, "
                   "or name the values in the description and drop the enum.")
        elif enum == []:
            yield f"{place}.enum: is empty, so no value fits. Name the values or drop the enum."
        if kind == "object":
            yield from _member_problems(inner, place)
        elif kind == "array" and isinstance(inner.get("items"), dict):
            yield from _member_problems(inner["items"], f"{place}.items")


def _name_problems(name: Any, where: str) -> Iterator[str]:
    # A declaration can hold more names than a call; the others are reported by `tool_problems`.
    if isinstance(name, str) and PLAIN_NAME.fullmatch(name) and not NAME.fullmatch(name):
        yield (f"{where}: is {shown(name)}, which cannot be written in a call: names start with an ASCII letter or _ "
               "and go on with these, digits, . and -. Rename it.")


def _has_reference(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key in ("$ref", "$dynamicRef") or _has_reference(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_reference, value))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = next(key for key, count in collections.Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _raise(problems: list[str]) -> None:
    if problems:  # half a surrogate pair could not be printed
        raise ToolError("\n".join(problems).encode("utf-8", "backslashreplace").decode())
