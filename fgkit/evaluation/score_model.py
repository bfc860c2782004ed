"""Any model folder or finished bundle, scored on the held-out rows with the prompts it was trained with.

>>> rows = run_rows.load_rows(settings)
>>> score_folder(Path("run/model"), rows)["exact_match"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgkit import progress, prompts
from fgkit.bundles import read as bundle_files
from fgkit.bundles.profiles import BAKED
from fgkit.dataset import tokenize
from fgkit.dataset.rows import Rows, hash_of, rows_hash
from fgkit.errors import ConfigError, ModelError
from fgkit.files import sha256
from fgkit.models.record import model_facts, require_same_tools
from fgkit.prompts import styles
from fgkit.runtime import conversations
from fgkit.tools import tools_hash
from fgkit.training.generation import load_to_answer

from . import prompting_modes, scores as evaluation

if TYPE_CHECKING:
    pass


def score_model(
    folder: Path,
    rows: Rows,
    *,
    system_message: str = "",
    style: Sequence[str] = (styles.DEFAULT,),
    description: str,
) -> dict[str, Any]:
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

    return _score(rows, system_message, style, answers) | origin(folder / "model.safetensors", rows)


def score_bundle(
    path: Path,
    rows: Rows,
    *,
    system_message: str = "",
    style: Sequence[str] = (styles.DEFAULT,),
    tokenizer_folder: Path | None = None,
    try_ways: bool = True,
    constrained: bool = False,
) -> dict[str, Any]:
    """Score a bundle in LiteRT-LM as an app uses it: a `.task` is sent whole prompts, a `.litertlm` holds conversations.

    A `.litertlm` whose style is no conversation's is sent whole prompts, too. The score's `sent` says which it was, and
    `prompts_as_trained` how many of the prompts that LiteRT-LM wrote were the trained ones.

    Args:
        path: the bundle.
        rows: tools and held-out rows.
        system_message: developer text; empty for the official trigger sentence.
        style: prompt styles, as for `score_model`.
        tokenizer_folder: a model folder whose tokenizer counts the longest answer; without one characters do.
        try_ways: also see which ways of sending a question to a `.task` work; the score's `ways` tells.
        constrained: have conversations allow only text or calls of the declared tools (`serving.call_grammar`).
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
    ways: dict[str, Any] = {}

    def answers(texts: list[str], name: str) -> list[str]:
        if try_ways and path.suffix == ".task" and not ways:
            ways.update(
                prompting_modes.try_ways(runtime, rows.held_out, texts, max_new_tokens=longest)
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
        found, as_trained[name] = conversations.ask_all(
            runtime,
            rows.held_out,
            rows.tools,
            texts,
            system_message=system_message,
            max_new_tokens=longest,
            constrained=constrained,
        )
        return found

    with Runtime(path) as runtime:
        baked = runtime.profile == BAKED
        score = _score(
            rows,
            system_message,
            style[:1] if conversing else style,
            answers,
            end_tag_cut=runtime.end_tag_cut and not conversing,
        )
    sent = (
        {"sent": "conversation", "prompts_as_trained": as_trained[style[0]]}
        if conversing
        else {"sent": prompting_modes.QUESTION if baked else "prompt", "ways": ways}
    )
    return score | origin(path, rows) | sent | ({"constrained": True} if constrained else {})


def _score(
    rows: Rows,
    system_message: str,
    style: Sequence[str],
    answers: Callable[[list[str], str], list[str]],
    *,
    end_tag_cut: bool = False,
) -> dict[str, Any]:
    """The score under the first style, with its name; in `per_style` the rates under each, where there are several."""
    texts = {
        name: tokenize.prompt_texts(rows.held_out, rows.tools, system_message, name)
        for name in style
    }
    scores = {
        name: evaluation.score(rows.held_out, answers(texts[name], name), end_tag_cut=end_tag_cut)
        for name in style
    }
    score = scores[style[0]] | {"style": style[0]}
    if len(style) > 1:
        score["per_style"] = {
            name: {key: value for key, value in each.items() if key != "rows"}
            for name, each in scores.items()
        }
    return score


def score_folder(folder: Path, rows: Rows, *, style: str | None = None) -> dict[str, Any]:
    """Score any whole model folder, with the developer text and the prompt style stored in it.

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
        system_message=facts.get("system_message", ""),
        description=folder.name,
        style=styles.chosen(folder, facts.get("style"), style, rows.tools)[:1],
    )


def score_file(
    path: Path, rows: Rows, *, style: str | None = None, constrained: bool = False
) -> dict[str, Any]:
    """Score any finished bundle, with what the JSON beside it says about its prompts.

    Args:
        path, rows: the bundle; tools and held-out rows.
        style, constrained: as for `score_folder` and `score_bundle`.
    """
    system_message, style = bundle_prompt(path, rows.tools, style)
    return score_bundle(
        path, rows, system_message=system_message, style=(style,), constrained=constrained
    )


def bundle_prompt(path: Path, tools: list[dict], style: str | None) -> tuple[str, str]:
    """How a bundle is prompted: developer text and style; checks that tools and style are its own.

    Args:
        path: a `.task` or `.litertlm`, with or without the JSON beside it.
        tools: what the prompts declare.
        style: one of the styles it was trained in; None for the first, or for the assumed one, which is said then.
    Raises:
        ModelError: it was trained with other tools or in another style.
    """
    facts = bundle_files.read_bundle(path).sidecar
    if facts is None:
        if style is None:
            print(
                f"{path.name}.json is not there: the prompt style is assumed to be {styles.DEFAULT!r}."
            )
        return "", styles.chosen(path, None, style, tools)[0]
    names = styles.chosen(path, facts.get("style"), style, tools)
    if tools and facts.get("tools_hash") not in (None, tools_hash(tools)):
        raise ModelError(
            f"{path}: was trained with other tools than these, so the scores would mean nothing. Give the "
            "tools file it was trained with (--tools)."
        )
    return facts.get("system_message") or "", names[0]


def origin(path: Path, rows: Rows) -> dict[str, str]:
    """What a score belongs to: the hashed file, the rows and the tools."""
    return {
        "path": str(path),
        "sha256": sha256(path),
        "rows_sha256": rows_hash(rows.held_out),
        "tools_hash": hash_of(rows.tools),
    }
