"""Tells which files of a folder were saved, as soon as they are written whole. The watching itself is `watchfiles`'."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mdai_build.bundle.names import left_out_part

_QUIET_MS = 25
"""Saves that come closer to each other than this are one."""
_LONGEST_BURST_MS = 10_000
_LARGE_BYTES = 1024**2
_LARGE_QUIET_SECONDS = 0.3
"""What is this large may be copied with pauses."""
_POLL_SECONDS = 0.3
_TOOL_FOLDERS = frozenset(
    {".hg", ".svn", ".idea", ".vscode", ".venv", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
# What vim, emacs, nano, GNOME's and KDE's editors and JetBrains' put beside a file while they save it.
_EDITOR_FILE = re.compile(
    r"\.sw[a-z]$|~$|^\.#|^#.*#$|^4913$|^\.goutputstream-|^\..*\.kate-swp$|___jb_(?:old|tmp)___$|^\.nfs[0-9a-f]+$"
)
# File systems whose changes on other machines no kernel tells of.
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "vboxsf", "virtiofs", "fuse.sshfs", "fuse.vmhgfs-fuse"})
Key = tuple[int, ...]


@dataclass(frozen=True)
class Saved:
    """Files that were saved together."""

    paths: frozenset[str]
    """POSIX, relative to the folder; those that were removed too."""
    noticed: float
    """When, by `time.monotonic`."""


class FolderWatch:
    """The changes of a folder, gathered while nobody asks for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = dict(_walk(folder))
        self._paths: frozenset[str] = frozenset()
        self._noticed = 0.0
        self._changed = threading.Condition()

    @property
    def pending(self) -> frozenset[str]:
        """What was saved that `wait` has not told yet."""
        return self._paths

    def wait(self, seconds: float | None = None) -> Saved | None:
        """What was saved since the last call, waiting for it if need be; None after so many seconds without."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._paths, seconds):
                return None
            saved = Saved(self._paths, self._noticed)
            self._paths = frozenset()
            return saved

    def take(self, candidates: set[Path], noticed: float) -> None:
        """Takes what may have changed; counts what did, and concerns a model."""
        changed = {path for place in candidates if (path := self._changed_path(place))}
        if not changed:
            return
        with self._changed:
            self._noticed = self._noticed if self._paths else noticed
            self._paths = self._paths | changed
            self._changed.notify_all()

    def known(self) -> set[str]:
        """The paths that were there when they were last looked at."""
        return set(self._known)

    def _changed_path(self, place: Path) -> str | None:
        path = place.relative_to(self._folder).as_posix()
        if path == "." or not concerns_model(path):
            return None
        # A file that was read, linked or made and removed again is as it was.
        key = _settled_key(place)
        if self._known.get(path) == key:
            return None
        if key is None:
            del self._known[path]
        else:
            self._known[path] = key
        return path


def concerns_model(path: str) -> bool:
    """Whether a file may be part of a model, by its POSIX path in the folder: caches and editors' own files are not."""
    parts = path.split("/")
    if left_out_part(path) or _TOOL_FOLDERS.intersection(parts):
        return False
    return not _EDITOR_FILE.search(parts[-1])


@contextmanager
def watched(folder: Path, poll: bool | None = None) -> Iterator[FolderWatch]:
    """Watches a folder and all in it for as long as the block lasts.

    `poll` says whether to look again and again, rather than to be told by the kernel; default: where that is the only
    way, such as on network file systems.
    """
    folder = folder.resolve()
    watch = FolderWatch(folder)
    batches = _looked_up(watch, folder) if poll or (poll is None and _is_remote(folder)) else _told(folder)
    try:
        watch.take(next(batches), time.monotonic())  # from here on nothing is missed
    except OSError:  # the kernel watches no more folders for this user
        batches = _looked_up(watch, folder)
    ended = threading.Event()

    def follow() -> None:
        for batch in batches:
            watch.take(batch, time.monotonic())
            if ended.is_set():
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield watch
    finally:
        ended.set()
        follower.join()


def _told(folder: Path) -> Iterator[set[Path]]:
    """What the kernel says may have changed; an empty set every now and then."""
    import watchfiles

    for batch in watchfiles.watch(
        folder,
        watch_filter=None,
        debounce=_LONGEST_BURST_MS,
        step=_QUIET_MS,
        rust_timeout=_QUIET_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        force_polling=False,
        ignore_permission_denied=True,
    ):
        yield {Path(place) for _, place in batch}


def _looked_up(watch: FolderWatch, folder: Path) -> Iterator[set[Path]]:
    """What may have changed by the looks of it, again and again. The library's own polling misses a second change
    within a second."""
    while True:
        yield {folder / path for path in watch.known() | dict(_walk(folder)).keys()}
        time.sleep(_POLL_SECONDS)


def _walk(folder: Path) -> Iterator[tuple[str, Key]]:
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if concerns_model((inside / name).as_posix())]
        for name in (*folders, *files):
            if (key := _key(Path(place, name))) is not None:
                yield (inside / name).as_posix(), key


def _key(place: Path) -> Key | None:
    """What changes when a file does; None where there is none."""
    try:
        status = place.stat()
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev, status.st_mode


def _settled_key(place: Path) -> Key | None:
    """The key once it stays: a large file may still be on its way."""
    key = _key(place)
    while key and key[0] >= _LARGE_BYTES:
        age = time.time() - key[1] / 1e9
        if not 0 <= age < _LARGE_QUIET_SECONDS:
            break
        time.sleep(_LARGE_QUIET_SECONDS - age)
        key = _key(place)
    return key


def _is_remote(folder: Path) -> bool:
    """Whether the folder lies on a file system of another machine, as far as the kernel says (proc(5), mountinfo)."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            words = line.split()
            if words[2] == wanted:
                return words[words.index("-") + 1] in _REMOTE
    return False
