"""checkpoints: whose folder it is; which checkpoint is complete is tested with the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_points import crash_points

from fgkit import ownership
from fgkit.training import checkpoints


def test_somebodys_checkpoints_are_not_ours_and_stay(tmp_path) -> None:
    mine = tmp_path / "checkpoints" / "mine" / "best.pt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert not checkpoints.is_ours(mine.parents[1])
    checkpoints.remove(tmp_path)
    assert mine.read_text() == "mine"
    ownership.mark(mine.parents[1])  # put there while a training was under way
    (mine.parents[1] / ("0" * 12) / "checkpoint-1").mkdir(parents=True)
    checkpoints.remove(tmp_path)
    left = {path.name for path in mine.parents[1].iterdir()}
    assert mine.read_text() == "mine" and left == {ownership.RECORD, "mine"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_not_ours(tmp_path, kind) -> None:
    path = tmp_path / "checkpoints"
    path.touch() if kind == "file" else path.symlink_to(tmp_path)
    assert not checkpoints.is_ours(path)


def test_a_training_that_is_killed_anywhere_can_begin_and_end_again(tmp_path) -> None:
    def work() -> None:
        folder: Path = checkpoints.checkpoint_folder(tmp_path, {"seed": 1})
        (folder / "checkpoint-1").mkdir(parents=True)
        (folder / "checkpoint-1" / "optimizer.pt").write_text("x")
        checkpoints.remove(tmp_path)

    count = 0
    for count in crash_points(work):
        assert checkpoints.is_ours(checkpoints.folder_of(tmp_path))
        checkpoints.remove(tmp_path)
        assert not checkpoints.folder_of(tmp_path).exists()
    assert count > 5 and not checkpoints.folder_of(tmp_path).exists()
