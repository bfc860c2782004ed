"""Show tables, text and pictures in a notebook or a terminal, and detect interactive sessions.

A notebook renders tables and pictures; a terminal gets the text and the picture's path.
For example:

    show_table("| rows |\\n| ---: |\\n|  156 |")
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The environment variable with the file through which the progress bars of a headless kernel reach
# the terminal, see progress.py.
RELAY = "FGKIT_PROGRESS"
# Pixels per inch of every saved picture, from which a notebook's page works out its width.
DPI = 144


def show_table(markdown: str) -> None:
    """Show a Markdown table, rendered in a notebook, as text elsewhere; nothing if it is empty."""
    if not markdown:
        return
    if _in_notebook():
        from IPython.display import Markdown, display

        display(Markdown(markdown))
    else:
        print(markdown)


def show_text(lines: Iterable[str]) -> None:
    """Show lines of any length; a notebook wraps them between words, a terminal prints them as is.

    Plain printed text would be broken inside words by a notebook's page.
    """
    text = "\n".join(lines)
    if not text:
        return
    if _in_notebook():
        from IPython.display import display

        body = "".join(
            '<div style="padding-left: 1.5em; text-indent: -1.5em; overflow-wrap: anywhere">'
            f"{escape(line)}</div>"
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
    """Show a PNG file in a notebook, its text as large as the page's; elsewhere print its path."""
    if _in_notebook():
        from IPython.display import Image, display

        content = path.read_bytes()
        # The first chunk of a PNG file, IHDR, starts with the width; a page has 96 pixels per inch.
        pixels = int.from_bytes(content[16:20], "big")
        display(Image(content, format="png", width=round(pixels * 96 / DPI)))
    else:
        print(f"picture: {path}")


def interactive() -> bool:
    """Return whether a person is running this notebook and can click.

    A front end for people can ask for input (`allow_stdin`), papermill cannot. Colab's kernel has
    its own way of asking and always counts. Without ipywidgets there is nothing to click.
    """
    kernel = _kernel()
    if kernel is None or os.environ.get(RELAY):
        return False
    if find_spec("ipywidgets") is None:
        return False
    if type(kernel).__module__.startswith("google.colab"):
        return True
    parent = kernel.get_parent() or {}
    return bool(parent.get("content", {}).get("allow_stdin"))


def unattended() -> bool:
    """Return whether this is a kernel without a person in front of it, such as papermill's."""
    return _kernel() is not None and not interactive()


def _kernel() -> Any:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)


def _in_notebook() -> bool:
    return "IPython" in sys.modules and bool(sys.modules["IPython"].get_ipython())
