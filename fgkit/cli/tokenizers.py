"""The tokenizer that commands count tokens with; nothing is ever downloaded for it."""

from __future__ import annotations

from os.path import expanduser, isdir  # unlike Path's methods, these accept any text
from pathlib import Path
from typing import Any

from fgkit.errors import FgkitError, ModelError
from fgkit.locations import cache_dir
from fgkit.models import base as base_models, download, offline_base
from fgkit.models.folder import check_folder
from fgkit.models.spec import OFFLINE


def find_tokenizer(base: str) -> tuple[Any, str]:
    """Load a base model's tokenizer, or say why there is none.

    Args:
        base: `offline`, a model folder, or a Hub name whose files are on this machine; "" takes the
            offline base if it has been built.
    Returns:
        The tokenizer and "", or None and the reason why there is none.
    Raises:
        ModelError: a base is named but is not on this machine, or its tokenizer cannot be read.
    """
    folder: Path | None
    if base == OFFLINE:
        folder = base_models.find_base(base).folder
    elif base and isdir(expanduser(base)):
        # Its tokenizer counts even where its weights could not be trained from.
        folder = Path(base).expanduser().absolute()
        check_folder(folder)
    elif base:
        folder = download.local_copy(base)
        if folder is None:
            raise ModelError(
                f"base is {base!r}: no such folder, and no whole copy of such a model on this "
                "machine; lint downloads nothing. Use `--base offline`, or run the finetune "
                "notebook with it first."
            )
    else:
        try:
            folder = offline_base.built(cache_dir("offline-base"))
        except FgkitError as error:
            return None, str(error)
        if folder is None:
            reason = (
                "no base model is on this machine yet; `--base offline` makes one (a minute, once)."
            )
            return None, reason
    return base_models.load_tokenizer(folder), ""
