"""Tables and pictures go in; a notebook shows them set and drawn, a terminal as text and as paths. And who looks on.

>>> show_table("| rows |\n| ---: |\n|  156 |")
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

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


def show_picture(path: Path) -> None:
    """Show a picture in a notebook, say where it is elsewhere."""
    if _in_notebook():
        from IPython.display import Image, display

        display(Image(str(path)))
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
        import ipywidgets  # noqa: F401
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
