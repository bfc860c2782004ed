"""Tables and pictures go in; a notebook shows them set and drawn, a terminal as text and as paths.

>>> show_table("| rows |\n| ---: |\n|  156 |")
"""

from __future__ import annotations

import sys
from pathlib import Path


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


def _in_notebook() -> bool:
    return "IPython" in sys.modules and bool(sys.modules["IPython"].get_ipython())
