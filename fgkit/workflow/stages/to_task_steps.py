"""The steps of the notebook `to_task`: build both bundles, check, run and judge them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fgkit import checks, checksums
from fgkit.bundles import checks as bundle_checks, create as bundle, profiles, read as bundle_files
from fgkit.config.task import TaskConfig
from fgkit.dataset.rows import RunData, hash_of
from fgkit.errors import FgkitError, ModelError
from fgkit.evaluation import prompting_modes
from fgkit.evaluation.gate import Verdict, gate, together
from fgkit.evaluation.score_model import score_bundle
from fgkit.evaluation.scores import without_rows
from fgkit.files import sha256
from fgkit.models.record import (
    model_facts,
    prompt_setup,
    require_same_tools,
)
from fgkit.prompts import styles
from fgkit.record_types import Score
from fgkit.runtime import speed
from fgkit.workflow import summary
from fgkit.workflow.recording import step

from .score_steps import score_tuned


@step
def bundle_task(settings: TaskConfig, rows: RunData) -> Path:
    """Build the `.task` from the `.tflite` of the run, read it back and compare every field.

    Args:
        settings: the settings of the notebook.
        rows: the rows of the run; a bundle with embedded declarations needs their developer turn.
    Returns:
        the path of the `.task`.
    Raises:
        ModelError: the model was tuned with other tools, or there is not exactly one `.tflite`.
        BundleError: the `.tflite` changed after its conversion.
    """
    folder = settings.model_folder
    require_same_tools(folder, rows)
    setup = prompt_setup(folder, rows.tools, settings.style)
    profile = prompting_modes.profile_for(settings.profile, rows)
    sent = profiles.PROFILES[profile].plugin_style
    if sent and sent not in setup.styles:
        print(
            f"warning: profile {profile!r} is for the plugin, which sends prompts of style "
            f"{sent!r}, but the model was trained in style {styles.join(setup.styles)!r}. "
            f"{styles.difference(setup.style, sent, rows.tools)} Score the bundle with the "
            f"prompts that the app will send, or train with style {sent!r}."
        )
    network = _tflite_of(settings)
    for path in (folder, network):
        checksums.require(path)
    path = bundle.create_task(
        network,
        folder / "tokenizer.model",
        settings.folder / f"{settings.name}.task",
        profile=profile,
        sidecar=sidecar(settings, rows),
        # Only a profile that embeds the declarations needs the turn that holds them.
        developer_turn=""
        if not profiles.PROFILES[profile].embeds_declarations
        else prompting_modes.developer_turn(rows.rendered(setup).held_out.prompts()[0]),
    )
    summary.update(
        settings.folder,
        settings={"to_task": asdict(settings)},
        files={path.name: summary.describe_file(path)},
    )
    return path


@step
def bundle_litertlm(settings: TaskConfig, rows: RunData) -> Path:
    """Build the `.litertlm` of the same network, with the prompt template of the training.

    Args:
        settings: the settings of the notebook.
        rows: the rows of the run.
    Returns:
        the path of the `.litertlm`.
    Raises:
        ModelError: the model was tuned with other tools, or there is not exactly one `.tflite`.
    """
    require_same_tools(settings.model_folder, rows)
    path = bundle.create_litertlm(
        _tflite_of(settings),
        settings.model_folder / "tokenizer.model",
        settings.folder / f"{settings.name}.litertlm",
        style=prompt_setup(settings.model_folder, rows.tools, settings.style).style,
        sidecar=sidecar(settings, rows),
    )
    summary.update(settings.folder, files={path.name: summary.describe_file(path)})
    return path


@step
def check_bundles(settings: TaskConfig, rows: RunData, *paths: Path) -> None:
    """Run the ten numbered checks on each bundle, without running it, and print them.

    Args:
        settings: the settings of the notebook.
        rows: the rows of the run; their texts test the tokenizer of the bundles.
        paths: the bundles.
    Raises:
        CheckFailed: checks failed; the message lists each with its remedy.
    """
    folder = settings.model_folder
    rendered = rows.rendered(prompt_setup(folder, rows.tools, settings.style))
    texts = [*rendered.train.texts(), *rendered.held_out.texts()]
    results = {
        path.name: bundle_checks.check_bundle(path, model=folder, texts=texts) for path in paths
    }
    for name, checked in results.items():
        print(f"{name}\n{checks.table(checked)}")
    checks.require(
        [
            replace(check, name=f"{name}, {check.name}")
            for name, checked in results.items()
            for check in checked
        ]
    )


@step
def score_bundles(settings: TaskConfig, rows: RunData, *paths: Path) -> dict[str, Score]:
    """Score bundles in LiteRT-LM on the held-out rows and measure their speed.

    Each bundle gets the prompts that apps send to a bundle of its kind.

    Args:
        settings: the settings of the notebook.
        rows: the rows of the run.
        paths: the bundles.
    Returns:
        the scores by their names in the summary: `task`, `litertlm`.
    """
    setup = prompt_setup(settings.model_folder, rows.tools, settings.style)
    scores = {}
    for path in paths:
        with summary.timed(settings.folder, f"{path.name} on the held-out rows"):
            score = score_bundle(path, rows, setup, tokenizer_folder=settings.model_folder)
        scores[path.suffix[1:]] = score
        summary.update(
            settings.folder,
            speed={path.name: speed.measure(path)},
            versions=summary.versions(),
            **{path.suffix[1:]: score},
        )
    return scores


@step
def judge(settings: TaskConfig, rows: RunData, *paths: Path) -> Verdict:
    """Compare the scores of bundles with that of the tuned model and decide whether they pass.

    Each verdict is written into the JSON file beside its bundle.

    Args:
        settings: the settings of the notebook, with the limits of the gate.
        rows: the rows of the run.
        paths: the bundles.
    Returns:
        the combined verdict.
    Raises:
        FgkitError: a bundle has no score yet.
    """
    tuned, verdicts = score_tuned(settings, rows), {}
    run = summary.read(settings.folder)
    scores = summary.scores_of(run)
    for path in paths:
        name = path.suffix[1:]
        if name not in scores:
            raise FgkitError(
                f"{path.name} has no score yet. Run the cell that scores it in the phone's runtime "
                "first."
            )
        verdict = gate(
            tuned,
            scores[name],
            max_exact_match_loss=settings.max_exact_match_loss,
            max_tool_accuracy_loss=settings.max_tool_accuracy_loss,
        )
        verdicts[path.name] = verdict
        recorded = {"base": scores.get("base"), "tuned": tuned, name: scores[name]}
        bundle_files.update_sidecar(
            path,
            scores={key: score and without_rows(score) for key, score in recorded.items()},
            gate=verdict.to_dict(),
            speed=run["speed"].get(path.name),
        )
    combined = together(verdicts)
    if modes := scores["task"].get("ways") if "task" in scores else None:
        combined = replace(combined, lines=(*combined.lines, *prompting_modes.lines(modes)))
    summary.update(settings.folder, gate=combined.to_dict())
    return combined


def sidecar(settings: TaskConfig, rows: RunData) -> dict[str, Any]:
    """Collect the fields of `BundleRecord` that describe the model of a bundle.

    Args:
        settings: the settings of `to_task`.
        rows: the rows of the run.
    """
    folder = settings.model_folder
    facts = model_facts(folder)
    setup = prompt_setup(folder, rows.tools, settings.style)
    return {
        "style": styles.join(setup.styles),
        "base": facts.get("base"),
        "tools_hash": hash_of(rows.tools),
        "system_message": setup.system_message,
        "model_sha256": sha256(folder / "model.safetensors"),
        "modifications": facts.get("modifications"),
        "vocabulary": facts.get("vocabulary"),
        "versions": summary.versions(),
    }


def _tflite_of(settings: TaskConfig) -> Path:
    """Find the only `.tflite` of a run (ModelError if there is none, or several)."""
    networks = sorted(settings.folder.glob(f"{settings.name}_*.tflite"))
    if len(networks) != 1:
        raise ModelError(
            f"{settings.folder}: found {len(networks)} files {settings.name}_*.tflite, "
            "expected one. "
            + (
                "Run to_tflite first."
                if not networks
                else "Remove those that you do not want: "
                + ", ".join(path.name for path in networks)
            )
        )
    return networks[0]
