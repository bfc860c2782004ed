"""zip_times: archives that differ in nothing but the time of day become the same bytes, and stay archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from fgkit.bundles import reproducible_zip

MEMBERS = st.dictionaries(
    st.text("ab\u00e9/ _", min_size=1, max_size=9), st.binary(max_size=40), min_size=1, max_size=4
)


def archive(path: Path, members: dict[str, bytes], year: int, extra: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.comment = b"PK\1\2 comment"
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, (year, 2, 3, 4, 5, 6))
            entry.extra, entry.comment = extra, b"PK\3\4"
            file.writestr(entry, content)
    return path


@settings(max_examples=40)
@given(members=MEMBERS, extra=st.sampled_from([b"", b"\xfe\xca\4\0PK\3\4"]))
def test_only_the_times_go(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], extra: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    found = [archive(folder / f"{year}.zip", members, year, extra) for year in (1999, 2026)]
    assert found[0].read_bytes() != found[1].read_bytes()
    for path in found:
        reproducible_zip.clear_timestamps(path)
    assert found[0].read_bytes() == found[1].read_bytes()
    with zipfile.ZipFile(found[0]) as file:
        assert (
            file.testzip() is None
            and {name: file.read(name) for name in file.namelist()} == members
        )
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(entry.extra == extra and entry.comment == b"PK\3\4" for entry in file.infolist())


def test_what_is_no_archive_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.task"
    path.write_bytes(b"PK\3\4 but no archive")
    with pytest.raises(zipfile.BadZipFile):
        reproducible_zip.clear_timestamps(path)
    assert path.read_bytes() == b"PK\3\4 but no archive"
