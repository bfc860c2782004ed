"""The three notebooks in order, headless: `python -m fgkit run`.

In: parameters. Out: a folder with the executed notebooks, `model/`, the `.tflite`, the `.task` and `summary.json`. A
stage whose inputs, settings and code are the same as last time, and whose outputs still have the hashes written down
then, is skipped.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import progress, scoring, summary
from .config import FinetuneConfig, TaskConfig, TfliteConfig, unknown_parameter
from .errors import CheckFailed, ConfigError, FgkitError, PackageError
from .files import read_json, sha256, shipped, write_json

NOTEBOOKS = {"finetune": FinetuneConfig, "to_tflite": TfliteConfig, "to_task": TaskConfig}
MANIFEST = "manifest.json"
_OUTPUTS = {"finetune": ("model/*",), "to_tflite": ("{name}_*.tflite", "{name}_*.tflite.json"),
            "to_task": ("{name}.task", "{name}.task.json")}
_USER_FILES = ("data", "eval_data", "tools")


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    """Execute the notebooks into `parameters["output"]` and return the summary.

    Args:
        parameters: values for the notebooks' parameters; each goes to every notebook that declares it. With `model`,
            a folder tuned elsewhere, `finetune` is left out.
    Raises:
        ConfigError: a parameter no notebook declares, or wrong values, all named together before anything runs.
        CheckFailed: a check or the gate found a problem; other FgkitErrors say what could not be done.
    """
    names = list(NOTEBOOKS)[1 if parameters.get("model") else 0:]
    plans = plan(parameters, names)
    folder = plans[names[0]].folder
    with only_run(folder):
        return _run_notebooks(folder, plans)


def _run_notebooks(folder: Path, plans: dict[str, Any]) -> dict[str, Any]:
    manifest, names = _read_manifest(folder), list(plans)
    if not (folder / summary.NAME).is_file():  # the scores are outputs, too
        _forget(manifest, names)
    if plans["to_task"].model_folder != folder / "model":
        summary.update(folder, base=None)  # what this folder's own training started from is not this model's base
        _forget(manifest, ["finetune"])
    for number, (name, settings) in enumerate(plans.items(), 1):
        fingerprint = _fingerprint(name, settings)
        title = f"[{number}/{len(plans)}] {name}"
        if _is_done(folder, manifest.get(name), fingerprint):
            print(f"{title}: already done for the same inputs, skipped")
            continue
        print(f"{title}: running, notebook {folder / name}.ipynb", flush=True)
        _forget(manifest, names[number - 1:])  # the later ones, too: this one may begin a summary without their scores
        write_json(folder / MANIFEST, manifest)
        recorded = manifest.get(name, {}).get("outputs", {})
        earlier = {*_outputs(folder, name, settings), *(folder / output for output in recorded)}
        earlier = {path: path.stat().st_mtime_ns for path in earlier if path.is_file()}
        if name == "finetune" and not _intact(folder, recorded):
            (folder / "model" / "fgkit.json").unlink(missing_ok=True)  # without it, a damaged model is not kept
        start = time.monotonic()
        _execute(name, folder, _values(settings))
        seconds = round(time.monotonic() - start, 1)
        if name != "finetune":  # training replaces its folder whole
            for path, written in earlier.items():
                if path.is_file() and path.stat().st_mtime_ns == written:
                    path.unlink()  # of another name or quantisation: exactly one is to remain
        outputs = _outputs(folder, name, settings)
        manifest[name] = {"fingerprint": fingerprint, "seconds": seconds,
                          "outputs": {str(path.relative_to(folder)): sha256(path) for path in outputs}}
        write_json(folder / MANIFEST, manifest)
        summary.update(folder, seconds={name: seconds})
    return summary.read(folder)


def plan(parameters: dict[str, Any], names: Iterable[str] = tuple(NOTEBOOKS)) -> dict[str, Any]:
    """Check every parameter and build the settings of each notebook.

    Args:
        parameters: values by name.
        names: the notebooks that will run.
    Raises:
        ConfigError: all problems of all notebooks.
    """
    declared = {name: declared_parameters(name) for name in names}
    known = sorted({parameter for values in declared.values() for parameter in values})
    problems = [unknown_parameter(parameter, known) for parameter in parameters if parameter not in known]
    plans = {}
    for name, defaults in declared.items():
        try:
            plans[name] = NOTEBOOKS[name](**defaults | {key: parameters[key] for key in parameters if key in defaults})
        except ConfigError as error:
            problems += [line for line in str(error).splitlines() if line not in problems]
    if problems:
        raise ConfigError("\n".join(problems))
    return plans


def read_parameters(path: str | Path) -> dict[str, Any]:
    """Read a papermill parameter file: a YAML mapping of parameter names to values, such as `output: run_home`.

    Args:
        path: the file; paths in it are relative to the working directory, as they are for papermill.
    Returns:
        The values as YAML types them; `plan` checks names and values.
    Raises:
        ConfigError: the file cannot be read, is no YAML or no mapping of names, or says a name twice.
    """
    import yaml

    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
        tree, values = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}. Name a parameter file.") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: no YAML: {error.problem}. Write lines such as `output: my_run`.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are no UTF-8, a 31st of June
        raise ConfigError(f"{path}: no YAML: {error}. Write lines such as `output: my_run`.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: found {type(values).__name__}, expected a mapping: lines such as `output: my_run`.")
    problems, seen = [], set()
    for key, _ in tree.value:
        place = f"{path}:{key.start_mark.line + 1}"
        if key.tag != "tag:yaml.org,2002:str":
            problems.append(f"{place}: the name is {key.value!r}, expected text. Put a parameter's name there.")
        elif key.value in seen:
            problems.append(f"{place}: {key.value!r} stands there twice. Keep one of the lines.")
        seen.add(str(key.value))
    if problems:
        raise ConfigError("\n".join(problems))
    return values


def declared_parameters(name: str) -> dict[str, Any]:
    """Parameters and defaults of one notebook, read from its parameters cell."""
    cells = [cell for cell in json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
             if "parameters" in cell["metadata"].get("tags", [])]
    (cell,) = cells
    statements = ast.parse("".join(cell["source"])).body
    return {node.targets[0].id: ast.literal_eval(node.value) for node in statements}


def notebook_path(name: str) -> Path:
    """Where a notebook of this fgkit lies."""
    return shipped("notebooks", f"{name}.ipynb")


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Refuse a second run in one folder; the operating system frees the lock of a process that died.

    Args:
        folder: the run's; it is made where it is missing.
    Raises:
        FgkitError: another run is writing there, or nobody can.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise FgkitError(f"{folder}: another run is writing here. Wait for it, or choose another --output.") from error
    except OSError as error:
        raise FgkitError(f"{folder}: cannot be written: {error.strerror or error}. Choose another --output.") from error
    try:
        yield
    finally:
        lock.release()


def _values(settings: Any) -> dict[str, Any]:
    """The settings as notebook parameters, with absolute paths, because kernels start in the output folder."""
    values = {name: getattr(settings, name) for name in vars(settings)}
    for key in ("output", "model", *_USER_FILES):
        if values.get(key):
            values[key] = str(Path(values[key]).expanduser().absolute())
    if values.get("base") and Path(values["base"]).expanduser().is_dir():
        values["base"] = str(Path(values["base"]).expanduser().absolute())
    return values


def _execute(name: str, folder: Path, values: dict[str, Any]) -> None:
    missing = [package for package in ("papermill", "ipykernel") if importlib.util.find_spec(package) is None]
    if missing:
        raise PackageError(f"`run` needs {' and '.join(missing)}. Install: pip install -r requirements/all.txt, "
                           "or pip install 'fgkit[all]'.")
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    package_parent = str(Path(__file__).parent.parent)
    environment = {
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not one of the same name in the home folder
        "PYTHONPATH": os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")])),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    try:
        with progress.relayed():
            papermill.execute_notebook(str(notebook_path(name)), str(folder / f"{name}.ipynb"), parameters=values,
                                       kernel_name="python3", cwd=str(folder), progress_bar=False, log_output=False)
    except PapermillExecutionError as error:
        raise _error_of(error, folder / f"{name}.ipynb") from error
    except DeadKernelError as error:
        raise FgkitError(f"{folder / name}.ipynb: the system killed it, most likely for lack of memory. Close other "
                         "programs and run the same command again: it goes on where it stopped.") from error
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _error_of(error: Any, notebook: Path) -> FgkitError:
    """The user's error as it was raised in the kernel, or any other with the place to look at."""
    from . import errors

    kind = getattr(errors, error.ename, None)
    if isinstance(kind, type) and issubclass(kind, CheckFailed):
        return CheckFailed(f"{error.evalue}\n(the executed notebook: {notebook})")
    if isinstance(kind, type) and issubclass(kind, FgkitError):
        return FgkitError(f"{error.evalue}\n(the executed notebook: {notebook})")
    return FgkitError(f"{notebook}: cell {error.exec_count} failed with {error.ename}: {error.evalue}\n"
                      "Open the notebook to see the whole traceback.")


def _fingerprint(name: str, settings: Any) -> str:
    """Hash of everything a stage's outputs depend on: settings, contents of files, code, package versions."""
    values = {key: value for key, value in vars(settings).items() if key not in ("output", "model", *_USER_FILES)}
    inputs = scoring.data_files(settings.data, settings.eval_data, settings.tools)
    contents = [sha256(path) if path else "" for path in inputs]
    if name == "finetune":
        if settings.base and Path(settings.base).expanduser().is_dir():
            contents.append(_weights(Path(settings.base).expanduser()))
        contents.append(str(_has_token()))
    else:
        contents.append(_weights(settings.model_folder))
    if name == "to_task":
        contents += [sha256(path) for path in sorted(settings.folder.glob(f"{settings.name}_*.tflite"))]
    code = [sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))] + [sha256(notebook_path(name))]
    text = json.dumps([name, values, contents, code, summary.versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _weights(folder: Path) -> str:
    path = folder / "model.safetensors"
    return sha256(path) if path.is_file() else "none"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token())


def _outputs(folder: Path, name: str, settings: Any) -> list[Path]:
    """The files of a stage that are there."""
    patterns = [pattern.format(name=getattr(settings, "name", "")) for pattern in _OUTPUTS[name]]
    return [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]


def _read_manifest(folder: Path) -> dict[str, Any]:
    return read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}


def _forget(manifest: dict[str, Any], names: Iterable[str]) -> None:
    """Have these stages run again; which files they wrote stays known, so that those can be replaced."""
    for name in names:
        if name in manifest:
            manifest[name]["fingerprint"] = None


def _is_done(folder: Path, entry: dict[str, Any] | None, fingerprint: str) -> bool:
    same = bool(entry and entry["outputs"]) and entry["fingerprint"] == fingerprint
    return same and _intact(folder, entry["outputs"])


def _intact(folder: Path, outputs: dict[str, str]) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in outputs.items())
