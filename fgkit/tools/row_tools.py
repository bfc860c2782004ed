"""Reads the tools that rows bring along; each distinct tool is checked only once.

Example:
    sets = ToolSets(run_tools)
    tool_set, problems = sets.of(row.tools)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fgkit.chat_types import JsonValue, ToolDeclaration
from fgkit.errors import ToolError

from .json_forms import normal_tool
from .json_parsing import strict_json
from .loading import check_tools, tools_hash
from .validation import Checker


@dataclass(frozen=True)
class ToolSet:
    """Tools and the checkers of their arguments.

    Args:
        tools: declarations; None for the run's.
        checkers: one for each tool's name.
        key: identifies the set; "" for the run's.
    """

    tools: tuple[ToolDeclaration, ...] | None
    checkers: dict[str, Checker]
    key: str = ""


class ToolSets:
    """Reads the tools of rows; rows with equal tools get the same object.

    Args:
        run_tools: for rows without tools of their own.
    """

    def __init__(self, run_tools: Sequence[ToolDeclaration]):
        self.run = ToolSet(None, {tool["function"]["name"]: Checker(tool) for tool in run_tools})
        self._sets: dict[str, tuple[ToolSet | None, list[str]]] = {}
        self._tools: dict[str, tuple[ToolDeclaration, Checker] | list[str]] = {}

    def of(self, written: JsonValue) -> tuple[ToolSet | None, list[str]]:
        """Return the tools of a row, or what is wrong with them.

        Args:
            written: a list of tools or its JSON text; None for the run's tools.
        """
        if written is None:
            return self.run, []
        text = written if isinstance(written, str) else json.dumps(written)
        if text not in self._sets:
            self._sets[text] = self._read(written)
        return self._sets[text]

    def _read(self, written: JsonValue) -> tuple[ToolSet | None, list[str]]:
        if isinstance(written, str):
            try:
                written = strict_json(written)
            except ValueError as error:
                return None, [f"tools: {error}, expected a list of tools as JSON. Correct it."]
        if not isinstance(written, list):
            return None, [
                f"tools: found a {type(written).__name__}, expected a list of tools. Write one."
            ]
        by_name: dict[str, tuple[ToolDeclaration, Checker]] = {}
        problems: list[str] = []
        for index, tool in enumerate(written):
            known = self._tool(tool)
            if isinstance(known, list):
                problems += [f"tools[{index}]: {problem}" for problem in known]
            elif (name := known[0]["function"]["name"]) in by_name:
                problems.append(f"tools[{index}]: {name!r} is there twice. Remove one.")
            else:
                by_name[name] = known
        if problems:
            return None, problems
        tools = tuple(tool for tool, _ in by_name.values())
        checkers = {name: checker for name, (_, checker) in by_name.items()}
        return ToolSet(tools, checkers, tools_hash(tools)), []

    def _tool(self, tool: JsonValue) -> tuple[ToolDeclaration, Checker] | list[str]:
        key = json.dumps(tool)
        if key not in self._tools:
            declared = normal_tool(without_nulls(tool))
            try:
                check_tools([declared], "")
                self._tools[key] = declared, Checker(declared)
            except ToolError as error:
                self._tools[key] = [line.removeprefix(": ") for line in str(error).splitlines()]
        return self._tools[key]


def without_nulls(schema: JsonValue) -> JsonValue:
    """Return a schema without the nulls that Arrow fills in for keys that other rows' tools have.

    A null never means anything in a schema, except as a `default` or `const`.

    >>> schema = {"a": {"type": "string", "enum": None}, "b": None}
    >>> without_nulls({"type": "object", "properties": schema})
    {'type': 'object', 'properties': {'a': {'type': 'string'}}}

    Args:
        schema: of a tool, or a part of it.
    """
    if isinstance(schema, list):
        return [without_nulls(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_nulls(value)
        for key, value in schema.items()
        if value is not None or key in ("default", "const")
    }
