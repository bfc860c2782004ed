"""Ask a tuned model or a finished bundle one question: raw text, parsed calls, time.

For example:

    with AskBundle(Path("run/functiongemma-flutter.task"), tools) as bundle:
        bundle.ask(request(1, "make it red")).calls
    # (Call(name='change_background_color', arguments={'color': 'red'}),)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fgkit import calls
from fgkit.bundles import prompting
from fgkit.calls import Call
from fgkit.chat_types import ToolDeclaration
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record
from fgkit.errors import CallSyntaxError
from fgkit.models import record

# In tokens; a model that does not stop by itself is cut off here.
LONGEST_ANSWER = 256


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Args:
        raw: the text of the model, with its control tokens.
        calls: the calls in it; empty for plain text, and where the text does not parse.
        problem: why the text does not parse; "" where it does.
        seconds: the time from the rendered prompt to the last token.
    """

    raw: str
    calls: tuple[Call, ...]
    problem: str
    seconds: float

    def lines(self) -> list[str]:
        """Write the calls for people, one a line, or the reason why the text does not parse."""
        if self.problem:
            return [f"not a valid call: {self.problem}"]
        lines = []
        for call in self.calls:
            arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
            lines.append(f"call: {call.name}({arguments})")
        return lines


class AskBundle:
    """A `.task` or `.litertlm` in LiteRT-LM, prompted as the JSON beside it says.

    Use it in a `with` block, which closes the runtime.

    Args:
        path: the bundle.
        tools: the tools that prompts declare, unless a row brings its own.
    Raises:
        ModelError: the model was trained with other tools.
        BundleError: the bundle does not load.
    """

    def __init__(self, path: Path, tools: list[ToolDeclaration]):
        from . import session as runtime

        self._setup = prompting.bundle_setup(path, tools)
        self._runtime = runtime.Runtime(path)

    def __enter__(self) -> AskBundle:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runtime.__exit__(error_type, error, trace)

    def ask(self, record: Record) -> Answer:
        """Answer one question.

        Args:
            record: a single request (`records.request`), or a row of data, whose own answer is not
                shown to the model.
        """
        (text,) = tokenize.prompt_texts([record], self._setup)
        start = time.monotonic()
        raw = self._runtime.generate(text, max_new_tokens=LONGEST_ANSWER)
        return _answer(raw, start, end_tag_cut=self._runtime.end_tag_cut)


class AskModel:
    """A tuned model folder in PyTorch, prompted as its `fgkit.json` says.

    Args:
        folder: the model folder.
        tools: the tools that prompts declare, unless a row brings its own.
    """

    def __init__(self, folder: Path, tools: list[ToolDeclaration]):
        from fgkit.training import generation

        self._setup = record.prompt_setup(folder, tools)
        self._model, self._tokenizer = generation.load_for_generation(folder)

    def ask(self, record: Record) -> Answer:
        """Answer one question; the argument is as for `AskBundle.ask`."""
        from fgkit.training import generation

        (text,) = tokenize.prompt_texts([record], self._setup)
        start = time.monotonic()
        (raw,) = generation.generate(
            self._model,
            self._tokenizer,
            [text],
            max_new_tokens=LONGEST_ANSWER,
            description="answer",
        )
        return _answer(raw, start)


def _answer(raw: str, start: float, *, end_tag_cut: bool = False) -> Answer:
    """Parse a text that was asked for at `start`; `end_tag_cut` as for `calls.parse`."""
    seconds = time.monotonic() - start
    try:
        return Answer(raw, tuple(calls.parse(raw, end_tag_cut=end_tag_cut)), "", seconds)
    except CallSyntaxError as error:
        return Answer(raw, (), str(error), seconds)
