"""What the tool linter found, as text and as JSON: each tool with its cost, then every broken rule.

Example:
    print(lint_tools("data/tools.py").table())
    # tool                     characters  parameters
    # change_background_color         335  color: string
    # ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fgkit.chat_types import JsonValue
from fgkit.lint_rules import Finding
from fgkit.prompts.declarations import declaration, declaration_problems
from fgkit.text import shown


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that counts tokens."""

    def __call__(self, text: str | list[str], *, add_special_tokens: bool) -> Any:
        """Tokenize a text, or each text of a list; the result has `input_ids`."""
        ...


@dataclass(frozen=True)
class ToolCost:
    """One tool in the table.

    Args:
        name: as written, even if it is wrong.
        parameters: its parameters with their types; those that are not required have a `?`.
        characters: length of its declaration, which is in every prompt; None if it has none because
            the tool is wrong.
        tokens: the same in tokens; None without a tokenizer.
    """

    name: str
    parameters: str
    characters: int | None
    tokens: int | None


@dataclass(frozen=True)
class ToolReport:
    """Tools and what is wrong with them.

    Args:
        source: the file, or "tools".
        tools: one entry a tool, in order.
        findings: every broken rule, errors first, each in the order of the file.
    """

    source: str
    tools: tuple[ToolCost, ...]
    findings: tuple[Finding, ...]

    @classmethod
    def of(
        cls,
        source: str,
        tools: Sequence[JsonValue],
        findings: Sequence[Finding],
        tokenizer: Tokenizer | None = None,
    ) -> ToolReport:
        """Measure the declaration of each tool.

        Args:
            source: the file, or "tools".
            tools: as `normal_tool` returns them, right or wrong.
            findings: what the linter found in them.
            tokenizer: the model's; left out, only characters are counted.
        """
        costs = tuple(_cost(tool, tokenizer) for tool in tools)
        return cls(source, costs, tuple(sorted(findings, key=_order)))

    @property
    def errors(self) -> list[Finding]:
        """The findings of severity error."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings of severity warning."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def lint_lines(self) -> Iterator[str]:
        """Yield the findings as `fgkit lint` prints them, errors first."""
        for finding in (*self.errors, *self.warnings):
            yield finding.lint_line()

    def table(self) -> str:
        """Return the tools with their cost, then the errors, then the warnings, one a line."""
        unit = "tokens" if any(tool.tokens is not None for tool in self.tools) else "characters"
        costs = [getattr(tool, unit) for tool in self.tools]
        width = max([4, *(len(tool.name) for tool in self.tools)])
        lines = [f"{'tool':{width}}  {unit:>10}  parameters"]
        for tool, cost in zip(self.tools, costs, strict=True):
            cell = "-" if cost is None else format(cost, ",")
            lines.append(f"{tool.name:{width}}  {cell:>10}  {tool.parameters}".rstrip())
        total = sum(cost or 0 for cost in costs)
        lines.append(f"{'together':{width}}  {total:>10,}  in every prompt")
        if self.findings:
            lines.append("")
        lines += [str(finding) for finding in self.errors]
        lines += [f"warning: {finding}" for finding in self.warnings]
        lines += [
            "",
            f"tools: {len(self.tools)}, errors: {len(self.errors)}, warnings: {len(self.warnings)}",
        ]
        # Half of a surrogate pair in a name cannot be printed.
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()

    def to_json(self) -> dict[str, object]:
        """Return the same as plain data, for `fgkit.files.write_json`."""
        return {
            "source": self.source,
            "tools": [vars(tool) for tool in self.tools],
            "findings": [
                {
                    "rule": finding.rule_id,
                    "severity": finding.severity,
                    "place": finding.place,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
        }


def _cost(tool: JsonValue, tokenizer: Tokenizer | None) -> ToolCost:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else tool
    text = "" if any(declaration_problems(tool, "")) else declaration(tool)
    tokens = None
    if text and tokenizer is not None:
        tokens = len(tokenizer(text, add_special_tokens=False).input_ids)
    return ToolCost(
        name if isinstance(name, str) else shown(name),
        _signature(function),
        len(text) or None,
        tokens,
    )


def _order(finding: Finding) -> tuple[str, int]:
    """Errors before warnings, then by the line or the number of the tool that ends the place."""
    number = re.search(r"([0-9]+)\]?$", finding.place)
    return finding.severity, int(number[1]) if number else 0


def _signature(function: JsonValue) -> str:
    """The parameters of a function and their types, as `hour: integer, label?: string`."""
    parameters = function.get("parameters") if isinstance(function, Mapping) else None
    if not isinstance(parameters, Mapping) or not isinstance(parameters.get("properties"), Mapping):
        return ""
    required = parameters.get("required")
    required = required if isinstance(required, (list, tuple)) else ()
    return ", ".join(
        f"{name}{'' if name in required else '?'}: {_type_name(schema)}"
        for name, schema in parameters["properties"].items()
    )


def _type_name(schema: JsonValue) -> str:
    type_ = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(type_, str):
        return "?"
    if type_ == "string" and isinstance(schema.get("enum"), (list, tuple)):
        return " | ".join(map(str, schema["enum"]))
    if type_ == "array" and isinstance(schema.get("items"), Mapping):
        return f"array of {_type_name(schema['items'])}"
    if type_ == "object" and schema.get("properties"):
        return f"{{{_signature({'parameters': schema})}}}"
    return type_
