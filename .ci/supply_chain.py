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


Lock = dict[str, list[tuple[Requirement, list[str]]]]


def locked(text: str) -> Lock:
    """Parse a lock file: for each package its requirements with their hashes.

    A package may have several entries, with a marker for each platform.
    """
    entries: Lock = {}
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


def vulnerable(packages: Iterable[dict[str, Any]] | None) -> bool:
    """Say whether pip-audit's report names a known vulnerability."""
    return any(package.get("vulns") for package in packages or [])


def outside(installed: dict[str, str], lock: Lock) -> list[str]:
    """List the packages that the lock does not have in this version.

    `2.13.0+cpu` counts as a build of 2.13.0.
    """
    return sorted(
        f"{name} {version}"
        for name, version in installed.items()
        if name not in ("pip", "fgkit")
        and not any(
            str(entry.specifier) == f"=={version.partition('+')[0]}"
            for entry, _ in lock.get(name, [])
        )
    )


def against_lock(installed: dict[str, str], lock: Lock) -> str:
    """Compare installed versions with the lock."""
    other = outside(installed, lock)
    builds = sorted(f"{name} {version}" for name, version in installed.items() if "+" in version)
    return (
        f"lock: {len(installed)} packages installed, {len(other)} not as in requirements/test.lock"
        + (f": {', '.join(other)}" if other else "")
        + (f"; builds whose files the lock has no hash of: {', '.join(builds)}" if builds else "")
    )


def wrong_files(report: dict[str, Any], lock: Lock) -> list[str]:
    """Compare the files that pip installed with the lock and list those that are other ones.

    Args:
        report: what `pip install --report` wrote. pip itself has compared each file with the hash
            in it, which comes from the index or, for a local file, from its bytes.
        lock: the lock.
    """
    problems = []
    for item in report["install"]:
        name, version = canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if outside({name: version}, lock):
            known = (
                " or ".join(str(entry.specifier) for entry, _ in lock.get(name, [])) or "nothing"
            )
            problems.append(f"{name} {version}: the lock has {known}")
        elif name == "torch" and "+" in version:
            continue
        elif f"sha256:{digest}" not in {each for _, hashes in lock[name] for each in hashes}:
            problems.append(f"{name} {version}: the lock has no file with sha256 {digest}")
    return problems


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # The time limit of the CI step may have cut the report off.
    except (OSError, ValueError):
        return None


def main(packages: str, folder: str) -> int:
    """Print the report on the packages of a site-packages folder, from the files in `folder`.

    Returns:
        1 if a package has a known vulnerability or is not in the lock, 0 otherwise, also where no
        vulnerability is known because nobody could be asked; the report then says "NOT AUDITED".
    """
    audit, bill = _read(Path(folder, "audit.json")), _read(Path(folder, "sbom.json"))
    dependencies = audit and audit.get("dependencies")
    installed = {
        canonicalize_name(package.name): package.version
        for package in importlib.metadata.distributions(path=[packages])
    }
    lock = locked(LOCK.read_text(encoding="utf-8"))
    print(audited(dependencies))
    print(
        f"SBOM: {len(bill['components'])} components in {folder}/sbom.json "
        f"(CycloneDX {bill['specVersion']})"
        if bill
        else "SBOM: could not be made in time"
    )
    print(against_lock(installed, lock))
    return int(vulnerable(dependencies) or bool(outside(installed, lock)))


def verify(report: str) -> int:
    """Print whether every file in pip's report is one of the lock's, and return 1 if one is not."""
    content = json.loads(Path(report).read_text(encoding="utf-8"))
    problems = wrong_files(content, locked(LOCK.read_text(encoding="utf-8")))
    print(
        "\n".join(f"lock: {problem}" for problem in problems)
        or (
            f"lock: {len(content['install'])} installed files compared with the hashes of "
            "requirements/test.lock: all are in it, but for local builds of torch"
        )
    )
    return int(bool(problems) or not content["install"])


if __name__ == "__main__":
    sys.exit(verify(sys.argv[2]) if sys.argv[1] == "verify" else main(*sys.argv[1:]))
