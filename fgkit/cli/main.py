"""The command line: run the module of a command and turn errors into messages.

Exit codes: 0 success; 1 a check found problems; 2 the command could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, cast

from fgkit import __version__, credentials
from fgkit.errors import CheckFailed, FgkitError

EXIT_CODES = "exit codes: 0 fine; 1 a check found problems; 2 could not run"

# Modules of this package, each with HELP, EXAMPLE, add_arguments and execute, in the order of
# `--help`.
COMMANDS = (
    "run",
    "finetune",
    "evaluate",
    "check",
    "lint",
    "tools",
    "prompt",
    "glue",
    "quantize",
    "init",
    "doctor",
    "compare",
    "chat",
    "publish",
)

_TOUR = """Teach FunctionGemma 270M to call your functions and ship it to a phone.

First see that it works here (no account, about 13 minutes on two cores):
  python -m fgkit doctor                             check that this machine can do it
  python -m fgkit run                                tune, convert and score the example
  python -m fgkit chat run/functiongemma-flutter.task "make it red"

Then your own functions:
  python -m fgkit init my_app                        sample functions and rows to start from
  python -m fgkit tools my_app/tools.py              what the model sees of them, and what is wrong
  python -m fgkit lint my_app/training_data.jsonl --tools my_app/tools.py
  python -m fgkit run --data my_app/training_data.jsonl --tools my_app/tools.py --output my_run

Then better: change one thing, run into another folder, compare.
  python -m fgkit run --data my_app/training_data.jsonl --tools my_app/tools.py \
--output my_run_2 -p learning_rate 2e-5
  python -m fgkit compare my_run my_run_2
  python -m fgkit glue my_run --output app           the app's side in Dart and Kotlin"""


class _Command(Protocol):
    """The module of a command."""

    HELP: str
    EXAMPLE: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    execute: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Every error, including a defect of fgkit, is printed as one message without a traceback;
    `--debug` prints the traceback, too.

    Args:
        arguments: the words after `python -m fgkit`; None for those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _accept_every_character()
    try:
        credentials.refuse_arguments(arguments)
    except FgkitError as error:
        print(f"fgkit: {error}", file=sys.stderr)
        return 2
    options = _parse(arguments)
    try:
        _stop_in_order()
        return cast(int, options.execute(options))
    except FgkitError as error:
        _fail(options, str(error))
        return 1 if isinstance(error, CheckFailed) else 2
    except ModuleNotFoundError as error:
        _fail(
            options,
            f"the package {error.name!r} is not installed. "
            "`python -m fgkit doctor` says what is missing.",
        )
        return 2
    except BrokenPipeError:
        # The reader, such as `| head`, has read enough. Python flushes stdout again at exit, which
        # must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as stopped:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("\nfgkit: stopped. The same command goes on where it can.", file=sys.stderr)
        return 128 + (stopped.number if isinstance(stopped, _Stopped) else signal.SIGINT)
    # The last resort: a defect of fgkit, too, ends in one message.
    except Exception as error:  # noqa: BLE001
        _fail(options, _unexpected(error))
        return 2


class _Stopped(KeyboardInterrupt):
    """A signal asked the process to end; it ends as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop_in_order() -> None:
    """Have the signals of `kill` and of a closed terminal end the command as Ctrl-C does.

    What is half-written is removed then, and notebooks and conversions that were started end, too.
    A second signal ends the process at once. A signal that is ignored, as under `nohup`, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    names = ("SIGTERM", "SIGHUP")  # Windows has only the first
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise _Stopped(number)


def _accept_every_character() -> None:
    """Escape characters that the terminal's encoding does not have, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; the words of a free text may also follow options."""
    parser = build_parser()
    options, remaining = parser.parse_known_args(arguments)
    free_text = getattr(options, "free_text", None)
    if remaining and (free_text is None or any(word.startswith("-") for word in remaining)):
        _refuse(options.parser, remaining)
    if free_text is not None:
        getattr(options, free_text).extend(remaining)
    return options


def _refuse(parser: argparse.ArgumentParser, words: list[str]) -> NoReturn:
    parser.error(f"unrecognized arguments: {' '.join(words)}")


def _fail(options: argparse.Namespace, message: str) -> None:
    """Print the message of the exception being handled; `--debug` adds its traceback."""
    if options.debug:
        print(credentials.redacted(traceback.format_exc()), file=sys.stderr)
    print(f"fgkit: {credentials.redacted(message)}", file=sys.stderr)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        name = str(error.filename)[:200].encode("utf-8", "backslashreplace").decode()
        return f"{name}: cannot be used: {error.strerror}. Choose another file or folder."
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:80]!r}: is no text that a file's name can hold. Choose another."
    if isinstance(error, MemoryError):
        return "there is not enough memory. Close other programs, or use a smaller input."
    if isinstance(error, RecursionError):
        return "the input is nested too deeply. Flatten it, or use --debug to see where."
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # from Path.expanduser
        return "a path begins with ~ and a user that this machine does not know. Write it in full."
    first_line = next(iter(str(error).splitlines()), "")
    return (
        f"this should not happen: {type(error).__name__}: {first_line[:200]} "
        "Run the command again with --debug to see the traceback, and report it."
    )


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30, width=110)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands, each with its own help and example."""
    parser = argparse.ArgumentParser(
        prog="python -m fgkit", formatter_class=_Help, epilog=EXIT_CODES, description=_TOUR
    )
    parser.add_argument("--version", action="version", version=f"fgkit {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = cast(_Command, importlib.import_module(f"fgkit.cli.{name}"))
        subparser = subparsers.add_parser(
            name,
            help=command.HELP,
            description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
            epilog=f"example: python -m fgkit {command.EXAMPLE}\n{EXIT_CODES}",
            formatter_class=_Help,
        )
        subparser.set_defaults(
            execute=command.execute,
            parser=subparser,
            free_text=getattr(command, "FREE_TEXT", None),
        )
        subparser.add_argument(
            "--debug", action="store_true", help="show the traceback of an error"
        )
        command.add_arguments(subparser)
    return parser
