"""`python -m fgkit glue`: the app's code around a model, in Dart and Kotlin."""

from __future__ import annotations

import argparse

from .options import add_data, add_format

HELP = "write an app's code in Dart and Kotlin: tools, typed functions, dispatcher, golden vectors"
EXAMPLE = "glue run --output app"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    command.add_argument(
        "path",
        metavar="SOURCE",
        help="a run folder, a model folder, a .task, or tools (.py or .json)",
    )
    command.add_argument(
        "--output", metavar="DIR", default="app", help="folder for everything (default: app)"
    )
    command.add_argument("--dart", metavar="DIR", help="instead: a Flutter project to write into")
    command.add_argument("--kotlin", metavar="DIR", help="instead: a Gradle module to write into")
    command.add_argument(
        "--tools", metavar="FILE", default="", help="tools, if SOURCE does not name them"
    )
    add_data(command, "rows for golden vectors (default: the run's)")
    add_format(command)
    command.add_argument(
        "--rows",
        metavar="N",
        type=int,
        default=50,
        help="at most this many golden vectors (default: %(default)s)",
    )
    command.add_argument(
        "--style",
        metavar="STYLE",
        help="prompt style, one of the training's (default: its first)",
    )
    command.add_argument(
        "--dart-package",
        metavar="NAME",
        default="flutter_gemma",
        help="the plugin: flutter_gemma (default) or flutter_edge_ai, its name from 1.11.4 on",
    )
    command.add_argument(
        "--kotlin-package",
        metavar="NAME",
        default="functions",
        help="package of the Kotlin files (default: %(default)s)",
    )


def execute(options: argparse.Namespace) -> int:
    """Write an app's code in Dart and Kotlin and name each file."""
    from fgkit.app import codegen
    from fgkit.app.model_source import read_source

    source = read_source(
        options.path,
        tools=options.tools,
        data=options.data,
        format=options.format,
        style=options.style,
    )
    written = codegen.make(
        source,
        options.output,
        dart=options.dart,
        kotlin=options.kotlin,
        count=options.rows,
        dart_package=options.dart_package,
        kotlin_package=options.kotlin_package,
    )
    for path in written:
        print(path)
    for note in codegen.notes(source):
        print(f"note: {note}")
    return 0
