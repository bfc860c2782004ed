"""The rows of a run and its tools, read as the settings ask, with the hashes of their files.

Example:
    rows = load_rows(settings)
    print(rows)             # how many rows each tool has, training and held out
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from os.path import expanduser
from pathlib import Path
from typing import TYPE_CHECKING

from fgkit.files import sha256
from fgkit.locations import shipped
from fgkit.prompts import PromptSetup
from fgkit.prompts.styles import DEFAULT
from fgkit.tools import load_tools, tools_hash

from .records import KIND_LABELS, KINDS, Record, canonical
from .rendered import RenderedRecords, RenderedRows
from .splits import Data, held_out_data, load_data

if TYPE_CHECKING:
    from fgkit.config import FinetuneConfig, TaskConfig, TfliteConfig

SHOWN_TOOLS = 40


@dataclass(frozen=True)
class Rows:
    """The tools of a run, its training rows and its held-out rows.

    Args:
        tools: what every row without tools of its own declares; empty where all rows bring
            different ones.
        train, held_out: the rows.
        sources: the files that they and the tools were read from, with their SHA-256; left out,
            none.
    """

    tools: list[dict]
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    sources: dict[str, str] = field(default_factory=dict)
    _rendered: list[RenderedRows] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def setup(self, system_message: str = "", styles: tuple[str, ...] = (DEFAULT,)) -> PromptSetup:
        """How a model with these tools is prompted; arguments as for `PromptSetup`."""
        return PromptSetup(self.tools, system_message, styles)

    def rendered(self, setup: PromptSetup) -> RenderedRows:
        """The rows' prompts and answers, written once for each setup however often it is asked."""
        for known in self._rendered:
            if known.setup.same_texts(setup):
                return known
        new = RenderedRows(
            setup, RenderedRecords(self.train, setup), RenderedRecords(self.held_out, setup)
        )
        self._rendered.append(new)
        return new

    def __str__(self) -> str:
        sides = [
            (
                Counter(name for row in rows for name in {call.name for call in row.calls}),
                Counter(row.kind for row in rows),
                len(rows),
            )
            for rows in (self.train, self.held_out)
        ]
        names = list(
            dict.fromkeys(
                [
                    *(tool["function"]["name"] for tool in self.tools),
                    *(name for tools, _, _ in sides for name in tools),
                ]
            )
        )
        table = [
            ("tool", "training", "held out"),
            *((name, *(tools[name] for tools, _, _ in sides)) for name in names[:SHOWN_TOOLS]),
        ]
        if len(names) > SHOWN_TOOLS:
            table.append((f"... and {len(names) - SHOWN_TOOLS} more tools", "", ""))
        kinds = [kind for kind in KINDS if any(found[kind] for _, found, _ in sides)]
        if len(kinds) > 1:
            table += [
                (f"rows: {KIND_LABELS[kind]}", *(found[kind] for _, found, _ in sides))
                for kind in kinds
            ]
        table.append(("rows", *(count for *_, count in sides)))
        return "\n".join(f"{name:<32}{train:>10}{held_out:>10}" for name, train, held_out in table)

    @property
    def parallel(self) -> bool:
        """Whether an answer holds several calls."""
        return any(row.kind == "parallel" for row in (*self.train, *self.held_out))


def load_rows(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> Rows:
    """Read tools and rows, the example's where none are named; all wrong lines are reported.

    Args:
        settings: its `data`, `eval_data`, `data_format`, `tools` and `seed` count.
    Raises:
        ToolError, DataError: with one line a problem.
    """
    data, eval_data, tools_file = data_files(settings.data, settings.eval_data, settings.tools)
    read_from = sources(settings)  # before they are read, so that a change in between is noticed
    tools = load_tools(tools_file)
    found = _announced(
        load_data(data, eval_data, tools, seed=settings.seed, format=settings.data_format)
    )
    return Rows(
        run_tools(found.train + found.held_out, tools, settings.tools),
        found.train,
        found.held_out,
        read_from,
    )


def sources(settings: FinetuneConfig | TfliteConfig | TaskConfig) -> dict[str, str]:
    """The files that rows and tools are read from, with their SHA-256."""
    paths = (
        Path(path).absolute()
        for path in data_files(settings.data, settings.eval_data, settings.tools)
        if path
    )
    return {str(path): sha256(path) for path in paths if path.is_file()}


def load_held_out(data: str, tools: str, format: str = "auto") -> Rows:
    """Read rows that are only to be scored; the example's where none are named.

    Args:
        data: their file; where rows are marked for evaluation, the others are left out.
        tools: tools file.
        format: one of `formats.FORMATS`.
    Raises:
        ToolError, DataError: with one line a problem.
    """
    _, path, tools_file = data_files(data, data, tools)
    declared = load_tools(tools_file)
    found = _announced(held_out_data(path, declared, format=format))
    return Rows(run_tools(found.held_out, declared, tools), (), found.held_out)


def _announced(data: Data) -> Data:
    for warning in data.warnings:
        print(f"warning: {warning}")
    return data


def run_tools(rows: tuple[Record, ...], declared: list[dict], tools_file: str) -> list[dict]:
    """The tools of a run: its file's, or those of the rows where all rows bring their own.

    Args:
        rows: all rows of the run.
        declared: what the file holds, or the example's tools.
        tools_file: the file that the user named; "" for none.
    Returns:
        the declarations; none where the rows' tools differ, because each prompt has its own.
    """
    if tools_file or not rows or any(row.tools is None for row in rows):
        return declared
    first = rows[0].tools
    same = all(row.tools is first or row.tools == first for row in rows)
    return list(first) if same and first is not None else []


def data_files(
    data: str = "", eval_data: str = "", tools: str = ""
) -> tuple[Path, Path | str, Path]:
    """The files a run reads: (training rows, held-out rows or "" to split them off, tools)."""
    if not data and not eval_data:
        eval_data = str(shipped("data", "eval_data.jsonl"))
    return (
        Path(expanduser(data)) if data else shipped("data", "training_data.jsonl"),
        Path(expanduser(eval_data)) if eval_data else "",
        Path(expanduser(tools)) if tools else shipped("data", "tools.py"),
    )


def hash_of(tools: list[dict]) -> str | None:
    """Hash of a run's tools; None where every row has its own, so that any tools are accepted."""
    return tools_hash(tools) if tools else None


def rows_hash(rows: tuple[Record, ...]) -> str:
    """Hex SHA-256 of rows in their order."""
    text = "\n".join(
        json.dumps([row.messages, canonical(row.calls), row.text, row.tools]) for row in rows
    )
    return hashlib.sha256(text.encode()).hexdigest()
