"""What is published of a run goes in; its model card comes out, for people first and with the Hub's own entries in front.

>>> text = write(gather("run"), "ada/lights", public=True)

The text is `model_card.md`, a Jinja template that huggingface_hub fills; the entries are made by its ModelCardData. What
others wrote (descriptions of tools, names of files) is escaped first: it can make neither a heading nor a link.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fgkit import prompts, tables
from fgkit.calls import Call
from fgkit.evaluation import tables as score_table
from fgkit.evaluation.model_index import card_data
from fgkit.licence import NOTICE
from fgkit.models.spec import base_named, spec_of_base
from fgkit.prompts import styles
from fgkit.prompts.format import DEFAULT_SYSTEM_MSG

from .publication import BUNDLES, SAID, Publication, gate_lines

TEMPLATE = Path(__file__).with_name("model_card.md")
HASHED_BYTES = 100_000_000  # larger files have their hash in the card, too
_HEADLINE = ("parse_rate", "tool_accuracy", "exact_match")
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


def write(found: Publication, repo: str, *, public: bool) -> str:
    """The card of a publication, front matter and all.

    Args:
        found: what is published.
        repo: its name on the Hub, `user/name`.
        public: whether everybody will be able to download it without a token.
    """
    from huggingface_hub import ModelCard

    names = list(found.bundles)
    tools = [tool["function"] for tool in found.facts.get("tools") or []]
    example = _example(tools)
    return str(
        ModelCard.from_template(
            _front_matter(found, repo),
            template_path=str(TEMPLATE),
            repo=repo,
            title=_text(repo.partition("/")[2]),
            base_sentence=_base_sentence(found.facts.get("base")),
            count=_count(tools),
            example_call=_code(_shown(example)),
            tools=[
                {
                    "name": tool["name"],
                    "description": _text(tool.get("description", "")),
                    "arguments": _arguments(tool),
                }
                for tool in tools
            ],
            doubts=[_text(doubt) for doubt in found.doubts],
            **_scores(found),
            data_name=_code(found.data_name),
            gate=[
                _text(line if number else f"{name}: {line}")
                for name in names
                for number, line in enumerate(gate_lines(found.bundles[name]))
            ],
            files=[
                {
                    "name": file.name,
                    "size": _size(file.bytes),
                    "purpose": file.purpose,
                    "link": _link(repo, file.name),
                }
                for file in found.files
            ],
            hashed=[
                file for file in found.files if file.bytes > HASHED_BYTES or file.name in names
            ],
            answer=_answer(example),
            fence="````",
            **_prompting(found),
            **_use(found, repo, public),
            made=_made(found),
            modifications=_text(_modifications(found)),
            notice=NOTICE,
        )
    )


def _prompting(found: Publication) -> dict[str, Any]:
    """What an app must send, and where each bundle stops."""
    cut = [
        name
        for name, one in found.bundles.items()
        if "<end_function_call>" in one.get("stop_tokens", [])
    ]
    return {
        "styles": ", ".join(map(_code, _styles(found))),
        "said": SAID,
        "prompt": found.prompt,
        "developer": _code(found.facts.get("system_message") or DEFAULT_SYSTEM_MSG),
        "bundles": {name: _bundle(one) for name, one in found.bundles.items()},
        "end_tag_cut": " and ".join(map(_code, cut)),
    }


def _use(found: Publication, repo: str, public: bool) -> dict[str, Any]:
    """What the pieces of code need; an app loads a private model from its own assets, for no token belongs into an app."""
    first = {
        suffix: next((name for name in found.bundles if name.endswith(suffix)), "")
        for suffix in BUNDLES
    }
    task = first[".task"]
    return {
        "task": task,
        "litertlm": first[".litertlm"],
        "first_bundle": next(iter(found.bundles)),
        "flutter_note": _flutter_note(found, task) if task else "",
        "flutter_source": f"fromNetwork('{_link(repo, task)}')"
        if public
        else f"fromAsset('assets/{task}')",
        "max_tokens": found.settings.get("to_tflite", {}).get("kv_cache_max_len", 1024),
    }


def _styles(found: Publication) -> tuple[str, ...]:
    return styles.split(next(iter(found.bundles.values())).get("style") or styles.DEFAULT)


def _link(repo: str, name: str) -> str:
    return f"https://huggingface.co/{repo}/resolve/main/{name}"


def _front_matter(found: Publication, repo: str) -> Any:
    """Licence, base, tags, and the scores of the first bundle as a model-index."""
    from huggingface_hub import ModelCardData

    first = next(iter(found.bundles))
    name = repo.partition("/")[2]
    data = (
        card_data(found.scores[first], name, data=found.data_name)
        if first in found.scores
        else ModelCardData()
    )
    base = found.facts.get("base")
    data.base_model = _published_as(base)
    data.base_model_relation = "finetune" if data.base_model else None
    licence = spec_of_base(base).licence
    data.license, data.license_link = licence.hub_id, licence.url
    data.library_name, data.pipeline_tag = "transformers", "text-generation"
    data.tags = _TAGS if not found.doubts else [*_TAGS, "gate-not-passed"]
    return data


def _scores(found: Publication) -> dict[str, Any]:
    """The table at the top, the whole one, and how many rows they are of."""
    if not found.scores:
        return {"score_table": "Nothing was measured.", "all_scores": "None.", "rows": 0}
    head = [
        ["", *(f"`{name}`" if name in found.bundles else f"{name} model" for name in found.scores)]
    ]
    labels = {
        "parse_rate": "well-formed answers",
        "tool_accuracy": "right tool",
        "exact_match": "exact match",
    }
    head += [
        [labels[metric], *(score_table.rate(one, metric) for one in found.scores.values())]
        for metric in _HEADLINE
    ]
    last = list(found.scores.values())[-1]
    return {
        "score_table": tables.markdown(head),
        "all_scores": score_table.compare(found.scores),
        "rows": last["n"],
    }


def _base_sentence(base: Any) -> str:
    known = base_named(base)
    if known and known.card_description:
        return f"This is {known.card_description}, all weights fine-tuned."
    if _is_hub_name(base):
        return f"This is [{base}](https://huggingface.co/{base}), all weights fine-tuned."
    return (
        f"This is a {spec_of_base(base).title} with FunctionGemma's prompt format, all weights "
        "fine-tuned."
    )


def _published_as(base: Any) -> str | None:
    """The model on the Hub that a base comes from; None where it is a folder of the author's."""
    known = base_named(base)
    if known:
        return known.published_as
    return base if _is_hub_name(base) else None


def _base_row(base: Any) -> str:
    """The base, as the table of what the model was made from names it."""
    known = base_named(base)
    if known and known.card_row:
        return f"{known.card_row} ({known.published_as})"
    return _code(base) if _is_hub_name(base) else "a folder of the author's"


def _is_hub_name(base: Any) -> bool:
    return isinstance(base, str) and bool(re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base, re.ASCII))


def _count(tools: list[dict]) -> str:
    return f"{len(tools)} function{'s' * (len(tools) != 1)}" if tools else "an app's functions"


def _arguments(tool: dict[str, Any]) -> str:
    """Each argument with its type; what may be left out in italics."""
    schema = tool.get("parameters") or {}
    required = schema.get("required") or []
    parts = []
    for name, one in (schema.get("properties") or {}).items():
        kind = one.get("type")
        label = " or ".join(kind) if isinstance(kind, list) else str(kind or "any")
        parts.append(
            f"{_code(name)} {_text(label)}"
            if name in required
            else f"*{_code(name)} {_text(label)}*"
        )
    return ", ".join(parts) or "none"


def _example(tools: list[dict]) -> Call | None:
    """A call of the first tool whose values only show their place."""
    for tool in tools:
        schema = tool.get("parameters") or {}
        required = schema.get("required") or list(schema.get("properties") or {})
        return Call(tool["name"], {name: _value(schema["properties"][name]) for name in required})
    return None


def _value(schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if schema.get("enum"):
        return schema["enum"][0]
    return {
        "integer": 1,
        "number": 0.5,
        "boolean": True,
        "array": [_value(schema["items"])] if "items" in schema else [],
        "object": {name: _value(one) for name, one in (schema.get("properties") or {}).items()},
    }.get(kind, "…")


def _shown(call: Call | None) -> str:
    if call is None:
        return ""
    arguments = [
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items()
    ]
    return f"{call.name}({', '.join(arguments)})"


def _answer(call: Call | None) -> str:
    return (
        "" if call is None else prompts.completion([call]).removesuffix("<start_function_response>")
    )


def _bundle(sidecar: dict[str, Any]) -> dict[str, str]:
    prefix, suffix = sidecar.get("prompt_prefix"), sidecar.get("prompt_suffix")
    before, after = (_code(json.dumps(text or "")[1:-1]) for text in (prefix, suffix))
    around = f"{before} before, {after} after" if prefix or suffix else "nothing"
    return {
        "start": _code(sidecar.get("start_token") or "<bos>"),
        "around": around,
        "stops": " ".join(map(_code, sidecar.get("stop_tokens") or []))
        or "the model's own stop ids",
    }


def _flutter_note(found: Publication, task: str) -> str:
    """Whether the plugin sends the text that was trained."""
    trained_in, profile = _styles(found), found.bundles[task].get("profile")
    plugin = styles.of_app("dart")
    if plugin.name in trained_in:
        return (
            f"The plugin writes prompts of style `{plugin.name}`, which this model was trained in, "
            f"and `{task}` "
            + (
                "takes them as they are."
                if profile == plugin.profile
                else f"takes them with profile `{profile}`."
            )
        )
    text = (
        f"The plugin writes prompts of style `{plugin.name}`; this model was trained in "
        f"{_code(styles.join(trained_in))}, which is not the same text. Measure it in your app "
        f"before you rely on it, or train with `-p style {plugin.name}`."
    )
    if found.facts.get("tools"):
        text += f" {_text(styles.difference(trained_in[0], plugin.name, found.facts['tools']))}"
    return text


def _made(found: Publication) -> list[tuple[str, str]]:
    """What it was made from and with, for the table."""
    facts, settings = found.facts, found.facts.get("settings") or {}
    versions = facts.get("versions") or next(iter(found.bundles.values())).get("versions") or {}
    base = facts.get("base")
    rows = [
        (
            "base",
            _base_row(base),
        ),
        ("training", f"{facts['rows']:,} rows" if facts.get("rows") else "elsewhere"),
    ]
    labels = {"num_train_epochs": "epochs", "learning_rate": "peak step size"}
    recipe = [
        f"{settings[key]:g} {label}"
        for key, label in labels.items()
        if settings.get(key) is not None
    ]
    batch = (settings.get("per_device_train_batch_size") or 0) * (
        settings.get("gradient_accumulation_steps") or 0
    )
    recipe += [f"{batch} rows a step"] if batch else []
    recipe += [f"precision {settings['precision']}"] if settings.get("precision") else []
    rows += [("recipe", ", ".join(recipe))] if recipe else []
    if facts.get("vocabulary"):
        rows.append(
            (
                "vocabulary",
                f"{facts['vocabulary']['pieces']:,} of {facts['vocabulary']['of']:,} pieces",
            )
        )
    tools = ("fgkit", "torch", "transformers", "trl", "litert-torch", "litert-lm")
    rows.append(
        ("with", _text(", ".join(f"{name} {versions[name]}" for name in tools if name in versions)))
    )
    return [(name, value) for name, value in rows if value]


def _modifications(found: Publication) -> str:
    """The licence's statement: of the model, and of what conversion did to the bundles."""
    model = found.facts.get("modifications") or "all weights fine-tuned"
    quantize = found.settings.get("to_tflite", {}).get("quantize")
    how = f" with {quantize} quantization" if quantize not in (None, "none") else ""
    return f"{model}; in the bundles: converted to LiteRT{how}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def _text(value: Any) -> str:
    """One line of plain text for Markdown: nothing in it is markup."""
    line = re.sub(r"\s+", " ", str(value)).strip()
    return (
        re.sub(r"([\\`*_\[\]<>|#!~&])", r"\\\1", line)
        .replace("\\&", "&amp;")
        .replace("\\<", "&lt;")
    )


def _code(value: Any) -> str:
    """A span of code that its content cannot leave, in a table either."""
    text = re.sub(r"\s+", " ", str(value)).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"
