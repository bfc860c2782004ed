"""Every reader on the corpus of tests/fuzz and on some inputs near it: read, or refused with a message."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parent / "fuzz" / "readers.py"
spec = importlib.util.spec_from_file_location("fuzz_readers", FILE)
readers = sys.modules["fuzz_readers"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readers)


def test_every_reader_has_a_corpus_and_it_is_small() -> None:
    kept = {folder.name: list(folder.iterdir()) for folder in readers.CORPUS.iterdir()}
    assert kept.keys() == readers.READERS.keys() and all(kept.values())
    assert sum(path.stat().st_size for paths in kept.values() for path in paths) < 200_000


@pytest.mark.parametrize("reader", readers.READERS)
def test_the_corpus(reader: str) -> None:
    assert "read" in {
        readers.check(reader, data) for data in readers.corpus(reader)
    }  # not all of them can be refused


@pytest.mark.parametrize("reader", readers.READERS)
def test_inputs_near_the_corpus(reader: str) -> None:
    count = {"parameters": 60, "python_tools": 12}.get(reader, 150)
    assert readers.run(reader, count, seed=7).total() == count


def test_what_breaks_the_rule_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    monkeypatch.setattr(readers, "CORPUS", tmp_path)
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "a").write_bytes(b"x")
    monkeypatch.setitem(readers.READERS, "sums", lambda data: [][1])
    with pytest.raises(IndexError):
        readers.run("sums", 1, seed=1)
    (found,) = tmp_path.glob("sums/found-*")
    assert str(found) in capsys.readouterr().err


def test_only_what_reaches_new_lines_is_added(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(readers, "CORPUS", tmp_path)
    work, kept = tmp_path / "work", tmp_path / "sums"
    for folder, inputs in (
        (kept, [b"a" * 64 + b"  x\n"]),
        (work, [b"b" * 64 + b"  y\n", b"no sum\n", b"none either\n"]),
    ):
        folder.mkdir()
        for number, data in enumerate(inputs):
            (folder / str(number)).write_bytes(data)
    assert readers.merge("sums", work) == 1 and b"no sum\n" in readers.corpus("sums")
    assert readers.merge("sums", work) == 0
