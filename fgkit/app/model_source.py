"""Find out what a model was trained with: tools, prompt style, developer text, held-out rows.

In: a run folder, a model folder, a `.task` with the JSON beside it, or a tools file. Out: a
`Source` for `codegen.make`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit.chat_types import ToolDeclaration
from fgkit.dataset import rows as run_rows
from fgkit.dataset.records import Record
from fgkit.errors import FgkitError, ModelError
from fgkit.models import record
from fgkit.prompts import PromptSetup, styles
from fgkit.tools import check_tools, load_tools, tools_hash


@dataclass(frozen=True)
class Source:
    """What an app's code is generated from.

    Args:
        name: what the generated files call it.
        setup: the checked tools, the developer text and the one prompt style of its training.
        rows: held-out rows for golden vectors; may be empty.
    """

    name: str
    setup: PromptSetup
    rows: tuple[Record, ...]


def read_source(
    path: str | Path,
    *,
    tools: str = "",
    data: str = "",
    format: str = "auto",
    style: str | None = None,
) -> Source:
    """Find out what a model was trained with.

    Args:
        path: a run folder, a model folder, a `.task` with the JSON beside it, or a tools file (.py
            or .json).
        tools: the tools file of the training; needed where the model folder is not there.
        data: file with the rows for golden vectors. Left out, a run's own held-out rows are used,
            and without a run there are none.
        format: format of `data`, one of `formats.FORMATS`.
        style: one of the styles of the training; None for the first.
    Raises:
        FgkitError: there is nothing at `path`, or nothing that says which tools were used.
        ModelError: tools or style are not those of the training.
        ToolError, DataError: as for `load_tools` and `load_data`.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FgkitError(
            f"{path}: is not there. Give a run folder, a model folder, a .task or a tools file."
        )
    facts: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    if path.is_file() and path.suffix in (".py", ".json") and not path.name.endswith(".task.json"):
        declared = load_tools(path)
    else:
        facts, settings = _training_facts(path)
        declared = _trained_tools(path, facts, tools)
    names = styles.resolve(path, facts.get("style"), style, declared)
    return Source(
        name=path.name or path.resolve().name,
        setup=PromptSetup(declared, facts.get("system_message") or "", names[:1]),
        rows=_held_out_rows(data, settings, declared, format),
    )


def _training_facts(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The record of a model's training (as in `fgkit.json`), and the settings of its run."""
    from fgkit.bundles import read as bundle

    if path.is_dir():
        folder = path if (path / "fgkit.json").is_file() else path / "model"
        facts = record.model_facts(folder)
        if not facts:
            raise FgkitError(
                f"{path}: is neither a run folder nor a model folder of fgkit: expected "
                "model/fgkit.json or fgkit.json in it. Give one of these, a .task or a tools file."
            )
        return facts, facts.get("settings") or {}
    task = path.with_suffix("") if path.name.endswith(".task.json") else path
    if task.suffix != ".task":
        raise FgkitError(
            f"{path}: expected a run folder, a model folder, a .task or a tools file "
            "(.py or .json)."
        )
    sidecar = bundle.read_bundle(task).sidecar
    if sidecar is None:
        raise FgkitError(
            f"{task}.json: is not there, so nothing is known of the training. Give the run folder, "
            "or the tools file."
        )
    # The sidecar has only the hash of the tools; the tools themselves are in the model folder of
    # the same run, if that is still there and still holds the model that the bundle was made
    # from.
    beside = record.model_facts(task.parent / "model")
    same = beside if beside.get("tools_hash") == sidecar.get("tools_hash") else {}
    return {"tools": same.get("tools"), **sidecar}, same.get("settings") or {}


def _trained_tools(path: Path, facts: Mapping[str, Any], tools: str) -> list[ToolDeclaration]:
    """The tools of the training: those of the given file, otherwise those in its record.

    Args:
        path: where the model is, for messages.
        facts: the record of its training.
        tools: a tools file; empty for the record's.
    """
    declared = load_tools(Path(tools).expanduser()) if tools else facts.get("tools") or []
    if not declared:
        # An empty list was stored, while None means that nothing is known.
        per_row = facts.get("tools") == []
        reason = ", because every row of its training brought its own" if per_row else ""
        raise FgkitError(
            f"{path}: does not say which tools it was trained with{reason}. "
            "Give the file they are in (--tools)."
        )
    check_tools(declared, str(path))
    if facts.get("tools_hash") not in (None, tools_hash(declared)):
        raise ModelError(
            f"{path}: was trained with other tools than "
            f"{tools or 'the model folder beside it has'}. "
            "Give the tools file of the training (--tools): an app must declare the same."
        )
    return declared


def _held_out_rows(
    data: str, settings: Mapping[str, Any], tools: list[ToolDeclaration], format: str
) -> tuple[Record, ...]:
    """The rows of the given file, otherwise the run's held-out rows, split off as in the run."""
    from fgkit.dataset.splits import held_out_data, load_data

    if data:
        return held_out_data(Path(data).expanduser(), tools, format=format).held_out
    if not settings:
        return ()
    train, held_out, _ = run_rows.data_files(
        settings.get("data", ""), settings.get("eval_data", "")
    )
    # The run may have been made on another machine; an app's code is useful without vectors, too.
    if not Path(train).is_file() or (held_out and not Path(held_out).is_file()):
        return ()
    return load_data(
        train,
        held_out,
        tools,
        seed=settings.get("seed", 42),
        format=settings.get("data_format", "auto"),
    ).held_out
