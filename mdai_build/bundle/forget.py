"""The store of unpacked bundles forgets what was not used for long, and never takes more than its limit for long.

Whoever has unpacked bundles holds the store's lock together with all others who have; forgetting needs it alone, and is
left out where it cannot have it. So nothing is taken away from a build that is going on.

    STORE/locks/use         held, shared, as long as an `UnpackedBundle` lives; its time: when it was last forgotten
    STORE/archives/KEY.json the time of its last use, by its modification time; what no record names, nobody needs
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_EVERY_SECONDS = 3600
"""Looking through a store of a hundred thousand files takes a second: no build does that twice an hour."""
_YOUNG_SECONDS = 3600
"""What was written or linked this lately stays, though no record names it: an archive that is still being changed."""


@dataclass(frozen=True)
class Keep:
    """What a store keeps."""

    seconds: float = 30 * 24 * 3600
    """Since the last use of a bundle."""
    bytes: int = 50 * 1024**3
    """Of all bundles; those that were not used for the longest time go first."""


@dataclass(frozen=True)
class Forgotten:
    """What was removed, or would be."""

    files: int = 0
    bytes: int = 0


def hold_store(store: Path, keep: Keep) -> int:
    """Holds the store's lock, shared; gives its file descriptor. Forgets first, if that was not done lately.

    Raises:
        OSError: the store cannot be written.
    """
    path = _lock_file(store)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if abs(time.time() - os.fstat(handle).st_mtime) > _EVERY_SECONDS or os.fstat(handle).st_size == 0:
            with contextlib.suppress(OSError):  # another one has it: then the next build forgets
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _forget(store, keep, dry_run=False)
                os.pwrite(handle, b"forgot\n", 0)
                os.utime(handle)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except BaseException:
        os.close(handle)
        raise
    return handle


def let_go_with(value: object, handle: int) -> None:
    """Lets go of the store as soon as nobody has this value any more."""
    weakref.finalize(value, os.close, handle)


def mark_used(record: Path) -> None:
    """Notes that what the record tells of was used now; to the hour, so that a quick build writes nothing."""
    with contextlib.suppress(OSError):
        if abs(time.time() - record.stat().st_mtime) > _EVERY_SECONDS:
            os.utime(record)


def forget_bundles(store: Path, keep: Keep, dry_run: bool = False) -> Forgotten | None:
    """Removes what `keep` does not cover; None where the store is in use.

    Raises:
        OSError: the store cannot be written.
    """
    if not store.is_dir():
        return Forgotten()
    handle = os.open(_lock_file(store), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return _forget(store, keep, dry_run)
    finally:
        os.close(handle)


def _lock_file(store: Path) -> Path:
    path = store / "locks" / "use"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _forget(store: Path, keep: Keep, dry_run: bool) -> Forgotten:
    now = time.time()
    sizes = {entry.name: entry.stat() for entry in _objects(store)}
    records = sorted(_records(store / "archives"), key=lambda record: record[1], reverse=True)
    gone: list[Path] = []
    needed: set[str] = set()
    total = 0
    for path, used, contents in records:
        new = {name for name in contents if name in sizes} - needed
        size = sum(sizes[name].st_size for name in new)
        if now - used > keep.seconds or total + size > keep.bytes:
            gone.append(path)
        else:
            needed |= new
            total += size
    # The files of a folder stay where they are: its record is small, and goes with its age alone.
    gone += [path for path, used, _ in _records(store / "folders") if now - used > keep.seconds]
    young = now - min(_YOUNG_SECONDS, keep.seconds)
    dropped = [name for name, status in sizes.items() if name not in needed and status.st_ctime <= young]
    if not dry_run:
        # Records first: one whose contents are gone costs its bundle being unpacked anew, nothing else.
        for path in (*gone, *(_place(store, name) for name in dropped)):
            path.unlink(missing_ok=True)
        _forget_guesses(store, sizes.keys() - set(dropped))
    return Forgotten(len(dropped), sum(sizes[name].st_size for name in dropped))


def _place(store: Path, name: str) -> Path:
    return store / "objects" / name[:2] / name


def _objects(store: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError):
        for folder in os.scandir(store / "objects"):
            yield from os.scandir(folder.path)


def _records(folder: Path) -> Iterator[tuple[Path, float, set[str]]]:
    """Each record with the time of its last use and the names of the objects that it needs."""
    for path in folder.glob("*.json"):
        try:
            content: Mapping[str, Any] = json.loads(path.read_bytes())
            hashes = content.get("hashes", {}).values()
            yield path, path.stat().st_mtime, {f"{sha256}{ending}" for sha256 in hashes for ending in ("", ".x")}
        except (OSError, ValueError, AttributeError):
            yield path, 0.0, set()


def _forget_guesses(store: Path, there: set[str]) -> None:
    for path in (store / "guesses").glob("*"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            sha256 = path.read_text(encoding="ascii")
            if sha256 not in there and f"{sha256}.x" not in there:
                path.unlink(missing_ok=True)
