"""The data of a run: its tools, training rows and held-out rows, with the hashes of their files.

Example:
    data = read_run_data("rows.jsonl", "", "tools.py", seed=42)
    print(data)  # how many rows each tool has, training and held out
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import expanduser
from pathlib import Path

from fgkit.chat_types import ToolDeclaration
from fgkit.files import sha256
from fgkit.locations import shipped
from fgkit.prompts import PromptSetup
from fgkit.prompts.styles import DEFAULT
from fgkit.tools import load_tools, tools_hash

from .records import KIND_LABELS, KINDS, Record, canonical
from .rendered import RenderedRecords, RenderedRows
from .splits import DataSplit, held_out_data, load_data

SHOWN_TOOLS = 40


@dataclass(frozen=True)
class RunData:
    """The tools of a run, its training rows and its held-out rows.

    Args:
        tools: what is declared for every row without tools of its own; empty if all rows bring
            different ones.
        train, held_out: the rows.
        sources: the files of the rows and tools with their SHA-256; empty if they are from none.
    """

    tools: list[ToolDeclaration]
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    sources: dict[str, str] = field(default_factory=dict)
    _rendered: list[RenderedRows] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def setup(self, system_message: str = "", styles: tuple[str, ...] = (DEFAULT,)) -> PromptSetup:
        """Return how a model with these tools is prompted; arguments as for `PromptSetup`."""
        return PromptSetup(self.tools, system_message, styles)

    def rendered(self, setup: PromptSetup) -> RenderedRows:
        """Return the rows' prompts and answers, which are rendered only once for each setup.

        Args:
            setup: how the model is prompted.
        """
        for known in self._rendered:
            if known.setup.same_texts(setup):
                return known
        rendered = RenderedRows(
            setup, RenderedRecords(self.train, setup), RenderedRecords(self.held_out, setup)
        )
        self._rendered.append(rendered)
        return rendered

    def __str__(self) -> str:
        """Return a table of the rows that each tool has."""
        sides = (self.train, self.held_out)
        by_tool = [Counter(name for row in rows for name in _called(row)) for rows in sides]
        by_kind = [Counter(row.kind for row in rows) for rows in sides]
        declared = [tool["function"]["name"] for tool in self.tools]
        names = list(dict.fromkeys([*declared, *by_tool[0], *by_tool[1]]))
        table: list[tuple[object, ...]] = [("tool", "training", "held out")]
        table += [(name, *(counts[name] for counts in by_tool)) for name in names[:SHOWN_TOOLS]]
        if len(names) > SHOWN_TOOLS:
            table.append((f"... and {len(names) - SHOWN_TOOLS} more tools", "", ""))
        kinds = [kind for kind in KINDS if any(counts[kind] for counts in by_kind)]
        if len(kinds) > 1:
            table += [
                (f"rows: {KIND_LABELS[kind]}", *(counts[kind] for counts in by_kind))
                for kind in kinds
            ]
        table.append(("rows", *map(len, sides)))
        return "\n".join(f"{name:<32}{train:>10}{held_out:>10}" for name, train, held_out in table)

    @property
    def parallel(self) -> bool:
        """Whether an answer holds several calls."""
        return any(row.kind == "parallel" for row in (*self.train, *self.held_out))


def _called(row: Record) -> set[str]:
    """The names of the tools that a row calls."""
    return {call.name for call in row.calls}


def read_run_data(
    data: str = "", eval_data: str = "", tools: str = "", *, seed: int, format: str = "auto"
) -> RunData:
    """Read tools and rows; every wrong line is reported at once.

    Args:
        data, eval_data, tools: files; "" as for `data_files`.
        seed: decides the split, if there is no eval file.
        format: of both data files, one of `formats.FORMATS`.
    Raises:
        ToolError, DataError: with one line a problem.
    """
    data_file, eval_file, tools_file = data_files(data, eval_data, tools)
    # Hashed before the files are read, so that a change in between is noticed.
    hashes = sources(data, eval_data, tools)
    declared = load_tools(tools_file)
    split = _announced(load_data(data_file, eval_file, declared, seed=seed, format=format))
    return RunData(
        run_tools(split.train + split.held_out, declared, tools),
        split.train,
        split.held_out,
        hashes,
    )


def sources(data: str = "", eval_data: str = "", tools: str = "") -> dict[str, str]:
    """Return the files that rows and tools are read from, with their SHA-256.

    Args:
        data, eval_data, tools: files; "" as for `data_files`.
    """
    paths = (Path(path).absolute() for path in data_files(data, eval_data, tools) if path)
    return {str(path): sha256(path) for path in paths if path.is_file()}


def load_held_out(data: str, tools: str, format: str = "auto") -> RunData:
    """Read rows that are only scored; the example's if no file is named.

    Args:
        data: their file; if rows are marked for evaluation, the others are left out.
        tools: tools file.
        format: one of `formats.FORMATS`.
    Raises:
        ToolError, DataError: with one line a problem.
    """
    _, path, tools_file = data_files(data, data, tools)
    declared = load_tools(tools_file)
    split = _announced(held_out_data(path, declared, format=format))
    return RunData(run_tools(split.held_out, declared, tools), (), split.held_out)


def _announced(split: DataSplit) -> DataSplit:
    for warning in split.warnings:
        print(f"warning: {warning}")
    return split


def run_tools(
    rows: tuple[Record, ...], declared: list[ToolDeclaration], tools_file: str
) -> list[ToolDeclaration]:
    """Return the tools of a run.

    They are those of its file or, if none is named and every row brings its own, the rows' tools.

    Args:
        rows: all rows of the run.
        declared: what the file holds, or the example's tools.
        tools_file: the file that the user named; "" for none.
    Returns:
        the declarations; none if the rows' tools differ, because each prompt has its own.
    """
    own = [row.tools for row in rows if row.tools is not None]
    if tools_file or not rows or len(own) < len(rows):
        return declared
    # Equal tools of rows usually are one object, which is quicker to compare.
    same = all(tools is own[0] or tools == own[0] for tools in own)
    return list(own[0]) if same else []


def data_files(
    data: str = "", eval_data: str = "", tools: str = ""
) -> tuple[Path, Path | str, Path]:
    """Return the files a run reads: (training rows, held-out rows, tools).

    Args:
        data: training rows; "" for the example's.
        eval_data: held-out rows; "" to split them off the training rows (then "" is returned, too),
            or for the example's if the training rows are the example's.
        tools: a tools file; "" for the example's.
    """
    if not data and not eval_data:
        eval_data = str(shipped("data", "eval_data.jsonl"))
    return (
        Path(expanduser(data)) if data else shipped("data", "training_data.jsonl"),
        Path(expanduser(eval_data)) if eval_data else "",
        Path(expanduser(tools)) if tools else shipped("data", "tools.py"),
    )


def hash_of(tools: Sequence[ToolDeclaration]) -> str | None:
    """Return the hash of a run's tools, or None if every row has its own.

    Args:
        tools: of a `RunData`.
    """
    return tools_hash(tools) if tools else None


def rows_hash(rows: tuple[Record, ...]) -> str:
    """Return the SHA-256 of rows in hex; their order counts.

    Args:
        rows: of one side.
    """
    text = "\n".join(
        json.dumps([row.messages, canonical(row.calls), row.text, row.tools]) for row in rows
    )
    return hashlib.sha256(text.encode()).hexdigest()
