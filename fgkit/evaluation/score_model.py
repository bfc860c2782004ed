"""Score a model folder or a finished bundle on the held-out rows, with the prompts that the model was trained with.

Example:

    rows = load_rows(settings)
    score_folder(Path("run/model"), rows)["exact_match"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fgkit import progress, prompts
from fgkit.bundles import read as bundle_files
from fgkit.bundles.profiles import BAKED
from fgkit.dataset import tokenize
from fgkit.dataset.rows import Rows, hash_of, rows_hash
from fgkit.errors import ConfigError
from fgkit.files import sha256
from fgkit.models.record import model_facts, require_same_tools
from fgkit.prompts import styles
from fgkit.record_types import Provenance, Rates, Score
from fgkit.runtime import conversations
from fgkit.training.generation import load_to_answer

from . import prompting_modes, scores as evaluation


def score_model(
    folder: Path,
    rows: Rows,
    *,
    system_message: str = "",
    style: Sequence[str] = (styles.DEFAULT,),
    description: str,
) -> Score:
    """Score a model folder in PyTorch on the held-out rows.

    Args:
        folder: a model folder.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        style: prompt styles; the score is the first one's, those of all are under `per_style` where there are several.
        description: what the progress bar says.
    """
    from fgkit.training import generation

    model, tokenizer = load_to_answer(folder)
    longest = generation.longest_answer(tokenizer, rows.held_out)

    def answers(prompt_texts: list[str], name: str) -> list[str]:
        return generation.generate(
            model,
            tokenizer,
            prompt_texts,
            max_new_tokens=longest,
            description=f"{description}, {name}" if len(style) > 1 else description,
        )

    score = _score(rows, system_message, style, answers)
    return {**score, **provenance(folder / "model.safetensors", rows)}


def score_bundle(
    path: Path,
    rows: Rows,
    *,
    system_message: str = "",
    style: Sequence[str] = (styles.DEFAULT,),
    tokenizer_folder: Path | None = None,
    probe_modes: bool = True,
    constrained: bool = False,
) -> Score:
    """Score a bundle in LiteRT-LM as an app uses it: a `.task` gets whole prompts, a `.litertlm` holds conversations.

    A `.litertlm` in a style that LiteRT-LM does not write gets whole prompts, too. The score's `sent` tells which it was,
    and `prompts_as_trained` how many of the prompts that LiteRT-LM wrote equal the trained ones.

    Args:
        path: the bundle.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        style: prompt styles, as for `score_model`.
        tokenizer_folder: a model folder whose tokenizer measures the longest answer; without one, its characters are
            counted.
        probe_modes: also score the prompting modes of a `.task`; the score's `ways` holds the rates.
        constrained: allow only text or calls of the declared tools in conversations (`runtime.grammar`).
    Raises:
        ConfigError: `constrained` where no conversation is held.
    """
    from fgkit.runtime.session import Runtime

    longest = max(len(prompts.answer(row.calls, row.text)) for row in rows.held_out)
    if tokenizer_folder:
        from fgkit.models.base import load_tokenizer
        from fgkit.training.generation import longest_answer

        longest = longest_answer(load_tokenizer(tokenizer_folder), rows.held_out)
    conversing = path.suffix == ".litertlm" and style[0] in conversations.STYLES
    if constrained and not conversing:
        raise ConfigError(
            f"{path.name}: constrained decoding was asked for, which LiteRT-LM has in conversations only, and "
            f"those are held with a .litertlm in style {' or '.join(conversations.STYLES)}. Score "
            "the run's .litertlm, or leave --constrained off."
        )
    as_trained: dict[str, int] = {}
    modes: dict[str, Rates] = {}

    def answers(texts: list[str], name: str) -> list[str]:
        if probe_modes and path.suffix == ".task" and not modes:
            modes.update(
                prompting_modes.probe_modes(runtime, rows.held_out, texts, max_new_tokens=longest)
            )
        if runtime.profile == BAKED:
            return [
                prompting_modes.answer(
                    runtime, prompting_modes.QUESTION, row, text, max_new_tokens=longest
                )
                for row, text in zip(progress.bar(rows.held_out, desc=path.name, unit="row"), texts)
            ]
        if not conversing:
            return runtime.generate_all(texts, longest)
        texts, as_trained[name] = conversations.ask_all(
            runtime,
            rows.held_out,
            rows.tools,
            texts,
            system_message=system_message,
            max_new_tokens=longest,
            constrained=constrained,
        )
        return texts

    with Runtime(path) as runtime:
        baked = runtime.profile == BAKED
        score = _score(
            rows,
            system_message,
            style[:1] if conversing else style,
            answers,
            end_tag_cut=runtime.end_tag_cut and not conversing,
        )
    score = {**score, **provenance(path, rows)}
    if conversing:
        score["sent"] = "conversation"
        score["prompts_as_trained"] = as_trained[style[0]]
    else:
        score["sent"] = prompting_modes.QUESTION if baked else "prompt"
        score["ways"] = modes
    if constrained:
        score["constrained"] = True
    return score


def _score(
    rows: Rows,
    system_message: str,
    style: Sequence[str],
    answers: Callable[[list[str], str], list[str]],
    *,
    end_tag_cut: bool = False,
) -> Score:
    """Score the first style; of several styles, the rates of each are in `per_style`."""
    texts = {
        name: tokenize.prompt_texts(rows.held_out, rows.tools, system_message, name)
        for name in style
    }
    scores = {
        name: evaluation.score(rows.held_out, answers(texts[name], name), end_tag_cut=end_tag_cut)
        for name in style
    }
    score: Score = {**scores[style[0]], "style": style[0]}
    if len(style) > 1:
        score["per_style"] = {name: evaluation.without_rows(each) for name, each in scores.items()}
    return score


def score_folder(folder: Path, rows: Rows, *, style: str | None = None) -> Score:
    """Score a model folder with the developer text and the prompt style that are stored in it.

    Args:
        folder: the model.
        rows: tools and held-out rows.
        style: one of the styles it was trained in; None for the first.
    """
    from fgkit.models.base import check_folder

    check_folder(folder)
    require_same_tools(folder, rows)
    facts = model_facts(folder)
    return score_model(
        folder,
        rows,
        system_message=facts.get("system_message") or "",
        description=folder.name,
        style=styles.chosen(folder, facts.get("style"), style, rows.tools)[:1],
    )


def score_file(
    path: Path, rows: Rows, *, style: str | None = None, constrained: bool = False
) -> Score:
    """Score a finished bundle with the developer text and the prompt style in the JSON beside it.

    Args:
        path, rows: the bundle; tools and held-out rows.
        style, constrained: as for `score_folder` and `score_bundle`.
    """
    system_message, style = bundle_files.bundle_prompt(path, rows.tools, style)
    return score_bundle(
        path, rows, system_message=system_message, style=(style,), constrained=constrained
    )


def provenance(path: Path, rows: Rows) -> Provenance:
    """Give what a score belongs to: the scored file and its hash, the hashes of the rows and of the tools.

    Args:
        path: a model's weights, or a bundle.
        rows: the held-out rows and tools.
    """
    return {
        "path": str(path),
        "sha256": sha256(path),
        "rows_sha256": rows_hash(rows.held_out),
        "tools_hash": hash_of(rows.tools),
    }
