"""The explorer: rows and tools in, a panel out that filters them and shows each as conversation, prompt and tokens.

>>> display(Explorer(rows, tokenizer, rows.setup()).box)
"""

from __future__ import annotations

import json
from typing import Any

from fgkit.dataset import tokenize
from fgkit.dataset.formats.messages import content_text
from fgkit.dataset.records import KIND_LABELS, KINDS, NO_CALL, Record
from fgkit.dataset.rows import Rows
from fgkit.errors import FgkitError
from fgkit.prompts import PromptSetup

from . import markup

SHOWN_ROWS = 300  # of those that pass the filter; a browser's list gets slow with more
_ALL = "all"


class Explorer:
    """Rows with filters, and one row in three views.

    Args:
        rows: training and held-out rows and their tools.
        tokenizer: the base's.
        setup: how the rows are prompted; the first of its styles is shown first.
    """

    def __init__(self, rows: Rows, tokenizer: Any, setup: PromptSetup):
        import ipywidgets as w

        self._rows, self._tokenizer, self._setup = rows, tokenizer, setup
        self._found: list[Record] = []
        names = sorted({call.name for row in (*rows.train, *rows.held_out) for call in row.calls})
        kinds = [
            kind for kind in KINDS if any(row.kind == kind for row in (*rows.train, *rows.held_out))
        ]
        wide = w.Layout(width="auto")
        self.side = w.Dropdown(options=["training", "held out"], description="rows", layout=wide)
        self.tool = w.Dropdown(
            options=[_ALL, *names, *([NO_CALL] if "no_call" in kinds else [])],
            description="tool",
            layout=wide,
        )
        self.kind = w.Dropdown(
            options=[(_ALL, _ALL), *((KIND_LABELS[kind], kind) for kind in kinds)],
            description="answer",
            layout=wide,
        )
        self.search = w.Text(
            placeholder="words of the request", description="search", continuous_update=False
        )
        self.style = w.Dropdown(options=setup.styles, description="style", layout=wide)
        self.rows = w.Select(options=[], rows=8, layout=w.Layout(width="100%"))
        self.count, self.view = w.HTML(), w.HTML()
        self.mode = w.ToggleButtons(
            options=["conversation", "prompt", "tokens", "tool"],
            style=w.ToggleButtonsStyle(button_width="110px"),
        )
        filters = [
            self.side,
            self.tool,
            *([self.kind] if len(kinds) > 1 else []),
            self.search,
            *([self.style] if len(self.style.options) > 1 else []),
        ]
        self.box = w.VBox(
            [
                w.HTML(markup.STYLE),
                w.HBox(filters, layout=w.Layout(flex_flow="row wrap")),
                self.count,
                self.rows,
                self.mode,
                self.view,
            ]
        )
        self.box.add_class("fgkit-panel")
        for widget in (self.side, self.tool, self.kind, self.search):
            widget.observe(self._filter, "value")
        for widget in (self.rows, self.mode, self.style):
            widget.observe(self._show, "value")
        self._filter()

    def _filter(self, _: Any = None) -> None:
        records = self._rows.train if self.side.value == "training" else self._rows.held_out
        words = self.search.value.casefold().split()
        self._found = [
            record
            for record in records
            if self.tool.value
            in (
                _ALL,
                *(call.name for call in record.calls),
                *([NO_CALL] if not record.calls else []),
            )
            and self.kind.value in (_ALL, record.kind)
            and all(word in record.user_content.casefold() for word in words)
        ]
        more = "" if len(self._found) <= SHOWN_ROWS else f", the first {SHOWN_ROWS} are listed"
        self.count.value = markup.note(f"{len(self._found)} of {len(records)} rows{more}")
        options = [
            (f"{record.line:>5}  {_one_line(record)}", place)
            for place, record in enumerate(self._found[:SHOWN_ROWS])
        ]
        self.rows.unobserve(self._show, "value")
        self.rows.options = options
        self.rows.value = 0 if options else None
        self.rows.observe(self._show, "value")
        self._show()

    def _show(self, _: Any = None) -> None:
        if self.rows.value is None:
            self.view.value = markup.note(
                "No row passes the filter. Choose 'all' or search for less."
            )
            return
        record = self._found[self.rows.value]
        try:
            self.view.value = getattr(self, f"_{self.mode.value}")(record)
        except FgkitError as error:  # a style that cannot say this row
            self.view.value = markup.bad(str(error))

    def _conversation(self, record: Record) -> str:
        return markup.conversation_html(_turns(record))

    def _prompt(self, record: Record) -> str:
        text, answer = self._texts(record)
        legend = "Underlined in green: the answer, the only part that is trained."
        return markup.prompt_html(text, answer) + markup.note(legend)

    def _tokens(self, record: Record) -> str:
        text, answer = self._texts(record)
        prompt, trained = (tokenize.encode(self._tokenizer, part) for part in (text, answer))
        pieces = [(number, self._tokenizer.decode([number])) for number in [*prompt, *trained]]
        return markup.tokens_html(pieces, len(prompt)) + markup.note(
            f"{len(prompt)} tokens of prompt, {len(trained)} trained. Point at a token for its id."
        )

    def _tool(self, record: Record) -> str:
        declared = self._rows.tools if record.tools is None else record.tools
        called = [call.name for call in record.calls]
        chosen = [tool for tool in declared if tool["function"]["name"] in called] or list(declared)
        return markup.conversation_html(
            (tool["function"]["name"], json.dumps(tool["function"], indent=2, ensure_ascii=False))
            for tool in chosen
        )

    def _texts(self, record: Record) -> tuple[str, str]:
        (text,) = tokenize.prompt_texts([record], self._setup, self.style.value)
        (answer,) = tokenize.answer_texts([record], self.style.value)
        return text, answer


def _one_line(record: Record) -> str:
    text = " ".join(record.user_content.split())
    return f"{text[:90]}{'…' * (len(text) > 90)}  →  {', '.join(call.name for call in record.calls) or NO_CALL}"


def _turns(record: Record) -> list[tuple[str, str]]:
    """Who says what: text as it is, calls and responses as a reader wants them."""
    found = []
    for message in record.conversation:
        role = {"assistant": "model", "system": "developer"}.get(message["role"], message["role"])
        content = message.get("content")
        parts = [
            content_text(content)
            if isinstance(content, (str, list, type(None))) and role != "tool"
            else json.dumps(content, ensure_ascii=False)
        ]
        parts += [
            f"{call['function']['name']}({json.dumps(call['function'].get('arguments') or {}, ensure_ascii=False)})"
            for call in message.get("tool_calls") or ()
        ]
        found.append((role, "\n".join(part for part in parts if part)))
    return found
