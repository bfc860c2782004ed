"""The files of a publication, with their hashes and without private content.

JSON records are rewritten: paths of this machine are reduced to file names, and what users said is
removed unless the rows are published too. All other files are published unchanged. Files with
secrets are refused, and symbolic links are never followed: nothing from outside the run's folder
is published under a name inside it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit import credentials
from fgkit.errors import CheckFailed, FgkitError
from fgkit.files import read_json, require_regular
from fgkit.licence import NOTICE
from fgkit.models import record
from fgkit.models.vocabulary import record as vocabulary_record

BUNDLES = (".task", ".litertlm")
SUMS = "SHA256SUMS"
SAID = "{what the user said}"
_NAME = re.compile(r"[^\W_][\w.+() -]*")
_PRINTABLE = re.compile(rb"[\x20-\x7e]{16,}")
# As safetensors itself limits it.
_LARGEST_HEADER = 100_000_000
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


def require_own_files(paths: Iterable[Path], folder: Path) -> None:
    """Refuse what would be read or published, if it is not a file of the run itself.

    Args:
        paths: the files and folders; those that do not exist are skipped.
        folder: the run's folder. It may itself be reached through a link, which its user typed.
    Raises:
        FgkitError: a path, or a folder between it and the run's, is a symbolic link; or it is a
            pipe or device; or its name has characters that do not belong into a link or a program.
            All problems are in one message.
    """
    problems = []
    for path in dict.fromkeys(paths):
        inside = [step for step in path.parents if folder in step.parents]
        if link := next((step for step in (*inside, path) if step.is_symlink()), None):
            problems.append(
                f"{link}: is a symbolic link, and links are not published. Replace it by a copy of "
                "the file, if its content is meant to be published."
            )
        elif path.exists() and not path.is_dir():
            require_regular(path)
            if not _NAME.fullmatch(path.name):
                problems.append(
                    f"{path.parent}: {path.name!r} is no name to publish. Rename it: letters, "
                    "digits, spaces and . _ + - ( ) only, a letter or digit first."
                )
    if problems:
        raise FgkitError("\n".join([*problems, "Nothing was published."]))


def require_no_secrets(files: Sequence[File]) -> None:
    """Refuse files that hold a token, a key or a password, in their text or their name.

    Searched are all texts, the texts inside JSON, and the metadata of safetensors. Bundles, whose
    texts are those of the other files, and numbers are not.

    Raises:
        CheckFailed: there are such files; all of them are named.
    """
    problems = []
    for file in files:
        if secret := credentials.secret_in(file.name):
            problems.append(f"the name of {credentials.redacted(file.name)} holds {secret}")
        if secret := credentials.secret_in(_texts(file)):
            problems.append(f"{credentials.redacted(file.name)} holds {secret}")
    if problems:
        raise CheckFailed(
            f"{'; '.join(problems)}: it would be published with the model. {credentials.REMEDY}"
        )


def _texts(file: File) -> str:
    """All text in a file that could hold a secret."""
    if file.name.endswith(BUNDLES):
        return ""
    if file.name.endswith(".safetensors"):
        return _metadata(file.content) if isinstance(file.content, Path) else ""
    content = file.content.read_bytes() if isinstance(file.content, Path) else file.content
    if file.name.endswith(".model"):
        # Pieces of text lie between the numbers of a protobuf.
        return "\n".join(match[0].decode() for match in _PRINTABLE.finditer(content))
    text = content.decode("utf-8", "replace")
    if file.name.endswith(".jsonl"):
        return "\n".join(map(_strings, text.splitlines()))
    if file.name.endswith(".json"):
        return _strings(text)
    # UTF-16 has a NUL between any two letters.
    return text.replace("\0", "")


def _strings(text: str) -> str:
    """The keys and strings of JSON without their escapes, one on each line; other text as it is."""
    try:
        # Objects as lists, because of equal keys a dict keeps only the last.
        pending = [json.loads(text, object_pairs_hook=lambda pairs: [*itertools.chain(*pairs)])]
    except (ValueError, RecursionError):
        return text.replace("\0", "")
    found: list[str] = []
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            # A vocabulary is full of texts that are too short for a secret.
            if len(value) >= credentials.SHORTEST:
                found.append(value)
        elif isinstance(value, list):
            pending += value
    return "\n".join(found)


def _metadata(weights: Path) -> str:
    """The header of a safetensors file, which may hold any text beside the tensors' names."""
    with open(weights, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        return _strings(handle.read(min(length, _LARGEST_HEADER)).decode("utf-8", "replace"))


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
