"""Bundles in `.tar.gz` files, read as a stream by the standard library's tarfile and gzip.

A tar has no directory, so listing reads all of it; small files under `.mdai/` are kept in memory on the way. Nothing
is ever unpacked by tarfile: its data filter would not be enough, as two members of one name or a link that a later
member passes through are legal there.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from mdai_build.bundle.layout import MDAI
from mdai_build.bundle.limits import too_dense, too_large, too_many_entries
from mdai_build.bundle.model import Limits
from mdai_build.bundle.names import shown
from mdai_build.bundle.reader import MemberReader, damaged, telling_damage
from mdai_build.bundle.stamp import Stamp
from mdai_build.bundle.tree import Entry
from mdai_build.errors import BundleError

_BLOCK = 256 * 1024
_LARGEST_HEADER = 1024**2
_LONGEST_NAME = 16 * 1024
_NAME_BYTES = 1024  # of each entry that there may be, on the average, as in a zip's directory
_MOST_READS_PAST_END = 100
_KEPT_BYTES = 16 * 1024**2
_HEADERS_WITH_DATA = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_KINDS = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file (`tar --sparse`)",
}
_NUMBER = re.compile(rb"-?[0-9]{1,20}(\.[0-9]{0,20})?")
_PAX_VALUES = {
    b"path": re.compile(rb"[^\0]{0,%d}[^\0/]" % _LONGEST_NAME),
    b"linkpath": re.compile(rb"[^\0]{1,%d}" % _LONGEST_NAME),
    b"size": re.compile(rb"[0-9]{1,18}"),
    **dict.fromkeys((b"mtime", b"atime", b"ctime", b"uid", b"gid"), _NUMBER),
}
_PAX_REFUSED = (b"hdrcharset", b"charset", b"SCHILY.realsize", b"GNU.sparse.", b"SUN.holesdata")
_PAX_FOR_ALL = frozenset({b"comment", b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname"})


class _Again:
    """Gives tarfile once more what was read of its stream, and the stream itself from then on."""

    def __init__(self, archive: tarfile.TarFile, stream: IO[bytes], content: bytes) -> None:
        self._archive = archive
        self._stream = stream
        self._content = content

    def read(self, _: int) -> bytes:
        self._archive.fileobj = cast(Any, self._stream)
        return self._content

    def close(self) -> None:
        self._stream.close()


class _StrictHeader(tarfile.TarInfo):
    """Refuses what tarfile passes over in silence (a damaged header ends the archive) or takes on trust (sizes)."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictHeader:
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if header.size < 0 or (header.type in _HEADERS_WITH_DATA and header.size > _LARGEST_HEADER):
            raise tarfile.ReadError("a header with a wrong size")
        if header.type == tarfile.SOLARIS_XHDTYPE:
            raise tarfile.ReadError("it holds an extended header of old Solaris")
        if buf[257:263] != b"ustar\0" and bytes(buf[345:500]).strip(b"\0"):
            raise tarfile.ReadError("a header of two formats")  # for tarfile that is a part of the path
        return header

    def _proc_gnulong(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        with self._ahead(archive):
            return cast(tarfile.TarInfo, super()._proc_gnulong(archive))  # type: ignore[misc]

    @contextlib.contextmanager
    def _ahead(self, archive: tarfile.TarFile) -> Iterator[None]:
        """While what comes ahead of a member's header is read. Tools differ in which of two counts."""
        kinds: set[bytes] = archive.__dict__.setdefault("kinds_ahead", set())
        gnu = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
        if kinds and (self.type in kinds or not (kinds | {self.type}) <= gnu):
            raise tarfile.ReadError("a member with two extended headers")
        kinds.add(self.type)
        try:
            yield
        finally:
            kinds.discard(self.type)

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """tarfile skips what it does not understand of an extended header; other tools end there, or guess."""
        stream = archive.fileobj
        size = -(-self.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        content = cast(IO[bytes], stream).read(size)
        _check_pax(content[: self.size], for_all=self.type == tarfile.XGLTYPE)

        archive.fileobj = cast(Any, _Again(archive, cast(IO[bytes], stream), content))
        if self.type == tarfile.XGLTYPE:
            return cast(tarfile.TarInfo, super()._proc_pax(archive))  # type: ignore[misc]
        with self._ahead(archive):
            return cast(tarfile.TarInfo, super()._proc_pax(archive))  # type: ignore[misc]

    def _refuse_sparse(self, *_: Any) -> None:
        raise tarfile.ReadError("it holds a sparse file (`tar --sparse`); pack it without that option")

    # Maps of sparse files have no bound in tarfile and could fill the memory.
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


def _check_pax(content: bytes, for_all: bool) -> None:
    """Refuses an extended header (POSIX, pax Interchange Format) that is not one to the letter, or that says of a file
    what tools read differently. What holds for all files may say who made them and when, and nothing else."""
    keys = set()
    while content:
        length = content.partition(b" ")[0]
        if not length.isdigit() or len(length) > 7 or not len(length) + 1 < int(length) <= len(content):
            raise tarfile.ReadError("a malformed extended header")
        record, content = content[len(length) + 1 : int(length)], content[int(length) :]
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not record.endswith(b"\n") or not key or key in keys:
            raise tarfile.ReadError("a malformed extended header")
        keys.add(key)
        wanted, told = _PAX_VALUES.get(key), shown(key.decode("utf-8", "replace"), 60)
        if key.startswith(_PAX_REFUSED) or (wanted and not wanted.fullmatch(value)):
            raise tarfile.ReadError(f"an extended header with {told}")
        if for_all and key not in _PAX_FOR_ALL:
            raise tarfile.ReadError(f"an extended header that says {told} of all files")


class _Metered(io.RawIOBase):
    """The unpacked stream, refused once it is more than a bundle may be."""

    def __init__(self, stream: IO[bytes], origin: Path, packed: int, limits: Limits) -> None:
        self._stream = stream
        self._origin = origin
        self._most = limits.total_bytes
        self._suspect = max(limits.ratio_floor, limits.ratio * packed)
        self._limits = limits
        self._done = 0
        self._past_end = 0

    def read(self, size: int = -1, /) -> bytes:
        part = self._stream.read(size)
        self._done += len(part)
        if not part:
            # tarfile skips a member without looking whether there is anything left to skip.
            self._past_end += 1
            if self._past_end > _MOST_READS_PAST_END:
                raise EOFError
        if self._done > self._most:
            raise BundleError(too_large(self._origin, self._limits))
        if self._done > self._suspect:
            raise BundleError(too_dense(self._origin, self._limits))
        return part


class TarSource:
    """A `.tar.gz` that has been read once, from its first byte to its last."""

    def __init__(self, origin: Path, limits: Limits) -> None:
        self.origin = origin
        self._limits = limits
        self.stamp = Stamp.of(origin)
        self._kept: dict[int, bytes] = {}
        self.entries: Sequence[Entry] = self._list()

    def _list(self) -> list[Entry]:
        entries: list[Entry] = []
        room = _KEPT_BYTES
        names_left = _NAME_BYTES * self._limits.entries
        with self._opened() as archive:
            for info in self._headers(archive):
                if len(entries) >= self._limits.entries:
                    raise BundleError(too_many_entries(self.origin, self._limits))
                names_left -= len(info.name) + len(info.linkname)
                if names_left < 0:
                    raise damaged(self.origin, None, "the names in it are too long, taken together")
                entry = _entry(info)
                small = entry.size <= min(self._limits.text_bytes, room)
                if entry.kind == "file" and small and MDAI in info.name.split("/"):
                    with telling_damage(self.origin, info.name):
                        self._kept[len(entries)] = _content(archive, info).read()
                    room -= entry.size
                entries.append(entry)
        return entries

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tarfile.TarFile]:
        with self.origin.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
            metered = _Metered(cast(IO[bytes], unpacked), self.origin, self.stamp.size, self._limits)
            with telling_damage(self.origin):
                archive = tarfile.open(  # noqa: SIM115
                    fileobj=metered, mode="r|", tarinfo=_StrictHeader, bufsize=_BLOCK, errors="surrogateescape"
                )
            with archive:
                yield archive

    def _headers(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        while True:
            with telling_damage(self.origin):
                info = archive.next()
            if info is None:
                break
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
            if len(info.name) > _LONGEST_NAME or len(info.linkname) > _LONGEST_NAME:
                raise damaged(self.origin, info.name[:100], "its name is too long")
            yield info
        self._check_rest(archive)

    def _check_rest(self, archive: tarfile.TarFile) -> None:
        """Reads to the end: gzip's checksum stands there, and nothing but zeros may follow a tar."""
        stream = cast(IO[bytes], archive.fileobj)
        with telling_damage(self.origin):
            while part := stream.read(_BLOCK):
                if part.strip(b"\0"):
                    raise damaged(self.origin, None, "there is other data after its end")

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, MemberReader]]:
        """See `Source.stream`."""
        for number in sorted(self._kept.keys() & set(numbers)):
            entry = self.entries[number]
            content = io.BytesIO(self._kept[number])
            yield number, MemberReader(content, self.origin, entry.name, entry.size)
        wanted = set(numbers) - self._kept.keys()
        if not wanted:
            return
        self.stamp.check(self.origin)
        with self._opened() as archive:
            for number, info in enumerate(self._headers(archive)):
                if number in wanted:
                    with telling_damage(self.origin, info.name):
                        content_stream = _content(archive, info)
                    yield number, MemberReader(content_stream, self.origin, info.name, info.size)
        self.stamp.check(self.origin)


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise tarfile.ReadError("it has no content")
    return stream


def _entry(info: tarfile.TarInfo) -> Entry:
    if info.size and not info.isreg():
        # Some tools take what follows for its content, others for the next member.
        return Entry(info.name, "special", target="no file, and has a size")
    if info.type in _KINDS or info.issparse():
        return Entry(info.name, "special", target=_KINDS.get(info.type, "a sparse file"))
    if info.isdir():
        return Entry(info.name, "folder")
    if info.issym():
        return Entry(info.name, "symlink", target=info.linkname)
    if info.islnk():
        return Entry(info.name, "hardlink", target=info.linkname)
    if not info.isreg():
        return Entry(info.name, "special", target="of a kind that is not known")
    return Entry(info.name, "file", info.size, bool(info.mode & 0o111))
