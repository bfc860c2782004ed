"""The playground: ask the tuned model and the finished bundle, with both answers side by side.

In: a question. Out: an answer from each model that exists so far. Models are loaded when the first
question is asked, and stay loaded. Example:

    display(Playground(settings, rows).box)
"""

from __future__ import annotations

from typing import Any

from fgkit import progress
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.dataset.records import Record, request
from fgkit.dataset.rows import RunData
from fgkit.errors import FgkitError
from fgkit.runtime import ask

from . import markup

OFFERED = 200  # how many held-out rows are offered as questions
_OWN, _NONE = "a question of your own", -1


class Playground:
    """A question, a button and a column for each model; `box` is the widget to display.

    Args:
        settings: its model folder and, if it names one that exists, its bundle are asked.
        rows: their tools are declared; the held-out rows are offered as questions.
    """

    def __init__(self, settings: FinetuneConfig | TaskConfig, rows: RunData):
        import ipywidgets as w

        self._rows = rows
        self._models: dict[str, Any] = {
            "tuned model": lambda: ask.AskModel(settings.model_folder, rows.tools)
        }
        name = getattr(settings, "name", "")
        bundle = settings.folder / f"{name}.task"
        if name and bundle.is_file():
            self._models[bundle.name] = lambda: ask.AskBundle(bundle, rows.tools)
        self._open: dict[str, Any] = {}
        offered = [(_short(row), index) for index, row in enumerate(rows.held_out[:OFFERED])]
        self.row = w.Dropdown(
            options=[(_OWN, _NONE), *offered], description="row", layout=w.Layout(width="60%")
        )
        self.question = w.Text(
            value=rows.held_out[0].user_content if rows.tools else "",
            placeholder="what the user says",
            description="ask",
            layout=w.Layout(width="60%"),
            continuous_update=True,
        )
        self.ask = w.Button(description="Ask", button_style="primary", icon="paper-plane")
        self.line = w.HTML()
        self.answers = w.HTML(layout=w.Layout(width="100%"))
        self.box = w.VBox(
            [
                w.HTML(markup.STYLE),
                self.row,
                w.HBox([self.question, self.ask]),
                self.line,
                self.answers,
            ]
        )
        self.box.add_class("fgkit-panel")
        self.row.observe(self._choose, "value")
        self.ask.on_click(self._ask)

    def _choose(self, _: Any) -> None:
        if self.row.value != _NONE:
            self.question.value = self._rows.held_out[self.row.value].user_content

    def _record(self) -> Record:
        """Return the chosen row if its text is unchanged, otherwise a new request with the text.

        A row brings its conversation and its own tools, a new request does not.

        Raises:
            FgkitError: there is no question, or there are no tools that it could call.
        """
        text = self.question.value.strip()
        if (
            self.row.value != _NONE
            and self._rows.held_out[self.row.value].user_content.strip() == text
        ):
            return self._rows.held_out[self.row.value]
        if not text:
            raise FgkitError("There is no question. Write what a user of your app would say.")
        if not self._rows.tools:
            raise FgkitError(
                "Every row brings tools of its own here: "
                "choose a row, whose tools are declared with it."
            )
        return request(1, text)

    def _ask(self, _: Any) -> None:
        self.ask.disabled = True
        try:
            with progress.shown_in(self._say):
                record = self._record()
                columns = [
                    f'<div class="fgkit-column">{self._answer(name, record)}</div>'
                    for name in self._models
                ]
                self.answers.value = f'<div class="fgkit-columns">{"".join(columns)}</div>'
        except FgkitError as error:
            self.answers.value = markup.bad(str(error))
        finally:
            self.line.value, self.ask.disabled = "", False

    def _answer(self, name: str, record: Record) -> str:
        """Ask one model and format its column; an error is shown there and spares the others."""
        try:
            if name not in self._open:
                self._say(f"Loading {name}, once.")
                self._open[name] = self._models[name]()
            self._say(f"{name} is answering.")
            answer = self._open[name].ask(record)
        except FgkitError as error:
            return f"{_heading(name)}{markup.bad(str(error))}"
        called = "\n".join(answer.lines()) or "no call: plain text"
        return "".join(
            [
                _heading(f"{name}, {answer.seconds:.2f} s"),
                (markup.bad if answer.problem else markup.good)(called),
                markup.prompt_html(answer.raw),
            ]
        )

    def _say(self, text: str) -> None:
        self.line.value = markup.note(text)


def _heading(text: str) -> str:
    return markup.conversation_html([(text, "")])


def _short(record: Record) -> str:
    """Describe a row in the list of questions."""
    text = " ".join(record.user_content.split())
    return f"line {record.line}: {text[:80]}{'…' * (len(text) > 80)}"
