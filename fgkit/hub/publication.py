"""Collect what may be published of a finished run: files, hashes and facts for the model card.

For example:

    publication = gather("run")
    [file.name for file in publication.files]
    # ['my-functions.task', 'my-functions.task.json', 'tools.json', 'prompt.txt', ...]

Only files of known names are published, so checkpoints, notebooks and pickles never are. Every
large file is compared with the hash that was recorded when it was made and scored. Paths of this
machine are reduced to file names. Without the data nothing that a user said is published either:
the rows that the gate lists are removed from the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fgkit import checksums, progress, prompts
from fgkit.bundles.read import read_own_record, sidecar_path
from fgkit.chat_types import ToolDeclaration
from fgkit.dataset import rows as run_rows
from fgkit.dataset.splits import load_data
from fgkit.errors import BundleError, FgkitError
from fgkit.evaluation import scores as evaluation
from fgkit.files import sha256
from fgkit.licence import NOTICE, notice_text
from fgkit.models import record
from fgkit.models.folder import MODEL_FILES, check_folder
from fgkit.models.vocabulary import record as vocabulary_record
from fgkit.prompts import styles
from fgkit.prompts.format import DEFAULT_SYSTEM_MSG
from fgkit.record_types import BundleRecord, ModelRecord, Score, Settings, Summary
from fgkit.tools import check_tools
from fgkit.workflow import summary

from .published_files import (
    BUNDLES,
    SAID,
    File,
    json_bytes,
    made,
    published,
    require_no_secrets,
    require_own_files,
    sums,
)

_MODEL_FILES = (*MODEL_FILES, record.NAME, vocabulary_record.FILE)
_AGAIN = "Make it again: python -m fgkit run --output {folder}"


@dataclass(frozen=True)
class Publication:
    """The files and facts of a run that are published.

    Args:
        folder: the run's output folder.
        files: all files except the model card.
        bundles: the record beside each bundle, by the bundle's file name.
        scores: by name: `base` and `tuned`, if they were scored, then each bundle.
        facts: the model's `fgkit.json`.
        doubts: reasons not to publish, as sentences; empty when every bundle passed the gate.
        data_name: file name of the rows that the model was scored on.
        settings: the settings of the run, by notebook.
        prompt: the complete prompt with `SAID` in place of the user's words; "" where the model's
            tools are not known.
    """

    folder: Path
    files: tuple[File, ...]
    bundles: dict[str, BundleRecord]
    scores: dict[str, Score]
    facts: ModelRecord
    doubts: tuple[str, ...]
    data_name: str
    settings: dict[str, Settings]
    prompt: str


def gather(folder: str | Path, *, data: bool = False) -> Publication:
    """Collect what may be published of a run and compare it with the hashes recorded in the run.

    Args:
        folder: the run's output folder.
        data: add the training rows, and the held-out rows if they are in a file of their own.
    Raises:
        FgkitError: no finished run, a record with fields of wrong types, or a symbolic link.
        BundleError: files differ from those that were scored; the message lists all problems.
        ModelError: the model folder is incomplete.
        CheckFailed: a file holds a secret.
    """
    folder = Path(folder).expanduser().absolute()
    paths = bundles(folder)
    require_own_files([folder / summary.NAME, *paths, *map(sidecar_path, paths)], folder)
    run = summary.of_run(folder)
    # data, eval_data, tools and seed are the same in every notebook.
    settings = run["settings"].get("to_task") or Settings()
    model = Path(settings.get("model") or folder / "model").expanduser().absolute()
    if not paths:
        raise FgkitError(
            f"{folder}: holds no .task and no .litertlm yet. Finish the run: python -m fgkit run "
            f"--output {folder}"
        )
    require_own_files((model, *(model / name for name in (*_MODEL_FILES, checksums.NAME))), folder)
    check_folder(model)
    facts = record.model_facts(model)
    if tools := facts.get("tools"):
        check_tools([{**tool} for tool in tools], f"{model / record.NAME}: tools")
    model_files = [path for path in (model / name for name in _MODEL_FILES) if path.is_file()]
    hashes = {
        path: sha256(path)
        for path in progress.bar([*model_files, *paths], desc="hashing", unit="file", leave=False)
    }
    sidecars = {path: _sidecar(path) for path in paths}
    _require_same(folder, sidecars, hashes[model / "model.safetensors"])
    scores = {name: score for name in ("base", "tuned") if (score := _model_score(run, name))}
    for path in paths:
        if score := _score_of(hashes[path], run, sidecars[path]):
            scores[path.name] = score
    prompt = _prompt(facts, sidecars[paths[0]])
    files = _bundle_files(paths, hashes, data)
    if prompt:
        files.append(made("tools.json", json_bytes(facts.get("tools"))))
        files.append(made("prompt.txt", prompt.encode()))
    files += [published(path.name, path, hashes[path], rows_too=data) for path in model_files]
    files.append(made(NOTICE, notice_text().encode()))
    files += _data_files(settings, facts, run, folder) if data else []
    require_no_secrets(files)
    return Publication(
        folder,
        (*files, sums(files)),
        {path.name: sidecars[path] for path in paths},
        {name: evaluation.completed(score) for name, score in scores.items()},
        facts,
        tuple(_doubts(sidecars, scores)),
        Path(settings.get("eval_data") or settings.get("data") or "eval_data.jsonl").name,
        run["settings"],
        prompt,
    )


def _bundle_files(paths: list[Path], hashes: dict[Path, str], data: bool) -> list[File]:
    """Describe the bundles and the record beside each."""
    files = []
    for path in paths:
        files.append(published(path.name, path, hashes[path], rows_too=data))
        files.append(published(f"{path.name}.json", sidecar_path(path), "", rows_too=data))
    return files


def bundles(folder: str | Path) -> list[Path]:
    """List the bundles in a run's folder."""
    return [path for suffix in BUNDLES for path in sorted(Path(folder).glob(f"*{suffix}"))]


def gate_lines(sidecar: BundleRecord) -> list[str]:
    """Return the gate's verdict and rates, without its lines about rows, which quote the user."""
    gate = sidecar.get("gate")
    return [line for line in gate.get("lines", []) if not line.startswith(" ")] if gate else []


def _prompt(facts: ModelRecord, sidecar: BundleRecord) -> str:
    tools = facts.get("tools")
    if not tools:
        return ""
    # Rendered with a plain word in place of SAID, because a style might escape the braces of SAID.
    placeholder = "USER-SAID"
    text = prompts.render(
        prompts.conversation(placeholder, facts.get("system_message") or DEFAULT_SYSTEM_MSG),
        tools,
        add_generation_prompt=True,
        style=styles.split(sidecar.get("style") or styles.DEFAULT)[0],
    )
    return text.replace(placeholder, SAID)


def _sidecar(path: Path) -> BundleRecord:
    beside = sidecar_path(path)
    if not beside.is_file():
        raise BundleError(
            f"{beside}: is missing, so it is not known what {path.name} was made from and whether "
            f"it passed the gate. {_AGAIN.format(folder=path.parent)}"
        )
    return read_own_record(path)


def _require_same(folder: Path, sidecars: Mapping[Path, BundleRecord], weights: str) -> None:
    """Refuse bundles that changed since they were recorded, or were made from another model."""
    problems = [problem for path in sidecars for problem in checksums.problems(path)]
    problems += [
        f"{path}: was made from another model (its .json says "
        f"{str(sidecar.get('model_sha256'))[:12]}…, model.safetensors is {weights[:12]}…)."
        for path, sidecar in sidecars.items()
        if sidecar.get("model_sha256") != weights
    ]
    if problems:
        raise BundleError(
            "\n".join([*problems, "Nothing was published. " + _AGAIN.format(folder=folder)])
        )


def _model_score(run: Summary, name: str) -> Score | None:
    return summary.scores_of(run).get(name)


def _score_of(digest: str, run: Summary, sidecar: BundleRecord) -> Score | None:
    """Find the score of the file with this hash.

    The score in the summary comes first, because it has rows; the record beside the bundle does
    not keep them.
    """
    scores = [*summary.scores_of(run).values(), *(sidecar.get("scores") or {}).values()]
    return next((score for score in scores if score and score.get("sha256") == digest), None)


def _doubts(sidecars: Mapping[Path, BundleRecord], scores: Mapping[str, Score]) -> Iterator[str]:
    for path, sidecar in sidecars.items():
        gate = sidecar.get("gate")
        if path.name not in scores:
            yield f"{path.name} was not scored, so it is not known how well it answers."
        elif not gate:
            yield f"{path.name} was not compared with the model it was made from."
        elif gate.get("passed") is not True:
            reasons = "; ".join(gate_lines(sidecar)[1:]) or "no reason was kept"
            yield f"{path.name} did not pass the gate: {reasons}."


def _data_files(settings: Settings, facts: ModelRecord, run: Summary, folder: Path) -> list[File]:
    """Describe the files with the rows; rows that differ from those of the training are refused."""
    rows, held_out, _ = run_rows.data_files(
        settings.get("data", ""), settings.get("eval_data", ""), settings.get("tools", "")
    )
    require_own_files((Path(path).absolute() for path in (rows, held_out) if path), folder)
    loaded = load_data(
        rows,
        held_out,
        cast("list[ToolDeclaration]", facts.get("tools") or []),
        seed=settings.get("seed", 42),
        format=settings.get("data_format", "auto"),
    )
    tuned = run["tuned"]
    recorded = {
        "training": (facts.get("rows_sha256"), loaded.train),
        "held-out": (tuned.get("rows_sha256") if tuned else None, loaded.held_out),
    }
    changed = [
        name for name, (digest, part) in recorded.items() if digest != run_rows.rows_hash(part)
    ]
    if changed:
        raise FgkitError(
            f"{rows}: the {' and '.join(changed)} rows are not those that the model was trained "
            "and scored on. Restore the file, or publish without the data."
        )
    return [
        made(f"data/{Path(path).name}", Path(path).read_bytes(), purpose)
        for path, purpose in ((rows, "training rows"), (held_out, "held-out rows"))
        if path
    ]
