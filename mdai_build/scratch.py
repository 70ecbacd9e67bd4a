"""Folders for what one run needs for a moment. They are gone afterwards, and those of a killed run with the next one.

Each is locked by its process for as long as it is needed; the system frees the lock when the process ends, however it
ends. So what is there and is not locked belongs to nobody.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mdai_build.interrupts import uninterrupted

PREFIX = "mdai-build-run-"
_own: dict[Path, int] = {}
"""Those of this process that are there, and what holds their locks."""
_NAME = re.compile(rf"{PREFIX}[a-z0-9_]{{8}}")
_NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""What a file system or kernel answers that cannot make a file without a name (open(2), O_TMPFILE)."""


def temporary_folder() -> Path:
    """The first folder for temporary files, of those that `tempfile` tries, that takes one; `tempfile` keeps to it.

    The library writes a file with a name to find out, which stays where a kill comes in that moment.

    Raises:
        OSError: there is none.
    """
    given = filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP")))
    for folder in (*given, "/tmp", "/var/tmp", "/usr/tmp") if tempfile.tempdir is None else ():
        takes = _takes_a_file(folder)
        if takes:
            tempfile.tempdir = str(Path(folder).absolute())
        if takes is not False:
            break
    return Path(tempfile.gettempdir())


def _takes_a_file(folder: str) -> bool | None:
    """Whether there is room for a file in it; None where that cannot be told without giving the file a name."""
    if sys.platform != "linux":
        return None
    try:
        handle = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
        try:
            return os.write(handle, b"0") == 1
        finally:
            os.close(handle)
    except OSError as error:
        return None if error.errno in _NO_NAMELESS_FILES else False


@contextmanager
def scratch_folder(place: Path | None = None) -> Iterator[Path]:
    """A new folder in `place`, which exists; default: in the folder for temporary files. Only its owner can read it.

    What killed runs left there is removed.

    Raises:
        OSError: it cannot be made.
    """
    place = place or temporary_folder()
    remove_abandoned_folders(place)
    with contextlib.ExitStack() as stack:
        with uninterrupted():
            folder = _make(place)
            stack.callback(_remove, folder)
        yield folder


def remove_own_folders() -> None:
    """Removes what is still there of this process's own, at its end: an interruption can come in the moment between the
    end of a block and the beginning of what clears up after it."""
    for folder in tuple(_own):
        _remove(folder)


def _make(place: Path) -> Path:
    """A new folder, which is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        # Until it is locked, another run takes it for a killed one's: then a second one is made.
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.lstat()):
                _own[folder] = handle
                return folder
        os.close(handle)


def _remove(folder: Path) -> None:
    with uninterrupted():
        shutil.rmtree(folder, ignore_errors=True)
        os.close(_own.pop(folder))
        # A builder may outlive its killed run for a moment, and have written into a folder that was being removed.
        remove_abandoned_folders(folder.parent)


def remove_abandoned_folders(place: Path | None = None) -> None:
    """Removes the scratch folders of killed runs in `place`, by default the system's place for such."""
    for folder in abandoned_folders(place or temporary_folder()):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned_folders(place: Path) -> Iterator[Path]:
    """The scratch folders in `place` whose runs have ended; each is locked while it is looked at."""
    with contextlib.suppress(OSError):
        for entry in sorted(place.iterdir()):
            if not _NAME.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):
                handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(handle).st_uid == os.getuid():
                        yield entry
                finally:
                    os.close(handle)


def write_whole(file: Path, text: str) -> None:
    """Writes a file that is read again, so that a run that ends meanwhile leaves the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    half = file.with_name(f".{file.name}.half")
    with uninterrupted():
        try:
            half.write_text(text, encoding="utf-8", newline="\n")
            half.replace(file)
        finally:
            half.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of that name, which is made if it is missing.

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
