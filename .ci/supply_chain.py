"""Summarise the reports of pip-audit and cyclonedx-py in a few lines for the end of a CI log.

>>> audited([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "missing"}])
'audit: 1 of 2 packages audited, none with a known vulnerability; NOT AUDITED: b'

pip-audit says "No known vulnerabilities found" even when it could not ask about a single package;
these lines never do.
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
    """Parse a lock file: for each package its requirements with their hashes.

    A package may have several entries, with a marker for each platform.
    """
    entries: dict[str, list[tuple[Requirement, list[str]]]] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if entry.strip() and not entry.strip().startswith("#"):
            requirement, *hashes = entry.split("--hash=")
            parsed = Requirement(requirement)
            entries.setdefault(canonicalize_name(parsed.name), []).append(
                (parsed, [digest.strip() for digest in hashes])
            )
    return entries


def audited(packages: Iterable[dict[str, Any]] | None) -> str:
    """Summarise the known vulnerabilities, and name the packages that were not audited.

    Args:
        packages: the dependencies of pip-audit's report; None if there is no report.
    """
    if packages is None:
        return "audit: the advisory service did not answer in time: NOT AUDITED"
    packages = list(packages)
    skipped = [
        package["name"]
        for package in packages
        if "skip_reason" in package or "vulns" not in package
    ]
    asked = [package for package in packages if package["name"] not in skipped]
    bad = [
        f"{package['name']} {package['version']} ({', '.join(v['id'] for v in package['vulns'])})"
        for package in asked
        if package["vulns"]
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
    """Compare installed versions with the lock; `2.13.0+cpu` counts as a build of 2.13.0."""
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
    # The time limit of the CI step may have cut the report off.
    except (OSError, ValueError):
        return None


def main(packages: str, folder: str) -> None:
    """Print the report on the packages of a site-packages folder, from the files in `folder`."""
    audit, bill = _read(Path(folder, "audit.json")), _read(Path(folder, "sbom.json"))
    print(audited(audit and audit.get("dependencies")))
    print(
        f"SBOM: {len(bill['components'])} components in {folder}/sbom.json "
        f"(CycloneDX {bill['specVersion']})"
        if bill
        else "SBOM: could not be made in time"
    )
    print(
        against_lock(
            {
                canonicalize_name(package.name): package.version
                for package in importlib.metadata.distributions(path=[packages])
            },
            locked(LOCK.read_text(encoding="utf-8")),
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
