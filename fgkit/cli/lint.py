"""`python -m fgkit lint`: the data report in a terminal. Nothing is downloaded and nothing is changed.

In: file names as typed. Out: one line a finding, the table, and the exit code: 1 if there is an error.

>>> run("my.jsonl", tools="my.py")
my.jsonl:7: D101 error: argument 'color': found 7, expected type string. Put it in quotes: "7".
...
1
"""

from __future__ import annotations

from os.path import expanduser, isdir  # unlike Path's, they take any text
from typing import Any

from fgkit.config import FinetuneConfig
from fgkit.data_report import report
from fgkit.dataset.rows import data_files
from fgkit.errors import FgkitError, ModelError
from fgkit.files import cache_dir, write_json
from fgkit.models import base as base_model, offline_base
from fgkit.models.spec import OFFLINE
from fgkit.tools import lint_tools, load_tools


def run(
    data: str,
    *,
    eval_data: str = "",
    tools: str = "",
    format: str = "auto",
    base: str = "",
    max_length: int = FinetuneConfig.max_length,
    json: str = "",
    plot: str = "",
) -> int:
    """Print everything that is wrong with a data file; return 1 if something has to be corrected, else 0.

    Args:
        data, eval_data: rows to train on and held-out rows; "" for none.
        tools: a tools file; "" for the example's.
        format: of the rows, one of `formats.FORMATS`.
        base: whose tokenizer counts: `offline`, a model folder, or a Hub name that is on this machine; "" for the
            offline base if it has been built, and otherwise rows are not counted in tokens.
        max_length: longest row allowed, in tokens.
        json, plot: files for the whole report and for the picture; "" for none.
    Raises:
        FgkitError: a file cannot be opened, the tools file is wrong, or the named base is not here.
    """
    FinetuneConfig(max_length=max_length)
    tokenizer, without_lengths = find_tokenizer(base)
    tools_file = data_files(tools=tools)[2]
    tool_report = lint_tools(tools_file, tokenizer)
    if tool_report.errors:  # rows cannot be held against tools that are wrong
        print("\n".join(report.tool_lines(tool_report)))
        print("\nCorrect the tools first; the rows are checked after that.")
        return 1
    found = report.inspect(
        expanduser(data),
        load_tools(tools_file),
        expanduser(eval_data),
        tokenizer=tokenizer,
        without_lengths=without_lengths,
        max_length=max_length,
        format=format,
        tool_report=tool_report,
    )
    for line in found.lines():
        print(line)
    print(f"\n{found.table()}")
    if json:
        print(f"written: {write_json(json, found.as_dict())}")
    if plot:
        print(f"written: {report.plot(found, plot)}")
    return 0 if found.passed else 1


def find_tokenizer(base: str) -> tuple[Any, str]:
    """A base's tokenizer and "", or None and why there is none; a base that is named has to be there.

    Args:
        base: as for `run`.
    Raises:
        ModelError: the named base is not on this machine, or its tokenizer cannot be read.
    """
    if base == OFFLINE or base and isdir(expanduser(base)):
        folder = base_model.find_base(base).folder
    elif base:
        folder = base_model.local_copy(base)
        if folder is None:
            raise ModelError(
                f"base is {base!r}: no such folder, and no whole copy of such a model on this machine; "
                "lint downloads nothing. Use `--base offline`, or run the finetune notebook with it first."
            )
    else:
        try:
            folder = offline_base.built(cache_dir("offline-base"))
        except FgkitError as error:
            return None, str(error)
        if folder is None:
            return (
                None,
                "no base model is on this machine yet; `--base offline` makes one (a minute, once).",
            )
    return base_model.load_tokenizer(folder), ""
