"""Scratch folders: gone afterwards, and those of killed runs with the next one."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from mdai_build.scratch import abandoned_folders, scratch_folder


def test_a_folder_is_there_for_the_block_and_for_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path) as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o700
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_goes_and_nothing_else_does(tmp_path: Path) -> None:
    others = ("mdai-build-checkout", "mdai-build-run-of-a-user", "new-mdai-build-run-beginsno")
    for name in ("mdai-build-run-abandone", *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "mdai-build-run-12345678").symlink_to(tmp_path / "mdai-build-checkout")
    with scratch_folder(tmp_path) as used, scratch_folder(tmp_path) as other:
        names = {path.name for path in tmp_path.iterdir()}
        assert names >= {used.name, other.name, "mdai-build-checkout", "mdai-build-run-of-a-user"}
        assert "mdai-build-run-abandone" not in names and "new-mdai-build-run-beginsno" in names
        assert (tmp_path / "mdai-build-checkout" / "file").exists()


def test_one_that_was_never_locked_goes_when_it_is_old(tmp_path: Path) -> None:
    folder = tmp_path / "new-mdai-build-run-beginsno"
    folder.mkdir()
    os.utime(folder, (time.time() - 7200,) * 2)
    assert list(abandoned_folders(tmp_path)) == [folder]


def test_the_lock_tells_that_a_folder_is_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "mdai-build-run-inuse123"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert list(abandoned_folders(tmp_path)) == []
    os.close(handle)
    assert list(abandoned_folders(tmp_path)) == [folder]
