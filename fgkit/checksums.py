"""What was written is what is read: `SHA256SUMS` in every folder that fgkit writes a model into, and its check.

In: a model folder, or a `.tflite` or bundle with its JSON beside it. Out: which files changed since they were written.

    e3b0c442...  model.safetensors
    9f86d081...  tokenizer.model

The format is that of coreutils: `cd run/model && sha256sum -c SHA256SUMS` says the same without fgkit.
"""

from __future__ import annotations

import re
from pathlib import Path

from fgkit.atomic_files import sync
from fgkit.errors import BundleError, FgkitError, ModelError
from fgkit.files import read_json, sha256, write_text
from fgkit.progress import bar

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")


def write(folder: Path) -> Path:
    """Write the sums of all files that lie in a folder, once the disk holds them; what is added later is not checked."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != NAME)
    for name in names:
        sync(folder / name)
    return write_text(
        folder / NAME, "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    )


def recorded(path: Path) -> dict[Path, str]:
    """The SHA-256 that each file of an artifact had when it was written; nothing where nobody wrote it down.

    Args:
        path: a folder, for its `SHA256SUMS`; or a file, for the `sha256` in `<its name>.json`.
    Raises:
        FgkitError: the record itself is damaged.
    """
    if path.is_dir():
        return _of_folder(path / NAME) if (path / NAME).is_file() else {}
    beside = path.with_name(f"{path.name}.json")
    found = read_json(beside) if beside.is_file() else {}
    digest = found.get("sha256") if isinstance(found, dict) else None
    return {path: digest} if isinstance(digest, str) else {}


def problems(path: Path) -> list[str]:
    """What of an artifact is gone or has other bytes than were written; nothing where nobody wrote sums down.

    Args:
        path: as for `recorded`.
    """
    try:
        wanted = recorded(path)
    except FgkitError as error:
        return [str(error)]
    found = []
    with bar(
        total=len(wanted), desc=f"checksums of {path.name}", unit="file", delay=2, leave=False
    ) as shown:
        for file, digest in wanted.items():
            try:
                if sha256(file) != digest:
                    found.append(
                        f"{file}: has other bytes than were written (its SHA-256 is not the one written down)."
                    )
            except OSError as error:
                found.append(
                    f"{file}: cannot be read, but its SHA-256 is written down: {error.strerror}."
                )
            shown.update()
    return found


def require(path: Path) -> None:
    """Refuse an artifact with a file that changed since it was written.

    Args:
        path: as for `recorded`.
    Raises:
        ModelError: of a folder; BundleError: of a file. Every file is named.
    """
    if found := problems(path):
        kind = ModelError if path.is_dir() else BundleError
        raise kind("\n".join([*found, remedy(path)]))


def remedy(path: Path) -> str:
    """What to do about changed bytes."""
    where = path / NAME if path.is_dir() else path.with_name(f"{path.name}.json")
    return (
        "Disk or copy may have damaged it: copy or make it again. If you changed it on purpose, "
        f"{'delete' if path.is_dir() else 'put the new hash into'} {where}."
    )


def _of_folder(sums: Path) -> dict[Path, str]:
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{sums}: cannot be read: {error}. Delete it, or get the folder again."
        ) from error
    found = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if not match:
            raise ModelError(
                f"{sums}:{number}: found {line[:80]!r}, expected a SHA-256, two blanks and a file name. "
                "Delete the file, or get the folder again."
            )
        found[sums.with_name(match[2])] = match[1]
    return found
