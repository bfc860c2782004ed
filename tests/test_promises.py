"""docs/promises.md: every promise has tests, and each of them exists, asserts something and is not skipped."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| promise |", "| ---"))
]
PROMISES = [row for row in ROWS if "tests/" in row[1]]
NAMED = sorted(
    {name for row in PROMISES for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", row[1])}
)


def test_every_promise_names_tests_and_a_command() -> None:
    assert len(PROMISES) > 20 and len(NAMED) > 40
    for promise, tests, figure, command in PROMISES:
        assert figure, promise
        assert re.findall(r"`tests/[\w/]+\.py::\w+`", tests), promise
        assert re.fullmatch(r"`[^`]+`", command), promise
        for path in re.findall(r"pytest (\S+)`", command):
            assert (ROOT / path).is_file() and path in tests, (
                f"{promise}: {command} does not run its tests"
            )


@functools.cache
def functions(file: str) -> list[ast.FunctionDef]:
    return [
        node
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists_and_asserts(name) -> None:
    file, _, function = name.partition("::")
    found = [node for node in functions(file) if node.name == function]
    assert len(found) == 1, f"{name} is gone, but docs/promises.md names it"
    body = [node for node in ast.walk(found[0])]
    checks = [
        node
        for node in body
        if isinstance(node, ast.Assert)
        or isinstance(node, ast.Call)
        and ("raises" in ast.unparse(node.func) or "assert" in ast.unparse(node.func))
    ]
    assert checks, f"{name} asserts nothing"
    assert not [
        mark
        for mark in found[0].decorator_list
        if "skip" in ast.unparse(mark) or "xfail" in ast.unparse(mark)
    ], name


def test_commands_of_this_repository_are_there() -> None:
    commands = [row[-1].strip("`").split()[0] for row in PROMISES]
    scripts = {each for each in commands if each not in ("python", "grep")}
    assert scripts == {".ci/supply-chain"} and all((ROOT / each).is_file() for each in scripts)


def test_figures_that_can_be_counted_here() -> None:
    lock = (ROOT / "requirements" / "test.lock").read_text(encoding="utf-8")
    assert (
        f"{len(re.findall(r'^[a-z].*==', lock, re.MULTILINE))} packages of Linux and macOS" in PAGE
    )


def test_what_is_tried_is_as_much_as_the_page_says() -> None:
    from tests import test_credentials
    from tests.hub import test_model_card, test_publication, test_upload

    assert f"{len(test_publication.SECRETS)} kinds of secrets found" in PAGE
    assert f"{len(test_publication.TRAVELS)} files, absolute and relative links" in PAGE
    assert f"{len(test_model_card.NASTY)} texts in every place of the card" in PAGE
    assert f"{len(test_upload.FAULTS)} faults, 0 files visible" in PAGE
    assert (
        f"{len(test_credentials.PLACES) + len(test_credentials.OTHERS)} settings with 3 values each"
        in PAGE
    )
