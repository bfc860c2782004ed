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
    """Print everything that is wrong with the data files; 1 if something has to be corrected."""
    from fgkit import data_report
    from fgkit.dataset.rows import data_files
    from fgkit.errors import DataError
    from fgkit.files import require_regular, write_json
    from fgkit.outputs import require_outputs
    from fgkit.tools import lint_tools, load_tools

    from .tokenizers import find_tokenizer

    inputs = {"DATA": options.path, "--eval": options.eval, "--tools": options.tools}
    require_outputs({"--json": options.json, "--plot": options.plot}, inputs)
    data, eval_data = expanduser(options.path), expanduser(options.eval)
    for path in [data, *([eval_data] if eval_data else [])]:
        require_regular(path, "your data file", error=DataError)
    FinetuneConfig(max_length=options.max_length)  # raises for a length that training would refuse
    tokenizer, without_lengths = find_tokenizer(options.base)
    tools_file = data_files(tools=options.tools)[2]
    tool_report = lint_tools(tools_file, tokenizer)
    if tool_report.errors:  # rows cannot be validated against tools that are wrong
        print("\n".join(tool_report.lint_lines()))
        print("\nCorrect the tools first; the rows are checked after that.")
        return 1
    report = data_report.inspect(
        data,
        load_tools(tools_file),
        eval_data,
        tokenizer=tokenizer,
        without_lengths=without_lengths,
        limits=data_report.TokenLimits(
            options.max_length, TfliteConfig.prefill_seq_len, TfliteConfig.kv_cache_max_len
        ),
        seed=FinetuneConfig.seed,
        format=options.format,
        tool_report=tool_report,
    )
    print("\n".join([*report.lines(), "", report.table()]))
    if options.json:
        print(f"written: {write_json(options.json, report.as_dict())}")
    if options.plot:
        print(f"written: {data_report.plot(report, options.plot)}")
    return 0 if report.passed else 1
