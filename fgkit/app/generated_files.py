"""Write generated files over older ones without losing what a user changed in them.

`.fgkit-glue.json` beside the files keeps the hash of each. A file whose content has neither its
recorded hash nor the new content was changed by hand, and nothing at all is written then.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fgkit import files
from fgkit.atomic_files import require_ours
from fgkit.errors import FgkitError
from fgkit.locations import cache_dir
from fgkit.ownership import Owner

RECORD = ".fgkit-glue.json"
# In bytes.
_LARGEST_FILE = 64 << 20


@dataclass(frozen=True)
class GeneratedFile:
    """A file of an app's code.

    Args:
        text: its content.
        user_owned: the user fills it in, so it is written only where it is missing.
    """

    text: str
    user_owned: bool = False


def json_text(value: object) -> str:
    """Write a value as JSON the way all of our files have it: indented, not ASCII only."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def refuse_changed(folders: Mapping[Path, Mapping[str, GeneratedFile]]) -> None:
    """Check that no file which is about to be replaced is the user's or was changed by hand.

    Args:
        folders: by folder, the files that go there by their path in it.
    Raises:
        FgkitError: files were changed; the message names all of them.
    """
    changed: list[str] = []
    for folder, parts in folders.items():
        recorded = _recorded_hashes(folder)
        _adopt(folder, parts, recorded)
        edited = [
            path
            for path in _outdated(folder, parts)
            if os.path.lexists(path)
            and _hash(_present_text(path) or "")
            not in recorded.get(path.relative_to(folder).as_posix(), [])
        ]
        changed += [f"{path}: is not as fgkit glue wrote it" for path in edited]
        try:
            require_ours({folder / RECORD, *_outdated(folder, parts)} - {*edited})
        except FgkitError as error:
            changed += str(error).splitlines()[:-1]
    if changed:
        raise FgkitError(
            "\n".join(
                [
                    *changed,
                    "Nothing was written, so that no change is lost. Move what you added to "
                    "my_functions.dart or MyFunctions.kt, then delete or rename these files; or "
                    "choose another folder.",
                ]
            )
        )


def _adopt(
    folder: Path, parts: Mapping[str, GeneratedFile], recorded: Mapping[str, list[str]]
) -> None:
    """Take the files of an earlier call as fgkit's if their record says so.

    An app's project is copied to other machines, whose cache does not know these files.
    """
    if not recorded:
        return
    for name in parts:
        for digest in recorded.get(name, []):
            if (folder / name).is_file() and files.sha256(folder / name) == digest:
                Owner(folder / name, cache_dir()).adopt(digest)
    # Only what fgkit writes has this name and these fields.
    Owner(folder / RECORD, cache_dir()).adopt(files.sha256(folder / RECORD))


def _outdated(folder: Path, parts: Mapping[str, GeneratedFile]) -> list[Path]:
    """List the files that will be written, because they are missing or have another content."""
    return [
        folder / name
        for name, part in parts.items()
        if (present := _present_text(folder / name)) is None
        or (not part.user_owned and present != part.text)
    ]


def write(folder: Path, parts: Mapping[str, GeneratedFile]) -> list[Path]:
    """Write the files that differ from what is there.

    Args:
        folder: where they go; its record of hashes is brought up to date.
        parts: the files by their path in the folder.
    Returns:
        the path of every file, also of those that were up to date.
    """
    new = {name: [_hash(part.text)] for name, part in parts.items() if not part.user_owned}
    recorded = _recorded_hashes(folder)
    outdated = recorded != recorded | new
    if outdated:
        # Old and new hashes are both valid while files are being replaced. If the process is killed
        # half-way, neither the old nor the new files then look as if a user had changed them.
        both = {name: sorted({*recorded.get(name, []), *hashes}) for name, hashes in new.items()}
        files.write_text(folder / RECORD, json_text({"files": recorded | both}))
    for path in _outdated(folder, parts):
        files.write_text(path, parts[path.relative_to(folder).as_posix()].text)
    if outdated:
        files.write_text(folder / RECORD, json_text({"files": recorded | new}))
    return [folder / name for name in parts]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _recorded_hashes(folder: Path) -> dict[str, list[str]]:
    """The hashes that each file may have; none if the record is missing or damaged."""
    try:
        record = files.read_json(folder / RECORD) if os.path.lexists(folder / RECORD) else {}
    except FgkitError:
        return {}
    recorded = record.get("files") if isinstance(record, dict) else None
    if not isinstance(recorded, dict):
        return {}
    return {
        name: hashes
        for name, hashes in recorded.items()
        if name.isprintable() and isinstance(hashes, list) and all(map(_is_hash, hashes))
    }


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and value.isascii() and value.isalnum()


def _present_text(path: Path) -> str | None:
    """The text of a file; None where there is none."""
    if not os.path.lexists(path):
        return None
    try:
        return files.read_text(path, limit=_LARGEST_FILE)
    except FgkitError:
        # A folder, pipe, link to nothing or binary file: certainly not what we wrote, and "" equals
        # no generated file.
        return ""
