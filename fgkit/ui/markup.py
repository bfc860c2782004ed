"""HTML for the panels: prompts with coloured control tokens, marked tokens, conversations, tables.

>>> prompt_html("<bos>hi")
'<div class="fgkit-text"><span class="fgkit-other">&lt;bos&gt;</span>hi</div>'

Everything that a user, a data file or a model wrote is escaped here, so that none of it can become
markup of the page. Colours are tints over the page's own background, so that they are readable in a
light and in a dark theme; whatever a colour means is also shown by weight or underline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from fgkit.prompts.format import CONTROL

STYLE = """<style>
.fgkit-panel { border: 1px solid rgba(128,128,128,.45); border-radius: 6px; padding: 10px 12px;
  margin: 4px 0;
  background: var(--jp-layout-color1, transparent); }
.fgkit-panel .widget-label { min-width: 0; }
.fgkit-text { white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.55 ui-monospace, Menlo, Consolas, monospace;
  color: var(--jp-content-font-color1, inherit); max-height: 340px; overflow-y: auto; }
.fgkit-start, .fgkit-end, .fgkit-escape, .fgkit-other { border-radius: 3px; padding: 0 2px; }
.fgkit-start { background: rgba(0,114,178,.28); font-weight: 600; }
.fgkit-end { background: rgba(0,114,178,.14); }
.fgkit-escape { background: rgba(230,159,0,.30); }
.fgkit-other { background: rgba(128,128,128,.25); }
.fgkit-trained { background: rgba(0,158,115,.26); border-bottom: 2px solid #009E73; }
.fgkit-token { border: 1px solid rgba(128,128,128,.35); border-radius: 3px; margin: 0 1px 3px 0;
  padding: 0 2px;
  display: inline-block; line-height: 1.35; }
.fgkit-who { font-weight: 600; opacity: .75; margin-top: 6px; }
.fgkit-note { color: var(--jp-content-font-color2, inherit); line-height: 1.45; }
.fgkit-bad { border-left: 4px solid #D55E00; padding-left: 8px; white-space: pre-wrap;
  line-height: 1.45; }
.fgkit-good { border-left: 4px solid #009E73; padding-left: 8px; line-height: 1.45; }
.fgkit-table { border-collapse: collapse; line-height: 1.4;
  color: var(--jp-content-font-color1, inherit); }
.fgkit-table th, .fgkit-table td { border-bottom: 1px solid rgba(128,128,128,.35);
  padding: 3px 10px; text-align: left;
  vertical-align: top; overflow-wrap: anywhere; }
.fgkit-table th { font-weight: 600; white-space: nowrap; }
.fgkit-columns { display: flex; flex-wrap: wrap; gap: 20px; }
.fgkit-column { flex: 1 1 320px; min-width: 0; }
.fgkit-scroll { max-height: 380px; overflow: auto; }
</style>"""
_CONTROL_CLASSES = (("<start", "start"), ("<end", "end"), ("<escape>", "escape"))


def prompt_html(text: str, answer: str = "") -> str:
    """Format a prompt with coloured control tokens, followed by the trained answer, underlined.

    Args:
        text: the prompt, as `prompts.render` returns it.
        answer: the answer, as `prompts.answer` returns it; "" for none.
    """
    trained = f'<span class="fgkit-trained">{_coloured(answer)}</span>' if answer else ""
    return f'<div class="fgkit-text">{_coloured(text)}{trained}</div>'


def tokens_html(pieces: Sequence[tuple[int, str]], prompt_length: int) -> str:
    """Format tokens one by one, with their ids as tooltips and the trained ones underlined.

    Args:
        pieces: (id, text) of each token.
        prompt_length: how many tokens come before the answer, which is trained.
    """
    boxes = []
    for position, (token_id, piece) in enumerate(pieces):
        control = f" fgkit-{_control_class(piece)}" if CONTROL.fullmatch(piece) else ""
        trained = " fgkit-trained" if position >= prompt_length else ""
        text = escape(piece.replace("\n", "⏎")) or "&nbsp;"
        boxes.append(
            f'<span class="fgkit-token{control}{trained}" '
            f'title="token {position}, id {token_id}">{text}</span>'
        )
    return f'<div class="fgkit-text">{"".join(boxes)}</div>'


def conversation_html(turns: Iterable[tuple[str, str]]) -> str:
    """Format the turns of a conversation, each below its role.

    Args:
        turns: (role, text), such as ("user", "make it red").
    """
    body = "".join(
        f'<div class="fgkit-who">{escape(role)}</div>{escape(text)}' for role, text in turns
    )
    return f'<div class="fgkit-text">{body}</div>'


def table_html(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a table; control tokens in its cells are coloured.

    Args:
        header: the names of the columns.
        rows: the cells, converted to text by `str`.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{_coloured(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f'<div class="fgkit-scroll"><table class="fgkit-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def note(text: str) -> str:
    """Format a line of explanation."""
    return f'<div class="fgkit-note">{escape(text)}</div>'


def bad(text: str) -> str:
    """Format a problem with its remedy."""
    return f'<div class="fgkit-bad">{escape(text)}</div>'


def good(text: str) -> str:
    """Format the message of a success."""
    return f'<div class="fgkit-good">{escape(text)}</div>'


def label(text: str, tooltip: str) -> str:
    """Format a field's name with its explanation as a tooltip.

    The tooltips of ipywidgets itself differ between its versions 7 and 8; this works in both.
    """
    style = "cursor: help; border-bottom: 1px dotted"
    return f'<span title="{escape(tooltip)}" style="{style}">{escape(text)}</span>'


def _coloured(text: str) -> str:
    """Escape a text and colour its control tokens."""
    parts: list[str] = []
    end = 0
    for match in CONTROL.finditer(text):
        token = match.group()
        parts += [
            escape(text[end : match.start()]),
            f'<span class="fgkit-{_control_class(token)}">{escape(token)}</span>',
        ]
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def _control_class(token: str) -> str:
    """Return the part of the CSS class that colours a control token."""
    return next((name for start, name in _CONTROL_CLASSES if token.startswith(start)), "other")
