"""A finished run goes in; what may be published of it comes out: files with their hashes, and what the card tells.

>>> found = gather("run")
>>> [file.name for file in found.files]
['model.safetensors', 'config.json', ..., 'functiongemma-flutter.task', 'tools.json', 'NOTICE-GEMMA.txt', 'SHA256SUMS']

Only files of known names travel, so checkpoints, notebooks and pickles never do. Every large file is compared with the hash
that was written down when it was made and scored. Paths of this machine are cut down to names, and nothing that a user
said is published unless the data are: the rows that the gate lists stay here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit import checksums, progress, prompts
from fgkit.credentials import REMEDY, kind
from fgkit.dataset import rows as run_rows
from fgkit.dataset.splits import load_data
from fgkit.errors import BundleError, CheckFailed, FgkitError
from fgkit.evaluation import scores as evaluation
from fgkit.files import read_json, sha256
from fgkit.licence import NOTICE, notice_text
from fgkit.models import base as base_model, record
from fgkit.models.folder import MODEL_FILES
from fgkit.models.vocabulary import record as vocabulary_record
from fgkit.prompts import styles
from fgkit.prompts.format import DEFAULT_SYSTEM_MSG
from fgkit.workflow import summary

BUNDLES = (".task", ".litertlm")
SUMS = "SHA256SUMS"
SAID = "{what the user said}"
_MODEL_FILES = (*MODEL_FILES, "fgkit.json", vocabulary_record.FILE)
_LOCAL = {
    "output",
    "data",
    "eval_data",
    "tools",
    "model",
    "path",
}  # entries of our records that name places here
_AGAIN = "Make it again: python -m fgkit run --output {folder}"


@dataclass(frozen=True)
class File:
    """A file as it will lie in the repository.

    Args:
        name: its path there.
        content: where it lies here, or its bytes where it is made for the repository.
        bytes: its size.
        sha256: its hash.
        purpose: half a sentence for the card.
    """

    name: str
    content: Path | bytes
    bytes: int
    sha256: str
    purpose: str


@dataclass(frozen=True)
class Publication:
    """What is published of a run.

    Args:
        folder: the run's.
        files: all but the card.
        bundles: what is known of each bundle by its file's name: the JSON beside it.
        scores: by name: `base` and `tuned`, where there are such, then each bundle.
        facts: the model's `fgkit.json`.
        doubts: why it should not be published, a sentence each; empty when every bundle passed the gate.
        data_name: of the rows it was scored on.
        settings: the run's, by notebook.
        prompt: the whole prompt with `SAID` where the user's words go; "" where the model's tools are not known.
    """

    folder: Path
    files: tuple[File, ...]
    bundles: dict[str, dict[str, Any]]
    scores: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    doubts: tuple[str, ...]
    data_name: str
    settings: dict[str, Any]
    prompt: str


def gather(folder: str | Path, *, data: bool = False) -> Publication:
    """Find what may be published of a run and compare it with what was written down when it was made.

    Args:
        folder: the run's output folder.
        data: add the training rows, and the held-out rows where they are a file of their own.
    Raises:
        FgkitError: this is no finished run; BundleError: files are not those that were scored, all problems in one message;
        ModelError: the model folder is not whole.
    """
    folder = Path(folder).expanduser().absolute()
    told = summary.of_run(folder)
    settings = (
        told["settings"].get("to_task") or {}
    )  # data, eval_data, tools and seed are the same in every notebook
    model = Path(settings.get("model") or folder / "model").expanduser()
    paths = bundles(folder)
    if not paths:
        raise FgkitError(
            f"{folder}: holds no .task and no .litertlm yet. Finish the run: python -m fgkit run --output "
            f"{folder}"
        )
    base_model.check_folder(model)
    found = [path for path in (model / name for name in _MODEL_FILES) if path.is_file()]
    hashes = {
        path: sha256(path)
        for path in progress.bar([*found, *paths], desc="hashing", unit="file", leave=False)
    }
    sidecars = {path: _sidecar(path) for path in paths}
    weights = hashes[model / "model.safetensors"]
    _require_same(folder, sidecars, weights)
    scores = {name: told[name] for name in ("base", "tuned") if told[name]}
    scores |= {
        path.name: score
        for path in paths
        if (score := _score_of(hashes[path], told, sidecars[path]))
    }
    facts = record.model_facts(model)
    files = []
    for path in paths:
        files += [
            _file(path.name, path, hashes[path], _PURPOSES[path.suffix], data),
            _file(
                f"{path.name}.json",
                path.with_name(f"{path.name}.json"),
                "",
                _PURPOSES[".json"],
                data,
            ),
        ]
    prompt = _prompt(facts, sidecars[paths[0]])
    if prompt:
        files += [
            _made("tools.json", _json(facts["tools"]), _PURPOSES["tools.json"]),
            _made("prompt.txt", prompt.encode(), _PURPOSES["prompt.txt"]),
        ]
    files += [_file(path.name, path, hashes[path], _PURPOSES[path.name], data) for path in found]
    files.append(_made(NOTICE, notice_text().encode(), _PURPOSES[NOTICE]))
    files += _data_files(settings, facts, told) if data else []
    _require_no_secrets(files)
    listed = "".join(f"{file.sha256}  {file.name}\n" for file in files)
    files.append(_made(SUMS, listed.encode(), _PURPOSES[SUMS]))
    return Publication(
        folder,
        tuple(files),
        {path.name: sidecars[path] for path in paths},
        {name: evaluation.completed(score) for name, score in scores.items()},
        facts,
        tuple(_doubts(sidecars, scores)),
        Path(settings.get("eval_data") or settings.get("data") or "eval_data.jsonl").name,
        told["settings"],
        prompt,
    )


def bundles(folder: str | Path) -> list[Path]:
    """The bundles in a run's folder."""
    return [path for suffix in BUNDLES for path in sorted(Path(folder).glob(f"*{suffix}"))]


def gate_lines(sidecar: dict[str, Any]) -> list[str]:
    """The gate's verdict and figures, without the rows that it lists: those are the user's."""
    return [
        line for line in (sidecar.get("gate") or {}).get("lines", []) if not line.startswith(" ")
    ]


def _prompt(facts: dict[str, Any], sidecar: dict[str, Any]) -> str:
    if not facts.get("tools"):
        return ""
    mark = "USER-SAID"  # what SAID has in it, a style might escape
    text = prompts.render(
        prompts.conversation(mark, facts.get("system_message") or DEFAULT_SYSTEM_MSG),
        facts["tools"],
        add_generation_prompt=True,
        style=styles.split(sidecar.get("style") or styles.DEFAULT)[0],
    )
    return text.replace(mark, SAID)


def _sidecar(path: Path) -> dict[str, Any]:
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        raise BundleError(
            f"{beside}: is missing, so nobody can tell what {path.name} was made from and whether it passed "
            f"the gate. {_AGAIN.format(folder=path.parent)}"
        )
    found = read_json(beside)
    if not isinstance(found, dict):
        raise BundleError(
            f"{beside}: holds a {type(found).__name__}, expected an object. "
            f"{_AGAIN.format(folder=path.parent)}"
        )
    return found


def _require_same(folder: Path, sidecars: dict[Path, dict], weights: str) -> None:
    """Refuse bundles that changed since they were written down, and those of another model."""
    problems = [problem for path in sidecars for problem in checksums.problems(path)]
    problems += [
        f"{path}: was made from another model (its .json says {str(sidecar.get('model_sha256'))[:12]}…, "
        f"model.safetensors is {weights[:12]}…)."
        for path, sidecar in sidecars.items()
        if sidecar.get("model_sha256") != weights
    ]
    if problems:
        raise BundleError(
            "\n".join([*problems, "Nothing was published. " + _AGAIN.format(folder=folder)])
        )


def _score_of(digest: str, told: dict[str, Any], sidecar: dict[str, Any]) -> dict[str, Any] | None:
    """The score of the file with this hash: the summary's, which has its rows, or the one beside the bundle."""
    every = [*told.values(), *(sidecar.get("scores") or {}).values()]
    return next(
        (
            one
            for one in every
            if isinstance(one, dict) and one.get("sha256") == digest and "exact_match" in one
        ),
        None,
    )


def _doubts(sidecars: dict[Path, dict], scores: dict[str, dict]) -> Iterator[str]:
    for path, sidecar in sidecars.items():
        gate = sidecar.get("gate") or {}
        if path.name not in scores:
            yield f"{path.name} was not scored: nobody knows whether it answers."
        elif not gate:
            yield f"{path.name} was not compared with the model it was made from."
        elif gate.get("passed") is not True:
            yield f"{path.name} did not pass the gate: {'; '.join(gate_lines(sidecar)[1:]) or 'no reason was kept'}."


def _data_files(
    settings: dict[str, Any], facts: dict[str, Any], told: dict[str, Any]
) -> list[File]:
    """The rows, which must be those of the training."""
    rows, held_out, _ = run_rows.data_files(
        settings.get("data", ""), settings.get("eval_data", ""), settings.get("tools", "")
    )
    loaded = load_data(
        rows,
        held_out,
        facts.get("tools") or [],
        seed=settings.get("seed", 42),
        format=settings.get("data_format", "auto"),
    )
    wanted = {
        "training": (facts.get("rows_sha256"), loaded.train),
        "held-out": ((told["tuned"] or {}).get("rows_sha256"), loaded.held_out),
    }
    changed = [
        name for name, (digest, records) in wanted.items() if digest != run_rows.rows_hash(records)
    ]
    if changed:
        raise FgkitError(
            f"{rows}: the {' and '.join(changed)} rows are not those that the model was trained and scored on. "
            "Restore the file, or publish without the data."
        )
    return [
        _made(f"data/{Path(path).name}", Path(path).read_bytes(), purpose)
        for path, purpose in ((rows, "training rows"), (held_out, "held-out rows"))
        if path
    ]


def _file(name: str, path: Path, digest: str, purpose: str, data: bool) -> File:
    """A file as it is, or one of our JSON records without paths of this machine and without the user's rows."""
    if name == "fgkit.json" or name.endswith(tuple(f"{suffix}.json" for suffix in BUNDLES)):
        return _made(name, _json(_travelling(read_json(path), data)), purpose)
    return File(name, path, path.stat().st_size, digest, purpose)


def _made(name: str, content: bytes, purpose: str) -> File:
    return File(name, content, len(content), hashlib.sha256(content).hexdigest(), purpose)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _travelling(value: Any, data: bool, key: str = "") -> Any:
    """A record as strangers may read it."""
    if isinstance(value, dict):
        return {name: _travelling(each, data, name) for name, each in value.items()}
    if isinstance(value, list):
        return [
            _travelling(each, data)
            for each in value
            if data or key != "lines" or not (isinstance(each, str) and each.startswith(" "))
        ]
    if isinstance(value, str) and (
        key in _LOCAL or key == "base" and re.match(r"[/~.\\]|[A-Za-z]:[/\\]", value)
    ):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def _require_no_secrets(files: Iterable[File]) -> None:
    """Refuse text files that hold a token; the networks hold no text."""
    found = []
    for file in files:
        if not file.name.endswith((".safetensors", ".model", *BUNDLES, "tokenizer.json")):
            text = file.content.read_bytes() if isinstance(file.content, Path) else file.content
            if what := kind(text.decode("utf-8", "replace")):
                found.append(f"{file.name} holds {what}")
    if found:
        raise CheckFailed(f"{'; '.join(found)}: it would be published with the model. {REMEDY}")


_PURPOSES = {
    ".task": "the bundle for MediaPipe, LiteRT-LM and flutter_gemma",
    ".litertlm": "the bundle for LiteRT-LM's conversations",
    ".json": "what the bundle was made from, its tokens and its scores",
    "tools.json": "the functions, as an app declares them",
    "prompt.txt": f"the whole prompt, with `{SAID}` where that goes",
    NOTICE: "the licence notice; keep it with every copy",
    SUMS: "hashes: `sha256sum -c SHA256SUMS`",
    "model.safetensors": "the tuned weights, bfloat16",
    "config.json": "shape of the network",
    "generation_config.json": "where generation stops",
    "tokenizer.json": "tokenizer for transformers",
    "tokenizer.model": "tokenizer for the phone, SentencePiece",
    "tokenizer_config.json": "tokenizer settings",
    "chat_template.jinja": "writes the prompt",
    "special_tokens_map.json": "names of special tokens",
    "added_tokens.json": "added tokens",
    "fgkit.json": "how the model was made",
    vocabulary_record.FILE: "which pieces of text were kept",
}
