"""Write the model card of a publication: a page for people, with the Hub's metadata in front.

For example:

    text = write(gather("run"), "ada/lights", public=True)

The text is `model_card.md`, a Jinja template that huggingface_hub fills in; its ModelCardData
makes the metadata. Text from elsewhere, such as descriptions of tools and names of files, is
escaped first, so that it can make neither a heading nor a link.
"""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

from fgkit import tables
from fgkit.evaluation import tables as score_table
from fgkit.evaluation.model_index import card_data
from fgkit.licence import NOTICE
from fgkit.markdown_text import code, fence, one_line, plain, size
from fgkit.models.spec import spec_of_base
from fgkit.prompts import styles
from fgkit.prompts.format import DEFAULT_SYSTEM_MSG
from fgkit.record_types import BundleRecord

from . import model_card_origins, model_card_tools
from .publication import Publication, gate_lines
from .published_files import BUNDLES, SAID

TEMPLATE = Path(__file__).with_name("model_card.md")
# The card shows the hashes of the bundles and of all files that are larger than this.
HASHED_BYTES = 100_000_000
_HEADLINE = {
    "parse_rate": "well-formed answers",
    "tool_accuracy": "right tool",
    "exact_match": "exact match",
}
_TAGS = [
    "function-calling",
    "functiongemma",
    "gemma3",
    "on-device",
    "litert-lm",
    "mediapipe",
    "flutter_gemma",
    "fgkit",
]


def write(publication: Publication, repo: str, *, public: bool) -> str:
    """Write the card of a publication, metadata included.

    Args:
        publication: what is published.
        repo: its name on the Hub, `user/name`.
        public: whether everybody will be able to download it without a token.
    """
    from huggingface_hub import ModelCard

    functions = [tool["function"] for tool in publication.facts.get("tools") or []]
    example = model_card_tools.example_call(functions)
    answer = model_card_tools.as_answer(example)
    return str(
        ModelCard.from_template(
            _metadata(publication, repo),
            template_path=str(TEMPLATE),
            repo=repo,
            title=plain(repo.partition("/")[2]),
            base_sentence=model_card_origins.base_sentence(publication.facts.get("base")),
            count=model_card_tools.count(functions),
            example_call=code(model_card_tools.as_code(example)),
            tools=[
                {
                    "name": code(function["name"]),
                    "description": plain(function.get("description", "")),
                    "arguments": model_card_tools.arguments(function),
                }
                for function in functions
            ],
            answer=answer,
            doubts=[plain(doubt) for doubt in publication.doubts],
            gate=_gate(publication),
            data_name=code(publication.data_name),
            fence=fence(publication.prompt, answer),
            **_scores(publication),
            **_files(publication, repo),
            **_prompting(publication),
            **_usage(publication, repo, public),
            made=_origins(publication),
            modifications=plain(_modifications(publication)),
            notice=NOTICE,
        )
    )


def _metadata(publication: Publication, repo: str) -> Any:
    """The metadata: licence, base, tags, and the scores of the first bundle as a model-index."""
    from huggingface_hub import ModelCardData

    first = next(iter(publication.bundles))
    data = (
        card_data(
            publication.scores[first],
            repo.partition("/")[2],
            data=one_line(publication.data_name),
        )
        if first in publication.scores
        else ModelCardData()
    )
    base = publication.facts.get("base")
    data.base_model = model_card_origins.published_as_of(base)
    # Not an attribute that ModelCardData declares, but one that the Hub reads.
    data["base_model_relation"] = "finetune" if data.base_model else None
    licence = spec_of_base(base).licence
    data.license, data.license_link = licence.hub_id, licence.url
    data.library_name, data.pipeline_tag = "transformers", "text-generation"
    data.tags = _TAGS if not publication.doubts else [*_TAGS, "gate-not-passed"]
    return data


def _scores(publication: Publication) -> dict[str, Any]:
    """The table of three metrics, the table of all, and the number of rows they are computed on."""
    scores = publication.scores
    if not scores:
        return {"score_table": "Nothing was measured.", "all_scores": "None.", "rows": 0}
    names = [code(name) if name in publication.bundles else f"{name} model" for name in scores]
    table = [["", *names]]
    for metric, label in _HEADLINE.items():
        table.append([label, *(score_table.rate(score, metric) for score in scores.values())])
    return {
        "score_table": tables.markdown(table),
        "all_scores": score_table.compare(scores),
        "rows": list(scores.values())[-1]["n"],
    }


def _gate(publication: Publication) -> list[str]:
    """The verdict on each bundle; only the first line of each names the bundle."""
    return [
        plain(line if number else f"{name}: {line}")
        for name, sidecar in publication.bundles.items()
        for number, line in enumerate(gate_lines(sidecar))
    ]


def _files(publication: Publication, repo: str) -> dict[str, Any]:
    """All files for the table, and those whose hashes are shown."""
    return {
        "files": [
            {
                "name": code(file.name),
                "size": size(file.bytes),
                "purpose": file.purpose,
                "link": _link(repo, file.name),
            }
            for file in publication.files
        ],
        "hashed": [
            file
            for file in publication.files
            if file.bytes > HASHED_BYTES or file.name in publication.bundles
        ],
    }


def _prompting(publication: Publication) -> dict[str, Any]:
    """What an app must send, and where each bundle stops."""
    cut = [
        name
        for name, sidecar in publication.bundles.items()
        if "<end_function_call>" in sidecar.get("stop_tokens", [])
    ]
    return {
        "styles": ", ".join(map(code, _styles(publication))),
        "said": SAID,
        "prompt": publication.prompt,
        "developer": code(publication.facts.get("system_message") or DEFAULT_SYSTEM_MSG),
        "bundles": {name: _bundle(sidecar) for name, sidecar in publication.bundles.items()},
        "end_tag_cut": " and ".join(map(code, cut)),
    }


def _bundle(sidecar: BundleRecord) -> dict[str, str]:
    """What a bundle adds to a prompt and where it stops, from the JSON beside it."""
    prefix, suffix = sidecar.get("prompt_prefix"), sidecar.get("prompt_suffix")
    before, after = (code(json.dumps(text or "")[1:-1]) for text in (prefix, suffix))
    return {
        "start": code(sidecar.get("start_token") or "<bos>"),
        "around": f"{before} before, {after} after" if prefix or suffix else "nothing",
        "stops": " ".join(map(code, sidecar.get("stop_tokens") or []))
        or "the model's own stop tokens",
    }


def _usage(publication: Publication, repo: str, public: bool) -> dict[str, Any]:
    """What the code examples need."""
    first = {
        suffix: next((name for name in publication.bundles if name.endswith(suffix)), "")
        for suffix in BUNDLES
    }
    task = first[".task"]
    # To download a private model an app would have to carry a token, which anyone could take out of
    # it. So it loads the model from its own assets.
    source = f"fromNetwork('{_link(repo, task)}')" if public else f"fromAsset('assets/{task}')"
    return {
        "task": task,
        "litertlm": first[".litertlm"],
        "first_bundle": next(iter(publication.bundles)),
        "flutter_note": _flutter_note(publication, task) if task else "",
        "flutter_source": source,
        "max_tokens": publication.settings.get("to_tflite", {}).get("kv_cache_max_len", 1024),
    }


def _flutter_note(publication: Publication, task: str) -> str:
    """Say whether the plugin sends the prompt that the model was trained with."""
    trained_in, profile = _styles(publication), publication.bundles[task].get("profile")
    plugin = styles.of_app("dart")
    if plugin.name in trained_in:
        how = "as they are" if profile == plugin.profile else f"with profile {code(profile)}"
        return (
            f"The plugin writes prompts of style `{plugin.name}`, which this model was trained in, "
            f"and {code(task)} takes them {how}."
        )
    text = (
        f"The plugin writes prompts of style `{plugin.name}`; this model was trained in "
        f"{code(styles.join(trained_in))}, which is not the same text. Measure it in your app "
        f"before you rely on it, or train with `-p style {plugin.name}`."
    )
    if tools := publication.facts.get("tools"):
        text += f" {plain(styles.difference(trained_in[0], plugin.name, tools))}"
    return text


def _styles(publication: Publication) -> tuple[str, ...]:
    return styles.split(next(iter(publication.bundles.values())).get("style") or styles.DEFAULT)


def _link(repo: str, name: str) -> str:
    return f"https://huggingface.co/{repo}/resolve/main/{urllib.parse.quote(name)}"


def _origins(publication: Publication) -> list[tuple[str, str]]:
    """What the model was made from and with, for a table of two columns."""
    facts = publication.facts
    sidecar = next(iter(publication.bundles.values()))
    vocabulary = facts.get("vocabulary")
    versions = facts.get("versions") or sidecar.get("versions") or {}
    packages = ("fgkit", "torch", "transformers", "trl", "litert-torch", "litert-lm")
    rows = {
        "base": model_card_origins.base_row(facts.get("base")),
        "training": f"{facts['rows']:,} rows" if facts.get("rows") else "elsewhere",
        "recipe": ", ".join(model_card_origins.recipe(facts.get("settings") or {})),
        "vocabulary": f"{vocabulary['pieces']:,} of {vocabulary['of']:,} pieces"
        if vocabulary
        else "",
        "with": plain(
            ", ".join(f"{name} {versions[name]}" for name in packages if name in versions)
        ),
    }
    return [(name, value) for name, value in rows.items() if value]


def _modifications(publication: Publication) -> str:
    """What was changed, as the licence demands: in the model, and by its conversion."""
    model = publication.facts.get("modifications") or "all weights fine-tuned"
    quantize = publication.settings.get("to_tflite", {}).get("quantize")
    how = f" with {quantize} quantization" if quantize not in (None, "none") else ""
    return f"{model}; in the bundles: converted to LiteRT{how}"
