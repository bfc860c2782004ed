"""Tools that rows bring along: each distinct one is read and checked once, however many rows have it.

>>> sets = ToolSets(run_tools)
>>> own, problems = sets.of(row.tools)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fgkit.errors import ToolError

from .json_forms import normal_tool
from .loading import check_tools, strict_json, tools_hash
from .validation import Checker


@dataclass(frozen=True)
class ToolSet:
    """Tools and the checks of their arguments.

    Args:
        tools: declarations; None for the run's.
        checkers: one for each name.
        key: what tells one set from another; "" for the run's.
    """

    tools: tuple[dict, ...] | None
    checkers: dict[str, Checker]
    key: str = ""


class ToolSets:
    """Reads the tools of rows; equal ones become the same object."""

    def __init__(self, run_tools: list[dict]):
        self.run = ToolSet(None, {tool["function"]["name"]: Checker(tool) for tool in run_tools})
        self._sets: dict[str, tuple[ToolSet | None, list[str]]] = {}
        self._tools: dict[str, tuple[dict, Checker] | list[str]] = {}

    def of(self, written: Any) -> tuple[ToolSet | None, list[str]]:
        """The set of a row, or what is wrong with its tools.

        Args:
            written: a list of tools or its JSON text; None for the run's tools.
        """
        if written is None:
            return self.run, []
        text = written if isinstance(written, str) else json.dumps(written)
        if text not in self._sets:
            self._sets[text] = self._read(written)
        return self._sets[text]

    def _read(self, written: Any) -> tuple[ToolSet | None, list[str]]:
        if isinstance(written, str):
            try:
                written = strict_json(written)
            except ValueError as error:
                return None, [f"tools: {error}, expected a list of tools as JSON. Correct it."]
        if not isinstance(written, list):
            return None, [
                f"tools: found a {type(written).__name__}, expected a list of tools. Write one."
            ]
        found, problems = {}, []
        for index, tool in enumerate(written):
            known = self._tool(tool)
            if isinstance(known, list):
                problems += [f"tools[{index}]: {problem}" for problem in known]
            elif (name := known[0]["function"]["name"]) in found:
                problems.append(f"tools[{index}]: {name!r} is there twice. Remove one.")
            else:
                found[name] = known
        if problems:
            return None, problems
        tools = tuple(tool for tool, _ in found.values())
        return ToolSet(
            tools, {name: check for name, (_, check) in found.items()}, tools_hash(list(tools))
        ), []

    def _tool(self, tool: Any) -> tuple[dict, Checker] | list[str]:
        key = json.dumps(tool)
        if key not in self._tools:
            declared = normal_tool(without_nulls(tool))
            try:
                check_tools([declared], "")
                self._tools[key] = declared, Checker(declared)
            except ToolError as error:
                self._tools[key] = [line.removeprefix(": ") for line in str(error).splitlines()]
        return self._tools[key]


def without_nulls(schema: Any) -> Any:
    """A schema without the nulls that Arrow writes for every key another row's tool has; no keyword means null.

    >>> without_nulls({"type": "object", "properties": {"a": {"type": "string", "enum": None}, "b": None}})
    {'type': 'object', 'properties': {'a': {'type': 'string'}}}
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
