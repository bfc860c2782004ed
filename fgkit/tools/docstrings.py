r"""Splits a Google-style docstring into its description and the description of each argument.

The patterns are those of transformers' `parse_google_format_docstring`
(https://github.com/huggingface/transformers/blob/main/src/transformers/utils/chat_template_utils.py,
Apache-2.0), so that a tool reads the same to both. They are repeated here because the functions of
a tools file are read in a process of their own, in which importing transformers would take seconds.

>>> split_docstring("Paints.\n\nArgs:\n    shade: The colour.")
('Paints.', {'shade': 'The colour.'})
"""

from __future__ import annotations

import re

_SECTION = re.compile(
    r"^([ \t]*)(?:Arguments|Attributes|Fields|Keys|Parameters):[ \t]*$", re.MULTILINE
)
# `count (int, optional): ...`
_TYPED_NAME = re.compile(r"^([ \t]+\w+)[ \t]*\([^()\n]*\):", re.MULTILINE)
_DESCRIPTION = re.compile(r"^(.*?)[\n\s]*(Args:|Returns:|Raises:|\Z)", re.DOTALL)
_ARGUMENTS = re.compile(r"\n\s*Args:\n(.*?)[\n\s]*(Returns:|Raises:|\Z)", re.DOTALL)
# An argument ends where the next `name:` begins that is not indented deeper.
_ARGUMENT = re.compile(
    r"(?:^|\n)([ \t]*)(\w+):\s*(.*?)\s*(?=\n(?!\1[ \t])[ \t]*\w+:|\Z)", re.DOTALL
)


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the description, and that of each argument by its name.

    Args:
        text: the docstring, its indentation removed. The section may also be called Arguments,
            Attributes, Fields, Keys or Parameters, and a name may be followed by a type in
            parentheses.
    """
    text = "\n" + _TYPED_NAME.sub(r"\1:", _SECTION.sub(r"\1Args:", text))
    description = _DESCRIPTION.search(text)
    section = _ARGUMENTS.search(text)
    lines = [line for line in section[1].split("\n") if line.strip()] if section else []
    described = {
        name: re.sub(r"\s*\n+\s*", " ", content.strip())
        for _, name, content in _ARGUMENT.findall("\n".join(lines))
    }
    return description[1].strip() if description else "", described
