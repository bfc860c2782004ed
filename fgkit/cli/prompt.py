"""`python -m fgkit prompt`: the text that a runtime puts before the model."""

from __future__ import annotations

import argparse
import json
import sys

from fgkit.prompts import styles

from .options import add_data, add_format, add_tools

HELP = "show what a runtime puts before the model, and where another's text differs"
EXAMPLE = 'prompt "make it red" --style flutter_gemma --diff template'
FREE_TEXT = "text"  # words that stand after an option belong to the text, too


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument("text", nargs="*", help="what the user says")
    command.add_argument(
        "--row", metavar="N", type=int, help="instead of a text: the row in line N of --data"
    )
    add_data(command, "rows (default: the example's training rows)")
    add_format(command)
    add_tools(command)
    command.add_argument(
        "--style",
        metavar="STYLE",
        default=styles.DEFAULT,
        help=f"whose text to show. {styles.help_text()}",
    )
    command.add_argument(
        "--diff", metavar="STYLE", default="", help="another style to compare with"
    )
    command.add_argument(
        "--tokens",
        metavar="DIR|offline",
        default="",
        help="show tokens, too: a model folder's or the offline base's",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object instead")


def execute(options: argparse.Namespace) -> int:
    """Show the prompt of a text or a row, and where another style's differs."""
    from fgkit.dataset import rows as run_rows
    from fgkit.tools import load_tools

    from . import prompt_view, tokenizers

    data, _, tools_file = run_rows.data_files(options.data, "", options.tools)
    tools = load_tools(tools_file)
    record = prompt_view.record_of(
        " ".join(options.text), options.row, data, tools, format=options.format
    )
    tokenizer = tokenizers.find_tokenizer(options.tokens)[0] if options.tokens else None
    view = prompt_view.view(record, tools, options.style, other=options.diff, tokenizer=tokenizer)
    if options.json:
        print(json.dumps(view, ensure_ascii=False, indent=2))
    else:
        print(prompt_view.show(view, colour=sys.stdout.isatty()))
    return 0
