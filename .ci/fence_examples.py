"""A griffe extension for the API reference: examples in docstrings become blocks of code.

Markdown would read the brackets of their output as links.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# A prompt, its continuation lines and its output, up to the next empty line.
_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
# The heading with the indented lines below it.
_SECTION = re.compile(
    r"^(?P<indent> *)Examples?:\n+(?P<code>(?:(?P=indent) {4}.*\n?|\n)+)", re.MULTILINE
)


class FenceExamples(griffe.Extension):
    """Put a fence around every example, whether it begins with `>>>` or `Example:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class or function."""
        if obj.docstring:
            text = _SECTION.sub(_section, obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(_fenced, text)


def _section(section: re.Match[str]) -> str:
    indent, code = section["indent"], section["code"].rstrip()
    if ">>>" in code:
        return section[0]
    lines = [line.removeprefix(f"{indent}    ") for line in code.splitlines()]
    body = "\n".join(f"{indent}{line}".rstrip() for line in lines)
    return f"{indent}For example:\n\n{indent}```python\n{body}\n{indent}```\n"


def _fenced(example: re.Match[str]) -> str:
    indent = example["indent"]
    return f"{indent}```pycon\n{example[0]}\n{indent}```"
