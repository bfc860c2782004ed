"""`fgkit glue SOURCE`: generate the code between a tuned model and an app.

In: a run folder, a model folder, a `.task`, or a tools file. Out: Dart for flutter_gemma, Kotlin
for Android, the tools as JSON, and golden vectors for the app's own tests.

For example:

    for path in make(read_source("run"), "app"):
        print(path)
    # app/tools.json
    # app/golden.json
    # app/dart/lib/functions/functions.dart
    # ...

Generated files can be made again at any time, as long as nobody has changed them (see
`generated_files`). `my_functions.dart` and `MyFunctions.kt` belong to the user and are written only
where they are missing.
"""

from __future__ import annotations

import re
from pathlib import Path

from fgkit.dataset import rows as run_rows
from fgkit.errors import FgkitError
from fgkit.models import record
from fgkit.prompts import styles
from fgkit.tools import tools_hash

from . import dart as dart_code, golden, kotlin as kotlin_code
from .generated_files import GeneratedFile, json_text, refuse_changed, write
from .languages import KOTLIN
from .model_source import Source
from .planning import unchecked
from .source_code import App

VECTORS = 50
_DART_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_KOTLIN_PACKAGE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")


def make(
    source: Source,
    output: str | Path = "app",
    *,
    dart: str | Path | None = None,
    kotlin: str | Path | None = None,
    count: int = VECTORS,
    dart_package: str = "flutter_gemma",
    kotlin_package: str = "functions",
) -> list[Path]:
    """Write an app's code; the same source gives the same bytes.

    Args:
        source: from `read_source`.
        output: a folder for all files, used unless `dart` or `kotlin` is given.
        dart: the root of a Flutter project, to write straight into its `lib/` and `test/`.
        kotlin: the root of a Gradle module, to write straight into its `src/`.
        count: the largest number of golden vectors, at least 0.
        dart_package: flutter_gemma, or flutter_edge_ai as it is called from 1.11.4 on.
        kotlin_package: the package of the Kotlin files.
    Returns:
        the path of every file, also of those that were up to date.
    Raises:
        FgkitError: a package name or `count` is invalid, or a generated file was changed by hand;
            the message names all of these files, and nothing is written.
    """
    _check_package_names(dart_package, kotlin_package)
    if count < 0:
        raise FgkitError(f"rows is {count}, expected 0 or more.")
    setup = source.setup
    app = App(setup, golden.prompt_text(setup), source.name, dart_package, kotlin_package)
    vectors = GeneratedFile(_golden_json(source, count))
    dart_files, kotlin_files = _dart_files(app, vectors), _kotlin_files(app, vectors)
    folders: dict[Path, dict[str, GeneratedFile]] = {}
    for root, parts in ((dart, dart_files), (kotlin, kotlin_files)):
        if root:
            # Both may go into the same folder.
            folders.setdefault(Path(root).expanduser(), {}).update(parts)
    if not folders:
        folders[Path(output).expanduser()] = {
            "tools.json": GeneratedFile(json_text(setup.tools)),
            "golden.json": vectors,
            **{f"dart/{name}": part for name, part in dart_files.items()},
            **{f"kotlin/{name}": part for name, part in kotlin_files.items()},
        }
    # Both roots are checked before anything is written into one of them.
    refuse_changed(folders)
    return [path for folder, parts in folders.items() for path in write(folder, parts)]


def notes(source: Source) -> list[str]:
    """List what the user should know about the generated code.

    Args:
        source: from `read_source`.
    Returns:
        a sentence for each runtime that writes another prompt than that of the training, for schema
        keywords that are not checked, and for missing golden vectors.
    """
    trained_in, tools = source.setup.style, source.setup.tools
    lines = [
        f"{style.runtime} writes prompts of style {name}, but the model was trained in "
        f"{trained_in}. " + styles.difference(trained_in, name, tools)
        for name, style in styles.STYLES.items()
        if style.runtime and name != trained_in
    ]
    if keywords := unchecked(tools):
        lines.append(f"not checked by the generated code: {'; '.join(keywords)}")
    if not source.rows:
        lines.append("no rows, so golden.json holds no vectors: give some (--data).")
    return lines


def make_for_run(
    folder: Path, model_folder: Path, rows: run_rows.RunData, *, name: str, style: str | None = None
) -> str:
    """Write the code of a run's app into the run's folder.

    Args:
        folder: the run's folder; the code goes into its `app/`.
        model_folder: the tuned model, whose `fgkit.json` says how it is prompted.
        rows: the run's.
        name: what the generated files call the model.
        style: one of the styles of the training; None for the first.
    Returns:
        the folder of the code, or for the user the reason why nothing was written. That is no
        error, because the bundle is finished all the same.
    """
    if not rows.tools:
        return "not written: every row brings its own tools, so an app has none to declare."
    setup = record.prompt_setup(model_folder, rows.tools, style).only()
    source = Source(name, setup, rows.held_out)
    try:
        make(source, folder / "app")
    except FgkitError as error:
        return f"not written: {error}"
    return str(folder / "app")


def _check_package_names(dart_package: str, kotlin_package: str) -> None:
    # The names go into the generated code unquoted, so this check also keeps other code out of it.
    if (
        not _DART_PACKAGE.fullmatch(dart_package)
        or not _KOTLIN_PACKAGE.fullmatch(kotlin_package)
        or KOTLIN.words & {*kotlin_package.split(".")}
    ):
        raise FgkitError(
            f"packages are {dart_package!r} and {kotlin_package!r}, expected a Dart name such as "
            "flutter_gemma and a Kotlin one such as com.example.app. Correct them."
        )


def _golden_json(source: Source, count: int) -> str:
    rows = golden.choose(source.rows, count)
    return json_text(
        {
            "style": source.setup.style,
            "tools_sha256": tools_hash(source.setup.tools),
            "vectors": golden.vectors(rows, source.setup),
        }
    )


def _dart_files(app: App, vectors: GeneratedFile) -> dict[str, GeneratedFile]:
    return {
        "lib/functions/functions.dart": GeneratedFile(dart_code.functions(app)),
        "lib/functions/function_calls.dart": GeneratedFile(app.support("function_calls.dart")),
        "lib/functions/my_functions.dart": GeneratedFile(
            dart_code.my_functions(app), user_owned=True
        ),
        "test/functions_test.dart": GeneratedFile(dart_code.golden_test(app)),
        "test/golden.json": vectors,
    }


def _kotlin_files(app: App, vectors: GeneratedFile) -> dict[str, GeneratedFile]:
    package = app.kotlin_package.replace(".", "/")
    main, test = f"src/main/kotlin/{package}", f"src/test/kotlin/{package}"
    return {
        f"{main}/Functions.kt": GeneratedFile(kotlin_code.functions(app)),
        f"{main}/FunctionCalls.kt": GeneratedFile(app.support("FunctionCalls.kt")),
        f"{main}/LiteRtLmTools.kt": GeneratedFile(kotlin_code.litert_lm(app)),
        f"{main}/MyFunctions.kt": GeneratedFile(kotlin_code.my_functions(app), user_owned=True),
        f"{test}/FunctionsTest.kt": GeneratedFile(kotlin_code.golden_test(app)),
        "src/test/resources/golden.json": vectors,
    }
