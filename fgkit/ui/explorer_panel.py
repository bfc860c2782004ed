"""The explorer: a panel that filters rows and shows each as a conversation, a prompt or tokens.

In: rows with their tools, and a tokenizer. Out: a widget. Example:

    display(Explorer(rows, tokenizer, rows.setup()).box)
"""

from __future__ import annotations

import json
from typing import Any

from fgkit.dataset import tokenize
from fgkit.dataset.formats.messages import content_text
from fgkit.dataset.records import KIND_LABELS, KINDS, NO_CALL, Record
from fgkit.dataset.rows import RunData
from fgkit.errors import FgkitError
from fgkit.prompts import PromptSetup

from . import markup

# How many of the rows that pass the filter are listed; a browser's list is slow with more.
SHOWN_ROWS = 300
_ALL = "all"


class Explorer:
    """A list of rows with filters, and one row in several views; `box` is the widget to display.

    Args:
        rows: training and held-out rows with their tools.
        tokenizer: the base model's tokenizer.
        setup: how the rows are prompted; the first of its styles is shown first.
    """

    def __init__(self, rows: RunData, tokenizer: Any, setup: PromptSetup):
        import ipywidgets as w

        self._rows, self._tokenizer, self._setup = rows, tokenizer, setup
        self._filtered: list[Record] = []
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
        self.box = self._layout()
        self.box.add_class("fgkit-panel")
        for widget in (self.side, self.tool, self.kind, self.search):
            widget.observe(self._filter, "value")
        for widget in (self.rows, self.mode, self.style):
            widget.observe(self._show, "value")
        self._filter()

    def _layout(self) -> Any:
        """Arrange the widgets; filters with a single choice are left out."""
        import ipywidgets as w

        # The first choice for the kind of answer is "all", so one kind gives two choices.
        filters = [
            self.side,
            self.tool,
            *([self.kind] if len(self.kind.options) > 2 else []),
            self.search,
            *([self.style] if len(self.style.options) > 1 else []),
        ]
        return w.VBox(
            [
                w.HTML(markup.STYLE),
                w.HBox(filters, layout=w.Layout(flex_flow="row wrap")),
                self.count,
                self.rows,
                self.mode,
                self.view,
            ]
        )

    def _filter(self, _: Any = None) -> None:
        """List the rows that pass all filters, and show the first of them."""
        records = self._rows.train if self.side.value == "training" else self._rows.held_out
        words = self.search.value.casefold().split()
        self._filtered = [
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
        more = "" if len(self._filtered) <= SHOWN_ROWS else f", the first {SHOWN_ROWS} are listed"
        self.count.value = markup.note(f"{len(self._filtered)} of {len(records)} rows{more}")
        options = [
            (f"{record.line:>5}  {_one_line(record)}", index)
            for index, record in enumerate(self._filtered[:SHOWN_ROWS])
        ]
        # New options change the value twice; without this each change would render a row.
        self.rows.unobserve(self._show, "value")
        self.rows.options = options
        self.rows.value = 0 if options else None
        self.rows.observe(self._show, "value")
        self._show()

    def _show(self, _: Any = None) -> None:
        """Show the chosen row in the chosen view."""
        if self.rows.value is None:
            self.view.value = markup.note(
                "No row passes the filter. Choose 'all' or search for less."
            )
            return
        record = self._filtered[self.rows.value]
        views = {
            "conversation": self._conversation,
            "prompt": self._prompt,
            "tokens": self._tokens,
            "tool": self._tool,
        }
        try:
            self.view.value = views[self.mode.value](record)
        # A prompt style may be unable to express this row.
        except FgkitError as error:
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
        pieces = [(token, self._tokenizer.decode([token])) for token in [*prompt, *trained]]
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
    """Summarise a row for the list: its request, shortened, and the tools it calls."""
    text = " ".join(record.user_content.split())
    called = ", ".join(call.name for call in record.calls) or NO_CALL
    return f"{text[:90]}{'…' * (len(text) > 90)}  →  {called}"


def _turns(record: Record) -> list[tuple[str, str]]:
    """List (role, text) of a conversation, with calls and tool responses in readable form."""
    turns = []
    for message in record.conversation:
        role = {"assistant": "model", "system": "developer"}.get(message["role"], message["role"])
        content = message.get("content")
        parts = [
            content_text(content)
            if isinstance(content, (str, list, type(None))) and role != "tool"
            else json.dumps(content, ensure_ascii=False)
        ]
        for call in message.get("tool_calls") or ():
            arguments = call["function"].get("arguments") or {}
            shown = json.dumps(arguments, ensure_ascii=False)
            parts.append(f"{call['function']['name']}({shown})")
        turns.append((role, "\n".join(part for part in parts if part)))
    return turns
