"""What the tool linter found, as text and as JSON: each tool with its parameters and its cost, then every broken rule.

>>> print(lint_tools("data/tools.py").table())
tool                     characters  parameters
change_background_color         335  color: string
...
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgkit.prompts.declarations import declaration, declaration_problems
from fgkit.text import shown

from .rules import Finding


@dataclass(frozen=True)
class ToolCost:
    """One tool in the table.

    Args:
        name: its name as written, also where that is wrong.
        parameters: its parameters with their types, `?` at those that are not required.
        characters: length of its declaration, which stands in every prompt; None where it cannot be written.
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
        cls, source: str, tools: Sequence[Any], findings: Sequence[Finding], tokenizer: Any = None
    ) -> ToolReport:
        """Measure each tool's declaration; `tokenizer` is the model's, None counts characters only."""
        costs = []
        for tool in tools:
            function = tool.get("function") if isinstance(tool, Mapping) else None
            name = function.get("name") if isinstance(function, Mapping) else tool
            text = "" if any(declaration_problems(tool, "")) else declaration(tool)
            counted = bool(text) and tokenizer is not None
            tokens = len(tokenizer(text, add_special_tokens=False).input_ids) if counted else None
            costs.append(
                ToolCost(
                    name if isinstance(name, str) else shown(name),
                    _signature(function),
                    len(text) or None,
                    tokens,
                )
            )
        return cls(source, tuple(costs), tuple(sorted(findings, key=_order)))

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "warning"]

    def table(self) -> str:
        """The tools with their cost, then the errors, then the warnings, one a line."""
        unit = "tokens" if any(tool.tokens is not None for tool in self.tools) else "characters"
        costs = [getattr(tool, unit) for tool in self.tools]
        width = max([4, *(len(tool.name) for tool in self.tools)])
        lines = [f"{'tool':{width}}  {unit:>10}  parameters"]
        lines += [
            f"{tool.name:{width}}  {'-' if cost is None else format(cost, ','):>10}  {tool.parameters}".rstrip()
            for tool, cost in zip(self.tools, costs, strict=True)
        ]
        lines.append(
            f"{'together':{width}}  {sum(cost or 0 for cost in costs):>10,}  in every prompt"
        )
        lines += [""] * bool(self.findings)
        lines += [str(finding) for finding in self.errors] + [
            f"warning: {finding}" for finding in self.warnings
        ]
        lines += [
            "",
            f"tools: {len(self.tools)}, errors: {len(self.errors)}, warnings: {len(self.warnings)}",
        ]
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, for `fgkit.files.write_json`."""
        return {
            "source": self.source,
            "tools": [vars(tool) for tool in self.tools],
            "findings": [
                {
                    "rule": finding.rule,
                    "severity": finding.severity,
                    "place": finding.place,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
        }


def _order(finding: Finding) -> tuple[str, int]:
    return finding.severity, int(
        re.search(r"([0-9]*)\]?$", finding.place)[1] or 0
    )  # the line, or the tool's number


def _signature(function: Any) -> str:
    parameters = function.get("parameters") if isinstance(function, Mapping) else None
    if not isinstance(parameters, Mapping) or not isinstance(parameters.get("properties"), Mapping):
        return ""
    required = parameters.get("required")
    required = required if isinstance(required, (list, tuple)) else ()
    return ", ".join(
        f"{name}{'' if name in required else '?'}: {_kind(schema)}"
        for name, schema in parameters["properties"].items()
    )


def _kind(schema: Any) -> str:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(kind, str):
        return "?"
    if kind == "string" and isinstance(schema.get("enum"), (list, tuple)):
        return " | ".join(map(str, schema["enum"]))
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"array of {_kind(schema['items'])}"
    if kind == "object" and schema.get("properties"):
        return f"{{{_signature({'parameters': schema})}}}"
    return kind
