"""Tables and pictures go in; a notebook shows them set and drawn, a terminal as text and as paths. And who looks on.

>>> show_table("| rows |\n| ---: |\n|  156 |")
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from fgkit.plots import DPI

RELAY = "FGKIT_PROGRESS"  # names the file through which a headless kernel's bars reach the terminal, see progress.py


def show_table(markdown: str) -> None:
    """Show a Markdown table: set as one in a notebook, as text elsewhere; nothing where it is empty."""
    if not markdown:
        return
    if _in_notebook():
        from IPython.display import Markdown, display

        display(Markdown(markdown))
    else:
        print(markdown)


def show_text(lines: Iterable[str]) -> None:
    """Show lines of any length: broken between words in a notebook, which breaks printed ones anywhere, as they are elsewhere."""
    text = "\n".join(lines)
    if not text:
        return
    if _in_notebook():
        from IPython.display import display

        body = "".join(
            f'<div style="padding-left: 1.5em; text-indent: -1.5em; overflow-wrap: anywhere">{escape(line)}</div>'
            for line in text.splitlines()
        )
        display(
            {
                "text/plain": text,
                "text/html": f'<div style="line-height: 1.45; text-align: left">{body}</div>',
            },
            raw=True,
        )
    else:
        print(text)


def show_picture(path: Path) -> None:
    """Show a picture in a notebook, its letters as large as the page's; say where it is elsewhere."""
    if _in_notebook():
        from IPython.display import Image, display

        content = path.read_bytes()
        pixels = int.from_bytes(content[16:20], "big")  # a PNG file's first block is its size
        display(
            Image(content, format="png", width=round(pixels * 96 / DPI))
        )  # 96 pixels of a page are an inch
    else:
        print(f"picture: {path}")


def interactive() -> bool:
    """Whether a person looks on: the front end that sent this cell can ask for input, which papermill's cannot.

    Colab's kernel asks in a way of its own, and counts. Without ipywidgets nobody can click.
    """
    kernel = _kernel()
    if kernel is None or os.environ.get(RELAY):
        return False
    try:
        import ipywidgets
    except ModuleNotFoundError:
        return False
    if type(kernel).__module__.startswith("google.colab"):
        return True
    parent = kernel.get_parent() or {}
    return bool(parent.get("content", {}).get("allow_stdin"))


def unattended() -> bool:
    """Whether this is a kernel that nobody looks at, such as papermill's."""
    return _kernel() is not None and not interactive()


def _kernel() -> Any:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)


def _in_notebook() -> bool:
    return "IPython" in sys.modules and bool(sys.modules["IPython"].get_ipython())
