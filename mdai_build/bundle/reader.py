"""Reading what may be damaged: every way in which an archive can turn out broken becomes one clear problem."""

from __future__ import annotations

import contextlib
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mdai_build.bundle.names import shown
from mdai_build.bundle.stamp import changed
from mdai_build.errors import BundleError, Location, Problem

# bz2 and gzip tell of damaged data by OSError, tarfile of odd numbers by ValueError and of long chains of headers by
# RecursionError, zipfile of an unknown method by NotImplementedError and of encryption by RuntimeError.
_DAMAGE = (
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
_CHUNK = 1024**2


class _Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


@contextlib.contextmanager
def telling_damage(origin: Path, member: str | None = None) -> Iterator[None]:
    """Turns whatever a damaged archive makes the standard library raise into a `BundleError`."""
    try:
        yield
    except _DAMAGE as error:
        raise damaged(origin, member, _reason(error)) from error


def damaged(origin: Path, member: str | None, reason: str) -> BundleError:
    """The failure for an archive (or one member of it) whose bytes are not what they should be."""
    subject = f"`{shown(member)}`" if member is not None else "the archive"
    return BundleError(
        Problem(
            code="bundle.damaged",
            what=f"{subject} cannot be read: {reason}",
            where=Location(str(origin), key=shown(member) if member is not None else None),
            next_step="copy or download it again, or pack the model folder anew",
        )
    )


def _reason(error: BaseException) -> str:
    text = shown(str(error))
    if isinstance(error, EOFError) or "end of data" in text or "truncated" in text:
        return "it ends too early; the archive is cut off"
    if text.startswith("Bad CRC-32") or "CRC check failed" in text:
        return "its checksum is wrong; the archive is damaged"
    if isinstance(error, zlib.error | lzma.LZMAError | struct.error | IndexError | ValueError | RecursionError):
        return "its data is damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return text or "its data is damaged"


class MemberReader:
    """One member's bytes, in order. Tells when there are fewer or more of them than the archive says."""

    def __init__(self, stream: _Readable, origin: Path, name: str, size: int, packed: bool = True) -> None:
        """`packed`: whether it lies in an archive, whose word on its size may be wrong; a file's was true."""
        self._stream = stream
        self._origin = origin
        self._name = name
        self._missing = size
        self._packed = packed

    def read(self, count: int) -> bytes:
        """At most `count` bytes; none at the end.

        Raises:
            BundleError: the member is damaged.
        """
        with telling_damage(self._origin, self._name):
            part = self._stream.read(count)
        self._missing -= len(part)
        if self._missing < 0 or (not part and self._missing > 0):
            if not self._packed:
                raise changed(self._origin, "file")
            raise damaged(self._origin, self._name, "it is not as long as it says")
        return part

    def read_all(self) -> bytes:
        """All bytes of a member that is known to be small.

        Raises:
            BundleError: the member is damaged.
        """
        parts = []
        while part := self.read(_CHUNK):
            parts.append(part)
        return b"".join(parts)
