"""One question to a tuned model or a finished bundle, and what came back: raw text, parsed calls, time.

>>> with AskBundle(Path("run/functiongemma-flutter.task"), tools) as bundle:
...     bundle.ask(request(1, "make it red")).calls
(Call(name='change_background_color', arguments={'color': 'red'}),)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fgkit import calls
from fgkit.bundles import prompting
from fgkit.calls import Call
from fgkit.dataset import tokenize
from fgkit.dataset.records import Record
from fgkit.errors import CallSyntaxError
from fgkit.models import record

LONGEST_ANSWER = 256  # tokens


@dataclass(frozen=True)
class Answer:
    """What one question got.

    Args:
        raw: the text, control tokens kept.
        calls: the calls in it; none for plain text, and none where it does not parse.
        problem: why it does not parse; "" where it does.
        seconds: from the rendered prompt to the last token.
    """

    raw: str
    calls: tuple[Call, ...]
    problem: str
    seconds: float

    def lines(self) -> list[str]:
        """The calls as one would write them, or the problem."""
        if self.problem:
            return [f"not a valid call: {self.problem}"]
        return [
            f"call: {call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"
            for call in self.calls
        ]


class AskBundle:
    """A `.task` or `.litertlm` in LiteRT-LM, prompted as the JSON beside it says; use it in a `with` block.

    Args:
        path: the bundle.
        tools: what the prompts declare, unless a row brings its own.
    Raises:
        ModelError: it was trained with other tools; BundleError: it does not load.
    """

    def __init__(self, path: Path, tools: list[dict]):
        from . import session as runtime

        self._setup = prompting.bundle_setup(path, tools)
        self._runtime = runtime.Runtime(path)

    def __enter__(self) -> AskBundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runtime.__exit__(kind, error, trace)

    def ask(self, record: Record) -> Answer:
        """Ask one request (`records.request`) or the prompt of a row."""
        (text,) = tokenize.prompt_texts([record], self._setup)
        start = time.monotonic()
        raw = self._runtime.generate(text, max_new_tokens=LONGEST_ANSWER)
        return _answer(raw, start, end_tag_cut=self._runtime.end_tag_cut)


class AskModel:
    """A tuned model folder in PyTorch, prompted as its `fgkit.json` says.

    Args:
        folder: the model.
        tools: as for `AskBundle`.
    """

    def __init__(self, folder: Path, tools: list[dict]):
        from fgkit.training import generation

        self._setup = record.prompt_setup(folder, tools)
        self._model, self._tokenizer = generation.load_for_generation(folder)

    def ask(self, record: Record) -> Answer:
        """Ask one request or the prompt of a row."""
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


def _answer(raw: str, start: float, **options: Any) -> Answer:
    seconds = time.monotonic() - start
    try:
        return Answer(raw, tuple(calls.parse(raw, **options)), "", seconds)
    except CallSyntaxError as error:
        return Answer(raw, (), str(error), seconds)
