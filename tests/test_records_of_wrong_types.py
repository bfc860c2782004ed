"""Every JSON record with every field replaced by wrong types: each reader and command ends well or with one message."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import finished_run
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fgkit import files, ownership
from fgkit.app import model_source
from fgkit.bundles import read as bundle_files
from fgkit.bundles.checks import check_file
from fgkit.cli import compare, main as command_line
from fgkit.errors import FgkitError
from fgkit.evaluation import report, scores
from fgkit.hub import upload
from fgkit.models import record
from fgkit.models.base import _recorded_base
from fgkit.workflow import conversion_record, manifest, quantization_study, summary

DEEP: Any = json.loads("[" * 500 + "]" * 500)
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    7.5,
    10**400,
    1e999,
    "",
    "text",
    "\0",
    "\ud800",
    [],
    [None],
    [["x"]],
    {},
    {"x": None},
    {"x": {"x": []}},
    DEEP,
]
BUNDLE = finished_run.BUNDLE


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Iterator[Path]:
    """A finished run with every record that fgkit writes.

    Wrong records are written here by hand; that fgkit then replaces none is tested elsewhere.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ownership.Owner, "foreign", lambda owner: [])
        yield make_run(tmp_path_factory)


def make_run(tmp_path_factory) -> Path:
    folder = finished_run.make(tmp_path_factory.mktemp("records") / "run")
    whole = summary.read(folder)
    files.write_json(folder / "score.json", whole["tuned"])
    files.write_json(
        folder / "n_q8_ekv512.tflite.json",
        {
            "parameters": {
                "prefill_seq_len": 256,
                "extra_prefill_seq_lens": [32],
                "kv_cache_max_len": 512,
                "quantize": "dynamic_int8",
            },
            "model_sha256": "0" * 64,
            "sha256": "0" * 64,
            "bytes": 1,
            "peak_memory_bytes": 1,
        },
    )
    files.write_json(
        folder / "manifest.json",
        {
            "to_tflite": {
                "state": "done",
                "fingerprint": "x",
                "inputs": {"a": "0"},
                "settings": {},
                "versions": {"fgkit": "0"},
                "outputs": {"n_q8_ekv512.tflite": "0"},
                "steps": {"validate": {"state": "done", "seconds": 1.0, "process": 1}},
                "seconds": 1.0,
            }
        },
    )
    speed = {
        "prefill_tokens_per_second": 1.0,
        "decode_tokens_per_second": 1.0,
        "peak_memory_bytes": 1,
        "threads": 1,
    }
    files.write_json(folder / "summary.json", whole | {"speed": {BUNDLE: speed}})
    variant = {"file": BUNDLE, "bytes": 1, "score": whole["task"], "gate": whole["gate"]}
    variant |= {"model_sha256": "0", "rows_sha256": "0", "speed": speed}
    files.write_json(folder / "quantization.json", {"none": variant})
    return folder


def commands(run: Path) -> dict[str, list[Callable[[], object]]]:
    """What reads each record."""
    other = run.parent / "other"
    if not other.exists():
        shutil.copytree(run, other)

    def score_report() -> None:
        score = scores.read_score(run / "score.json")
        list(report.sections({"one": score, "two": score}))
        report.against(score, score)

    return {
        "summary.json": [
            lambda: summary.table(summary.read(run)),
            lambda: summary.update(run, seconds={}),
            lambda: compare.table([run, other]),
            lambda: quantization_study.settings_of(run),
            lambda: upload.publish(run, "ada/x", dry_run=True, force=True),
        ],
        "model/fgkit.json": [
            lambda: record.system_message_of(run / "model"),
            lambda: _recorded_base(run / "model"),
            lambda: model_source.read_source(str(run)),
            lambda: upload.publish(run, "ada/x", dry_run=True, force=True),
        ],
        f"{BUNDLE}.json": [
            lambda: bundle_files.read_record(run / BUNDLE),
            lambda: bundle_files.update_sidecar(run / BUNDLE, speed=None),
            lambda: check_file(run / BUNDLE),
            lambda: model_source.read_source(str(run / BUNDLE)),
            lambda: upload.publish(run, "ada/x", dry_run=True, force=True),
        ],
        "manifest.json": [
            lambda: manifest.changed(run, "to_tflite"),
            lambda: manifest.forget(run, ["to_tflite"]),
            lambda: manifest.failed(run, "to_tflite", FgkitError("x")),
        ],
        "n_q8_ekv512.tflite.json": [lambda: conversion_record.read(run / "n_q8_ekv512.tflite")],
        "score.json": [score_report],
        "quantization.json": [
            lambda: quantization_study._known(
                run / "quantization.json", {"model_sha256": "0", "rows_sha256": "0"}
            )
        ],
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value inside a JSON value; of a list the first item alone."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def replaced(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """A copy with the value at a path replaced."""
    if not path:
        return wrong
    result = copy.deepcopy(value)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    return result


RECORDS = [
    "summary.json",
    "model/fgkit.json",
    f"{BUNDLE}.json",
    "manifest.json",
    "n_q8_ekv512.tflite.json",
    "score.json",
    "quantization.json",
]


def read_all(run: Path, name: str, value: Any, readers: list[Callable[[], object]]) -> int:
    """Write a record, read it by every reader, restore it; return how many readers refused it."""
    path = run / name
    sums = run / "model" / "SHA256SUMS"
    before = {each: each.read_bytes() for each in (path, sums)}
    refused = 0
    try:
        # The sums would refuse a changed fgkit.json before anything reads it.
        sums.unlink()
        for reader in readers:
            path.write_text(json.dumps(value), encoding="utf-8")
            try:
                reader()
            except FgkitError as error:
                refused += 1
                assert str(error).encode(), "a message that cannot be printed"
    finally:
        for each, content in before.items():
            each.write_bytes(content)
    return refused


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_wrong_type_is_read_or_refused(run, name, capsys) -> None:
    original = json.loads((run / name).read_text(encoding="utf-8"))
    fields, readers = list(places(original)), commands(run)[name]
    assert len(fields) >= 8
    # Every field with two wrong values, every wrong value for some fields: all pairs would take minutes.
    cases = [
        (path, WRONG[(index * step + step) % len(WRONG)])
        for index, path in enumerate(fields)
        for step in (1, 5)
    ]
    cases = cases[:: max(1, len(cases) // 60)]
    refused = sum(
        bool(read_all(run, name, replaced(original, path, wrong), readers)) for path, wrong in cases
    )
    assert refused >= len(cases) // 4, "the readers check nothing"


@pytest.mark.parametrize("name", RECORDS)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_field_may_hold_anything(run, name, data) -> None:
    original = json.loads((run / name).read_text(encoding="utf-8"))
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
    path = data.draw(st.sampled_from(list(places(original))))
    value = replaced(original, path, data.draw(anything | st.sampled_from(WRONG)))
    read_all(run, name, value, commands(run)[name])


def test_the_message_names_file_field_found_expected_and_remedy(run, capsys) -> None:
    original = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    other = run.parent / "broken"
    shutil.copytree(run, other)
    files.write_json(other / "summary.json", replaced(original, ("seconds",), [1]))
    assert command_line.main(["compare", str(run), str(other)]) == 2
    message = capsys.readouterr().err
    assert f"{other / 'summary.json'}: seconds is a list, expected an object." in message
    assert "Delete the file; a run writes it again." in message and "Traceback" not in message
