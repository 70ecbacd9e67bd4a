"""Bundles in zip files, read by the standard library's zipfile (APPNOTE.TXT of PKWARE is the format's definition).

Listing reads the central directory only. What zipfile lets pass and other tools read differently is refused here:
members that overlap or span disks, local headers that disagree, other data before or after.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

from mdai_build.bundle.model import Limits
from mdai_build.bundle.reader import MemberReader, damaged, telling_damage
from mdai_build.bundle.stamp import Stamp
from mdai_build.bundle.tree import Entry, Refusals
from mdai_build.errors import BundleError, Location, Problem

_UNIX_SYSTEMS = (3, 19)  # "version made by": Unix, and OS X
_WINDOWS_SYSTEMS = (0, 10, 14)  # FAT, NTFS, VFAT
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES encryption"}
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_SIZES_FOLLOW = 0x8
_IN_ZIP64 = 0xFFFFFFFF
_LONGEST_LINK = 4096
_SPECIAL = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")


class ZipSource:
    """An open zip file. It stays open, so that what is read later is the file that was checked."""

    def __init__(self, origin: Path, limits: Limits) -> None:
        self.origin = origin
        self.stamp = Stamp.of(origin)
        with telling_damage(origin), origin.open("rb") as file:
            entries, self._directory_start = _check_end(file, self.stamp.size, origin, limits)
        with telling_damage(origin):
            self._archive = zipfile.ZipFile(origin)
        self._infos = self._archive.infolist()
        # The end record of a zip without zip64 counts modulo 2 ** 16.
        if (len(self._infos) - entries) % 2**16:
            raise damaged(origin, None, "its directory does not hold as many members as its end record says")
        self._check(limits)
        self.entries: Sequence[Entry] = [self._entry(info) for info in self._infos]

    def _check(self, limits: Limits) -> None:
        refusals = Refusals(self.origin)
        for info in self._infos:
            name = _name(info)
            if info.flag_bits & _ENCRYPTED:
                refusals.add("encrypted", name, "is encrypted", "pack anew without a password")
            elif info.compress_type not in _METHODS:
                method = _METHOD_NAMES.get(info.compress_type, f"method {info.compress_type}")
                refusals.add("compression", name, f"is packed with {method}", _OTHER_TOOL)
            elif info.volume:
                refusals.add("multi-disk", name, "is in another part of a split zip", _OTHER_TOOL)
            elif info.file_size > limits.ratio_floor and info.file_size > limits.ratio * info.compress_size:
                refusals.add("bomb", name, f"grows more than {limits.ratio} times when unpacked")
        refusals.raise_if_any()
        for info, end in self._with_ends():
            name_size = len(_raw_name(info))
            if info.header_offset + _LOCAL_HEADER.size + name_size + info.compress_size > end:
                raise damaged(self.origin, info.orig_filename, "it overlaps with another member")

    def _with_ends(self) -> Iterator[tuple[zipfile.ZipInfo, int]]:
        """The members as they lie in the file, each with where the next one starts."""
        ordered = sorted(self._infos, key=lambda info: info.header_offset)
        if ordered and ordered[0].header_offset != 0:
            raise damaged(self.origin, None, "there is other data before it in the file")
        return zip(ordered, [*(info.header_offset for info in ordered[1:]), self._directory_start], strict=False)

    def _entry(self, info: zipfile.ZipInfo) -> Entry:
        name = _name(info)
        mode = info.external_attr >> 16 if info.create_system in _UNIX_SYSTEMS else 0
        file_type = stat.S_IFMT(mode)
        if name.endswith("/"):
            return Entry(name, "folder")
        if file_type == stat.S_IFDIR:
            return Entry(name, "special", target="a folder in one place and a file in another")
        if file_type in _SPECIAL:
            return Entry(name, "special", target=_SPECIAL[file_type])
        if file_type == stat.S_IFLNK:
            return Entry(name, "symlink", target=self._link_target(info))
        return Entry(name, "file", info.file_size, bool(mode & 0o111))

    def _link_target(self, info: zipfile.ZipInfo) -> str:
        if info.file_size > _LONGEST_LINK:
            raise damaged(self.origin, info.orig_filename, "it is a link with a target that is too long")
        with telling_damage(self.origin, info.orig_filename), self.origin.open("rb", buffering=0) as headers:
            self._check_local_header(headers, info, self._directory_start)
            return self._archive.read(info).decode("utf-8", "surrogateescape")

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, MemberReader]]:
        """See `Source.stream`."""
        if not numbers:
            return
        self.stamp.check(self.origin)
        with self.origin.open("rb", buffering=0) as headers:
            for number in sorted(numbers, key=lambda number: self._infos[number].header_offset):
                info = self._infos[number]
                with telling_damage(self.origin, info.orig_filename):
                    self._check_local_header(headers, info, self._directory_start)
                    stream = self._archive.open(info)
                with stream:
                    yield number, MemberReader(stream, self.origin, info.orig_filename, info.file_size)
        self.stamp.check(self.origin)

    def verify(self) -> None:
        """Compares all local headers with the directory, those too of what is not going to be read.

        Raises:
            BundleError: they disagree: other tools would unpack other files.
        """
        with self.origin.open("rb") as headers:
            for info, end in self._with_ends():
                with telling_damage(self.origin, info.orig_filename):
                    self._check_local_header(headers, info, end)

    def _check_local_header(self, file: IO[bytes], info: zipfile.ZipInfo, end: int) -> None:
        """Refuses a member whose local header tells another story than the directory; tools trust either."""
        file.seek(info.header_offset)
        header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        signature, _, flags, method, _, _, checksum, packed, unpacked, name_size, extra_size = header
        name, extra = file.read(name_size), file.read(extra_size)
        if _IN_ZIP64 in (packed, unpacked):
            packed, unpacked = _zip64_sizes(extra, packed, unpacked)
        agree = signature == b"PK\3\4" and method == info.compress_type
        agree = agree and name == _raw_name(info) and file.tell() + info.compress_size <= end
        agree = agree and (flags ^ info.flag_bits) & (_ENCRYPTED | _UTF8) == 0
        if not flags & _SIZES_FOLLOW:
            agree = agree and checksum == info.CRC
            agree = agree and (packed, unpacked) == (info.compress_size, info.file_size)
        if not agree:
            raise damaged(self.origin, info.orig_filename, "its two headers disagree")

    @staticmethod
    def ends_like_one(path: Path) -> bool:
        """Whether a file that does not start like a zip ends like one, as self-extracting programs do."""
        return zipfile.is_zipfile(path)

    def checksum(self, number: int) -> int:
        """The CRC-32 that the archive gives for a content: good for a guess, never for a proof."""
        return self._infos[number].CRC


_OTHER_TOOL = "pack it with `zip -r model.zip model`, 7-Zip set to Deflate, or `tar -czf model.tar.gz model`"


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def _name(info: zipfile.ZipInfo) -> str:
    """The member's name. Unmarked names are CP437 by the format, UTF-8 in what older Macs write.

    The format knows `/` alone (APPNOTE 4.4.17.1), but some tools of Windows write backslashes; unzip reads them so too.
    """
    name = info.orig_filename
    if info.create_system in _WINDOWS_SYSTEMS:
        name = name.replace("\\", "/")
    if info.flag_bits & _UTF8 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _zip64_sizes(extra: bytes, packed: int, unpacked: int) -> tuple[int, int]:
    """The sizes that a local header leaves to its zip64 field, which holds those that did not fit, in this order."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1:
            values = [value for (value,) in struct.iter_unpack("<Q", extra[4 : 4 + size - size % 8])]
            unpacked = values.pop(0) if unpacked == _IN_ZIP64 and values else unpacked
            packed = values.pop(0) if packed == _IN_ZIP64 and values else packed
            break
        extra = extra[4 + size :]
    return packed, unpacked


def _check_end(file: IO[bytes], size: int, origin: Path, limits: Limits) -> tuple[int, int]:
    """The number of entries and the start of the directory, before zipfile loads all of it into memory."""
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or place + _END.size > len(tail):
        raise damaged(origin, None, "its directory, which stands at the end, is missing; the archive is cut off")
    _, disk, first_disk, _, entries, directory_size, directory_start, comment = _END.unpack_from(tail, place)
    end = tail_start + place
    if end + _END.size + comment != size:
        raise damaged(origin, None, "there is other data after its end")
    zip64 = _zip64_end(file, end, origin)
    if zip64 is not None:
        end, entries, directory_size, directory_start = zip64
    elif disk or first_disk:
        raise damaged(origin, None, "it is one part of a split zip")
    if directory_start + directory_size != end:
        raise damaged(origin, None, "its directory is not where its end record says")
    file.seek(directory_start)
    # Records of 46 bytes and a name: the cap keeps a forged directory from filling the memory before it is counted.
    most = limits.entries * 1024
    directory = file.read(min(directory_size, most))
    if max(entries, directory.count(b"PK\1\2")) > limits.entries or directory_size > most:
        raise BundleError(
            Problem(
                "bundle.too-many-entries",
                f"the archive has more than {limits.entries} entries",
                Location(str(origin)),
                f"at most {limits.entries} files",
                "leave out what the model does not need, such as training data",
            )
        )
    return entries, directory_start


def _zip64_end(file: IO[bytes], end: int, origin: Path) -> tuple[int, int, int, int] | None:
    """Place and content of the end record of zip64, which counts wherever there is one (as to zipfile)."""
    if end < _LOCATOR_64.size:
        return None
    file.seek(end - _LOCATOR_64.size)
    signature, _, place, disks = _LOCATOR_64.unpack(file.read(_LOCATOR_64.size))
    if signature != b"PK\6\7":
        return None
    if disks > 1:
        raise damaged(origin, None, "it is one part of a split zip")
    file.seek(place)
    record = _END_64.unpack(file.read(_END_64.size))
    if record[0] != b"PK\6\6":
        raise damaged(origin, None, "its directory is damaged")
    return place, record[7], record[8], record[9]
