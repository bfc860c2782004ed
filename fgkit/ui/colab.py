"""The only file that knows Google Colab; everywhere else its functions do nothing but check.

>>> prepare("finetune")      # after the install cell: are the packages really there?
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from fgkit.errors import FgkitError, PackageError
from fgkit.files import copy

DRIVE = Path("/content/drive")
# What a Colab runtime means for the training; `finetune`'s panel measures the minutes of one's own rows on it.
RUNTIMES = {
    "A100": "bf16, and every batch that the rows fill; the example's 54 steps are a matter of a minute",
    "L4": "bf16; 22 GB hold 32 rows a step with room; the example takes minutes",
    "T4": "no bfloat16, so fp32, never fp16, which overflows; 15 GB hold 32 rows a step; the example takes minutes",
    "": "no GPU: fp32 or bf16 by the processor, 16 rows a step; the example takes 10 to 30 minutes and 8 GB of memory. "
    "Runtime > Change runtime type > T4 is free and faster",
}


def in_colab() -> bool:
    """Whether this is a Colab kernel."""
    return (
        importlib.util.find_spec("google") is not None
        and importlib.util.find_spec("google.colab") is not None
    )


def prepare(step: str) -> None:
    """Check the packages of a notebook from Python, and in Colab hand the token from the secrets to the Hub.

    Args:
        step: `finetune`, `to_tflite` or `to_task`.
    Raises:
        PackageError: packages are missing or have the wrong version, or a loaded one changed and wants a restart.
    """
    from fgkit.workflow.doctor import check_environment

    wrong = [
        check
        for check in check_environment(step)
        if check.status == "fail" and check.remedy.startswith("pip install")
    ]
    if wrong:
        raise PackageError(
            "\n".join(
                [
                    f"{len(wrong)} packages are not what {step} needs:",
                    *(f"  {check.name}: {check.reason} {check.remedy}" for check in wrong),
                ]
            )
        )
    stale = stale_packages()
    if stale:
        raise PackageError(
            f"Installed just now, but an older version is already loaded: {', '.join(stale)}. Choose "
            "Runtime > Restart session, once, then run the notebook from the top."
        )
    if in_colab():
        if step == "finetune":
            print(runtime())
        _token_from_secrets()


def runtime() -> str:
    """One line on the runtime type: its name, and what it means for precision, batch and minutes."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    known = next((text for kind, text in RUNTIMES.items() if kind and kind in name), None)
    if not name:
        return f"CPU runtime: {RUNTIMES['']}."
    return f"{name}: {known or 'precision and batch are chosen for it; the panel below tells the minutes'}."


def stale_packages() -> list[str]:
    """Loaded packages whose version differs from the one that is installed now."""
    stale = []
    for module in (
        "numpy",
        "google.protobuf",
        "pyarrow",
        "transformers",
        "datasets",
        "huggingface_hub",
    ):
        loaded = getattr(sys.modules.get(module), "__version__", None)
        name = {"google.protobuf": "protobuf", "huggingface_hub": "huggingface-hub"}.get(
            module, module
        )
        if loaded is not None and loaded != importlib.metadata.version(name):
            stale.append(f"{name} {loaded}")
    return stale


def keep(folder: Path) -> Path | None:
    """In Colab, copy a run's results to Google Drive, because the machine goes away; elsewhere they are on the disk.

    Args:
        folder: the run's output folder.
    Returns:
        the folder on Drive, or None where nothing was copied.
    Raises:
        FgkitError: Drive is full or refuses to be written.
    """
    if not in_colab():
        return None
    if not _mounted():
        print(
            "Google Drive is not connected, so the files stay on this Colab machine and vanish with it. "
            "Download them from the folder icon on the left, or connect Drive and run this cell again."
        )
        return None
    target = DRIVE / "MyDrive" / "fgkit" / folder.name
    try:
        shutil.copytree(
            folder,
            target,
            dirs_exist_ok=True,
            copy_function=copy,
            ignore=shutil.ignore_patterns("checkpoints", ".*"),
        )
    except (OSError, shutil.Error) as error:
        raise FgkitError(
            f"{target}: copying to Google Drive failed: {error}. Free space on Drive; the files are still "
            f"in {folder}."
        ) from error
    print(f"copied to Google Drive: {target}")
    return target


def fetch(folder: Path) -> Path | None:
    """In Colab, copy a run back from Google Drive where this machine, a new one, does not have it; elsewhere nothing.

    Args:
        folder: the run's output folder; one that holds a model already stays as it is.
    Returns:
        the folder on Drive that was copied, or None.
    Raises:
        FgkitError: Drive has the run, but it cannot be read.
    """
    if not in_colab() or (folder / "model").is_dir() or not _mounted():
        return None
    source = DRIVE / "MyDrive" / "fgkit" / folder.name
    if not source.is_dir():
        print(
            f"{folder} is not on this machine, and {source} is not on Drive. Run the notebook before this one with the "
            "same output, or set model to a folder."
        )
        return None
    try:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise FgkitError(
            f"{source}: copying from Google Drive failed: {error}. Run this cell again."
        ) from error
    print(f"copied from Google Drive: {source}")
    return source


def download(path: Path) -> bool:
    """In Colab, offer a file as a download of the browser; elsewhere it is on the disk already.

    Returns:
        whether it was offered.
    """
    if not in_colab():
        return False
    from google.colab import errors, files

    try:
        files.download(str(path))
    except (
        errors.Error,
        AttributeError,
        OSError,
    ) as error:  # AttributeError: a kernel without Colab's page around it
        print(
            f"The browser could not be offered {path.name}: {error} It is in the folder icon on the left, {path}."
        )
        return False
    return True


def _mounted() -> bool:
    if (DRIVE / "MyDrive").is_dir():
        return True
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # refused, timed out, no browser: ValueError, Colab's own, pexpect's; nothing is lost
        print(f"Drive was not connected: {error}")
    return (DRIVE / "MyDrive").is_dir()


def _token_from_secrets() -> None:
    """Set HF_TOKEN from Colab's secrets; a missing or forbidden one leaves the offline base."""
    if os.environ.get("HF_TOKEN"):
        return
    from google.colab import errors, userdata

    try:
        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    except userdata.SecretNotFoundError:
        print(
            "No secret HF_TOKEN: the offline base will be used. Add it with the key icon on the left."
        )
    except userdata.NotebookAccessError:
        print(
            "The secret HF_TOKEN exists, but this notebook may not read it. Switch its access on (key icon)."
        )
    except (
        errors.Error
    ) as error:  # a kernel that is driven from elsewhere, such as an editor, cannot ask for secrets
        print(
            f"Colab's secrets could not be read: {error} Set HF_TOKEN in the notebook's environment instead."
        )
