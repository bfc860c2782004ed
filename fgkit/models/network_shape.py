"""Which registered network a model folder holds, and how its `config.json` differs from it."""

from __future__ import annotations

from pathlib import Path

from fgkit import files
from fgkit.errors import FgkitError

from . import spec as specs
from .spec import ModelSpec


def spec_of_folder(folder: str | Path) -> ModelSpec:
    """The registered network that is closest to a folder's `config.json`, or the default one."""
    try:
        return specs.spec_of(files.read_json(Path(folder) / "config.json"))
    except FgkitError:
        return specs.default_spec()


def shape_problems(folder: str | Path) -> list[str]:
    """How a folder's `config.json` differs from the closest network that can be converted.

    Args:
        folder: the model folder.
    Returns:
        one sentence for each value that differs; empty when the converter builds this shape.
    """
    path = Path(folder) / "config.json"
    try:
        config = files.read_json(path)
    except FgkitError as error:
        return [str(error)]
    if not isinstance(config, dict):
        return [f"{path}: holds a {type(config).__name__}, expected an object."]
    if method := _quantisation(config):
        return [
            f"{path}: its weights are quantised ({method}), expected plain bfloat16. Get the model "
            "that they were made from."
        ]
    spec = specs.spec_of(config)
    titles = " or ".join(known.title for known in specs.SPECS.values())
    # Of another architecture every value differs, so its name alone says more.
    if (kind := config.get("model_type")) != spec.shape.get("model_type", kind):
        return [
            f"{path}: model_type is {_quoted(kind)}, expected {spec.shape['model_type']!r}: only "
            f"{titles} can be converted."
        ]
    problems = [
        f"{path}: {key} is {_quoted(config.get(key))}, expected {value!r}: only {titles} can be "
        "converted."
        for key, value in spec.shape.items()
        if config.get(key) != value
    ]
    size = config.get("vocab_size")
    if type(size) is not int or not 0 < size <= spec.vocabulary_size:
        problems.append(
            f"{path}: vocab_size is {_quoted(size)}, expected {spec.vocabulary_size} or, after a "
            "cut, fewer."
        )
    if config.get("tie_word_embeddings", True) is not True:
        problems.append(
            f"{path}: tie_word_embeddings is false, expected true: the converter has no separate "
            "output head."
        )
    return problems


def _quantisation(config: dict[str, object]) -> str:
    """The method by which a `config.json` says that weights are quantised; empty for not at all."""
    for key in ("quantization_config", "compression_config"):
        value = config.get(key)
        if value is not None:
            method = value.get("quant_method", key) if isinstance(value, dict) else key
            return _quoted(method)
    return ""


def _quoted(value: object) -> str:
    """A value of somebody's `config.json` in a message: at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
