"""Execute the three notebooks in order, without a browser: `python -m fgkit run`.

The parameters of the notebooks come in. A folder with the executed notebooks, `model/`, the
`.tflite`, the `.task` and `summary.json` goes out. A stage is skipped if its inputs, settings and
code are the same as last time and its outputs still have the recorded hashes (manifest.py).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fgkit import files, progress
from fgkit.atomic_files import remove
from fgkit.config.notebooks import unknown_parameter
from fgkit.errors import CheckFailed, ConfigError, FgkitError, PackageError
from fgkit.locations import shipped
from fgkit.record_types import StageRecord, Summary
from fgkit.subprocesses import python_path

from . import locks, manifest, summary
from .claims import claim, require_free
from .manifest import NOTEBOOKS

_USER_FILES = ("data", "eval_data", "tools")


def run(parameters: dict[str, Any]) -> Summary:
    """Execute the notebooks into `parameters["output"]` and return the summary.

    Args:
        parameters: values by name; each is passed to every notebook that declares it. With `model`,
            the folder of a model tuned elsewhere, the notebook `finetune` is left out.
    Raises:
        ConfigError: names that no notebook declares, or wrong values; the message lists all of
            them, and nothing was executed.
        CheckFailed: a check or the gate found a problem.
        FgkitError: something else could not be done.
    """
    names = list(NOTEBOOKS)[1 if parameters.get("model") else 0 :]
    plans = plan(parameters, names)
    folder = plans[names[0]].folder
    if not locks.are_there(folder):  # the locks are files, too, and nothing is to be changed
        require_free(plans, notebooks=True)
    with locks.only_run(folder):
        claim(plans, notebooks=True)
        return _run_notebooks(folder, plans)


def _run_notebooks(folder: Path, plans: dict[str, Any]) -> Summary:
    # The scores are outputs, too: without them every stage runs again.
    if not (folder / summary.NAME).is_file():
        manifest.forget(folder, plans)
    if plans["to_task"].model_folder != folder / "model":
        # A score in this folder is that of the base of its own training, not of this model's base.
        summary.update(folder, base=None)
        manifest.forget(folder, ["finetune"])
    for number, (name, settings) in enumerate(plans.items(), 1):
        title = f"[{number}/{len(plans)}] {name}"
        if manifest.is_done(folder, name, settings):
            print(f"{title}: already done for the same inputs, skipped")
            continue
        for change in manifest.changed(folder, name):
            print(f"{title}: {change}: it is made again")
        print(f"{title}: running, notebook {folder / name}.ipynb", flush=True)
        # The later stages, too, because this one may start a new summary without their scores.
        manifest.forget(folder, list(plans)[number - 1 :])
        recorded = manifest.read(folder).get(name, StageRecord()).get("outputs", {})
        paths = {*manifest.outputs(settings), *(folder / output for output in recorded)}
        earlier = {path: _stamp(path) for path in paths if path.is_file()}
        start = time.monotonic()
        try:
            _execute(name, folder, _values(settings))
        except BaseException as error:
            manifest.failed(folder, name, error)
            raise
        # Outputs with another name or quantization are removed, so that exactly one remains.
        # Training replaces its complete folder.
        if name != "finetune":
            for path, stamp in earlier.items():
                if path.is_file() and _stamp(path) == stamp:
                    remove(path)
        seconds = round(time.monotonic() - start, 1)
        manifest.settle(settings, seconds)
        summary.update(folder, seconds={name: seconds})
    return summary.read(folder)


def _stamp(path: Path) -> tuple[int, int]:
    """Identify the present version of a file, without relying on the clock alone."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def plan(parameters: dict[str, Any], names: Iterable[str] = tuple(NOTEBOOKS)) -> dict[str, Any]:
    """Check every parameter and build the settings of each notebook.

    Args:
        parameters: values by name.
        names: the notebooks that will be executed.
    Returns:
        the settings by notebook.
    Raises:
        ConfigError: names or values are wrong; the message lists all problems of all notebooks.
    """
    declared = {name: declared_parameters(name) for name in names}
    known = sorted({parameter for values in declared.values() for parameter in values})
    problems = [
        unknown_parameter(parameter, known) for parameter in parameters if parameter not in known
    ]
    plans = {}
    for name, defaults in declared.items():
        try:
            plans[name] = NOTEBOOKS[name](
                **defaults | {key: parameters[key] for key in parameters if key in defaults}
            )
        except ConfigError as error:
            problems += [line for line in str(error).splitlines() if line not in problems]
    if problems:
        raise ConfigError("\n".join(problems))
    return plans


def declared_parameters(name: str) -> dict[str, Any]:
    """Read the parameters of a notebook, with their defaults, from its parameters cell."""
    cells = [
        cell
        for cell in json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    (cell,) = cells
    statements = ast.parse("".join(cell["source"])).body
    return {
        target.id: ast.literal_eval(statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


def notebook_path(name: str) -> Path:
    """Return the path of a notebook of this fgkit."""
    return shipped("notebooks", f"{name}.ipynb")


def _values(settings: Any) -> dict[str, Any]:
    """Return settings as notebook parameters.

    Paths are made absolute, because kernels start in the output folder.
    """
    values = {name: getattr(settings, name) for name in vars(settings)}
    for key in ("output", "model", *_USER_FILES):
        if values.get(key):
            values[key] = str(Path(values[key]).expanduser().absolute())
    if values.get("base") and Path(values["base"]).expanduser().is_dir():
        values["base"] = str(Path(values["base"]).expanduser().absolute())
    return values


def _execute(name: str, folder: Path, values: dict[str, Any]) -> None:
    missing = [
        package
        for package in ("papermill", "ipykernel")
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise PackageError(
            f"`run` needs {' and '.join(missing)}. Install: pip install -r requirements/all.txt, "
            "or pip install 'fgkit[all]'."
        )
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.iorw import LocalHandler, papermill_io

    class WholeFiles(LocalHandler):
        """Write the notebook, as papermill does after every cell, so that it is always complete."""

        def write(self, buf: str, path: str) -> None:
            files.write_text(path, buf)

    environment = {
        # Use the kernel of this environment, not one with the same name in the home folder.
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": python_path(),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    papermill_io.register(str(folder / f"{name}.ipynb"), WholeFiles())
    try:
        with progress.relayed():
            papermill.execute_notebook(
                str(notebook_path(name)),
                str(folder / f"{name}.ipynb"),
                parameters=values,
                kernel_name="python3",
                cwd=str(folder),
                progress_bar=False,
                log_output=False,
                # A kernel that is stopped logs errors.
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
    except PapermillExecutionError as error:
        raise _error_of(error, folder / f"{name}.ipynb") from error
    except DeadKernelError as error:
        raise FgkitError(
            f"{folder / name}.ipynb: the system killed it, most likely for lack of memory. Close "
            "other programs and run the same command again: it goes on where it stopped."
        ) from error
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _error_of(error: Any, notebook: Path) -> FgkitError:
    """Return an FgkitError of the kernel as raised there; for any other error, name the cell."""
    from fgkit import errors

    kind = getattr(errors, error.ename, None)
    if isinstance(kind, type) and issubclass(kind, CheckFailed):
        return CheckFailed(f"{error.evalue}\n(the executed notebook: {notebook})")
    if isinstance(kind, type) and issubclass(kind, FgkitError):
        return FgkitError(f"{error.evalue}\n(the executed notebook: {notebook})")
    return FgkitError(
        f"{notebook}: cell {error.exec_count} failed with {error.ename}: {error.evalue}\n"
        "Open the notebook to see the whole traceback."
    )
