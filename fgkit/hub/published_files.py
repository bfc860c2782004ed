"""The files of a publication, with their hashes and without private content.

JSON records are rewritten: paths of this machine are reduced to file names, and what users said is
removed unless the rows are published too. All other files are published unchanged. Files with
access tokens are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit.credentials import REMEDY, secret_in
from fgkit.errors import CheckFailed
from fgkit.files import read_json
from fgkit.licence import NOTICE
from fgkit.models import record
from fgkit.models.vocabulary import record as vocabulary_record

BUNDLES = (".task", ".litertlm")
SUMS = "SHA256SUMS"
SAID = "{what the user said}"
# Keys of fgkit's records whose values are paths on this machine.
_LOCAL = {"output", "data", "eval_data", "tools", "model", "path"}


@dataclass(frozen=True)
class File:
    """A file of the repository that is published.

    Args:
        name: its path in the repository.
        content: its path on this machine, or its bytes if it is made for the repository.
        bytes: its size.
        sha256: its hash.
        purpose: a phrase for the model card.
    """

    name: str
    content: Path | bytes
    bytes: int
    sha256: str
    purpose: str


def published(name: str, path: Path, sha256: str, *, rows_too: bool) -> File:
    """Describe a file that is published unchanged, or rewrite a JSON record of fgkit.

    Args:
        name: its path in the repository.
        path: its path on this machine.
        sha256: its hash; the hash of a rewritten record is computed anew.
        rows_too: keep the user's rows in the records.
    """
    if name == record.NAME or name.endswith(tuple(f"{suffix}.json" for suffix in BUNDLES)):
        return made(name, json_bytes(_without_private_content(read_json(path), rows_too)))
    return File(name, path, path.stat().st_size, sha256, _purpose(name))


def made(name: str, content: bytes, purpose: str = "") -> File:
    """Describe a file that is made for the repository.

    Args:
        name: its path in the repository.
        content: its bytes.
        purpose: a phrase for the model card; "" for the usual one of this name.
    """
    digest = hashlib.sha256(content).hexdigest()
    return File(name, content, len(content), digest, purpose or _purpose(name))


def sums(files: Iterable[File]) -> File:
    """Make the file of checksums, in the format of coreutils' `sha256sum`."""
    return made(SUMS, "".join(f"{file.sha256}  {file.name}\n" for file in files).encode())


def json_bytes(value: object) -> bytes:
    """Convert a value to indented JSON."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def require_no_secrets(files: Sequence[File]) -> None:
    """Refuse text files that contain an access token.

    Raises:
        CheckFailed: there are such files; all of them are named.
    """
    # Weights, bundles and tokenizers are skipped: they are large, and no user writes in them.
    problems = []
    for file in files:
        if file.name.endswith((".safetensors", ".model", *BUNDLES, "tokenizer.json")):
            continue
        text = file.content.read_bytes() if isinstance(file.content, Path) else file.content
        if secret := secret_in(text.decode("utf-8", "replace")):
            problems.append(f"{file.name} holds {secret}")
    if problems:
        raise CheckFailed(f"{'; '.join(problems)}: it would be published with the model. {REMEDY}")


def _without_private_content(value: Any, rows_too: bool, key: str = "") -> Any:
    """Copy a record with paths reduced to file names, and the gate's rows only if `rows_too`."""
    if isinstance(value, dict):
        return {
            name: _without_private_content(item, rows_too, name) for name, item in value.items()
        }
    if isinstance(value, list):
        # The gate's lines about single rows are indented, and quote what the user said.
        return [
            _without_private_content(item, rows_too)
            for item in value
            if rows_too or key != "lines" or not (isinstance(item, str) and item.startswith(" "))
        ]
    # A base may be a path, or a name on the Hub, which is not private.
    if isinstance(value, str) and (
        key in _LOCAL or key == "base" and re.match(r"[/~.\\]|[A-Za-z]:[/\\]", value)
    ):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def _purpose(name: str) -> str:
    path = Path(name)
    return _PURPOSES.get(name) or _PURPOSES[path.suffix]


_PURPOSES: Mapping[str, str] = {
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
