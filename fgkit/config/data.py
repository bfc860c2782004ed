"""The settings that all three notebooks share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgkit.dataset.formats.detection import FORMATS
from fgkit.errors import ConfigError

from .checks import choice_problems, is_path, secret_problems, text_problems, type_problems


def setting(default: Any, text: str) -> Any:
    """A settings field with its default and the explanation that panels and help texts show."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Settings that all three notebooks have: paths, and which rows are held out."""

    output: str = setting("run", "Folder for everything the run writes.")
    data: str = setting("", "Training rows, a .jsonl or .csv file; empty: the example's 284 rows.")
    eval_data: str = setting(
        "",
        "Held-out rows, a .jsonl or .csv file; empty: the example's own for the example's "
        "rows; otherwise those that `data` marks for evaluation, or a tenth of it.",
    )
    data_format: str = setting(
        "auto", f"Format of the rows: {', '.join(FORMATS)}. auto looks at each row."
    )
    tools: str = setting("", "Tools, a .py or .json file; empty: the example's three functions.")
    seed: int = setting(
        42, "Seed of the split, of the order of the rows and of everything else that is random."
    )

    def __post_init__(self) -> None:
        # One group at a time: no other message may repeat a token, and a range means nothing for a
        # value of the wrong type.
        problems = (
            list(secret_problems(self))
            or list(type_problems(self))
            or list(self._problems())
            or list(text_problems(self))
        )
        if problems:
            raise ConfigError(
                f"{type(self).__name__}: {len(problems)} wrong:\n"
                + "\n".join(f"  {p}" for p in problems)
            )

    def _problems(self) -> Iterable[str]:
        """Sentences that say which values are wrong and what is expected."""
        for name in ("data", "eval_data", "tools"):
            value = getattr(self, name)
            if value and not is_path(Path.is_file, value):
                yield f"{name} is {value!r}, which is not a file; give the path of an existing one"
        yield from choice_problems("data_format", self.data_format, FORMATS)
        if not self.output:
            yield "output is empty; give the folder that the run may write to"
        elif is_path(Path.is_file, self.output) or (
            self.output.startswith("~") and not is_path(Path.is_absolute, self.output)
        ):
            yield (
                f"output is {self.output!r}, which is a file or uses ~ for an unknown user; "
                "give a folder"
            )
        # The range that NumPy takes.
        if not 0 <= self.seed < 2**32:
            yield f"seed is {self.seed}, expected 0 to {2**32 - 1}"

    @property
    def folder(self) -> Path:
        """The output folder as an absolute path."""
        return Path(self.output).expanduser().absolute()

    @property
    def model_folder(self) -> Path:
        """The tuned model's folder."""
        model = getattr(self, "model", "")
        return Path(model).expanduser().absolute() if model else self.folder / "model"
