"""Score a model folder or a finished bundle on held-out rows, with the prompts of its training.

For example:

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
        setup: how it is prompted. The returned score is for the first style; where there are
            several, `per_style` holds the rates in all of them.
        description: label of the progress bar.
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

    A `.task` is sent complete prompts. A `.litertlm` is asked through LiteRT-LM's conversation
    interface, unless that cannot write its prompt style. The score's `sent` names the mode, and
    `prompts_as_trained` counts the conversation prompts that equal those of the training.

    Args:
        path: the bundle.
        rows: the held-out rows.
        setup: how it is prompted, as for `score_model`.
        tokenizer_folder: a model folder whose tokenizer measures the longest answer; without it,
            the length in characters is the limit.
        probe_modes: also try the prompting modes of a `.task`; the score's `ways` holds their
            rates.
        constrained: allow only plain text or calls of the declared tools in conversations (see
            `fgkit.runtime.grammar`).
    Raises:
        ConfigError: `constrained` is given, but the bundle is not asked in conversations.
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
    """Return the longest expected answer's length in tokens, or in characters without tokenizer."""
    if tokenizer_folder is None:
        return max(len(prompts.answer(row.calls, row.text)) for row in rows.held_out)
    from fgkit.models.base import load_tokenizer
    from fgkit.training.generation import longest_answer

    return longest_answer(load_tokenizer(tokenizer_folder), rows.held_out)


def _converse(
    runtime: Runtime, rows: RunData, setup: PromptSetup, longest: int, constrained: bool
) -> Score:
    """Score a bundle in conversations, which write the prompts themselves."""
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

    # A conversation always writes the same prompt, so only the first style is scored.
    score = _score(rows.rendered(setup).held_out, setup.styles[:1], answers)
    return {**score, "sent": "conversation", "prompts_as_trained": as_trained}


def _send(
    runtime: Runtime, rows: RunData, setup: PromptSetup, longest: int, probe_modes: bool
) -> Score:
    """Score a bundle by sending it prompt texts."""
    modes: dict[str, Rates] = {}
    # Such a bundle holds the developer turn itself, so only the question is sent.
    embedded = embeds_declarations(runtime.profile)

    def answers(texts: list[str], style: str) -> list[str]:
        if probe_modes and runtime.path.suffix == ".task" and not modes:
            modes.update(
                prompting_modes.probe_modes(runtime, rows.held_out, texts, max_new_tokens=longest)
            )
        if not embedded:
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
    return {**score, "sent": prompting_modes.QUESTION if embedded else "prompt", "ways": modes}


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
        answers: a function that generates the answers to prompts, given the style's name.
        end_tag_cut: as for `calls.parse`.
    Returns:
        the score in the first style, with that style's name; where there are several styles,
        `per_style` holds the rates in each.
    """
    # The prompts of all styles are rendered before the first answer is generated, so that a style
    # that cannot express a row is refused before minutes of generation, not after them.
    texts = {name: rendered.prompts(name) for name in names}
    scores = {
        name: evaluation.score(
            rendered.records, answers(texts[name], name), end_tag_cut=end_tag_cut
        )
        for name in names
    }
    score: Score = {**scores[names[0]], "style": names[0]}
    if len(names) > 1:
        score["per_style"] = {
            name: evaluation.without_rows(style_score) for name, style_score in scores.items()
        }
    return score


def score_folder(folder: Path, rows: RunData, *, style: str | None = None) -> Score:
    """Score a complete model folder, with the developer text and the prompt style stored in it.

    Args:
        folder: the model folder.
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
    """Score a finished bundle, with the prompt style that the JSON beside it records.

    Args:
        path: the bundle.
        rows: tools and held-out rows.
        style: as for `score_folder`.
        constrained: as for `score_bundle`.
    """
    setup = prompting.bundle_setup(path, rows.tools, style)
    return score_bundle(path, rows, setup, constrained=constrained)


def provenance(path: Path, rows: RunData) -> Provenance:
    """Identify what was scored: the file and its hash, the rows, the tools."""
    return {
        "path": str(path),
        "sha256": sha256(path),
        "rows_sha256": rows_hash(rows.held_out),
        "tools_hash": hash_of(rows.tools),
    }
