"""Reads a tools file and checks its tools, so that the prompt shows every word of them.

A `.py` file holds functions with type hints and a Google-style docstring, a `.json` file schemas as
OpenAI, Hugging Face, MCP or Google write them; `docs/tools.md` shows each, and the linter's rules.

Example:
    load_tools("data/tools.py")[0]
    # {'type': 'function', 'function': {'name': 'change_background_color', 'description': ...,
    #  'parameters': {'type': 'object', 'properties': {'color': {...}}, 'required': ['color']}}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgkit import files
from fgkit.chat_types import JsonValue, ToolDeclaration
from fgkit.errors import ToolError
from fgkit.lint_rules import Finding

from .json_forms import has_more_pages, normal_tool, tools_in
from .json_parsing import strict_json
from .lint import lint
from .python_files import read_python_tools
from .report import ToolReport
from .rules import RULES

if TYPE_CHECKING:
    from .report import Tokenizer

# In bytes.
_LARGEST_FILE = 16 << 20


def load_tools(path: str | Path) -> list[ToolDeclaration]:
    """Read the tools of one file and check them.

    Args:
        path: a `.py` file: its list `TOOLS` (functions or schemas) if there is one, else its public
            functions in source order; or a `.json` file: a list of tools, or an object that holds
            one under `tools`. A Python file is run; nothing is written beside it, and `sys.path`
            stays as it is.
    Returns:
        the tools in file order as {"type": "function", "function": {"name", "description",
        "parameters"}}, types in lower case.
    Raises:
        ToolError: the file is missing, broken or empty, or a tool breaks a rule of severity error;
            the message has one line a problem.
    """
    tools, findings = _read(Path(path))
    _raise_errors(findings)
    return tools


def lint_tools(
    path_or_tools: str | Path | list[JsonValue], tokenizer: Tokenizer | None = None
) -> ToolReport:
    """Check tools; report every broken rule and what each tool costs in every prompt.

    Args:
        path_or_tools: a file as `load_tools` reads it, or a list of tools in any form that a JSON
            file may hold.
        tokenizer: the model's; left out, the cost is given in characters.
    Raises:
        ToolError: the file cannot be read at all. Tools that break rules are in the report.
    """
    if isinstance(path_or_tools, (str, Path)):
        tools, findings = _read(Path(path_or_tools))
        return ToolReport.of(str(path_or_tools), tools, findings, tokenizer)
    tools, findings = _from_value(path_or_tools, "tools")
    return ToolReport.of("tools", tools, findings, tokenizer)


def check_tools(tools: Sequence[JsonValue], where: str) -> None:
    """Refuse tools that the prompt format would show wrongly or in part.

    Args:
        tools: a list of declarations as `load_tools` returns them.
        where: how messages name their source, usually a file name.
    Raises:
        ToolError: one line a problem, all problems.
    """
    if not isinstance(tools, list):
        raise ToolError(f"{where}: T005 found a {type(tools).__name__}, expected a list of tools.")
    _raise_errors(lint(tools, [where] * len(tools)))


def tools_from_json(value: JsonValue, where: str) -> list[ToolDeclaration]:
    """Read the tools of parsed JSON, such as a data row's own, and check them.

    Args:
        value: whatever a `.json` file of tools may hold.
        where: how messages name its source, such as `rows.jsonl:7`.
    Raises:
        ToolError: as `load_tools`.
    """
    tools, findings = _from_value(value, where)
    _raise_errors(findings)
    return tools


def tools_hash(tools: Sequence[ToolDeclaration]) -> str:
    """Return the SHA-256 of declarations in hex.

    The order of tools and keys counts, because prompts depend on it.

    Args:
        tools: as `load_tools` returns them.
    """
    text = json.dumps(tools, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> tuple[list[JsonValue], list[Finding]]:
    """The tools of a file and everything that is wrong with them."""
    if path.suffix not in (".py", ".json"):
        raise ToolError(
            f"{path}: T001 is no tools file: found the ending {path.suffix!r}, expected .py or "
            ".json. Give a Python file with functions or a JSON file with a list of schemas."
        )
    if reason := files.why_unreadable(path, "your tools file"):
        raise ToolError(f"{path}: T001 {reason}")
    source = files.read_bytes(path, "a tools file", limit=_LARGEST_FILE, error=ToolError)
    if path.suffix == ".py":
        return _checked(str(path), *read_python_tools(source, path))
    try:
        value = strict_json(source.decode("utf-8-sig"))
    except ValueError as error:  # UnicodeDecodeError is one too
        raise ToolError(
            f"{path}: T004 cannot be read: {error}. Expected UTF-8 JSON: a list of tools."
        ) from error
    return _from_value(value, str(path))


def _from_value(value: JsonValue, where: str) -> tuple[list[JsonValue], list[Finding]]:
    tools = tools_in(value)
    if tools is None:
        raise ToolError(
            f"{where}: T005 holds a {type(value).__name__}, expected a list of tools. Put [ and ] "
            "around it, or give the object that holds the list under 'tools'."
        )
    places = [f"{where}: tool {number}" for number in range(1, len(tools) + 1)]
    findings = []
    if has_more_pages(value):
        message = (
            "has a 'nextCursor', so it is one page of an MCP server's tools. Ask the server for "
            "the other pages and put all tools into one list."
        )
        findings.append(Finding(RULES["T006"], where, message))
    return _checked(where, tools, places, findings)


def _checked(
    where: str, tools: list[JsonValue], places: list[str], findings: list[Finding]
) -> tuple[list[JsonValue], list[Finding]]:
    """The tools in fgkit's form, and what is wrong with them added to what is known already."""
    try:
        tools = [normal_tool(tool) for tool in tools]
        findings = findings + lint(tools, places)
    except RecursionError as error:
        raise ToolError(
            f"{where}: T412 a tool is nested too deeply. Flatten its schema."
        ) from error
    if not tools and not findings:
        raise ToolError(
            f"{where}: T005 holds no tools. Write at least one public function with type hints "
            "and a docstring, or a JSON list with at least one tool."
        )
    return tools, findings


def _raise_errors(findings: Sequence[Finding]) -> None:
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise ToolError("\n".join(errors))
