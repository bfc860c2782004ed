"""`python -m fgkit lint`: the data report in a terminal. Nothing is downloaded or changed.

One line a finding, the table of rows and tools, and exit code 1 if there is an error:

    my.jsonl:7: D101 error: argument 'color': found 7, expected type string. Put it in quotes: "7".
"""

from __future__ import annotations

import argparse
from os.path import expanduser  # unlike Path's method, it accepts any text

from fgkit.config.finetune import FinetuneConfig
from fgkit.config.tflite import TfliteConfig

from .options import add_format, add_json, add_tokenizer, add_tools

HELP = "check data files; one line a problem"
EXAMPLE = "lint my.jsonl --eval my_eval.jsonl --tools my.py --plot report.png"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("path", metavar="DATA", help="rows to train on, .jsonl or .csv")
    command.add_argument(
        "--eval",
        metavar="FILE",
        default="",
        help="held-out rows: checked too, and compared with DATA",
    )
    add_tools(command)
    add_format(command)
    add_tokenizer(command, without="lengths are not checked")
    command.add_argument(
        "--max-length",
        metavar="N",
        type=int,
        default=FinetuneConfig.max_length,
        help="longest row in tokens (default: %(default)s)",
    )
    add_json(command, "write the whole report to this file")
    command.add_argument(
        "--plot",
        metavar="OUT.png",
        type=expanduser,
        default="",
        help="draw tokens per row and rows per tool into this file",
    )


def execute(options: argparse.Namespace) -> int:
    """Report what the data files hold and what is wrong with them."""
    from fgkit.outputs import require_outputs

    inputs = {"DATA": options.path, "--eval": options.eval, "--tools": options.tools}
    require_outputs({"--json": options.json, "--plot": options.plot}, inputs)
    return lint_files(
        options.path,
        eval_data=options.eval,
        tools=options.tools,
        format=options.format,
        base=options.base,
        max_length=options.max_length,
        json=options.json,
        plot=options.plot,
    )


def lint_files(
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
    """Print everything that is wrong with a data file.

    Args:
        data: rows to train on.
        eval_data: held-out rows; "" for none.
        tools: a tools file; "" for the example's.
        format: format of the rows, one of `fgkit.dataset.formats.FORMATS`.
        base: whose tokenizer counts, as for `tokenizers.find_tokenizer`; without one, lengths are
            not checked.
        max_length: longest row allowed, in tokens.
        json: file for the whole report; "" for none.
        plot: file for the picture; "" for none.
    Returns:
        1 if something has to be corrected, else 0.
    Raises:
        FgkitError: a file cannot be opened, the tools file is wrong, or the named base is not here.
    """
    from fgkit import data_report
    from fgkit.dataset.rows import data_files
    from fgkit.errors import DataError
    from fgkit.files import require_regular, write_json
    from fgkit.tools import lint_tools, load_tools

    from .tokenizers import find_tokenizer

    for path in [expanduser(data), *([expanduser(eval_data)] if eval_data else [])]:
        require_regular(path, "your data file", error=DataError)
    FinetuneConfig(max_length=max_length)  # raises for a length that training would refuse
    tokenizer, without_lengths = find_tokenizer(base)
    tools_file = data_files(tools=tools)[2]
    tool_report = lint_tools(tools_file, tokenizer)
    if tool_report.errors:  # rows cannot be validated against tools that are wrong
        print("\n".join(tool_report.lint_lines()))
        print("\nCorrect the tools first; the rows are checked after that.")
        return 1
    report = data_report.inspect(
        expanduser(data),
        load_tools(tools_file),
        expanduser(eval_data),
        tokenizer=tokenizer,
        without_lengths=without_lengths,
        limits=data_report.TokenLimits(
            max_length, TfliteConfig.prefill_seq_len, TfliteConfig.kv_cache_max_len
        ),
        seed=FinetuneConfig.seed,
        format=format,
        tool_report=tool_report,
    )
    print("\n".join([*report.lines(), "", report.table()]))
    if json:
        print(f"written: {write_json(json, report.as_dict())}")
    if plot:
        print(f"written: {data_report.plot(report, plot)}")
    return 0 if report.passed else 1
