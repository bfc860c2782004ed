"""`fgkit glue SOURCE`: the code that joins a tuned model to an app, from the tools the model was trained with.

In: a run folder, a model folder, a `.task`, or a tools file. Out: Dart for flutter_gemma, Kotlin for Android, the tools
as JSON and golden vectors.

>>> for path in make(read_source("run"), "app"): print(path)
app/tools.json
app/golden.json
app/dart/lib/functions/functions.dart
...

Generated files are made again at will, as long as nobody has changed them: `.fgkit-glue.json` beside them keeps the
hash of each. `my_functions.dart` and `MyFunctions.kt` are the user's, written only where they are missing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit import files
from fgkit.dataset import rows as run_rows
from fgkit.dataset.records import Record
from fgkit.errors import FgkitError, ModelError
from fgkit.models import record
from fgkit.prompts import PromptSetup, styles
from fgkit.tools import check_tools, load_tools, tools_hash

from . import dart as app_dart, golden, kotlin as app_kotlin
from .source import App
from .types import KOTLIN, unchecked

if TYPE_CHECKING:
    from fgkit.config import TaskConfig

RECORD = ".fgkit-glue.json"
VECTORS = 50
_DART_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_KOTLIN_PACKAGE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")


@dataclass(frozen=True)
class Source:
    """Where an app's code comes from.

    Args:
        name: what the files call it.
        setup: its checked tools, the developer text and the one prompt style of its training.
        rows: held-out rows for golden vectors; may be none.
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
        path: a run folder, a model folder, a `.task` with the JSON beside it, or a tools file (.py or .json).
        tools: tools file; needed where the model folder is not at hand. It must be the one of the training.
        data: file of the rows for golden vectors; left out, a run's own held-out rows, otherwise none.
        format: one of `formats.FORMATS`.
        style: one of the styles of the training; None for the first.
    Raises:
        FgkitError: there is no such thing, or it does not tell its tools.
        ModelError: tools or style are not those of the training.
        ToolError, DataError: as `load_tools` and `run_rows.load_held_out`.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FgkitError(
            f"{path}: is not there. Give a run folder, a model folder, a .task or a tools file."
        )
    if path.is_file() and path.suffix in (".py", ".json") and not path.name.endswith(".task.json"):
        declared, facts, settings = load_tools(path), {}, {}
    else:
        facts, settings = _facts(path)
        declared = load_tools(Path(tools).expanduser()) if tools else facts.get("tools") or []
        if not declared:
            raise FgkitError(
                f"{path}: does not tell its tools"
                + (
                    ", because every row of its training brought its own"
                    if facts.get("tools") == []
                    else ""
                )
                + ". Give the file they are in (--tools)."
            )
        check_tools(declared, str(path))
        if facts.get("tools_hash") not in (None, tools_hash(declared)):
            raise ModelError(
                f"{path}: was trained with other tools than {tools or 'the model folder beside it has'}. "
                "Give the tools file of the training (--tools): an app must declare the same."
            )
    names = styles.resolve(path, facts.get("style"), style, declared)
    rows = _rows(data, settings, declared, format)
    return Source(
        path.name or path.resolve().name,
        PromptSetup(declared, facts.get("system_message") or "", names[:1]),
        rows,
    )


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
        output: a folder of its own for everything, unless `dart` or `kotlin` is given.
        dart: the root of a Flutter project, to write its files straight into `lib/` and `test/`.
        kotlin: the root of a Gradle module, to write its files straight into `src/`.
        count: most golden vectors, at least 0.
        dart_package: flutter_gemma, or flutter_edge_ai as it is called from 1.11.4 on.
        kotlin_package: the package of the Kotlin files.
    Returns:
        the files, those included that were right already.
    Raises:
        FgkitError: a generated file was changed by hand, or is in the way of one; all are named and nothing is written.
    """
    if (
        not _DART_PACKAGE.fullmatch(dart_package)
        or not _KOTLIN_PACKAGE.fullmatch(kotlin_package)
        or KOTLIN.words & {*kotlin_package.split(".")}
    ):
        raise FgkitError(
            f"packages are {dart_package!r} and {kotlin_package!r}, expected a Dart name such as "
            "flutter_gemma and a Kotlin one such as com.example.app. Correct them."
        )
    if count < 0:
        raise FgkitError(f"rows is {count}, expected 0 or more.")
    setup = source.setup
    app = App(
        setup,
        golden.prompt_text(setup),
        source.name,
        dart_package,
        kotlin_package,
    )
    vectors = _text(
        {
            "style": setup.style,
            "tools_sha256": tools_hash(setup.tools),
            "vectors": golden.vectors(golden.choose(source.rows, count), setup),
        }
    )
    in_dart, in_kotlin = _dart(app, vectors), _kotlin(app, vectors)
    roots = {
        Path(root).expanduser(): parts
        for root, parts in ((dart, in_dart), (kotlin, in_kotlin))
        if root
    }
    if not roots:
        everything = {"tools.json": (_text(setup.tools), False), "golden.json": (vectors, False)}
        everything |= {f"dart/{name}": part for name, part in in_dart.items()}
        roots[Path(output).expanduser()] = everything | {
            f"kotlin/{name}": part for name, part in in_kotlin.items()
        }
    _refuse_changed(roots)
    return [path for root, parts in roots.items() for path in _write(root, parts)]


def notes(source: Source) -> list[str]:
    """What the user must know: runtimes that write another prompt, rules that are not checked, no vectors."""
    trained_in, tools = source.setup.style, source.setup.tools
    found = [
        f"{style.runtime} writes prompts of style {name}, but the model was trained in {trained_in}. "
        + styles.difference(trained_in, name, tools)
        for name, style in styles.STYLES.items()
        if style.runtime and name != trained_in
    ]
    lost = unchecked(tools)
    found += [f"not checked by the generated code: {'; '.join(lost)}"] if lost else []
    return found + (
        [] if source.rows else ["no rows, so golden.json holds no vectors: give some (--data)."]
    )


def make_for_run(settings: TaskConfig, rows: run_rows.Rows) -> str:
    """Write the code of a run's app into `app/` of its folder.

    Args:
        settings: of the notebook to_task.
        rows: the run's.
    Returns:
        the folder, or why nothing was written there, for the user to read: the bundle is finished all the same.
    """
    if not rows.tools:
        return "not written: every row brings its own tools, so an app has none to declare."
    setup = record.prompt_setup(settings.model_folder, rows.tools, settings.style).only()
    source = Source(settings.name, setup, rows.held_out)
    try:
        make(source, settings.folder / "app")
    except FgkitError as error:
        return f"not written: {error}"
    return str(settings.folder / "app")


_Parts = dict[str, tuple[str, bool]]  # by path: the text, and whether it is the user's


def _dart(app: App, vectors: str) -> _Parts:
    return {
        "lib/functions/functions.dart": (app_dart.functions(app), False),
        "lib/functions/function_calls.dart": (app.support("function_calls.dart"), False),
        "lib/functions/my_functions.dart": (app_dart.mine(app), True),
        "test/functions_test.dart": (app_dart.test(app), False),
        "test/golden.json": (vectors, False),
    }


def _kotlin(app: App, vectors: str) -> _Parts:
    folder = app.kotlin_package.replace(".", "/")
    return {
        f"src/main/kotlin/{folder}/Functions.kt": (app_kotlin.functions(app), False),
        f"src/main/kotlin/{folder}/FunctionCalls.kt": (app.support("FunctionCalls.kt"), False),
        f"src/main/kotlin/{folder}/LiteRtLmTools.kt": (app_kotlin.litert_lm(app), False),
        f"src/main/kotlin/{folder}/MyFunctions.kt": (app_kotlin.mine(app), True),
        f"src/test/kotlin/{folder}/FunctionsTest.kt": (app_kotlin.test(app), False),
        "src/test/resources/golden.json": (vectors, False),
    }


def _facts(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What a run folder, model folder or `.task` tells of its training, and the settings of its run."""
    from fgkit.bundles import create as bundle

    if path.is_dir():
        folder = path if (path / "fgkit.json").is_file() else path / "model"
        facts = record.model_facts(folder)
        if not facts:
            raise FgkitError(
                f"{path}: is neither a run folder nor a model folder of fgkit: expected model/fgkit.json "
                "or fgkit.json in it. Give one of these, a .task or a tools file."
            )
        return facts, facts.get("settings") or {}
    task = path.with_suffix("") if path.name.endswith(".task.json") else path
    if task.suffix != ".task":
        raise FgkitError(
            f"{path}: expected a run folder, a model folder, a .task or a tools file (.py or .json)."
        )
    sidecar = bundle.read_bundle(task).sidecar
    if sidecar is None:
        raise FgkitError(
            f"{task}.json: is not there, so nothing is known of the training. Give the run folder, or the "
            "tools file."
        )
    beside = record.model_facts(task.parent / "model")
    same = beside if beside.get("tools_hash") == sidecar.get("tools_hash") else {}
    return {"tools": same.get("tools"), **sidecar}, same.get("settings") or {}


def _rows(
    data: str, settings: Mapping[str, Any], tools: list[dict], format: str
) -> tuple[Record, ...]:
    """The rows that were named, else the held-out rows of the run, split off as it did."""
    from fgkit.dataset.splits import held_out_data, load_data

    if data:
        return held_out_data(Path(data).expanduser(), tools, format=format).held_out
    if not settings:
        return ()
    train, held_out, _ = run_rows.data_files(
        settings.get("data", ""), settings.get("eval_data", "")
    )
    if not Path(train).is_file() or held_out and not Path(held_out).is_file():
        return ()
    return load_data(
        train, held_out, tools, seed=settings["seed"], format=settings.get("data_format", "auto")
    ).held_out


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _known(root: Path) -> dict[str, list[str]]:
    """The hashes that each generated file may have."""
    record = files.read_json(root / RECORD) if (root / RECORD).is_file() else {}
    known = record.get("files") if isinstance(record, dict) else None
    if not isinstance(known, dict):
        return {}
    return {name: hashes for name, hashes in known.items() if isinstance(hashes, list)}


def _present(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError):
        return ""  # no text of ours


def _refuse_changed(roots: Mapping[Path, _Parts]) -> None:
    changed = []
    for root, parts in roots.items():
        known = _known(root)
        for name, (text, theirs) in parts.items():
            present = _present(root / name)
            if (
                not theirs
                and present not in (None, text)
                and _hash(present) not in known.get(name, [])
            ):
                changed.append(str(root / name))
    if changed:
        raise FgkitError(
            "\n".join(
                [
                    *(f"{path}: is not as fgkit glue wrote it" for path in changed),
                    (
                        "Nothing was written, so that no change is lost. Move what you added to my_functions.dart or "
                        "MyFunctions.kt, then delete or rename these files; or choose another folder."
                    ),
                ]
            )
        )


def _write(root: Path, parts: _Parts) -> list[Path]:
    """Write what differs. While files change, the record names old and new hashes: a stop half-way is no change."""
    new = {name: [_hash(text)] for name, (text, theirs) in parts.items() if not theirs}
    known = _known(root)
    if known != known | new:
        files.write_text(
            root / RECORD,
            _text(
                {
                    "files": known
                    | {
                        name: sorted({*known.get(name, []), *hashes})
                        for name, hashes in new.items()
                    }
                }
            ),
        )
    for name, (text, theirs) in parts.items():
        present = _present(root / name)
        if present is None or not theirs and present != text:
            files.write_text(root / name, text)
    if known != known | new:
        files.write_text(root / RECORD, _text({"files": known | new}))
    return [root / name for name in parts]
