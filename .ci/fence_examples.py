"""A griffe extension for the API reference: examples in docstrings become blocks of code.

Markdown would read the brackets of their output as links.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# A prompt, its continuation lines and its output, up to the next empty line.
_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


class FenceExamples(griffe.Extension):
    """Put a fence around every example that begins with `>>>`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class or function."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    indent = example["indent"]
    return f"{indent}```pycon\n{example[0]}\n{indent}```"
