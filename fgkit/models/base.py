"""The base model of a training: FunctionGemma from the Hub, a local folder, or the offline base.

In: what the user asked for. Out: a `Base`: a folder on this disk that holds a complete model, its
name for the results, and the recipe that suits its weights.

Example:

    base = find_base("offline")
    model, tokenizer = load(base.folder)
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit.errors import ModelError
from fgkit.locations import cache_dir

from . import offline_base
from .base_checks import require_trainable
from .download import GET_ACCESS, USE_OFFLINE, download, local_copy
from .folder import check_folder
from .network_shape import spec_of_folder
from .record import model_facts
from .spec import FUNCTIONGEMMA, OFFLINE, KnownBase, Recipe, base_named


@dataclass(frozen=True)
class Base:
    """A model folder that training starts from.

    Args:
        name: Hub name, path or `offline`, as it is written into the results.
        folder: the folder with its files.
        origin: the registered weights that these are, or were tuned from; they bring the recipe.
        announcement: one paragraph for the user.
    """

    name: str
    folder: Path
    origin: KnownBase
    announcement: str

    @property
    def recipe(self) -> Recipe:
        """The hyperparameters that suit these weights."""
        return self.origin.recipe


def find_base(base: str = "") -> Base:
    """Find or download the base model; one that was asked for is never replaced by another.

    A base whose tuned model could not be converted is refused here, before anything is trained.

    Args:
        base: a Hub name, a folder or `offline`. Empty: FunctionGemma if a token or a local copy
            gives access to it, the offline base otherwise.
    Raises:
        ModelError: it is not available or of another kind; the message says why and what to do.
    """
    if base in offline_base.STEPS:
        return _offline("You asked for the offline base.", base)
    if base and Path(base).expanduser().is_dir():
        folder = Path(base).expanduser().absolute()
        check_folder(folder)
        require_trainable(folder)
        name = _recorded_base(folder) or str(folder)
        return Base(name, folder, origin_of(name, folder), f"Base model: the folder {folder}.")
    if base and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base, re.ASCII):
        raise ModelError(
            f"base is {base!r}: no such folder, and not a Hub name like {FUNCTIONGEMMA}. "
            f"{USE_OFFLINE}"
        )
    return _from_hub(base)


def _from_hub(base: str) -> Base:
    """The base of a Hub name, or the default base where the name is empty."""
    from huggingface_hub import get_token

    name, token = base or FUNCTIONGEMMA, get_token()
    if token and not re.fullmatch("[!-~]+", token):
        raise ModelError(
            f"{name}: the token in HF_TOKEN holds characters that no token has. Copy it again from "
            f"https://huggingface.co/settings/tokens. {USE_OFFLINE}"
        )
    if not base and not token:
        local = local_copy(name)
        if local is None:
            return _offline(f"No token and no complete local copy of {FUNCTIONGEMMA}.")
        require_trainable(local)
        announcement = f"Base model: {name}, from the copy on this machine."
        return Base(name, local, origin_of(name, local), announcement)
    folder = download(name)
    require_trainable(folder)
    return Base(name, folder, origin_of(name, folder), f"Base model: {name}, in {folder}.")


def origin_of(name: str, folder: Path) -> KnownBase:
    """The registered weights of a name; for an unknown name those of the network in the folder.

    Args:
        name: Hub name, path or `offline`.
        folder: the model folder, whose `config.json` tells the network.
    """
    return base_named(name) or spec_of_folder(folder).bases[0]


def load(folder: str | Path) -> tuple[Any, Any]:
    """Load a model and its tokenizer as the guide requires: bfloat16 and eager attention.

    Args:
        folder: a model folder; code in it is never run.
    Returns:
        the model in evaluation mode, on the GPU if there is one, and the tokenizer.
    Raises:
        ModelError: its files are missing or damaged.
    """
    tokenizer = load_tokenizer(folder)
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    # A damaged or odd `config.json` ends in almost any error, depending on the field.
    except Exception as error:
        raise ModelError(
            f"{folder}: its model cannot be loaded: "
            f"{(str(error) or type(error).__name__)[:300]!r}. Get the model's files again."
        ) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def load_tokenizer(folder: str | Path) -> Any:
    """A model folder's tokenizer alone; code in the folder is never run.

    Raises:
        ModelError: its files are missing or damaged.
    """
    silence_libraries()
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # The tokenizers library raises nothing more specific for a damaged file.
    except Exception as error:
        raise ModelError(
            f"{folder}: its tokenizer cannot be read: "
            f"{(str(error) or type(error).__name__)[:200]!r}. "
            "Get the model's files again."
        ) from error


def silence_libraries() -> None:
    """Keep libraries' messages while they load out of notebooks: GPU kernels, progress bars."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _offline(reason: str, name: str = OFFLINE) -> Base:
    silence_libraries()
    folder = offline_base.build(cache_dir("offline-base"), name)
    origin = origin_of(name, folder)
    return Base(
        name,
        folder,
        origin,
        f"{reason} Base model: {origin.description}. FunctionGemma itself would "
        f"start better and need less training. {GET_ACCESS}",
    )


def _recorded_base(folder: Path) -> str | None:
    """Name of the base that a folder written by fgkit came from."""
    return model_facts(folder).get("base")
