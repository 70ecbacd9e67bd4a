"""Scratch folders: gone afterwards, and those of killed runs with the next one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mdai_build.scratch import abandoned_folders, remove_own_folders, scratch_folder, temporary_folder, write_whole


def test_a_folder_is_there_for_the_block_and_for_its_owner_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path) as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o700
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_goes_and_nothing_else_does(tmp_path: Path) -> None:
    others = ("mdai-build-checkout", "mdai-build-run-of-a-user")
    for name in ("mdai-build-run-abandone", *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "mdai-build-run-12345678").symlink_to(tmp_path / "mdai-build-checkout")
    with scratch_folder(tmp_path) as used, scratch_folder(tmp_path) as other:
        names = {path.name for path in tmp_path.iterdir()}
        assert names >= {used.name, other.name, "mdai-build-checkout", "mdai-build-run-of-a-user"}
        assert "mdai-build-run-abandone" not in names
        assert (tmp_path / "mdai-build-checkout" / "file").exists()


def test_many_at_once_never_take_a_new_one_for_an_abandoned_one(tmp_path: Path) -> None:
    def use(number: int) -> bool:
        with scratch_folder(tmp_path) as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(800)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_an_interruption_takes_the_folder_along(number: signal.Signals, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        for seconds in (1e-5, *(step * 4e-5 for step in range(1, 60))):
            sender = threading.Timer(seconds, os.kill, (os.getpid(), number))
            with contextlib.suppress(KeyboardInterrupt):
                sender.start()
                while True:
                    with scratch_folder(tmp_path) as folder:
                        (folder / "file").touch()
            sender.join()
            assert not list(tmp_path.iterdir())
    finally:
        signal.signal(number, before)


def test_what_an_interruption_kept_from_being_removed_goes_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mdai_build.scratch._remove", interrupted)
        with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path):
            pass
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and not list(abandoned_folders(tmp_path))
    remove_own_folders()
    assert not list(tmp_path.iterdir())


def test_the_lock_tells_that_a_folder_is_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "mdai-build-run-inuse123"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert list(abandoned_folders(tmp_path)) == []
    os.close(handle)
    assert list(abandoned_folders(tmp_path)) == [folder]


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "file.lock"
    write_whole(file, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "half\n" + "\ud800")
    assert [path.name for path in tmp_path.iterdir()] == ["file.lock"] and file.read_bytes() == b"old\n"
    write_whole(file, "new\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file.lock"] and file.read_bytes() == b"new\n"


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tempfile` was not asked for its folder before, and is not to look for one."""

    def looks() -> str:
        raise AssertionError("it writes a file with a name, which a kill leaves there")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", looks)


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name are Linux's")
def test_to_look_for_the_temporary_folder_leaves_nothing_whenever_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unasked: None
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary_folder() == tmp_path == Path(tempfile.gettempdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name are Linux's")
def test_a_temporary_folder_that_takes_no_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unasked: None
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    monkeypatch.setenv("TEMP", str(tmp_path / "missing"))
    monkeypatch.setenv("TMP", str(tmp_path))
    assert temporary_folder() == tmp_path


def test_where_files_need_a_name_the_library_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("mdai_build.scratch.os.open", refuse)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", lambda: "/chosen")
    assert temporary_folder() == Path("/chosen")
