"""A store of file contents, each under its SHA-256: the same content is on disk once, whoever brought it.

    STORE/objects/ab/abcd…      a content, never written to again; `.x` at the end: executable
    STORE/guesses/CRC-SIZE      the SHA-256 of a content that had this checksum; a guess, always verified
    STORE/temporary/…           files that are being written, in a scratch folder (mdai_build/scratch.py)

An object appears by a link from its finished temporary file, never half written. Its modification time is derived from
its SHA-256: it is the same on every machine, it differs where contents differ (build engines compare size and time),
and an object that anyone wrote to does not have it any more.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mdai_build.errors import Location, MdaiBuildError, Problem, UnavailableError
from mdai_build.scratch import scratch_folder

# As the files will be in an image, where a model may copy one and write to its copy.
_PLAIN, _EXECUTABLE = 0o644, 0o755
CHUNK = 1024 * 1024
_SHA256 = re.compile("[0-9a-f]{64}")
_GUESSED_FROM_BYTES = 1024 * 1024
_FIRST_SECOND = 1_000_000_000  # 2001: old enough to be in the past, young enough for zip and FAT


class Readable(Protocol):
    """A stream of a content's bytes."""

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes; none at the end."""


def object_time(sha256: str) -> int:
    """The modification time, in ns, of the object with this content; 2001 to 2018."""
    return (_FIRST_SECOND + int(sha256[:8], 16) // 8) * 10**9 + int(sha256[8:15], 16)


@contextlib.contextmanager
def writing(store: Path) -> Iterator[None]:
    """Tells of a full disk or a store that cannot be written as such."""
    try:
        yield
    except MdaiBuildError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise UnavailableError(
            Problem(
                "bundle.no-room" if full else "bundle.store",
                f"the bundle cannot be unpacked: {error.strerror or error}",
                Location(str(error.filename or store)),
                "room for the unpacked bundle" if full else "a folder that this user may write to",
                "free some disk space (`mdai-build clean` helps), or name a larger disk with the setting cache_folder"
                if full
                else "let this user write there, or name another folder with the setting cache_folder",
            )
        ) from error


class ObjectStore:
    """The objects under one folder. Any number of processes may use it at once."""

    def __init__(self, store: Path) -> None:
        self.folder = store
        self._objects = store / "objects"
        self._guesses = store / "guesses"
        self._temporary = store / "temporary"

    def path_of(self, sha256: str, executable: bool) -> Path:
        """Where the object is, or would be."""
        return self._objects / sha256[:2] / (sha256 + (".x" if executable else ""))

    def holds(self, sha256: str, executable: bool, size: int) -> bool:
        """Whether the object is there, whole and as it was written."""
        if not _SHA256.fullmatch(sha256):
            return False
        try:
            status = self.path_of(sha256, executable).lstat()
        except OSError:
            return False
        mode = stat.S_IFREG | (_EXECUTABLE if executable else _PLAIN)
        return (status.st_mode, status.st_size, status.st_mtime_ns) == (mode, size, object_time(sha256))

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder for files that are being written; it is gone afterwards, and so are those of dead processes."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        with scratch_folder(self._temporary) as folder:
            yield folder

    def add(self, stream: Readable, executable: bool, workplace: Path) -> str:
        """Stores a content in one pass and returns its SHA-256."""
        part, following = stream.read(CHUNK), stream.read(CHUNK)
        digest = hashlib.sha256(part)
        if not following and self.holds(digest.hexdigest(), executable, len(part)):
            return digest.hexdigest()
        handle, name = tempfile.mkstemp(dir=workplace)
        temporary = Path(name)
        with os.fdopen(handle, "wb", buffering=0) as file:
            while part:
                _write_all(file.fileno(), part)
                digest.update(following)
                part, following = following, stream.read(CHUNK)
            size = file.tell()
            sha256 = digest.hexdigest()
            os.fchmod(file.fileno(), _EXECUTABLE if executable else _PLAIN)
            os.utime(file.fileno(), ns=(object_time(sha256), object_time(sha256)))
        target = self.path_of(sha256, executable)
        if self.holds(sha256, executable, size):
            temporary.unlink()  # the object that others link to stays the one that it is
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
        return sha256

    def guess(self, checksum: int, size: int, executable: bool) -> str | None:
        """The SHA-256 that a content with this checksum and size had before, if it is still here."""
        if size < _GUESSED_FROM_BYTES:
            return None
        try:
            sha256 = self._guess_path(checksum, size).read_text(encoding="ascii")
        except (OSError, ValueError):
            return None
        return sha256 if self.holds(sha256, executable, size) else None

    def remember(self, checksum: int, size: int, sha256: str, workplace: Path) -> None:
        """Lets `guess` find this content."""
        if size >= _GUESSED_FROM_BYTES:
            write_whole(self._guess_path(checksum, size), sha256.encode("ascii"), workplace)

    def same(self, stream: Readable, sha256: str, executable: bool) -> bool:
        """Whether a stream holds, byte for byte, what the object holds."""
        with self.path_of(sha256, executable).open("rb", buffering=0) as file:
            while part := stream.read(CHUNK):
                if file.read(len(part)) != part:
                    return False
            return not file.read(1)

    def _guess_path(self, checksum: int, size: int) -> Path:
        return self._guesses / f"{checksum:08x}-{size}"


def write_whole(path: Path, content: bytes, workplace: Path) -> None:
    """Writes a small file so that readers see the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=workplace)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).replace(path)


def _write_all(handle: int, part: bytes) -> None:
    rest = memoryview(part)
    while rest:
        rest = rest[os.write(handle, rest) :]
