"""Tools with every type of argument, reserved names and texts that would like to be code; tree-sitter to read code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HOSTILE = (
    "ends */ /* // here \\",
    "a 'quote', a \"quote\" and '''three''' \"\"\"three\"\"\"",
    "$name ${exit(1)} $$ \\$x",
    "two\nlines\r\nand\u2028more\u2029\u0085\x0b\x0c",
    "\u202e right to left \ufeff\x00\x07\x7f",
    "naïve 日本語 😀 \U000e0001",
    "*/",
    "///",
    "{@macro x} [Link] @param y </code>",
    "\\u0041 \\x41 \\n",
)


def tool(
    name: str, description: str = "Does it.", required: list[str] | None = None, **properties: dict
) -> dict:
    parameters = {"type": "object", "properties": properties} | (
        {"required": required} if required else {}
    )
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def text(description: str = "A text.", **rest: object) -> dict:
    return {"type": "string", "description": description} | rest


_POINT = {
    "type": "object",
    "description": "A point.",
    "required": ["x"],
    "properties": {
        "x": {"type": "number", "description": "Right."},
        "y": {"type": "number", "description": "Up.", "nullable": True},
        "class": text("A word of the languages.", enum=["new", "old"]),
    },
}

RICH = [
    tool("ping", "No arguments."),
    {"type": "function", "function": {"name": "bare", "description": "No parameters at all."}},
    tool(
        "switch",
        "A reserved word.",
        ["on-off"],
        **{"on-off": {"type": "boolean", "description": "x"}},
    ),
    tool("a_b", "First of two.", None, a_b=text(), aB=text(), A_B=text()),
    tool("aB", "Second of two."),
    tool(
        "toString",
        "A member of every object.",
        ["hashCode"],
        hashCode={"type": "integer", "description": "x"},
    ),
    tool(
        "paint",
        "\n".join(HOSTILE),
        ["shade"],
        shade=text(
            HOSTILE[2],
            enum=[
                "red",
                "dark red",
                "Dark-Red",
                "2nd",
                "",
                "new",
                "$x",
                'it\'s "1"\n',
                "日本",
                "名",
            ],
        ),
        other=text(HOSTILE[0], enum=["red", "blue"], nullable=True),
        list=text("Would hide the type.", enum=["a", "b"]),
    ),
    tool(
        "move",
        "Nested.",
        ["to", "many"],
        to=_POINT,
        many={"type": "array", "description": "x", "items": _POINT},
        back=_POINT | {"nullable": True},
        kinds={
            "type": "array",
            "description": "x",
            "items": {"type": "string", "enum": ["x", "y"]},
        },
        free={"type": "object", "description": "Any keys."},
        list={"type": "array", "description": "Anything."},
    ),
    tool(
        "limits",
        "Bounds and defaults.",
        ["count"],
        count={"type": "integer", "description": "x", "minimum": 1, "maximum": 9},
        share={"type": "number", "description": "x", "minimum": 0, "maximum": 1, "default": 1},
        label=text("x", default="it's $5"),
        times={"type": "integer", "description": "x", "default": 2},
        loud={"type": "boolean", "description": "x", "default": False},
        size=text("x", enum=["S", "M"], default="M"),
        some={
            "type": "array",
            "description": "x",
            "items": {"type": "integer"},
            "minItems": 1,
            "maxItems": 2,
        },
    ),
]


def tree(source: str, language: str) -> Any:
    """What tree-sitter's grammar of the language makes of a text."""
    tree_sitter = pytest.importorskip("tree_sitter", reason="in requirements/test.txt")
    grammar = pytest.importorskip(f"tree_sitter_{language}", reason="in requirements/test.txt")
    return (
        tree_sitter.Parser(tree_sitter.Language(grammar.language()))
        .parse(source.encode())
        .root_node
    )


def parses(path: Path) -> None:
    root = tree(path.read_text(encoding="utf-8"), {".dart": "dart", ".kt": "kotlin"}[path.suffix])
    assert root.named_child_count > 1
    assert not root.has_error, path


def identifiers(node: Any) -> set[str]:
    """Every identifier of the code."""
    own = (
        {node.text.decode()}
        if node.type in ("identifier", "simple_identifier", "type_identifier")
        else set()
    )
    return own.union(*map(identifiers, node.named_children))
