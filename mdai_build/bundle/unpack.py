"""Unpacking: every member's bytes on disk, read once, hashed in the same pass, and shared with earlier unpacks.

What was unpacked is remembered in a record per archive (or folder), so that nothing is read again when nothing changed:

    STORE/archives/KEY.json     KEY: SHA-256 of the archive's path; inside: the stamp that it held for
    STORE/folders/KEY.json      the SHA-256 of each file of a folder, with the stamp that it held for
    STORE/locks/KEY             one process at a time unpacks an archive
    STORE/locks/use             who uses what is unpacked (see forget.py)
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mdai_build.bundle.archive import ArchiveSource
from mdai_build.bundle.folder_source import FolderSource, file_key
from mdai_build.bundle.forget import Keep, hold_store, let_go_with, mark_used
from mdai_build.bundle.model import Bundle, Member, UnpackedBundle, UnpackedFile
from mdai_build.bundle.objects import CHUNK, ObjectStore, Readable, write_whole, writing
from mdai_build.bundle.stamp import Stamp
from mdai_build.scratch import locked

Progress = Callable[[int, int], None]
Hashes = dict[str, str]
"""SHA-256 of the content of each member, by path."""

_RECORD = "mdai-build bundle 1"
_MOST_THREADS = 8
_THREAD_BYTES = 16 * 1024 * 1024
"""A thread is worth its while from this many bytes on."""
_CLOCK_STEP = 100_000_000  # ns; no file system's clock ticks slower


def unpack_bundle(
    bundle: Bundle, store: Path, on_progress: Progress | None = None, keep: Keep | None = None
) -> UnpackedBundle:
    """Puts every member of an archive into `store` and names its place; a folder's files stay where they are.

    `on_progress` is called with the bytes done and the bytes in all. What is in the store already is verified byte for
    byte, not written again; an archive that did not change since is not read at all. What others left in the store and
    `keep` does not cover may be removed; nothing of this bundle is, as long as the value that is returned lives.

    Raises:
        BundleError: the archive is damaged, or changed since `read_bundle`.
        UnavailableError: the store cannot be written, or its disk is full.
    """
    progress = _Progress(sum(member.size for member in bundle.members), on_progress)
    key = hashlib.sha256(str(bundle.origin.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    objects = ObjectStore(store)
    with writing(store):
        handle = hold_store(store, keep or Keep())
    try:
        unpacked = _unpack(bundle, store, objects, key, progress)
    except BaseException:
        os.close(handle)
        raise
    let_go_with(unpacked, handle)
    return unpacked


def _unpack(bundle: Bundle, store: Path, objects: ObjectStore, key: str, progress: _Progress) -> UnpackedBundle:
    with writing(store):
        if isinstance(bundle.source, FolderSource):
            hashes = _hash_folder(bundle.source, objects, store / "folders" / f"{key}.json", progress)
            places = bundle.source.paths
        elif isinstance(bundle.source, ArchiveSource):
            unpacking = _Unpacking(bundle.members, bundle.source, objects, progress)
            with locked(store / "locks" / key):
                hashes = unpacking.hashes(store / "archives" / f"{key}.json")
            places = {m.path: objects.path_of(hashes[m.path], m.executable) for m in bundle.members}
        else:
            raise TypeError(f"not a source of files: {bundle.source!r}")
    progress.finish()
    files = (UnpackedFile(m.path, places[m.path], m.size, m.executable) for m in bundle.members)
    return UnpackedBundle(bundle, _digest(bundle, hashes), tuple(files))


def _digest(bundle: Bundle, hashes: Mapping[str, str]) -> str:
    digest = hashlib.sha256(f"{_RECORD}\n".encode())
    for member in bundle.members:
        kind = "x" if member.executable else "-"
        # Hash and kind have a fixed width and no path has a NUL: two different bundles never give the same text.
        digest.update(f"{hashes[member.path]} {kind} {member.path}\0".encode())
    for folder in bundle.empty_folders:
        digest.update(f"{'-' * 64} d {folder}\0".encode())
    return f"sha256:{digest.hexdigest()}"


class _Progress:
    """Counts bytes and passes the count on."""

    def __init__(self, total: int, tell: Progress | None) -> None:
        self._done = 0
        self._total = total
        self._tell = tell
        self._lock = threading.Lock()
        self._stopped = False

    def add(self, count: int) -> None:
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._done = min(self._done + count, self._total)
            if self._tell is not None:
                self._tell(self._done, self._total)

    def stop(self) -> None:
        """Ends all reading that is counted here."""
        self._stopped = True

    def finish(self) -> None:
        self.add(self._total)

    def counted(self, stream: Readable) -> Readable:
        return _Counted(stream, self)


class _Counted:
    def __init__(self, stream: Readable, progress: _Progress) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, count: int, /) -> bytes:
        part = self._stream.read(count)
        self._progress.add(len(part))
        return part


class _Unpacking:
    """One archive on its way into the object store."""

    def __init__(
        self, members: Sequence[Member], source: ArchiveSource, objects: ObjectStore, progress: _Progress
    ) -> None:
        self._members = members
        self._source = source
        self._objects = objects
        self._progress = progress
        # Links share a content: it is unpacked once.
        self._wanted = {source.contents[member.path]: member for member in members}

    def hashes(self, record: Path) -> Hashes:
        """Sees to it that the store holds every member, by the record or by reading the archive."""
        self._source.stamp.check(self._source.archive.origin)
        remembered = self._remembered(record)
        if remembered is not None:
            mark_used(record)
            return remembered
        self._source.verify()
        found = self._already_there()
        with self._objects.workplace() as workplace:
            found.update(
                self._side_by_side(self._wanted.keys() - found.keys(), lambda part: self._add(part, workplace))
            )
            hashes = {path: found[number] for path, number in self._source.contents.items()}
            # A change in the same tick of the clock would leave the same stamp: what is that fresh is not remembered.
            if self._source.stamp.changed < time.time_ns() - _CLOCK_STEP:
                content = {"format": _RECORD, "stamp": _as_list(self._source.stamp), "hashes": hashes}
                write_whole(record, json.dumps(content).encode(), workplace)
        return hashes

    def _add(self, numbers: Collection[int], workplace: Path) -> dict[int, str]:
        """Brings contents into the store."""
        found: dict[int, str] = {}
        for number, stream in self._source.stream(numbers):
            member = self._wanted[number]
            found[number] = self._objects.add(self._progress.counted(stream), member.executable, workplace)
            checksum = self._source.checksum(number)
            if checksum is not None:
                self._objects.remember(checksum, member.size, found[number], workplace)
        return found

    def _side_by_side(
        self, numbers: Collection[int], work: Callable[[Collection[int]], dict[int, str]]
    ) -> dict[int, str]:
        """What `work` finds of all numbers; where they can be read at once and are many bytes, on several threads."""
        size = sum(self._wanted[number].size for number in numbers)
        threads = min(_MOST_THREADS, os.cpu_count() or 1, size // _THREAD_BYTES)
        if threads < 2 or not self._source.reads_anywhere:
            return work(numbers)
        parts: list[list[int]] = [[] for _ in range(threads)]
        sizes = [0] * threads
        for number in sorted(numbers, key=lambda number: -self._wanted[number].size):
            lightest = sizes.index(min(sizes))
            parts[lightest].append(number)
            sizes[lightest] += self._wanted[number].size
        found: dict[int, str] = {}
        with ThreadPoolExecutor(threads) as pool:
            try:
                for result in pool.map(work, parts):
                    found.update(result)
            except BaseException:
                self._progress.stop()
                raise
        return found

    def _already_there(self) -> dict[int, str]:
        """The large contents that an earlier unpack brought: found by checksum and size, proven byte for byte."""
        guesses: dict[int, str] = {}
        for number, member in self._wanted.items():
            checksum = self._source.checksum(number)
            if checksum is not None and (sha256 := self._objects.guess(checksum, member.size, member.executable)):
                guesses[number] = sha256

        def proven(numbers: Collection[int]) -> dict[int, str]:
            return {
                number: guesses[number]
                for number, stream in self._source.stream(numbers)
                if self._objects.same(self._progress.counted(stream), guesses[number], self._wanted[number].executable)
            }

        return self._side_by_side(guesses.keys(), proven)

    def _remembered(self, record: Path) -> Hashes | None:
        content = _read_record(record)
        hashes = content.get("hashes")
        if content.get("stamp") != _as_list(self._source.stamp) or not isinstance(hashes, dict):
            return None
        if hashes.keys() != self._source.contents.keys():
            return None
        for member in self._members:
            if not self._objects.holds(str(hashes[member.path]), member.executable, member.size):
                return None
        return hashes


def _hash_folder(source: FolderSource, objects: ObjectStore, record: Path, progress: _Progress) -> Hashes:
    before: dict[str, Any] = _read_record(record).get("files", {})
    hashes: Hashes = {}
    after: dict[str, Any] = {}
    unknown: dict[int, str] = {}
    for path, number in source.contents.items():
        known = before.get(path)
        if known and known[:-1] == file_key(source.statuses[number]):
            hashes[path] = known[-1]
            progress.add(source.statuses[number].st_size)
        else:
            unknown[number] = path
    for number, stream in source.stream(unknown.keys()):
        digest = hashlib.sha256()
        counted = progress.counted(stream)
        while part := counted.read(CHUNK):
            digest.update(part)
        hashes[unknown[number]] = digest.hexdigest()
    latest = time.time_ns() - _CLOCK_STEP
    for path, number in source.contents.items():
        if source.statuses[number].st_mtime_ns < latest:
            after[path] = [*file_key(source.statuses[number]), hashes[path]]
    if after != before:
        with objects.workplace() as workplace:
            write_whole(record, json.dumps({"format": _RECORD, "files": after}).encode(), workplace)
    else:
        mark_used(record)
    return hashes


def _as_list(stamp: Stamp) -> list[int]:
    return [stamp.size, stamp.modified, stamp.changed, stamp.inode, stamp.device]


def _read_record(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("format") == _RECORD else {}
