"""What a run writes into its folder, checked before any work begins.

A run replaces only files that fgkit wrote and nobody changed. Everything else that has a name which
a stage would write is listed in one refusal, and so are inputs that lie where the run writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fgkit import licence, ownership
from fgkit.atomic_files import NOTHING_CHANGED, require_ours
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.errors import FgkitError
from fgkit.outputs import lies_in
from fgkit.training import checkpoints

from . import locks, manifest, summary

_SHARED = (summary.NAME, manifest.NAME, "scores.png", "confusion.png")
_FINETUNE = ("model", "report.json", "report.png", "loss.png")


def claim(plans: Mapping[str, manifest.StageSettings], *, notebooks: bool) -> None:
    """Refuse to start if something of somebody else's is in the way; mark the folder as fgkit's.

    Args and errors are those of `require_free`.
    """
    require_free(plans, notebooks=notebooks)
    ownership.mark(next(iter(plans.values())).folder)


def require_free(plans: Mapping[str, manifest.StageSettings], *, notebooks: bool) -> None:
    """Refuse to start if something of somebody else's is in the way; nothing is changed.

    Args:
        plans: the settings of the stages that will run, by their names; all have the same folder.
        notebooks: whether the executed notebooks are written, too.
    Raises:
        FgkitError: with every file in the way, and every input where the run writes.
    """
    settings = next(iter(plans.values()))
    paths = [settings.folder / name for name in _SHARED]
    for stage, own in plans.items():
        paths += written_by(own)
        paths += [settings.folder / f"{stage}.ipynb"] if notebooks else []
    problems = [line for own in plans.values() for line in inputs_in_the_way(own, paths)]
    folder = checkpoints.folder_of(settings.folder)
    if "finetune" in plans and not checkpoints.is_ours(folder):
        problems.append(
            f"{folder}: was not made by fgkit, and training keeps its checkpoints there"
        )
    require_no_problems(settings.folder, problems, paths)


def require_no_problems(folder: Path, problems: Iterable[str], paths: Iterable[Path]) -> None:
    """Refuse with everything that is in the way, in one message.

    Args:
        folder: the run's folder, whose locks and record must be fgkit's, too.
        problems: sentences about what was found already.
        paths: the files and folders that will be written.
    Raises:
        FgkitError: there is a problem, or a file of somebody else's.
    """
    paths = list(paths)
    found = [*dict.fromkeys(problems), *locks.problems(folder)]
    found += [
        f"{path}: is a folder, and a file is going to be written there"
        for path in paths
        if path.suffix and path.is_dir() and not path.is_symlink()
    ]
    for check in (
        lambda: ownership.require_record(folder),
        lambda: require_ours(paths),
    ):
        try:
            check()
        except FgkitError as error:
            found += [
                line for line in str(error).splitlines() if not line.startswith("Nothing was")
            ]
    if found:
        found = list(dict.fromkeys(found))
        raise FgkitError("\n".join([*found, NOTHING_CHANGED]))


def written_by(settings: manifest.StageSettings) -> list[Path]:
    """List the files and folders that a stage writes; of converted networks those that exist.

    Any other network with the run's name counts as written, too: to_task bundles the only one.
    """
    folder = settings.folder
    if isinstance(settings, FinetuneConfig):
        names = [*_FINETUNE, *([f"base-{settings.vocab_size}"] if settings.vocab_size else [])]
        return [folder / name for name in names]
    if isinstance(settings, TfliteConfig):
        endings = (".tflite", ".tflite.json")
        return [
            path
            for path in sorted(folder.glob(f"{settings.name}_*"))
            if path.name.endswith(endings)
        ]
    bundles = (f"{settings.name}.task", f"{settings.name}.litertlm")
    names = [name for bundle in bundles for name in (bundle, f"{bundle}.json")]
    return [folder / name for name in (*names, licence.NOTICE)]


def inputs_in_the_way(settings: manifest.StageSettings, paths: Iterable[Path]) -> list[str]:
    """Say which inputs are, or lie in, something that the run writes."""
    inputs = {"--data": settings.data, "--eval": settings.eval_data, "--tools": settings.tools}
    if isinstance(settings, FinetuneConfig):
        inputs["--base"] = settings.base if Path(settings.base).expanduser().is_dir() else ""
    if isinstance(settings, TaskConfig | TfliteConfig) and settings.model:
        inputs["--model"] = settings.model
    places = [*paths, checkpoints.folder_of(settings.folder)]
    problems = []
    for option, value in inputs.items():
        if not value:
            continue
        place = next((place for place in places if lies_in(Path(value), place)), None)
        if place is not None:
            problems.append(
                f"{option} {value}: lies where the run writes ({place}); it would be replaced"
            )
    return problems
