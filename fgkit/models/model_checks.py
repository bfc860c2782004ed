"""Numbered checks of a model folder: each says pass, fail or skipped, why, and what to do about it.

`fgkit.checks.require` raises when one failed. Nothing here asks the network, loads a neural network
or imports torch.

Example:

    print(table(check_model_folder("run/model")))
     1. pass     files    all are there.
     ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from fgkit import checksums, files
from fgkit.checks import Check
from fgkit.errors import FgkitError

from . import sentencepiece_model
from .network_shape import shape_problems, spec_of_folder
from .spec import ModelSpec
from .weights import data_type_problems, weight_problems

# What the guide asks for, and what transformers and the chat template need besides.
REQUIRED_FILES = (
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class FolderCheck:
    """One question that is asked of a model folder.

    Args:
        name: the check's name in the table.
        file: the file that it reads; without it the check is skipped. Empty: always asked.
        problems: sentences that say what is wrong with the folder, or with `file` where it is set.
        finding: what to say when nothing is wrong; `str.format` fills in `title` and `stop_ids`.
        remedy: what to do when it fails; `base` and `copy_again` are filled in, too.
        absent: what to say when `file` is missing.
    """

    name: str
    file: str
    problems: Callable[[Path, ModelSpec], list[str]]
    finding: str
    remedy: str
    absent: str = "the file is missing."


def check_model_folder(path: str | Path, names: Collection[str] = ()) -> list[Check]:
    """Check a model folder for the files, weights, shape and tokenizers that a bundle is made from.

    Args:
        path: the folder that training wrote, or one tuned elsewhere.
        names: the checks to make, by name; all where none is given.
    Returns:
        one check for each of FOLDER_CHECKS, in that order.
    """
    path = Path(path)
    spec = spec_of_folder(path)
    words = {
        "title": spec.title,
        "base": spec.bases[0].name,
        "stop_ids": sorted(spec.stop_ids),
        "copy_again": checksums.remedy(path),
    }
    results = []
    for number, check in enumerate(FOLDER_CHECKS, 1):
        if names and check.name not in names:
            continue
        problems = _problems(check, path, spec)
        if problems is None:
            results.append(Check(number, check.name, "skipped", check.absent))
            continue
        results.append(
            Check(
                number,
                check.name,
                "fail" if problems else "pass",
                " ".join(problems) or check.finding.format(**words),
                check.remedy.format(**words),
            )
        )
    return results


def _problems(check: FolderCheck, folder: Path, spec: ModelSpec) -> list[str] | None:
    """A check's problems; None when its file is missing, which the check for files reports."""
    if not check.file:
        return check.problems(folder, spec)
    path = folder / check.file
    if not path.is_file():
        return None
    return problems_in_file(path, lambda file: check.problems(file, spec))


def problems_in_file(path: Path, problems: Callable[[Path], list[str]]) -> list[str]:
    """What a check finds in a file; a file that cannot be read is a problem of its own.

    Args:
        path: the file.
        problems: the check.
    """
    try:
        return problems(path)
    except (
        FgkitError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [f"{path}: cannot be read ({reason})."]


def _missing_files(folder: Path, spec: ModelSpec) -> list[str]:
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    return [f"{folder}: missing: {', '.join(missing)}."] if missing else []


def _tokenizer_model_problems(path: Path, spec: ModelSpec) -> list[str]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(files.read_bytes(path, "a tokenizer", limit=64 << 20))
    problems = [
        f"{path}: {problem}."
        for problem in sentencepiece_model.control_token_problems(processor, spec.control_tokens)
    ]
    size = files.read_json(path.with_name("config.json")).get("vocab_size")
    if processor.GetPieceSize() != size:
        problems.append(
            f"{path}: has {processor.GetPieceSize()} pieces, but config.json says vocab_size "
            f"{size}: "
            "one of them belongs to another base, or only one has a reduced vocabulary."
        )
    return problems


def _tokenizer_json_problems(path: Path, spec: ModelSpec) -> list[str]:
    added = {entry["content"]: entry["id"] for entry in files.read_json(path)["added_tokens"]}
    return [
        f"{path}: {token} has id {added.get(token)}, expected {number}."
        for token, number in spec.control_tokens.items()
        if added.get(token) != number
    ]


def _stop_id_problems(path: Path, spec: ModelSpec) -> list[str]:
    value = files.read_json(path).get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    if set(ids) == set(spec.stop_ids):
        return []
    return [f"{path}: eos_token_id is {value}, expected {sorted(spec.stop_ids)}."]


def _record_problems(path: Path, spec: ModelSpec) -> list[str]:
    record = files.read_json(path)
    if isinstance(record, dict) and "style" in record:
        return []
    return [f"{path}: names no prompt style."]


# The position in this table is the check's number.
FOLDER_CHECKS = (
    FolderCheck(
        "files",
        "",
        _missing_files,
        "all are there.",
        "Save model and tokenizer again with fgkit's training, or copy the missing files from the "
        "base model.",
    ),
    FolderCheck(
        "weights",
        "",
        lambda folder, spec: weight_problems(folder),
        "model.safetensors is complete.",
        "Copy or download the folder again.",
    ),
    FolderCheck(
        "data type",
        "model.safetensors",
        lambda weights, spec: data_type_problems(weights),
        "all tensors are bfloat16.",
        "Save the model in bfloat16 (model.to(torch.bfloat16)); never float16.",
    ),
    FolderCheck(
        "shape",
        "",
        lambda folder, spec: shape_problems(folder),
        "{title}.",
        "Start from {base}.",
    ),
    FolderCheck(
        "tokenizer.model",
        "tokenizer.model",
        _tokenizer_model_problems,
        "parses, and the control tokens have their ids.",
        "Take tokenizer.model from the base model {base}.",
    ),
    FolderCheck(
        "tokenizer.json",
        "tokenizer.json",
        _tokenizer_json_problems,
        "the control tokens have their ids.",
        "Take tokenizer.json from the base model {base}.",
    ),
    FolderCheck(
        "stop ids",
        "generation_config.json",
        _stop_id_problems,
        "generation stops at {stop_ids}.",
        'Set "eos_token_id": {stop_ids} in generation_config.json.',
    ),
    FolderCheck(
        "fgkit.json",
        "fgkit.json",
        _record_problems,
        "records how the model was made.",
        "Delete or repair the file.",
        absent="there is no such file.",
    ),
    FolderCheck(
        "checksums",
        checksums.NAME,
        lambda path, spec: checksums.problems(path.parent),
        "every file has the bytes it was written with.",
        "{copy_again}",
        absent=f"there is no {checksums.NAME}.",
    ),
)
