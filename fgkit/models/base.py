"""Where training starts: FunctionGemma from the Hub, a local folder, or the offline base.

In: what the user asked for. Out: a folder on this disk that holds a whole model, and how it was come by.

>>> base = find_base("offline")
>>> model, tokenizer = load(base.folder)
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit import checksums, credentials
from fgkit.errors import ModelError
from fgkit.files import cache_dir

from . import offline_base
from .record import model_facts
from .spec import FUNCTIONGEMMA, OFFLINE

_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
)
_OPTIONAL = {"special_tokens_map.json", "added_tokens.json"}
_INSTEAD = (
    'To go on without it, use the offline base: `--base offline` (in a notebook: base = "offline").'
)
_GET_ACCESS = (
    f"To get FunctionGemma: accept the licence at https://huggingface.co/{FUNCTIONGEMMA}, create a token at "
    "https://huggingface.co/settings/tokens, and set it as the environment variable HF_TOKEN "
    "(in Colab: the key icon on the left)."
)


@dataclass(frozen=True)
class Base:
    """A model folder to start from.

    Args:
        name: Hub name, path or `offline`, as it is written into the results.
        folder: where its files are.
        offline: whether it is the offline base, which has a recipe of its own.
        announcement: one paragraph for the user.
    """

    name: str
    folder: Path
    offline: bool
    announcement: str


def find_base(base: str = "") -> Base:
    """Find or fetch the base model; never put another in the place of one that was asked for.

    Args:
        base: a Hub name, a folder, `offline`, or empty for FunctionGemma if a token or a local copy gives access to
            it and the offline base otherwise.
    Raises:
        ModelError: it cannot be had; the message says why and what to do.
    """
    if base == OFFLINE:
        return _offline("You asked for the offline base.")
    if base and Path(base).expanduser().is_dir():
        folder = Path(base).expanduser().absolute()
        check_folder(folder)
        return Base(
            _recorded_base(folder) or str(folder),
            folder,
            _recorded_base(folder) == OFFLINE,
            f"Base model: the folder {folder}.",
        )
    if base and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base, re.ASCII):
        raise ModelError(
            f"base is {base!r}: no such folder, and not a Hub name like {FUNCTIONGEMMA}. {_INSTEAD}"
        )
    from huggingface_hub import get_token

    name, token = base or FUNCTIONGEMMA, get_token()
    if token and not re.fullmatch("[!-~]+", token):
        raise ModelError(
            f"{name}: the token in HF_TOKEN holds characters that no token has. Copy it again from "
            f"https://huggingface.co/settings/tokens. {_INSTEAD}"
        )
    if not base and not token:
        local = local_copy(name)
        if local is None:
            return _offline(f"No token and no whole local copy of {FUNCTIONGEMMA}.")
        return Base(name, local, False, f"Base model: {name}, from the copy on this machine.")
    folder = _download(name)
    return Base(name, folder, False, f"Base model: {name}, in {folder}.")


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not hold a whole model.

    Raises:
        ModelError: files are missing or the weights are cut short; all problems in one message.
    """
    from .model_checks import weight_problems

    problems = [
        f"{name} is missing"
        for name in _FILES
        if name not in _OPTIONAL and not (folder / name).is_file()
    ]
    if (folder / "model.safetensors").is_file():
        problems += weight_problems(folder)
    problems = problems or checksums.problems(folder)
    if problems:
        raise ModelError(
            f"{folder}: not a whole model: {'; '.join(problems)}. "
            "If it was downloaded, download it again; if it was copied, copy all files."
        )


def load(folder: str | Path) -> tuple[Any, Any]:
    """Load a model and its tokenizer as the guide demands: bfloat16 and eager attention.

    Args:
        folder: a model folder; code in it is never run.
    Returns:
        (model in evaluation mode, on the GPU if there is one; tokenizer).
    """
    tokenizer = load_tokenizer(folder)
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16,
        attn_implementation="eager",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
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
    except (
        Exception
    ) as error:  # the tokenizers library raises nothing more exact for a damaged file
        raise ModelError(
            f"{folder}: its tokenizer cannot be read: {(str(error) or type(error).__name__)[:200]!r}. "
            "Get the model's files again."
        ) from error


def silence_libraries() -> None:
    """Keep what libraries say of themselves while they load out of the notebook: missing GPU kernels, loading bars."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _offline(reason: str) -> Base:
    silence_libraries()
    folder = offline_base.build(cache_dir("offline-base"))
    return Base(
        OFFLINE,
        folder,
        True,
        f"{reason} Base model: {offline_base.DESCRIPTION}. FunctionGemma itself would "
        f"start better and need less training. {_GET_ACCESS}",
    )


def local_copy(name: str) -> Path | None:
    """The whole model of this name in the Hub's cache; an interrupted download is none: without a token it stays so."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=list(_FILES)))
        check_folder(folder)
    except (LocalEntryNotFoundError, HFValidationError, ModelError):
        return None
    return folder


def _download(name: str) -> Path:
    """Fetch a model's files from the Hub, or find them in its cache; each way to fail has its own message."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # HTTPError: of httpx or httpx2, by version
        HFValidationError,
        HTTPError,
    )

    credentials.refuse_endpoint()
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except HFValidationError as error:
        raise ModelError(
            f"base is {name!r}: no such folder, and not a Hub name like {FUNCTIONGEMMA}. {_INSTEAD}"
        ) from error
    except (
        HTTPError,
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: hf_xet, which fetches the weights
        raise ModelError(f"{name}: {_why(error)} {_INSTEAD}") from credentials.scrub(error)
    try:
        check_folder(folder)
    except (
        ModelError
    ) as error:  # the client takes files that it has for good: only deleting them helps
        raise ModelError(f"{error} Delete {folder.parents[1]} first. {_INSTEAD}") from error
    return folder


def _why(error: Exception) -> str:
    """What a failed download means and what to do; the text of the error itself could show the token."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # "not on this machine" is only what remains after the Hub failed
    if isinstance(error, GatedRepoError):
        return f"access is not granted yet (the model is gated). {_GET_ACCESS}"
    if isinstance(error, RepositoryNotFoundError):  # the Hub answers so for a private model, too
        return (
            "the Hub has no model of this name that the token in HF_TOKEN may see, and there is no such folder "
            "here. Check the spelling and the token."
        )
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        remedy = {
            401: "The token in HF_TOKEN is refused. Create a new one at https://huggingface.co/settings/tokens.",
            403: "The token in HF_TOKEN may not read this model. Create one with Read access to gated models at "
            "https://huggingface.co/settings/tokens.",
            404: "It has no such model, or the model lacks a file. Check the spelling.",
            429: "The Hub asks to wait. Try again in a few minutes.",
        }.get(status, "The Hub has a problem. Try again later: finished files are kept.")
        return f"the Hub answered {status}. {remedy}"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
        return (
            f"the download could not be stored: {error.strerror}. Free some space (1 GB is needed) or set HF_HOME "
            "to a folder on another disk, then run again: finished files are kept."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return (
            "there is no whole copy on this machine, and HF_HUB_OFFLINE keeps this from asking the Hub. Unset it "
            "and run again."
        )
    return (
        "the Hub cannot be reached, or the download broke off, and there is no whole copy on this machine. Check "
        "the network, then run again: finished files are kept."
    )


def _recorded_base(folder: Path) -> str | None:
    """Name of the base that a folder written by fgkit came from."""
    return model_facts(folder).get("base")
