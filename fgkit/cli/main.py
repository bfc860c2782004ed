"""The command line: `python -m fgkit run | evaluate | check | lint | tools | init | doctor | compare | chat`: a skin over the package.

Exit codes: 0 fine; 1 a check found problems; 2 could not run.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from fgkit import __version__, credentials
from fgkit.cli import commands
from fgkit.config import FinetuneConfig
from fgkit.dataset.formats.detection import FORMATS
from fgkit.errors import CheckFailed, FgkitError

_EXIT_CODES = "exit codes: 0 fine; 1 a check found problems; 2 could not run"

_TOUR = """Teach FunctionGemma 270M to call your functions and ship it to a phone.

First see that it works here (no account, about 13 minutes on two cores):
  python -m fgkit doctor                             does this machine have what it takes?
  python -m fgkit run                                the example: rows in, tuned, converted, scored .task out
  python -m fgkit chat run/functiongemma-flutter.task "make it red"

Then your own functions:
  python -m fgkit init my_app                        tools.py with sample functions, rows to start from
  python -m fgkit tools my_app/tools.py              what the model sees of them, and what is wrong
  python -m fgkit lint my_app/training_data.jsonl --tools my_app/tools.py
  python -m fgkit run --data my_app/training_data.jsonl --tools my_app/tools.py --output my_run

Then better: change one thing, run into another folder, compare.
  python -m fgkit run --data my_app/training_data.jsonl --tools my_app/tools.py --output my_run_2 -p learning_rate 2e-5
  python -m fgkit compare my_run my_run_2
  python -m fgkit glue my_run --output app           the app's side in Dart and Kotlin"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user's mistake prints one message and no traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        credentials.refuse_arguments(arguments)
    except FgkitError as error:
        print(f"fgkit: {error}", file=sys.stderr)
        return 2
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except FgkitError as error:
        _trace(options)
        print(f"fgkit: {credentials.hidden(str(error))}", file=sys.stderr)
        return 1 if isinstance(error, CheckFailed) else 2
    except ModuleNotFoundError as error:
        _trace(options)
        print(
            f"fgkit: the package {error.name!r} is not installed. `python -m fgkit doctor` says what is missing.",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("\nfgkit: stopped. The same command goes on where it can.", file=sys.stderr)
        return 130


def _trace(options: argparse.Namespace) -> None:
    if options.debug:
        print(credentials.hidden(traceback.format_exc()), file=sys.stderr)


def _add_parameters(command: argparse.ArgumentParser) -> None:
    """The options of commands that take the notebooks' parameters."""
    command.add_argument(
        "--output", metavar="DIR", help="folder for everything the run writes (default: run)"
    )
    command.add_argument(
        "--base",
        metavar="NAME|PATH|offline",
        help="base model: a Hub name, a folder, or `offline` "
        "(default: FunctionGemma if a token or a local copy gives access, the offline base otherwise)",
    )
    command.add_argument(
        "--data", metavar="FILE", help="training rows, .jsonl or .csv (default: the example's)"
    )
    command.add_argument(
        "--eval", metavar="FILE", help="held-out rows, .jsonl or .csv (default: a tenth of --data)"
    )
    command.add_argument(
        "--tools", metavar="FILE", help="tools, .py or .json (default: the example's)"
    )
    command.add_argument(
        "--format", choices=FORMATS, help="format of the rows (default: auto, told by their keys)"
    )
    command.add_argument(
        "-p",
        dest="parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a notebook parameter, such as -p learning_rate 2e-5, in every notebook that has it",
    )
    command.add_argument(
        "-f",
        "--parameters",
        metavar="FILE",
        help="notebook parameters from a YAML file, as papermill "
        "takes it; every other option goes before what it says",
    )


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30, width=110)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fgkit", formatter_class=_Help, epilog=_EXIT_CODES, description=_TOUR
    )
    parser.add_argument("--version", action="version", version=f"fgkit {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str, example: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example: python -m fgkit {example}\n{_EXIT_CODES}",
            formatter_class=_Help,
        )
        sub.set_defaults(command=function)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return sub

    run = command(
        "run",
        commands.run,
        "execute the three notebooks in order: data in, scored .task out",
        "run --data my.jsonl --tools my.py -p num_train_epochs 5",
    )
    run.add_argument("--model", metavar="DIR", help="a folder tuned elsewhere: start at to_tflite")
    finetune = command(
        "finetune",
        commands.finetune,
        "the first notebook's steps without a notebook, on one device or several",
        "finetune --output my_run    (several: accelerate launch --num_processes 2 -m fgkit finetune)",
    )
    finetune.set_defaults(model=None)
    for each in (run, finetune):
        _add_parameters(each)

    evaluate = command(
        "evaluate",
        commands.evaluate,
        "score a model folder or a finished bundle on held-out rows",
        "evaluate run/functiongemma-flutter.task --data data/eval_data.jsonl --json score.json",
    )
    evaluate.add_argument("path", help="a model folder, a .task or a .litertlm")
    evaluate.add_argument(
        "--data",
        metavar="FILE",
        default="",
        help="rows, .jsonl or .csv (default: the example's held-out rows)",
    )
    evaluate.add_argument(
        "--tools", metavar="FILE", default="", help="tools, .py or .json (default: the example's)"
    )
    evaluate.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the rows (default: auto)"
    )
    evaluate.add_argument(
        "--json", metavar="OUT", help="write the scores and every answer to this file"
    )
    evaluate.add_argument(
        "--against",
        metavar="SCORE.json",
        help="what --json wrote of another model for the same rows: "
        "show the differences with their intervals and the rows that changed",
    )
    evaluate.add_argument(
        "--report",
        metavar="DIR",
        help="write tables, pictures and the model-index block of a model card into this folder",
    )
    evaluate.add_argument(
        "--style",
        metavar="STYLE",
        help="prompt style, one that the model was trained in (default: the first stored with it)",
    )
    evaluate.add_argument(
        "--constrained",
        action="store_true",
        help="have a .litertlm's conversations allow only text or whole "
        "calls of the declared tools (docs/bundles.md); the gate's scores are without",
    )

    check = command(
        "check",
        commands.check,
        "look into a finished bundle of any origin: ten numbered checks, without running it",
        "check run/functiongemma-flutter.task",
    )
    check.add_argument("path", metavar="BUNDLE", help="a .task or .litertlm")
    check.add_argument(
        "--model", metavar="DIR", help="the folder it was made from (default: model/ beside it)"
    )
    check.add_argument(
        "--data",
        metavar="FILE",
        default="",
        help="rows whose prompts and answers must fit (default: the example's held-out rows)",
    )
    check.add_argument(
        "--tools", metavar="FILE", default="", help="tools, .py or .json (default: the example's)"
    )
    check.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the rows (default: auto)"
    )
    check.add_argument("--json", metavar="OUT", help="write the checks to this file")

    lint = command(
        "lint",
        commands.lint,
        "check data files; one line a problem",
        "lint my.jsonl --eval my_eval.jsonl --tools my.py --plot report.png",
    )
    lint.add_argument("path", metavar="DATA", help="rows to train on, .jsonl or .csv")
    lint.add_argument(
        "--eval",
        metavar="FILE",
        default="",
        help="held-out rows: checked too, and compared with DATA",
    )
    lint.add_argument(
        "--tools", metavar="FILE", default="", help="tools, .py or .json (default: the example's)"
    )
    lint.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the rows (default: auto)"
    )
    lint.add_argument(
        "--base",
        metavar="NAME|PATH|offline",
        default="",
        help="whose tokenizer counts; nothing is "
        "downloaded (default: the offline base if it is built, otherwise lengths are not checked)",
    )
    lint.add_argument(
        "--max-length",
        metavar="N",
        type=int,
        default=FinetuneConfig.max_length,
        help="longest row in tokens (default: %(default)s)",
    )
    lint.add_argument(
        "--json", metavar="OUT", default="", help="write the whole report to this file"
    )
    lint.add_argument(
        "--plot",
        metavar="OUT.png",
        default="",
        help="draw tokens a row and rows a tool into this file",
    )

    tools = command(
        "tools",
        commands.tools,
        "check a tools file: what the model sees of each tool, its cost, every problem",
        "tools my.py",
    )
    tools.add_argument("path", metavar="FILE", help="tools, .py or .json")
    tools.add_argument(
        "--base",
        metavar="NAME|PATH|offline",
        default="",
        help="whose tokenizer counts; nothing is "
        "downloaded (default: the offline base if it is built, otherwise characters are counted)",
    )
    tools.add_argument("--json", metavar="OUT", help="write the same to this file")

    prompt = command(
        "prompt",
        commands.prompt,
        "show what a runtime puts before the model, and where another's text differs",
        'prompt "make it red" --style flutter_gemma --diff template',
    )
    prompt.add_argument("text", nargs="*", help="what the user says")
    prompt.add_argument(
        "--row", metavar="N", type=int, help="instead of a text: the row in line N of --data"
    )
    prompt.add_argument(
        "--data", metavar="FILE", default="", help="rows (default: the example's training rows)"
    )
    prompt.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the rows (default: auto)"
    )
    prompt.add_argument(
        "--tools", metavar="FILE", default="", help="tools, .py or .json (default: the example's)"
    )
    prompt.add_argument(
        "--style",
        metavar="STYLE",
        default="template",
        help="template (default), flutter_gemma or litert_lm",
    )
    prompt.add_argument("--diff", metavar="STYLE", default="", help="another style to compare with")
    prompt.add_argument(
        "--tokens",
        metavar="DIR|offline",
        default="",
        help="show tokens, too: a model folder's or the offline base's",
    )
    prompt.add_argument("--json", action="store_true", help="print one JSON object instead")

    glue = command(
        "glue",
        commands.glue,
        "write an app's code in Dart and Kotlin: tools, typed functions, dispatcher, "
        "golden vectors",
        "glue run --output app",
    )
    glue.add_argument(
        "path",
        metavar="SOURCE",
        help="a run folder, a model folder, a .task, or tools (.py or .json)",
    )
    glue.add_argument(
        "--output", metavar="DIR", default="app", help="folder for everything (default: app)"
    )
    glue.add_argument("--dart", metavar="DIR", help="instead: a Flutter project to write into")
    glue.add_argument("--kotlin", metavar="DIR", help="instead: a Gradle module to write into")
    glue.add_argument(
        "--tools", metavar="FILE", default="", help="tools, where SOURCE does not tell them"
    )
    glue.add_argument(
        "--data", metavar="FILE", default="", help="rows for golden vectors (default: the run's)"
    )
    glue.add_argument(
        "--format", choices=FORMATS, default="auto", help="format of the rows (default: auto)"
    )
    glue.add_argument(
        "--rows",
        metavar="N",
        type=int,
        default=50,
        help="most golden vectors (default: %(default)s)",
    )
    glue.add_argument(
        "--style", metavar="STYLE", help="prompt style, one of the training's (default: its first)"
    )
    glue.add_argument(
        "--dart-package",
        metavar="NAME",
        default="flutter_gemma",
        help="the plugin: flutter_gemma (default) or flutter_edge_ai, its name from 1.11.4 on",
    )
    glue.add_argument(
        "--kotlin-package",
        metavar="NAME",
        default="functions",
        help="package of the Kotlin files (default: %(default)s)",
    )

    quantize = command(
        "quantize",
        commands.quantize,
        "store a run's model in every way, run and score each, recommend one",
        "quantize run",
    )
    quantize.add_argument("path", metavar="RUN", help="a run's folder")
    quantize.add_argument(
        "--data", metavar="FILE", default="", help="training rows (default: the run's, and so on)"
    )
    quantize.add_argument("--eval", metavar="FILE", default="", help="held-out rows")
    quantize.add_argument("--tools", metavar="FILE", default="", help="tools, .py or .json")
    quantize.add_argument("--format", choices=FORMATS, default="", help="format of the rows")
    quantize.add_argument("--name", default="", help="first part of the files' names")
    quantize.add_argument(
        "--only", metavar="NAME", nargs="+", help="some of them (docs/quantisation.md)"
    )

    init = command(
        "init", commands.init, "write sample functions and rows into a new folder", "init my_app"
    )
    init.add_argument("path", metavar="DIR", help="a new or empty folder")

    doctor = command(
        "doctor", commands.doctor, "check Python, platform, packages, memory and disk", "doctor"
    )
    doctor.add_argument(
        "--step", default="all", help="all (default), finetune, to_tflite or to_task"
    )
    doctor.add_argument(
        "--output",
        metavar="DIR",
        default=".",
        help="folder whose disk is looked at (default: here)",
    )

    compare = command(
        "compare",
        commands.compare,
        "runs side by side: the settings that differ, the scores, the minutes",
        "compare run_1e-5 run_5e-5",
    )
    compare.add_argument(
        "runs", nargs="+", metavar="RUN", help="output folders of runs with the same held-out rows"
    )

    chat = command(
        "chat",
        commands.chat,
        "ask a finished bundle",
        'chat run/functiongemma-flutter.task "make it red"',
    )
    chat.add_argument("path", metavar="BUNDLE", help="a .task or .litertlm")
    chat.add_argument(
        "question", nargs="*", help="what to ask; without it, questions are read from the terminal"
    )
    chat.add_argument(
        "--tools", metavar="FILE", default="", help="tools, .py or .json (default: the example's)"
    )

    publish = command(
        "publish",
        commands.publish,
        "publish a finished run on the Hugging Face Hub, with card, licence and hashes",
        "publish run --repo me/my-functions --dry-run",
    )
    publish.add_argument("path", metavar="RUN", help="the folder that `run` wrote")
    publish.add_argument(
        "--repo",
        metavar="USER/NAME",
        required=True,
        help="the repository; made where it is missing",
    )
    publish.add_argument(
        "--public", action="store_true", help="everybody may see it (default: private)"
    )
    publish.add_argument("--data", action="store_true", help="the training and held-out rows, too")
    publish.add_argument(
        "--force",
        action="store_true",
        help="publish what did not pass the gate; the card says so first",
    )
    publish.add_argument(
        "--dry-run",
        action="store_true",
        help="show every file and the card; ask no network, send nothing",
    )
    return parser
