"""What a run writes into its folder, checked before any work begins.

A run replaces only files that fgkit wrote and nobody changed. Everything else that has a name which
a stage would write is listed in one refusal, and so are inputs that lie where the run writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fgkit import licence, ownership
from fgkit.atomic_files import require_ours, same_file
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.task import TaskConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.errors import FgkitError
from fgkit.export.quantization import QUANTIZATIONS
from fgkit.training import checkpoints

from . import manifest, summary

_SHARED = (summary.NAME, manifest.NAME, "scores.png", "confusion.png")
_FINETUNE = ("model", "report.json", "report.png", "loss.png")


def claim(plans: Mapping[str, manifest.StageSettings], *, notebooks: bool) -> None:
    """Refuse to start if something of somebody else's is in the way; mark the folder as fgkit's.

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
    problems = [line for own in plans.values() for line in _inputs_in_the_way(own, paths)]
    folder = checkpoints.folder_of(settings.folder)
    if "finetune" in plans and not checkpoints.is_ours(folder):
        problems.append(
            f"{folder}: was not made by fgkit, and training keeps its checkpoints there"
        )
    if problems:
        raise FgkitError(
            "\n".join([*dict.fromkeys(problems), "Nothing was changed. Choose another --output."])
        )
    require_ours(paths)
    ownership.mark(settings.folder)


def written_by(settings: manifest.StageSettings) -> list[Path]:
    """List the files and folders that a stage writes; of converted networks those that exist."""
    folder = settings.folder
    if isinstance(settings, FinetuneConfig):
        names = [*_FINETUNE, *([f"base-{settings.vocab_size}"] if settings.vocab_size else [])]
        return [folder / name for name in names]
    if isinstance(settings, TfliteConfig):
        # The size of the KV cache is chosen during conversion, so any size may be written.
        stem = f"{settings.name}_{QUANTIZATIONS[settings.quantize].suffix}_ekv"
        return [
            path
            for path in sorted(folder.glob(f"{stem}*"))
            if path.name.removeprefix(stem).partition(".")[0].isdigit()
        ]
    bundles = (f"{settings.name}.task", f"{settings.name}.litertlm")
    names = [name for bundle in bundles for name in (bundle, f"{bundle}.json")]
    return [folder / name for name in (*names, licence.NOTICE)]


def _inputs_in_the_way(settings: manifest.StageSettings, paths: Iterable[Path]) -> list[str]:
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
        source = Path(value).expanduser()
        around = [source, *source.absolute().parents]
        place = next((p for p in places if any(same_file(p, outer) for outer in around)), None)
        if place is not None:
            problems.append(
                f"{option} {value}: lies where the run writes ({place}); it would be replaced"
            )
    return problems
