"""Everything about Google Colab: package checks, secrets, Google Drive and downloads.

Outside Colab, `prepare` only checks the packages and the other functions do nothing. Example:

    prepare("finetune")      # after the install cell: are the packages really there?
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from fgkit import ownership
from fgkit.atomic_files import require_ours
from fgkit.errors import FgkitError, PackageError
from fgkit.files import copy

DRIVE = Path("/content/drive")
# What a Colab runtime means for the training, by a part of the GPU's name; "" is a runtime without
# a GPU. The panel of `finetune` estimates the minutes for the user's own rows.
RUNTIMES = {
    "A100": "bf16, with memory for any number of rows per step; the example's 54 steps take about "
    "a minute",
    "L4": "bf16; 22 GB easily hold 32 rows per step; the example takes minutes",
    "T4": "no bfloat16, so fp32, never fp16, which overflows; 15 GB hold 32 rows per step; the "
    "example takes minutes",
    "": "no GPU: bf16 or fp32, depending on the processor, with 16 rows per step; the example "
    "takes 10 to 30 minutes and 8 GB of memory. Runtime > Change runtime type > T4 is free and "
    "faster",
}


def in_colab() -> bool:
    """Tell whether this is a Colab kernel."""
    return (
        importlib.util.find_spec("google") is not None
        and importlib.util.find_spec("google.colab") is not None
    )


def prepare(step: str) -> None:
    """Check the packages of a notebook, and in Colab set HF_TOKEN from the secrets.

    Args:
        step: `finetune`, `to_tflite` or `to_task`.
    Raises:
        PackageError: packages are missing or have the wrong version, or a package was replaced
            after it had been loaded, so that the session has to be restarted.
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
            f"Installed just now, but an older version is already loaded: {', '.join(stale)}. "
            "Choose Runtime > Restart session, once, then run the notebook from the top."
        )
    if in_colab():
        if step == "finetune":
            print(runtime())
        _token_from_secrets()


def runtime() -> str:
    """Describe the runtime type: its name, and what it means for precision, batch and time."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    if not name:
        return f"CPU runtime: {RUNTIMES['']}."
    unknown = "precision and batch are chosen for it; the panel below estimates the minutes"
    meaning = next((text for gpu, text in RUNTIMES.items() if gpu and gpu in name), unknown)
    return f"{name}: {meaning}."


def stale_packages() -> list[str]:
    """List the loaded packages whose version differs from the one that is installed now."""
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
    """Copy a run's results to Google Drive, because Colab's machine disappears; elsewhere nothing.

    Args:
        folder: the run's output folder; checkpoints and hidden files are not copied.

    Returns:
        the folder on Drive, or None if nothing was copied.

    Raises:
        FgkitError: Drive is full or cannot be written, or a file of somebody else's is in the way.
    """
    if not in_colab():
        return None
    if not _mounted():
        print(
            "Google Drive is not connected, so the files stay on this Colab machine and vanish "
            "with it. Download them from the folder icon on the left, or connect Drive and run "
            "this cell again."
        )
        return None
    target = DRIVE / "MyDrive" / "fgkit" / folder.name
    try:
        _copy_run(folder, target)
    except FgkitError as error:
        raise FgkitError(f"{error}\nThe results are still in {folder}.") from error
    except (OSError, shutil.Error) as error:
        raise FgkitError(
            f"{target}: copying to Google Drive failed: {error}. Free space on Drive; the files "
            f"are still in {folder}."
        ) from error
    print(f"copied to Google Drive: {target}")
    return target


def fetch(folder: Path) -> Path | None:
    """Copy a run from Google Drive to a new Colab machine that does not have it; elsewhere nothing.

    Args:
        folder: the run's output folder; a folder that has a model already is left alone.

    Returns:
        the folder on Drive that was copied, or None if nothing was copied.

    Raises:
        FgkitError: the run is on Drive, but cannot be read, or a file of somebody else's is in the
            way.
    """
    if not in_colab() or (folder / "model").is_dir() or not _mounted():
        return None
    source = DRIVE / "MyDrive" / "fgkit" / folder.name
    if not source.is_dir():
        print(
            f"{folder} is not on this machine, and {source} is not on Drive. Run the notebook "
            "before this one with the same output, or set model to a folder."
        )
        return None
    try:
        _copy_run(source, folder)
    except (OSError, shutil.Error) as error:
        raise FgkitError(
            f"{source}: copying from Google Drive failed: {error}. Run this cell again."
        ) from error
    print(f"copied from Google Drive: {source}")
    return source


def download(path: Path) -> bool:
    """Offer a file as a download in Colab's browser; elsewhere it is on the disk already.

    Args:
        path: the file.

    Returns:
        whether it was offered.
    """
    if not in_colab():
        return False
    from google.colab import errors, files

    try:
        files.download(str(path))
    # AttributeError: the kernel runs without Colab's page, for example under an editor.
    except (errors.Error, AttributeError, OSError) as error:
        print(
            f"The browser could not be offered {path.name}: {error} "
            f"It is in the folder icon on the left, {path}."
        )
        return False
    return True


def _copy_run(source: Path, target: Path) -> None:
    """Copy a run's folder without checkpoints and hidden files; replace only what fgkit wrote."""
    target.mkdir(parents=True, exist_ok=True)
    left_out = shutil.ignore_patterns("checkpoints", ".*")
    targets = []
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if name not in left_out(folder, folders)]
        own = Path(target, os.path.relpath(folder, source))
        targets += [own / name for name in names if name not in left_out(folder, names)]
    require_ours(targets)
    ownership.mark(target)
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=copy, ignore=left_out)


def _mounted() -> bool:
    """Mount Google Drive if it is not mounted yet, and tell whether that worked."""
    if (DRIVE / "MyDrive").is_dir():
        return True
    from google.colab import drive

    try:
        drive.mount(str(DRIVE))
    # A refusal, a timeout or a missing browser raises ValueError, Colab's own errors or pexpect's;
    # none of them costs the user anything but the copy.
    except Exception as error:  # noqa: BLE001
        print(f"Drive was not connected: {error}")
    return (DRIVE / "MyDrive").is_dir()


def _token_from_secrets() -> None:
    """Set HF_TOKEN from Colab's secrets; without one the offline base is used."""
    if os.environ.get("HF_TOKEN"):
        return
    from google.colab import errors, userdata

    try:
        os.environ["HF_TOKEN"] = userdata.get("HF_TOKEN")
    except userdata.SecretNotFoundError:
        print(
            "No secret HF_TOKEN: the offline base will be used. "
            "Add it with the key icon on the left."
        )
    except userdata.NotebookAccessError:
        print(
            "The secret HF_TOKEN exists, but this notebook may not read it. "
            "Switch its access on (key icon)."
        )
    # A kernel that is driven from elsewhere, such as an editor, cannot ask for secrets.
    except errors.Error as error:
        print(
            f"Colab's secrets could not be read: {error} "
            "Set HF_TOKEN in the notebook's environment instead."
        )
