"""What the generated code of every language shares: its input, and texts that stay texts inside source code.

Descriptions are written by anybody. In a literal, everything that is not plainly printable and every sign that a
language reads inside literals is escaped; in a comment, nothing can end the line or the comment.

>>> quoted('say "$x"', '"', lambda code: f"\\\\u{code:04x}")
'"say \\\\"\\\\$x\\\\""'
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fgkit.prompts import PromptSetup, styles
from fgkit.prompts.format import CONTROL_TOKENS, IMAGE_TOKENS

from .golden import PromptText

WIDTH = 100
_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "$": "\\$"}


@dataclass(frozen=True)
class App:
    """What code is made from.

    Args:
        setup: its checked tools, the developer text and the prompt style of its training.
        prompt: the text around a request in that style.
        source: what the files say they were made from.
        dart_package: the plugin's name, flutter_gemma or flutter_edge_ai.
        kotlin_package: the package of the Kotlin files.
    """

    setup: PromptSetup
    prompt: PromptText
    source: str
    dart_package: str
    kotlin_package: str

    @property
    def tools(self) -> list[dict]:
        """The tools that the model was trained with."""
        return self.setup.tools

    @property
    def bodies(self) -> list[dict]:
        """What each tool says of its function: name, description and parameters."""
        return [tool["function"] for tool in self.tools]

    @property
    def header(self) -> str:
        """The comment that opens every generated file."""
        return (
            f"// Made by fgkit glue from {' '.join(comment_lines(self.source, 1000))}: make it again instead of "
            "editing it."
        )

    @property
    def prompt_lines(self) -> list[str]:
        """The prompt's prefix in parts that are good to read: lines, and one for each declaration."""
        return re.findall(r"(?s).+?(?:<end_function_declaration>\n?|\n|\Z)", self.prompt.prefix)

    def note(self, mark: str, language: str) -> str:
        """A comment that says whether the app's runtime writes the prompts of the training.

        Args:
            mark: what each line of the comment begins with.
            language: "dart" or "kotlin", which decides on the runtime.
        """
        style, trained_in = styles.of_app(language).name, self.setup.style
        text = f"The app's runtime writes these into the prompt exactly as in training (style {style})."
        if style != trained_in:
            text = (
                f"Trained in prompt style {trained_in}, while the app's runtime writes {style}. "
                + styles.difference(trained_in, style, self.tools)
            )
        return "".join(f"{mark} {line}\n" for line in comment_lines(text, 76))

    def support(self, name: str) -> str:
        """A file of `fgkit/app/`, which is the same for all tools."""
        text = Path(__file__).with_name(name).read_text(encoding="utf-8")
        tokens = "|".join((*CONTROL_TOKENS, *IMAGE_TOKENS))
        header = (
            "// Made by fgkit glue, the same for all tools: make it again instead of editing it."
        )
        return (
            text.replace("{header}", header)
            .replace("{package}", self.kotlin_package)
            .replace("{tokens}", tokens)
        )


def quoted(text: str, quote: str, escape: Callable[[int], str]) -> str:
    """A text as a literal of Dart or Kotlin.

    Args:
        text: any text.
        quote: the sign around it.
        escape: writes a code point that is not printable.
    """
    signs = _SHORT | {quote: f"\\{quote}"}
    inside = "".join(
        signs.get(char) or (char if char.isprintable() else escape(ord(char))) for char in text
    )
    return f"{quote}{inside}{quote}"


def comment_lines(text: str, width: int = 100) -> list[str]:
    """A text in lines for a comment: one for each of its own, long ones folded, nothing in them but printable signs."""
    lines = [
        "".join(char if char.isprintable() else " " for char in line).strip()
        for line in text.splitlines()
    ]
    return (
        [
            part
            for line in lines
            for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
            or [""]
        ]
        if text.strip()
        else []
    )


def folded(head: str, items: Iterable[str], tail: str, indent: str, step: str) -> str:
    """Items between two brackets: on one line where they fit, otherwise each on its own.

    Args:
        head, tail: what stands before the items and after them.
        items: without commas.
        indent, step: of the line, and of a level.
    """
    items = list(items)
    line = f"{indent}{head}{', '.join(items)}{tail}"
    if not items or len(line.splitlines()[-1]) <= WIDTH and "\n" not in line:
        return line
    return (
        f"{indent}{head}\n"
        + "".join(f"{indent}{step}{item},\n" for item in items)
        + f"{indent}{tail}"
    )


def ranges(chars: str) -> str:
    """Characters as the inside of a regular expression's brackets, neighbours joined."""
    found: list[list[int]] = []
    for code in sorted(map(ord, chars)):
        if found and code == found[-1][1] + 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(
        f"\\u{low:04x}" + (f"-\\u{high:04x}" if high > low else "") for low, high in found
    )
