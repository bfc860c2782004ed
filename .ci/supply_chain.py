"""What pip-audit and cyclonedx-py wrote goes in; a few honest lines come out, for the end of a CI log.

>>> print(audited([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]))
audit: 1 of 2 packages audited, none with a known vulnerability; NOT AUDITED: b

pip-audit says "No known vulnerabilities found" when it could ask about nothing at all; these lines never do.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[1] / "requirements" / "test.lock"


def locked(text: str) -> dict[str, list[tuple[Requirement, list[str]]]]:
    """The entries of a lock by package: requirement with marker, and its hashes; a package may have one a platform."""
    found: dict[str, list[tuple[Requirement, list[str]]]] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.strip().startswith("#"):
            requirement, *hashes = entry.split("--hash=")
            parsed = Requirement(requirement)
            found.setdefault(canonicalize_name(parsed.name), []).append(
                (parsed, [one.strip() for one in hashes])
            )
    return found


def audited(packages: Iterable[dict[str, Any]] | None) -> str:
    """A line on what is known against the packages; `None` when there is no answer at all."""
    if packages is None:
        return "audit: the advisory service did not answer in time: NOT AUDITED"
    packages = list(packages)
    skipped = [one["name"] for one in packages if "skip_reason" in one or "vulns" not in one]
    asked = [one for one in packages if one["name"] not in skipped]
    bad = [
        f"{one['name']} {one['version']} ({', '.join(each['id'] for each in one['vulns'])})"
        for one in asked
        if one["vulns"]
    ]
    text = f"audit: {len(asked)} of {len(packages)} packages audited"
    if asked:
        text += (
            f", {len(bad)} VULNERABLE: {'; '.join(bad)}"
            if bad
            else ", none with a known vulnerability"
        )
    if skipped or not packages:
        text += f"; NOT AUDITED: {', '.join(skipped[:5]) or 'anything'}" + (
            f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        )
    return text


def against_lock(
    installed: dict[str, str], lock: dict[str, list[tuple[Requirement, list[str]]]]
) -> str:
    """A line on installed versions that the lock does not have; `2.13.0+cpu` is another build of 2.13.0."""
    other = sorted(
        f"{name} {version}"
        for name, version in installed.items()
        if name not in ("pip", "fgkit")
        and not any(
            str(entry.specifier) == f"=={version.partition('+')[0]}"
            for entry, _ in lock.get(name, [])
        )
    )
    builds = sorted(f"{name} {version}" for name, version in installed.items() if "+" in version)
    return (
        f"lock: {len(installed)} packages installed, {len(other)} not as in requirements/test.lock"
        + (f": {', '.join(other)}" if other else "")
        + (f"; builds whose files the lock has no hash of: {', '.join(builds)}" if builds else "")
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # cut off by the time limit
        return None


def main(packages: str, folder: str) -> None:
    """Print the report on the packages of a site-packages folder, from the files in `folder`."""
    audit, bill = _read(Path(folder, "audit.json")), _read(Path(folder, "sbom.json"))
    print(audited(audit and audit.get("dependencies")))
    print(
        f"SBOM: {len(bill['components'])} components in {folder}/sbom.json (CycloneDX {bill['specVersion']})"
        if bill
        else "SBOM: could not be made in time"
    )
    print(
        against_lock(
            {
                canonicalize_name(each.name): each.version
                for each in importlib.metadata.distributions(path=[packages])
            },
            locked(LOCK.read_text(encoding="utf-8")),
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
