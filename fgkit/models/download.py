"""A base model downloaded from the Hub, or found in the Hub's cache on this machine."""

from __future__ import annotations

from pathlib import Path

from fgkit import credentials
from fgkit.errors import ModelError

from .base_checks import require_known_network
from .folder import ADAPTER, MODEL_FILES, SHARDS, check_folder, other_kind
from .spec import FUNCTIONGEMMA

USE_OFFLINE = (
    'To go on without it, use the offline base: `--base offline` (in a notebook: base = "offline").'
)
GET_ACCESS = (
    f"To get FunctionGemma: accept the licence at https://huggingface.co/{FUNCTIONGEMMA}, create "
    f"a token at "
    "https://huggingface.co/settings/tokens, and set it as the environment variable HF_TOKEN "
    "(in Colab: the key icon on the left)."
)

_HTTP_REMEDIES = {
    401: "The token in HF_TOKEN is refused. Create a new one at "
    "https://huggingface.co/settings/tokens.",
    403: "The token in HF_TOKEN may not read this model. Create one with Read access to gated "
    "models at https://huggingface.co/settings/tokens.",
    404: "It has no such model, or the model lacks a file. Check the spelling.",
    429: "The Hub asks to wait. Try again in a few minutes.",
}


# Small files that tell what a model is, before its weights are downloaded.
_TELLING = ["config.json", ADAPTER, SHARDS]


def local_copy(name: str) -> Path | None:
    """The complete model of this name in the Hub's cache, or None.

    An interrupted download counts as none, because without a token it cannot be completed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(name, local_files_only=True, allow_patterns=list(MODEL_FILES))
        )
        check_folder(folder)
    except (LocalEntryNotFoundError, HFValidationError, ModelError):
        return None
    return folder


def download(name: str) -> Path:
    """Download a model's files, or find them in the Hub's cache.

    A model of another kind is refused by its small files, before gigabytes are downloaded.

    Raises:
        ModelError: they are not available, or of another kind; the message says why and what to do.
    """
    from huggingface_hub import snapshot_download

    # `permissions.py` says why HTTPError is imported from there.
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    credentials.refuse_endpoint()
    try:
        folder = Path(snapshot_download(name, allow_patterns=_TELLING))
        _refuse_other_kinds(name, folder)
        folder = Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))
    except HFValidationError as error:
        raise ModelError(
            f"base is {name!r}: no such folder, and not a Hub name like {FUNCTIONGEMMA}. "
            f"{USE_OFFLINE}"
        ) from error
    # RuntimeError: from hf_xet, which downloads the weights.
    except (HTTPError, OSError, RuntimeError) as error:
        raise ModelError(f"{name}: {_why(error)} {USE_OFFLINE}") from credentials.redact_error(
            error
        )
    try:
        check_folder(folder)
    # The client never downloads a file twice that it has, so only deleting it helps.
    except ModelError as error:
        raise ModelError(f"{error} Delete {folder.parents[1]} first. {USE_OFFLINE}") from error
    return folder


def _refuse_other_kinds(name: str, folder: Path) -> None:
    try:
        if kind := other_kind(folder):
            raise ModelError(f"not a complete model: {kind}")
        require_known_network(folder)
    except ModelError as error:
        raise ModelError(f"{name}: {error} {USE_OFFLINE}") from error


def _why(error: BaseException) -> str:
    """What a failed download means and what to do; the error's own text could show the token."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        # "Not on this machine" is only what is left after the Hub failed.
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return f"access is not granted yet (the model is gated). {GET_ACCESS}"
    # The Hub gives the same answer for a private model.
    if isinstance(error, RepositoryNotFoundError):
        return (
            "the Hub has no model of this name that the token in HF_TOKEN may see, and there is no "
            "such folder here. Check the spelling and the token."
        )
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        remedy = _HTTP_REMEDIES.get(
            status, "The Hub has a problem. Try again later: finished files are kept."
        )
        return f"the Hub answered {status}. {remedy}"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
        return (
            f"the download could not be stored: {error.strerror}. Free some space (1 GB is needed) "
            "or set HF_HOME to a folder on another disk, then run again: finished files are kept."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return (
            "there is no complete copy on this machine, and HF_HUB_OFFLINE keeps this from asking "
            "the "
            "Hub. Unset it and run again."
        )
    return (
        "the Hub cannot be reached, or the download broke off, and there is no complete copy on "
        "this "
        "machine. Check the network, then run again: finished files are kept."
    )
