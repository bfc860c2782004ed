"""What the readers of files hand on: numbered lines of text, and numbered rows.

The last item of each is a list of complaints; a row with complaints has None as its value.
"""

from __future__ import annotations

from fgkit.chat_types import JsonValue

Line = tuple[int, str, list[str]]
Row = tuple[int, JsonValue, list[str]]
