"""Write and verify checksums: `SHA256SUMS` in model folders, `sha256` in the JSON beside a file.

In: a model folder, or a `.tflite` file or bundle with its JSON record. Out: the files whose
contents changed since they were written. A `SHA256SUMS` file looks like this:

    e3b0c442...  model.safetensors
    9f86d081...  tokenizer.model

The format is that of coreutils: `cd run/model && sha256sum -c SHA256SUMS` checks it without fgkit.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from fgkit.atomic_files import sync
from fgkit.errors import BundleError, FgkitError, ModelError
from fgkit.files import read_bytes, read_json, sha256, write_text
from fgkit.progress import bar

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")


def write(folder: Path) -> Path:
    """Write the checksums of all files in a folder into its `SHA256SUMS`, and return that path.

    Every file is synced to the disk first, so that a checksum never describes contents that a power
    cut could still lose. Files that are added later are not checked.

    Args:
        folder: the folder; its subfolders are left out.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != NAME)
    for name in names:
        sync(folder / name)
    return write_text(
        folder / NAME, "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    )


def recorded(path: Path) -> dict[Path, str]:
    """Read the recorded SHA-256 of each file of an artifact; empty if none was recorded.

    Args:
        path: a folder, whose `SHA256SUMS` is read; or a file, for the `sha256` in `<name>.json`.

    Raises:
        FgkitError: the record itself is damaged.
    """
    if path.is_dir():
        return _of_folder(path / NAME) if (path / NAME).is_file() else {}
    record_path = path.with_name(f"{path.name}.json")
    record = read_json(record_path) if record_path.is_file() else {}
    digest = record.get("sha256") if isinstance(record, dict) else None
    return {path: digest} if isinstance(digest, str) else {}


def problems(path: Path, *, skip: Collection[str] = ()) -> list[str]:
    """List the files of an artifact that are missing or changed; empty if nothing was recorded.

    Args:
        path: as for `recorded`.
        skip: names of files that are not looked at.
    """
    try:
        expected = {
            file: digest for file, digest in recorded(path).items() if file.name not in skip
        }
    except FgkitError as error:
        return [str(error)]
    messages = []
    with bar(
        total=len(expected), desc=f"checksums of {path.name}", unit="file", delay=2, leave=False
    ) as progress_bar:
        for file, digest in expected.items():
            try:
                if sha256(file) != digest:
                    messages.append(
                        f"{file}: has other bytes than were written "
                        "(its SHA-256 is not the one written down)."
                    )
            except OSError as error:
                messages.append(
                    f"{file}: cannot be read, but its SHA-256 is written down: {error.strerror}."
                )
            progress_bar.update()
    return messages


def require(path: Path) -> None:
    """Refuse an artifact that has a file which changed since it was written.

    Args:
        path: as for `recorded`.

    Raises:
        ModelError: files of a folder changed; the message names every one.
        BundleError: the file changed.
    """
    if messages := problems(path):
        error_type = ModelError if path.is_dir() else BundleError
        raise error_type("\n".join([*messages, remedy(path)]))


def remedy(path: Path) -> str:
    """Say what a user can do about a changed file."""
    record = path / NAME if path.is_dir() else path.with_name(f"{path.name}.json")
    return (
        "Disk or copy may have damaged it: copy or make it again. If you changed it on purpose, "
        f"{'delete' if path.is_dir() else 'put the new hash into'} {record}."
    )


def _of_folder(sums: Path) -> dict[Path, str]:
    """Parse a `SHA256SUMS` file."""
    try:
        lines = read_bytes(sums, "a list of hashes", limit=1 << 20).decode("utf-8").splitlines()
    except (FgkitError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{sums}: cannot be read: {error}. Delete it, or get the folder again."
        ) from error
    digests = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if not match:
            raise ModelError(
                f"{sums}:{number}: found {line[:80]!r}, expected a SHA-256, two blanks and a "
                "file name. Delete the file, or get the folder again."
            )
        digests[sums.with_name(match[2])] = match[1]
    return digests
