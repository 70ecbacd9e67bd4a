"""Bundles in zip files, listed by the standard library's zipfile (APPNOTE.TXT of PKWARE is the format's definition).

Listing reads the central directory only. What zipfile lets pass and other tools read differently is refused here:
members that overlap or span disks, two headers or two names that disagree, data that belongs to no member. Contents are
read here too, since zipfile cuts one off at the size that the directory tells, whatever follows.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

from mdai_build.bundle.limits import too_dense, too_many_entries
from mdai_build.bundle.model import Limits
from mdai_build.bundle.reader import MemberReader, damaged, telling_damage
from mdai_build.bundle.stamp import Stamp
from mdai_build.bundle.tree import Entry, Refusals
from mdai_build.errors import BundleError

_UNIX = 3  # "version made by"
_UNIX_SYSTEMS = (_UNIX, 19)  # the second is OS X, whose links not every tool knows
_WINDOWS_SYSTEMS = (0, 10, 14)  # FAT, NTFS, VFAT
_NEWEST_VERSION = 46  # "version needed to extract": 4.5 is zip64, 4.6 all that Info-ZIP knows
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_METHOD_NAMES = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES encryption"}
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_CENTRAL = b"PK\1\2"
_SIZES_FOLLOW = 0x8
_KNOWN_FLAGS = _ENCRYPTED | _UTF8 | _SIZES_FOLLOW | 0x6  # how hard deflate tried
_IN_ZIP64 = 0xFFFFFFFF
_LONGEST_LINK = 4096
_ZIP64, _UNICODE_PATH = 1, 0x7075
_BLOCK = 256 * 1024
_SPECIAL = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
_DOS_FOLDER = 0x10
_TWO_KINDS = "a folder in one place and a file in another"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_RECORD = struct.Struct("<28x3H12x")  # of the directory: how long its name, extra fields and comment are
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
# A data descriptor, without or with its signature: the sizes have 8 bytes for a member with zip64 (APPNOTE 4.3.9).
_DESCRIPTORS = {False: {12: "<3L", 16: "<4x3L"}, True: {20: "<L2Q", 24: "<4xL2Q"}}


class ZipSource:
    """A zip file that was checked; its stamp tells whether what is read later is the same."""

    def __init__(self, origin: Path, limits: Limits) -> None:
        self.origin = origin
        self.stamp = Stamp.of(origin)
        with telling_damage(origin), origin.open("rb") as file:
            entries, self._directory_start = _check_end(file, self.stamp.size, origin, limits)
        with telling_damage(origin), zipfile.ZipFile(origin) as archive:
            self._infos = archive.infolist()
        # The end record of a zip without zip64 counts modulo 2 ** 16.
        if (len(self._infos) - entries) % 2**16:
            raise damaged(origin, None, "its directory does not hold as many members as its end record says")
        self._ends = self._find_ends()
        with telling_damage(origin):
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
            elif info.flag_bits & ~_KNOWN_FLAGS:
                refusals.add("compression", name, f"has flags that are not known (0x{info.flag_bits:04x})", _OTHER_TOOL)
            elif info.extract_version > _NEWEST_VERSION:
                refusals.add("compression", name, "asks for a newer tool than its method needs", _OTHER_TOOL)
            elif info.volume:
                refusals.add("multi-disk", name, "is in another part of a split zip", _OTHER_TOOL)
            elif info.file_size > limits.ratio_floor and info.file_size > limits.ratio * info.compress_size:
                refusals.add("bomb", name, f"grows more than {limits.ratio} times when unpacked")
        refusals.raise_if_any()
        unpacked = sum(info.file_size for info in self._infos)
        if unpacked > limits.ratio_floor and unpacked > limits.ratio * self.stamp.size:
            raise BundleError(too_dense(self.origin, limits))
        for info in self._infos:
            name_size = len(_raw_name(info))
            if (
                info.header_offset + _LOCAL_HEADER.size + name_size + info.compress_size
                > self._ends[info.header_offset]
            ):
                raise damaged(self.origin, info.orig_filename, "it overlaps with another member")

    def _find_ends(self) -> dict[int, int]:
        """By where each member starts, where the next one or the directory does."""
        starts = sorted(info.header_offset for info in self._infos)
        if starts and starts[0] != 0:
            raise damaged(self.origin, None, "there is other data before it in the file")
        ends = dict(zip(starts, [*starts[1:], self._directory_start], strict=False))
        if len(ends) != len(starts):
            raise damaged(self.origin, None, "one of its members overlaps with another")
        return ends

    def _entry(self, info: zipfile.ZipInfo) -> Entry:
        name = _name(info)
        mode = info.external_attr >> 16
        file_type = stat.S_IFMT(mode)
        is_folder = file_type == stat.S_IFDIR or bool(info.external_attr & _DOS_FOLDER)
        if name.endswith("/"):
            if info.file_size or file_type not in (0, stat.S_IFDIR):
                return Entry(name, "special", target=_TWO_KINDS)
            return Entry(name, "folder")
        if is_folder:
            return Entry(name, "special", target=_TWO_KINDS)
        if info.create_system != _UNIX and file_type not in (0, stat.S_IFREG):
            return Entry(name, "special", target="a link or a device, of a system that has none")
        if file_type in _SPECIAL:
            return Entry(name, "special", target=_SPECIAL[file_type])
        if file_type == stat.S_IFLNK:
            return Entry(name, "symlink", target=self._link_target(info))
        if file_type not in (0, stat.S_IFREG):
            return Entry(name, "special", target="of a kind that is not known")
        return Entry(name, "file", info.file_size, info.create_system in _UNIX_SYSTEMS and bool(mode & 0o111))

    def _link_target(self, info: zipfile.ZipInfo) -> str:
        if info.file_size > _LONGEST_LINK:
            raise damaged(self.origin, info.orig_filename, "it is a link with a target that is too long")
        with telling_damage(self.origin, info.orig_filename), self.origin.open("rb") as file:
            content = _Content(file, self._data_start(file, info), info)
            target = MemberReader(content, self.origin, info.orig_filename, info.file_size).read_all()
            return target.decode("utf-8", "surrogateescape")

    def stream(self, numbers: Collection[int]) -> Iterator[tuple[int, MemberReader]]:
        """See `Source.stream`."""
        if not numbers:
            return
        self.stamp.check(self.origin)
        # A file of its own, as several streams may be read at once.
        with self.origin.open("rb") as file:
            for number in sorted(numbers, key=lambda number: self._infos[number].header_offset):
                info = self._infos[number]
                with telling_damage(self.origin, info.orig_filename):
                    content = _Content(file, self._data_start(file, info), info)
                yield number, MemberReader(content, self.origin, info.orig_filename, info.file_size)
        self.stamp.check(self.origin)

    def verify(self) -> None:
        """Compares all local headers with the directory, those too of what is not going to be read.

        Raises:
            BundleError: they disagree: other tools would unpack other files.
        """
        with self.origin.open("rb") as file:
            for info in sorted(self._infos, key=lambda info: info.header_offset):
                with telling_damage(self.origin, info.orig_filename):
                    self._data_start(file, info)

    def _data_start(self, file: IO[bytes], info: zipfile.ZipInfo) -> int:
        """Where a member's data begins. Refuses one whose local header tells another story than the directory, since
        tools trust either, and one that is followed by anything but the next."""
        file.seek(info.header_offset)
        header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        signature, _, flags, method, _, _, checksum, packed, unpacked, name_size, extra_size = header
        name, extra = file.read(name_size), file.read(extra_size)
        start = file.tell()
        if _IN_ZIP64 in (packed, unpacked):
            packed, unpacked = _zip64_sizes(extra, packed, unpacked)
        told = (checksum, packed, unpacked)
        true = (info.CRC, info.compress_size, info.file_size)
        agree = signature == b"PK\3\4" and method == info.compress_type and name == _raw_name(info)
        agree = agree and (flags ^ info.flag_bits) & (_ENCRYPTED | _UTF8 | _SIZES_FOLLOW) == 0
        agree = agree and _unicode_path(extra, name) == _unicode_path(info.extra, name)
        # Where the sizes follow the data, those before it are zero; some tools write the true ones all the same.
        follow = bool(flags & _SIZES_FOLLOW)
        agree = agree and all(one == right or (follow and one == 0) for one, right in zip(told, true, strict=True))
        if not agree:
            raise damaged(self.origin, info.orig_filename, "its two headers disagree")
        rest = self._ends[info.header_offset] - start - info.compress_size
        forms = _DESCRIPTORS[any(kind == _ZIP64 for kind, _ in (*_extra_fields(extra), *_extra_fields(info.extra)))]
        if follow and rest in forms:
            file.seek(start + info.compress_size)
            if struct.unpack(forms[rest], file.read(rest)) != true:
                raise damaged(self.origin, info.orig_filename, "the sizes after its data are others than those before")
        elif rest < 0:
            raise damaged(self.origin, info.orig_filename, "it overlaps with another member")
        elif rest or follow:
            raise damaged(self.origin, info.orig_filename, "there is other data after it")
        return start

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
    """The member's name. One without the mark of UTF-8 has a second one that has it, or is UTF-8 all the same, as older
    Macs write it. Windows writes it in the code page of its country: that is read where CP437 and CP850 agree on it,
    and it has letters of Western Europe alone. Of any other each tool makes another name.

    The format knows `/` alone (APPNOTE 4.4.17.1), but some tools of Windows write backslashes; unzip reads them so too.
    """
    name = info.orig_filename
    raw = _raw_name(info)
    if not info.flag_bits & _UTF8 and not raw.isascii():
        given = _unicode_path(info.extra, raw)
        name = (given or raw).decode("utf-8", "surrogateescape")
        if given is None and info.create_system in _WINDOWS_SYSTEMS:
            old = raw.decode("cp437")
            western = old == raw.decode("cp850") and all(character < "\u0100" for character in old)
            name = old if western else raw.decode("ascii", "surrogateescape")
    if info.create_system in _WINDOWS_SYSTEMS:
        name = name.replace("\\", "/")
    return name


def _unicode_path(extra: bytes, name: bytes) -> bytes | None:
    """The second name, in UTF-8, that an extra field holds for an unmarked one (APPNOTE 4.6.9); None if it has none.

    Raises:
        zipfile.BadZipFile: it is not for this name, or the fields are malformed.
    """
    found = None
    for kind, value in _extra_fields(extra):
        if kind != _UNICODE_PATH:
            continue
        if len(value) < 5 or struct.unpack_from("<BL", value) != (1, zlib.crc32(name)) or name.isascii() or found:
            raise zipfile.BadZipFile("it has two names")
        found = value[5:]
    return found


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields by their ids (APPNOTE 4.5).

    Raises:
        zipfile.BadZipFile: they are malformed.
    """
    while extra:
        if len(extra) < 4 or len(extra) < 4 + (size := struct.unpack_from("<H", extra, 2)[0]):
            raise zipfile.BadZipFile("its extra fields are malformed")
        yield struct.unpack_from("<H", extra)[0], extra[4 : 4 + size]
        extra = extra[4 + size :]


class _Content:
    """A member's bytes, unpacked, in order. Refuses what is not to the byte what its headers say."""

    def __init__(self, file: IO[bytes], start: int, info: zipfile.ZipInfo) -> None:
        self._file = file
        self._place = start
        self._left = info.compress_size
        self._checksum, self._expected = 0, info.CRC
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if info.compress_type == zipfile.ZIP_DEFLATED else None
        self._pending = b""
        self._ended = False

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes; none at the end."""
        if self._ended:
            return b""
        part = self._packed(count) if self._inflate is None else self._inflated(self._inflate, count)
        self._checksum = zlib.crc32(part, self._checksum)
        if not part:
            self._ended = True
            if self._checksum != self._expected:
                raise zipfile.BadZipFile("Bad CRC-32")
        return part

    def _packed(self, count: int) -> bytes:
        self._file.seek(self._place)
        part = self._file.read(min(self._left, count))
        if not part and self._left:
            raise EOFError
        self._place += len(part)
        self._left -= len(part)
        return part

    def _inflated(self, inflate: zlib._Decompress, count: int) -> bytes:
        while not inflate.eof:
            self._pending = self._pending or self._packed(_BLOCK)
            nothing_more = not self._pending
            part = inflate.decompress(self._pending, count)
            self._pending = inflate.unconsumed_tail
            if part:
                return part
            if nothing_more and not inflate.eof:
                raise EOFError
        if self._left or inflate.unused_data:
            raise zipfile.BadZipFile("there is other data after its end")
        return b""


def _zip64_sizes(extra: bytes, packed: int, unpacked: int) -> tuple[int, int]:
    """The sizes that a local header leaves to its zip64 field, which holds those that did not fit, in this order."""
    for kind, value in _extra_fields(extra):
        if kind == _ZIP64:
            values = [number for (number,) in struct.iter_unpack("<Q", value[: len(value) - len(value) % 8])]
            unpacked = values.pop(0) if unpacked == _IN_ZIP64 and values else unpacked
            packed = values.pop(0) if packed == _IN_ZIP64 and values else packed
            break
    return packed, unpacked


def _check_end(file: IO[bytes], size: int, origin: Path, limits: Limits) -> tuple[int, int]:
    """The number of entries and the start of the directory, before zipfile loads all of it into memory."""
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or place + _END.size > len(tail):
        raise damaged(origin, None, "its directory, which stands at the end, is missing; the archive is cut off")
    _, disk, first_disk, here, entries, directory_size, directory_start, comment = _END.unpack_from(tail, place)
    end = tail_start + place
    if end + _END.size + comment != size:
        raise damaged(origin, None, "there is other data after its end")
    zip64 = _zip64_end(file, end, origin)
    counted = (entries, directory_size, directory_start)
    if zip64 is not None:
        end, entries, directory_size, directory_start = zip64
        # Some tools look at the older record first, which says either the same or that it cannot.
        most = (0xFFFF, _IN_ZIP64, _IN_ZIP64)
        if any(old not in (new, top) for old, new, top in zip(counted, zip64[1:], most, strict=True)):
            raise damaged(origin, None, "its two end records disagree")
    # The older record of a zip with zip64 may leave it to the newer one to tell.
    untold = (0, 0xFFFF) if zip64 is not None else (0,)
    if disk not in untold or first_disk not in untold or here != counted[0]:
        raise damaged(origin, None, "it is one part of a split zip")
    if directory_start + directory_size != end:
        raise damaged(origin, None, "its directory is not where its end record says")
    if entries > limits.entries or _count_records(file, directory_start, end, origin, limits) > limits.entries:
        raise BundleError(too_many_entries(origin, limits))
    if directory_size > limits.entries * 1024:
        raise damaged(origin, None, "its directory is too large for what it holds")
    return entries, directory_start


def _count_records(file: IO[bytes], start: int, end: int, origin: Path, limits: Limits) -> int:
    """How many records the directory holds, as far as there may be more; they fill it to the byte."""
    count = 0
    while start < end and count <= limits.entries:
        file.seek(start)
        record = file.read(_RECORD.size)
        if len(record) < _RECORD.size or not record.startswith(_CENTRAL):
            raise damaged(origin, None, "its directory is damaged")
        start += _RECORD.size + sum(_RECORD.unpack(record))
        count += 1
    if start > end:
        raise damaged(origin, None, "its directory is damaged")
    return count


def _zip64_end(file: IO[bytes], end: int, origin: Path) -> tuple[int, int, int, int] | None:
    """Place and content of the end record of zip64, which counts wherever there is one (as to zipfile)."""
    if end < _LOCATOR_64.size:
        return None
    file.seek(end - _LOCATOR_64.size)
    signature, first_disk, place, disks = _LOCATOR_64.unpack(file.read(_LOCATOR_64.size))
    if signature != b"PK\6\7":
        return None
    if disks > 1 or first_disk:
        raise damaged(origin, None, "it is one part of a split zip")
    file.seek(place)
    record = _END_64.unpack(file.read(_END_64.size))
    if record[0] != b"PK\6\6" or place + _END_64.size != end - _LOCATOR_64.size:
        raise damaged(origin, None, "its directory is damaged")
    if record[4] or record[5] or record[6] != record[7]:
        raise damaged(origin, None, "it is one part of a split zip")
    return place, record[7], record[8], record[9]
