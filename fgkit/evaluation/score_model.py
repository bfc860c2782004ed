"""Any model folder or finished bundle, scored on held-out rows with the prompts of its training.

Example:
    rows = stages.load_rows(settings)
    score_folder(Path("run/model"), rows)["exact_match"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgkit import progress, prompts
from fgkit.bundles import prompting
from fgkit.bundles.profiles import embeds_declarations
from fgkit.dataset.rendered import RenderedRecords
from fgkit.dataset.rows import RunData, hash_of, rows_hash
from fgkit.errors import ConfigError
from fgkit.files import sha256
from fgkit.models.record import prompt_setup, require_same_tools
from fgkit.prompts import PromptSetup, styles
from fgkit.record_types import Provenance, Rates, Score
from fgkit.runtime import conversations

from . import prompting_modes, scores as evaluation

if TYPE_CHECKING:
    from fgkit.runtime.session import Runtime


def score_model(
    folder: Path,
    rows: RunData,
    setup: PromptSetup,
    *,
    description: str,
) -> Score:
    """Score a model folder in PyTorch on the held-out rows.

    Args:
        folder: a model folder.
        rows: the held-out rows.
        setup: how it is prompted. The score is that of the first style; where there are several,
            the scores in all of them are under `per_style`.
        description: what the progress bar says.
    """
    from fgkit.training import generation

    model, tokenizer = generation.load_for_generation(folder)
    longest = generation.longest_answer(tokenizer, rows.held_out)

    def answers(texts: list[str], style: str) -> list[str]:
        return generation.generate(
            model,
            tokenizer,
            texts,
            max_new_tokens=longest,
            description=f"{description}, {style}" if len(setup.styles) > 1 else description,
        )

    score = _score(rows.rendered(setup).held_out, setup.styles, answers)
    return {**score, **provenance(folder / "model.safetensors", rows)}


def score_bundle(
    path: Path,
    rows: RunData,
    setup: PromptSetup,
    *,
    tokenizer_folder: Path | None = None,
    probe_modes: bool = True,
    constrained: bool = False,
) -> Score:
    """Score a bundle in LiteRT-LM as an app uses it.

    A `.task` is sent whole prompts; a `.litertlm` holds conversations, unless its style is one that
    conversations cannot write. The score's `sent` names the mode, and `prompts_as_trained` counts
    the prompts of LiteRT-LM that are the trained ones.

    Args:
        path: the bundle.
        rows: the held-out rows.
        setup: how it is prompted, as for `score_model`.
        tokenizer_folder: a model folder whose tokenizer measures the longest answer; left out,
            characters are counted.
        probe_modes: also try the prompting modes of a `.task`; the score's `ways` holds the results.
        constrained: have conversations allow only text or calls of the declared tools (see
            `fgkit.runtime.grammar`).
    Raises:
        ConfigError: `constrained` where no conversation is held.
    """
    from fgkit.runtime.session import Runtime

    conversing = path.suffix == ".litertlm" and styles.get(setup.style).has_conversation
    if constrained and not conversing:
        raise ConfigError(
            f"{path.name}: constrained decoding was asked for, which LiteRT-LM has in "
            "conversations only, and those are held with a .litertlm in style "
            f"{' or '.join(styles.with_conversation())}. Score the run's .litertlm, or leave "
            "--constrained off."
        )
    longest = _longest_answer(rows, tokenizer_folder)
    with Runtime(path) as runtime:
        if conversing:
            score = _converse(runtime, rows, setup, longest, constrained)
        else:
            score = _send(runtime, rows, setup, longest, probe_modes)
    score = {**score, **provenance(path, rows)}
    if constrained:
        score["constrained"] = True
    return score


def _longest_answer(rows: RunData, tokenizer_folder: Path | None) -> int:
    """Tokens of the longest right answer, or its characters where no tokenizer is at hand."""
    if tokenizer_folder is None:
        return max(len(prompts.answer(row.calls, row.text)) for row in rows.held_out)
    from fgkit.models.base import load_tokenizer
    from fgkit.training.generation import longest_answer

    return longest_answer(load_tokenizer(tokenizer_folder), rows.held_out)


def _converse(
    runtime: Runtime, rows: RunData, setup: PromptSetup, longest: int, constrained: bool
) -> Score:
    """Score a bundle in conversations, which write the prompts; also what was sent to it."""
    as_trained = 0

    def answers(texts: list[str], style: str) -> list[str]:
        nonlocal as_trained
        written, as_trained = conversations.ask_all(
            runtime,
            rows.held_out,
            setup,
            texts,
            max_new_tokens=longest,
            constrained=constrained,
        )
        return written

    # A conversation writes one text whatever the styles of the training are: the first one's.
    score = _score(rows.rendered(setup).held_out, setup.styles[:1], answers)
    return {**score, "sent": "conversation", "prompts_as_trained": as_trained}


def _send(
    runtime: Runtime, rows: RunData, setup: PromptSetup, longest: int, probe_modes: bool
) -> Score:
    """Score a bundle that is sent texts; also what was sent to it."""
    modes: dict[str, Rates] = {}
    baked = embeds_declarations(runtime.profile)

    def answers(texts: list[str], style: str) -> list[str]:
        if probe_modes and runtime.path.suffix == ".task" and not modes:
            modes.update(
                prompting_modes.probe_modes(runtime, rows.held_out, texts, max_new_tokens=longest)
            )
        if not baked:
            return runtime.generate_all(texts, longest)
        return [
            prompting_modes.answer(
                runtime, prompting_modes.QUESTION, row, text, max_new_tokens=longest
            )
            for row, text in zip(
                progress.bar(rows.held_out, desc=runtime.path.name, unit="row"), texts
            )
        ]

    score = _score(
        rows.rendered(setup).held_out, setup.styles, answers, end_tag_cut=runtime.end_tag_cut
    )
    return {**score, "sent": prompting_modes.QUESTION if baked else "prompt", "ways": modes}


def _score(
    rendered: RenderedRecords,
    names: Sequence[str],
    answers: Callable[[list[str], str], list[str]],
    *,
    end_tag_cut: bool = False,
) -> Score:
    """Score the answers in each style.

    Args:
        rendered: the rows.
        names: the styles.
        answers: gives the answers to prompts in a style.
        end_tag_cut: as for `calls.parse`.
    Returns:
        the score in the first style, with its name; where there are several styles, `per_style`
        holds the rates in each.
    """
    # All styles are written before the first answer is generated: a style that cannot express a
    # row is refused before the minutes of generation, not after them.
    texts = {name: rendered.prompts(name) for name in names}
    scores = {
        name: evaluation.score(
            rendered.records, answers(texts[name], name), end_tag_cut=end_tag_cut
        )
        for name in names
    }
    score: Score = {**scores[names[0]], "style": names[0]}
    if len(names) > 1:
        score["per_style"] = {name: evaluation.without_rows(each) for name, each in scores.items()}
    return score


def score_folder(folder: Path, rows: RunData, *, style: str | None = None) -> Score:
    """Score any whole model folder, with the developer text and the prompt style stored in it.

    Args:
        folder: the model.
        rows: tools and held-out rows.
        style: one of the styles it was trained in; None for the first.
    """
    from fgkit.models.folder import check_folder

    check_folder(folder)
    require_same_tools(folder, rows)
    setup = prompt_setup(folder, rows.tools, style).only()
    return score_model(folder, rows, setup, description=folder.name)


def score_file(
    path: Path, rows: RunData, *, style: str | None = None, constrained: bool = False
) -> Score:
    """Score any finished bundle, with what the JSON beside it says about its prompts.

    Args:
        path, rows: the bundle; tools and held-out rows.
        style, constrained: as for `score_folder` and `score_bundle`.
    """
    setup = prompting.bundle_setup(path, rows.tools, style)
    return score_bundle(path, rows, setup, constrained=constrained)


def provenance(path: Path, rows: RunData) -> Provenance:
    """Give what a score belongs to: the scored file and its hash, the rows, the tools."""
    return {
        "path": str(path),
        "sha256": sha256(path),
        "rows_sha256": rows_hash(rows.held_out),
        "tools_hash": hash_of(rows.tools),
    }
