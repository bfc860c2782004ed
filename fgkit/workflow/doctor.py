"""Check Python, platform, packages, memory and disk of this machine, without network access.

For example:

    print(checks.table(check_environment("to_tflite")))
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fgkit.checks import Check
from fgkit.errors import FgkitError
from fgkit.locations import PACKAGE
from fgkit.models.spec import ModelSpec, default_spec

# The extra of setup.cfg that each step needs. Its needs of memory and disk depend on the network
# and are in its ModelSpec.
STEPS = {"finetune": "finetune", "to_tflite": "export", "to_task": "bundle"}

# The fields of a Check after its number: name, status, what was found, remedy.
_Fields = tuple[str, Literal["pass", "fail", "skipped"], str, str]


def check_environment(
    step: str = "all", folder: str | Path = ".", *, spec: ModelSpec | None = None
) -> list[Check]:
    """Check Python, platform, packages, memory and disk for one step, without network access.

    Args:
        step: `finetune`, `to_tflite`, `to_task`, or `all`.
        folder: the output folder, which need not exist yet; the free space there is checked.
        spec: the network to tune; None for the default one.
    Raises:
        FgkitError: there is no such step.
    """
    if step not in (*STEPS, "all"):
        raise FgkitError(f"step is {step!r}, expected one of all, {', '.join(STEPS)}.")
    steps = list(STEPS) if step == "all" else [step]
    spec = spec or default_spec()
    # `fgkit run` executes the notebooks.
    extras = [STEPS[name] for name in steps] + (["notebooks"] if step == "all" else [])
    results = [
        _check_python(),
        _check_platform(steps),
        *_check_packages(extras),
        _check_memory(max(spec.memory_gb[name] for name in steps)),
        _check_disk(folder, sum(spec.disk_gb[name] for name in steps)),
    ]
    return [Check(number, *fields) for number, fields in enumerate(results, 1)]


def _check_python() -> _Fields:
    version = sys.version_info[:2]
    return (
        "Python",
        "pass" if (3, 11) <= version <= (3, 13) else "fail",
        f"{platform.python_version()}, 3.11 to 3.13 work.",
        "Make an environment with Python 3.11, 3.12 or 3.13.",
    )


def _check_platform(steps: Sequence[str]) -> _Fields:
    system = f"{platform.system()} {platform.machine()}"
    if system in ("Linux x86_64", "Darwin arm64") or "to_tflite" not in steps:
        return "platform", "pass", f"{system}.", ""
    remedy = (
        "Use WSL2 (Linux inside Windows)."
        if platform.system() == "Windows"
        else "Train here, then convert the model folder on Linux x86-64 or in Colab."
    )
    return (
        "platform",
        "fail",
        f"{system} has no litert-converter (Linux x86-64 and Apple-silicon Macs do), so no "
        ".tflite can be made here; training alone works.",
        remedy,
    )


def _check_packages(extras: Sequence[str]) -> list[_Fields]:
    rows: dict[str, _Fields] = {}
    for requirement in _requirements(extras):
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
        wanted = str(requirement.specifier) or "any version"
        rows[requirement.name] = (
            requirement.name,
            "pass" if fits else "fail",
            f"found {installed or 'nothing'}, expected {wanted}.",
            f'pip install "{requirement.name}{requirement.specifier}"',
        )
    return [rows[name] for name in sorted(rows)] or [
        (
            "packages",
            "fail",
            f"the requirements of {', '.join(extras)} cannot be read.",
            "Install fgkit again.",
        )
    ]


def _requirements(extras: Sequence[str]) -> list[Any]:
    """Read the requirements of extras from setup.cfg or, if installed, from fgkit's metadata."""
    import configparser

    from packaging.requirements import Requirement

    setup = PACKAGE.parent / "setup.cfg"
    if setup.is_file():
        parser = configparser.ConfigParser()
        parser.read(setup, encoding="utf-8")
        texts = [parser.get("options", "install_requires", fallback="")]
        for extra in extras:
            value = parser.get("options.extras_require", extra, fallback="")
            # With "file:", setuptools reads an extra from requirements files.
            if value.startswith("file:"):
                texts += [
                    (setup.parent / name.strip()).read_text(encoding="utf-8")
                    for name in value[5:].split(",")
                ]
            else:
                texts.append(value)
        declared = [
            line.strip()
            for text in texts
            for line in text.splitlines()
            if line.strip() and line[0] != "#"
        ]
    else:
        try:
            declared = importlib.metadata.requires("fgkit") or []
        except importlib.metadata.PackageNotFoundError:
            declared = []
    parsed = [Requirement(line) for line in declared]
    return [
        requirement
        for requirement in parsed
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def _check_memory(needed: int) -> _Fields:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return "memory", "skipped", "this system does not report it.", ""
    return (
        "memory",
        "pass" if total >= needed else "fail",
        f"{total:.0f} GB, about {needed} GB are used at the peak.",
        "Use a machine with more memory; close notebooks that hold a model.",
    )


def _check_disk(folder: str | Path, needed: int) -> _Fields:
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    return (
        "disk",
        "pass" if free >= needed else "fail",
        f"{free:.0f} GB free in {folder}, about {needed} GB are used.",
        "Free some space or choose another output folder.",
    )
