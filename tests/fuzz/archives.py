"""Invents archives that no tool would write: each has a right model and up to three things wrong with it.

The same number gives the same archive, so that whatever was found can be looked at again.
"""

from __future__ import annotations

import gzip
import io
import random
import stat
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

MODEL = {
    "model/.mdai/config.yaml": b"base_image: py38\n",
    "model/.mdai/mdai_deploy.py": b"class MDAIModel:\n    def predict(self, data):\n        return []\n",
    "model/weights.bin": b"weights" * 50,
    "model/lib/helper.py": b"x = 1\n",
}
NAMES = (
    "../evil", "model/../../evil", "/evil", "//evil", "C:/evil", "c:evil", "model\\evil", "..\\evil", "model/./a", "./model/b",
    "model//c", "model/evil/", "model/weights.bin", "MODEL/weights.bin", "model/Weights.bin", "model/weights.bin/", "model/e\u0301",
    "model/\u00e9", "model/\u202egnp.exe", "model/a\nb", "model/a\rb", "model/a\x1b[2Jb", "model/\x7f", "model/a\x00b", "model/ ",
    "model/.", "model/..", ".", "..", "/", "", "model/" + "n" * 255, "model/" + "n" * 256, "model/" + "d/" * 300 + "f",
    "model/nul", "model/aux.txt", "model/tail.", "model/tail ", "~/evil", "model/-rf", "model/$HOME", "model/`id`", "model/*",
    "__MACOSX/model/._x", "model/.git/config", "model/__pycache__/x.pyc", "other/file", "model/.mdai/config.yml", "model/\ufeffx",
    "model/\u200bx", "model/\u200fx", "model/\u061cx", "model/x:y", "model/lib", "model/lib/helper.py/x",
)  # fmt: skip
LINKS = (
    "weights.bin", "lib/helper.py", "lib", "../evil", "/etc/passwd", "..", ".", "", "l", "nothing", "lib/../weights.bin",
    "lib/../../model/weights.bin", "../../../../../../etc/passwd", "model/weights.bin", "./weights.bin", "weights.bin/", "lib/",
    "lib/helper.py/..", "nothing/../weights.bin", "C:\\x", "..\\x", "\x00", "weights.bin\x00/evil",
)  # fmt: skip


def invent(number: int) -> tuple[str, bytes]:
    """The archive of a number: its suffix (`.zip` or `.tar.gz`) and its bytes."""
    chance = random.Random(number)
    suffix, content = (".zip", _zip(chance)) if number % 2 else (".tar.gz", _tar(chance))
    if chance.random() < 0.15:
        content = _scratched(chance, content)
    return suffix, content


def _scratched(chance: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(damaged))
        what = chance.random()
        if what < 0.7:
            damaged[place] = chance.randrange(256)
        elif what < 0.8:
            del damaged[place : place + chance.randint(1, 40)]
        elif what < 0.9:
            damaged[place:place] = chance.randbytes(chance.randint(1, 40))
        else:
            del damaged[place:]
        damaged = damaged or bytearray(b"P")
    return bytes(damaged)


# ---- zip ----


@dataclass
class ZipMember:
    """One member, and where its two headers lie."""

    name: bytes
    content: bytes
    method: int = 8
    flags: int = 0
    made_by: int = 3
    mode: int = 0o100644
    attributes: int = 0
    extra: bytes = b""
    central_extra: bytes | None = None
    packed: bytes | None = None
    central: dict[str, int | bytes] = field(default_factory=dict)
    local: dict[str, int | bytes] = field(default_factory=dict)
    descriptor: bytes | None = None
    gap: bytes = b""
    zip64: bool = False


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _zip_members() -> list[ZipMember]:
    return [ZipMember(name.encode(), content) for name, content in MODEL.items()]


@dataclass
class _ZipEnd:
    before: bytes = b""
    between: bytes = b""
    after: bytes = b""
    comment: bytes = b""
    entries: int = 0
    size: int = 0
    start: int = 0
    disk: int = 0
    zip64: str = ""


def _zip(chance: random.Random) -> bytes:
    members, end = _zip_members(), _ZipEnd()
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        chance.choice(_ZIP_WRONGS)(chance, members, end)
    if chance.random() < 0.2:
        chance.shuffle(members)
    return write_zip(members, end)


def write_zip(members: list[ZipMember], end: _ZipEnd | None = None) -> bytes:
    """The bytes of a zip, with all its lies."""
    end = end or _ZipEnd()
    out, directory = bytearray(end.before), bytearray()
    for member in members:
        out += member.gap
        offset = len(out)
        packed = member.packed
        if packed is None:
            packed = _deflated(member.content) if member.method == 8 else member.content
        facts: dict[str, int | bytes] = {
            "flags": member.flags, "method": member.method, "crc": zlib.crc32(member.content), "packed": len(packed),
            "size": len(member.content), "name": member.name, "extra": member.extra,
        }  # fmt: skip
        local = {**facts, **member.local}
        if member.descriptor is not None:
            local = {**local, "flags": int(local["flags"]) | 8, "crc": 0, "packed": 0, "size": 0, **member.local}
        if member.zip64:
            sizes = struct.pack("<HHQQ", 1, 16, int(local["size"]), int(local["packed"]))
            local = {**local, "extra": sizes + bytes(local["extra"]), "size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}  # type: ignore[arg-type]
        out += struct.pack(
            "<4s5H3L2H", b"PK\3\4", 20, *(int(local[key]) & 0xFFFF for key in ("flags", "method")), 0, 0x5021,
            *(int(local[key]) & 0xFFFFFFFF for key in ("crc", "packed", "size")), len(local["name"]), len(local["extra"]),  # type: ignore[arg-type]
        )  # fmt: skip
        out += bytes(local["name"]) + bytes(local["extra"]) + packed  # type: ignore[arg-type]
        central_extra = member.extra if member.central_extra is None else member.central_extra
        central = {**facts, "offset": offset, "extra": central_extra, "comment": b"", "disk": 0, **member.central}
        if member.descriptor is not None:
            out += member.descriptor or struct.pack(
                "<4s3L", b"PK\7\x08", int(facts["crc"]), len(packed), len(member.content)
            )
            central = {**central, "flags": int(central["flags"]) | 8, **member.central}
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", member.made_by << 8 | 20, 20, int(central["flags"]) & 0xFFFF,
            int(central["method"]) & 0xFFFF, 0, 0x5021, *(int(central[key]) & 0xFFFFFFFF for key in ("crc", "packed", "size")),
            len(central["name"]), len(central["extra"]), len(central["comment"]), int(central["disk"]), 0,  # type: ignore[arg-type]
            (member.mode << 16 | member.attributes) & 0xFFFFFFFF, int(central["offset"]) & 0xFFFFFFFF,
        )  # fmt: skip
        directory += bytes(central["name"]) + bytes(central["extra"]) + bytes(central["comment"])  # type: ignore[arg-type]
    out += end.between
    start = len(out)
    out += directory
    count, size = len(members) + end.entries, len(directory) + end.size
    if end.zip64:
        wrong = {"count": (count + 1, size, start), "start": (count, size, 0), "size": (count, 0, start)}
        record = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *[(values := wrong.get(end.zip64, (count, size, start)))[0]] * 2,
            *values[1:],
        )  # fmt: skip
        one = struct.pack("<L", 1)
        record = {"disk": record[:16] + one + record[20:], "here": record[:24] + one + record[28:]}.get(
            end.zip64, record
        )
        place = len(out)
        out += record + (b"\0" * 8 if end.zip64 == "apart" else b"")
        out += struct.pack(
            "<4sLQL", b"PK\6\7", int(end.zip64 == "locator"), place - (5 if end.zip64 == "place" else 0), 1
        )
        if end.zip64 == "marked":
            count, size, start = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    out += struct.pack(
        "<4s4H2LH", b"PK\5\6", end.disk, end.disk, *[count & 0xFFFF] * 2, size & 0xFFFFFFFF,
        (start + end.start) & 0xFFFFFFFF, len(end.comment),
    )  # fmt: skip
    return bytes(out + end.comment + end.after)


def _some(chance: random.Random, members: list[ZipMember]) -> ZipMember:
    return chance.choice(members)


def _zip_add_name(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    name = chance.choice(NAMES)
    flags = chance.choice((0, 0x800))
    encoded = name.encode(chance.choice(("utf-8", "utf-8", "cp437", "latin-1", "utf-16-le")), "replace")
    made_by = chance.choice((0, 3, 3, 10, 11, 19))
    mode = chance.choice(
        (0o100644, 0o100755, 0o104755, 0o40755, 0, 0o100000, 0o120777, 0o10644, 0o20644, 0o60644, 0o140644)
    )
    attributes = chance.choice((0, 0, 0x10, 0x01, 0x30))
    content = chance.choice((b"evil", b"", b"weights.bin"))
    members.append(ZipMember(encoded, content, chance.choice((0, 8)), flags, made_by, mode, attributes))


def _zip_add_link(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    for name in chance.sample(("model/l", "model/lib/l", "model/m", "model/l/x"), chance.randint(1, 2)):
        target = chance.choice(LINKS).encode()
        made_by = chance.choice((3, 3, 3, 0))
        members.append(ZipMember(name.encode(), target, chance.choice((0, 8)), 0, made_by, stat.S_IFLNK | 0o777))


def _zip_lie(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    key = chance.choice(("flags", "method", "crc", "packed", "size"))
    value = {
        "flags": chance.choice((1, 8, 0x41, 0x800, 0x20, 0x10, 0x2000)), "method": chance.choice((0, 8, 9, 12, 14, 1, 99)),
        "crc": chance.randrange(2**32), "packed": chance.choice((0, 1, 5, 10**6, 2**31)),
        "size": chance.choice((0, 1, 7, 349, 351, 10**6, 2**31, 2**32 - 1)),
    }[key]  # fmt: skip
    places = chance.choice(((member.local,), (member.central,), (member.local, member.central)))
    for place in places:
        place[key] = value


def _zip_short_sizes(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    """A size, and a checksum that fits it, of the beginning of the content alone."""
    member = _some(chance, members)
    size = chance.randint(0, len(member.content))
    for place in (member.local, member.central):
        place.update(size=size, crc=zlib.crc32(member.content[:size]))
    member.method = chance.choice((0, 8))


def _zip_junk_in_data(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    member.packed = _deflated(member.content) + chance.choice((b"x", _hidden(), b"\0" * 20))
    member.method = 8


def _hidden() -> bytes:
    """A whole local member, which a reader of streams would find."""
    whole = write_zip([ZipMember(b"model/hidden.py", b"evil", 0)])
    return whole[: whole.index(b"PK\1\2")]


def _zip_two_names(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    other = chance.choice((b"model/other.py", b"../evil", b"model/weights.bin", b"/evil"))
    kind = chance.random()
    if kind < 0.3:
        member.local["name"] = other
    elif kind < 0.6:
        member.central["name"] = other
    else:
        crc = zlib.crc32(member.name) if chance.random() < 0.7 else 1
        field_ = struct.pack("<HHBL", 0x7075, 5 + len(other), 1, crc) + other
        member.extra = field_ if chance.random() < 0.5 else b""
        member.central_extra = field_


def _zip_extra(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    member.extra = chance.choice(
        (
            struct.pack("<HHQQ", 1, 16, 3, 3), struct.pack("<HHQ", 1, 8, 7), b"\1\0\xff\xff", b"\1", chance.randbytes(12),
            struct.pack("<HHBBHBH", 0x7875, 5, 1, 1, 0, 1, 0), struct.pack("<HHQQQL", 1, 28, 1, 1, 1, 1), b"\x75\x70\x01\x00\x01",
        )
    )  # fmt: skip
    if chance.random() < 0.4:
        member.central_extra = b""
    if chance.random() < 0.4:
        (member.central if chance.random() < 0.5 else member.local)[chance.choice(("size", "packed", "offset"))] = (
            2**32 - 1
        )


def _zip_descriptor(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    packed = len(_deflated(member.content)) if member.method == 8 else len(member.content)
    crc, size = zlib.crc32(member.content), len(member.content)
    member.descriptor = chance.choice(
        (
            b"", struct.pack("<3L", crc, packed, size), struct.pack("<4s3L", b"PK\7\x08", 1, packed, size),
            struct.pack("<4sL2Q", b"PK\7\x08", crc, packed, size), b"x", struct.pack("<4s3L", b"PK\7\x08", crc, 1, size),
        )
    )  # fmt: skip


def _zip_gap(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    junk = chance.choice((b"\0", b"x" * 40, _hidden(), _hidden() * 3))
    where = chance.random()
    if where < 0.6:
        _some(chance, members[1:] or members).gap = junk
    elif where < 0.8:
        end.between = junk
    else:
        chance.choice((lambda: setattr(end, "before", junk), lambda: setattr(end, "after", junk)))()


def _zip_overlap(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    member.central["offset"] = chance.choice((0, 1, 10, 30, 100, 2**31, 2**32 - 1))


def _zip_same(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    member = _some(chance, members)
    members.append(replace(member, content=chance.choice((b"other", member.content)), central={}, local={}))


def _zip_end(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    other = write_zip([*_zip_members(), ZipMember(b"model/other.py", b"evil")])
    setattr(
        end,
        *chance.choice(
            (
                ("comment", b"made with love"), ("comment", other), ("comment", b"PK\5\6" + b"\0" * 18), ("comment", b"x" * 65535),
                ("entries", 1), ("entries", -1), ("size", 1), ("size", -46), ("start", 1), ("start", -30), ("disk", 1),
                ("zip64", "right"), ("zip64", "marked"), ("zip64", "count"), ("zip64", "start"), ("zip64", "size"),
                ("zip64", "place"), ("zip64", "apart"), ("zip64", "disk"), ("zip64", "locator"), ("zip64", "here"), ("after", b"\0"), ("after", other), ("before", other),
            )
        ),
    )  # fmt: skip


def _zip_member64(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    _some(chance, members).zip64 = True


_SPELLINGS = (
    "model/e\u0301/a",
    "model/\u00e9/b",
    "model/\u00e9",
    "model/e\u0301",
    "model/\u00e9/e\u0301/c",
    "model/\u00e9/\u00e9/c",
)


def _zip_spellings(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    """Folders, files and links that are one where accents are composed."""
    for name in chance.sample(_SPELLINGS, 2):
        mode = chance.choice((0o100644, 0o100644, 0o120777))
        members.append(ZipMember(name.encode(), b"lib" if mode == 0o120777 else name.encode(), 0, 0x800, 3, mode))


def _zip_version(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    """Systems and versions by which tools read names and rights."""
    member = _some(chance, members)
    member.made_by = chance.randrange(32)
    member.attributes = chance.choice((0, 0x20, 0x10, 0x01))
    member.name = chance.choice((member.name, "model/\u00e9".encode(), "model/\u00e9".encode("cp850"), b"model\\x"))


def _zip_two_zip64(chance: random.Random, members: list[ZipMember], end: _ZipEnd) -> None:
    """Two zip64 fields that tell other sizes; tools take either."""
    member = _some(chance, members)
    size, packed = len(member.content), len(_deflated(member.content))
    fields = [
        struct.pack("<HHQQ", 1, 16, size, packed),
        struct.pack("<HHQQ", 1, 16, chance.choice((0xFFFFFFFF, 7)), packed),
    ]
    chance.shuffle(fields)
    member.central_extra = b"".join(fields)
    member.extra = chance.choice((b"", fields[0], member.central_extra))
    for place in chance.choice(((member.central,), (member.local, member.central))):
        place.update(size=0xFFFFFFFF, packed=0xFFFFFFFF)


_ZIP_WRONGS: tuple[Callable[[random.Random, list[ZipMember], _ZipEnd], None], ...] = (
    _zip_add_name, _zip_add_name, _zip_add_link, _zip_lie, _zip_short_sizes, _zip_junk_in_data, _zip_two_names, _zip_extra,
    _zip_descriptor, _zip_gap, _zip_overlap, _zip_same, _zip_end, _zip_member64,
    _zip_spellings, _zip_version, _zip_two_zip64,
)  # fmt: skip


# ---- tar ----


@dataclass
class TarMember:
    """One header with its data."""

    name: bytes
    content: bytes = b""
    kind: bytes = b"0"
    link: bytes = b""
    mode: int = 0o644
    size: int | bytes | None = None
    magic: bytes = b"ustar\x0000"
    prefix: bytes = b""
    checksum: int | None = None
    padding: bytes | None = None

    def bytes(self) -> bytes:
        """The header and the data."""
        size = len(self.content) if self.size is None else self.size
        sized = size if isinstance(size, bytes) else b"%011o\0" % size
        head = struct.pack(
            "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x", self.name[:100], b"%07o\0" % self.mode, b"0000000\0", b"0000000\0",
            sized, b"00000000000\0", b" " * 8, self.kind, self.link[:100], self.magic, b"", b"", b"0000000\0", b"0000000\0",
            self.prefix,
        )  # fmt: skip
        checksum = sum(head) if self.checksum is None else self.checksum
        head = head[:148] + b"%06o\0 " % checksum + head[156:]
        rest = self.padding if self.padding is not None else b"\0" * (-len(self.content) % 512)
        return head + self.content + rest


def pax(records: dict[str, bytes], kind: bytes = b"x") -> TarMember:
    """An extended header (POSIX, pax Interchange Format)."""
    text = b""
    for key, value in records.items():
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest) + len(str(len(rest)))
        length = len(rest) + len(str(length))
        text += str(length).encode() + rest
    return TarMember(b"PaxHeaders/x", text, kind)


def _tar_members() -> list[TarMember]:
    return [TarMember(name.encode(), content) for name, content in MODEL.items()]


def _tar(chance: random.Random) -> bytes:
    members = _tar_members()
    end, packing = b"\0" * 1024, _gzipped
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        wrong = chance.choice((*_TAR_WRONGS, None))
        if wrong is not None:
            wrong(chance, members)
        elif chance.random() < 0.6:
            other = TarMember(b"model/other.py", b"evil").bytes()
            end = chance.choice(
                (
                    b"",
                    b"\0" * 512,
                    b"\0" * 10240,
                    b"\0" * 1024 + other,
                    b"\0" * 512 + other,
                    b"\0" * 1024 + b"x",
                    b"x" * 512,
                )
            )
        else:
            packing = chance.choice((_gzipped_twice, _gzip_and_junk, _gzip_and_zeros, _gzip_in_parts))
    return packing(b"".join(member.bytes() for member in members) + end)


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _gzip_in_parts(content: bytes) -> bytes:
    return gzip.compress(content[:700], mtime=0) + gzip.compress(content[700:], mtime=0)


def _gzipped_twice(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0) + gzip.compress(TarMember(b"model/other.py", b"evil").bytes(), mtime=0)


def _gzip_and_junk(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0) + b"junk"


def _gzip_and_zeros(content: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile("a name", "wb", 6, out, 0) as packed:
        packed.write(content)
    return out.getvalue() + b"\0" * 100


def _tar_place(chance: random.Random, members: list[TarMember]) -> int:
    return chance.randint(0, len(members))


def _tar_add_name(chance: random.Random, members: list[TarMember]) -> None:
    name = chance.choice(NAMES).encode(chance.choice(("utf-8", "utf-8", "latin-1", "cp932")), "replace")
    kind = chance.choice((b"0", b"0", b"0", b"\0", b"5", b"7", b"3", b"4", b"6", b"S", b"D", b"V", b"M", b"Z"))
    how = chance.random()
    place = _tar_place(chance, members)
    content = b"" if kind in b"5346" else chance.choice((b"evil", b""))
    member = TarMember(name, content, kind, mode=chance.choice((0o644, 0o755, 0o4755, 0, 0o7777)))
    if how < 0.5:
        members.insert(place, member)
    elif how < 0.75:
        members[place:place] = [pax({"path": name}), replace(member, name=b"model/short")]
    else:
        members[place:place] = [TarMember(b"././@LongLink", name + b"\0", b"L"), replace(member, name=b"model/short")]


def _tar_add_link(chance: random.Random, members: list[TarMember]) -> None:
    for name in chance.sample((b"model/l", b"model/lib/l", b"model/m", b"model/l/x"), chance.randint(1, 2)):
        target = chance.choice(LINKS).encode()
        kind = chance.choice((b"1", b"2", b"2"))
        target = b"model/" + target if kind == b"1" and chance.random() < 0.7 else target
        size = chance.choice((None, None, None, 512))
        member = TarMember(name, b"", kind, target, size=size)
        place = len(members) if chance.random() < 0.7 else 0
        if chance.random() < 0.3:
            members[place:place] = [pax({"linkpath": target}), replace(member, link=b"weights.bin")]
        else:
            members.insert(place, member)


def _tar_pax(chance: random.Random, members: list[TarMember]) -> None:
    records = chance.choice(
        (
            {"path": b"model/renamed"}, {"size": b"3"}, {"size": b"100000"}, {"size": b"-1"}, {"size": b"abc"}, {"size": b""},
            {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": b"../evil", "GNU.sparse.realsize": b"9"},
            {"GNU.sparse.map": b"0,4", "GNU.sparse.size": b"100"}, {"hdrcharset": b"BINARY", "path": b"model/\xff\xfe"},
            {"path": b"model/\xff"}, {"path": b"model/x/"}, {"path": b""}, {"path": b"model/a\0b"}, {"comment": b"x" * 5000},
            {"SCHILY.realsize": b"5"}, {"LIBARCHIVE.symlinktype": b"dir"}, {"mtime": b"nan"}, {"mtime": b"1e400"}, {"uid": b"x"},
            {"SCHILY.fflags": b"uchg"}, {"SCHILY.acl.access": b"user::rwx"}, {"SCHILY.xattr.user.x": b"y"}, {"charset": b"UTF-16"},
            {"path": b"model/one", "linkpath": b"/etc"},
        )
    )  # fmt: skip
    kind = chance.choice((b"x", b"x", b"g", b"X"))
    place = _tar_place(chance, members)
    members.insert(place, pax(records, kind))
    if chance.random() < 0.3:
        broken = members[place]
        broken.content = chance.choice(
            (b"", b"5 a=b\n", b"99999 a=b\n", b"0 a=b\n", b"a=b\n", broken.content[:-3], b"10 path=\n\n\n")
        )


def _tar_lie(chance: random.Random, members: list[TarMember]) -> None:
    member = chance.choice(members)
    what = chance.random()
    if what < 0.4:
        member.size = chance.choice(
            (
                0,
                1,
                512,
                10**6,
                b"\x80" + b"\0" * 10 + b"\5",
                b"\xff" * 12,
                b"-0000000001\0",
                b"          5 \0",
                b"9" * 12,
                b"\x80" + b"\xff" * 11,
            )
        )
    elif what < 0.55:
        member.checksum = chance.choice((0, 1, 999))
    elif what < 0.7:
        member.magic = chance.choice((b"ustar  \0", b"\0" * 8, b"ustar\x0099", b"garbage!"))
    elif what < 0.85:
        member.prefix = chance.choice((b"..", b"/", b"model", b"x" * 155, b"a/../..", b"\xff"))
    else:
        member.padding = chance.choice((b"", b"x" * (-len(member.content) % 512), b"\0" * 512))


def _tar_kind(chance: random.Random, members: list[TarMember]) -> None:
    chance.choice(members).kind = bytes([chance.choice(b"01234567SDVMNLKxgXAZ\0 ")])


def _tar_same(chance: random.Random, members: list[TarMember]) -> None:
    members.append(replace(chance.choice(members), content=chance.choice((b"other", b""))))


def _tar_zero_block(chance: random.Random, members: list[TarMember]) -> None:
    member = chance.choice(members)
    member.padding = b"\0" * (-len(member.content) % 512) + b"\0" * (512 * chance.randint(1, 3))


def _tar_spellings(chance: random.Random, members: list[TarMember]) -> None:
    for name in chance.sample(_SPELLINGS, 2):
        kind = chance.choice((b"0", b"0", b"2", b"5"))
        content = name.encode() if kind == b"0" else b""
        members.append(TarMember(name.encode(), content, kind, b"lib" if kind == b"2" else b""))


def _tar_chain(chance: random.Random, members: list[TarMember]) -> None:
    """Links to links: more of the hard ones than a stack has room for, more of the others than Linux follows."""
    kind, count = chance.choice(((b"1", 1500), (b"2", 39), (b"2", 41)))
    before = b"model/" if kind == b"1" else b""
    members.append(TarMember(b"model/c0", b"content"))
    members += [TarMember(b"model/c%d" % n, b"", kind, before + b"c%d" % (n - 1)) for n in range(1, count)]


def _tar_doubling(chance: random.Random, members: list[TarMember]) -> None:
    """Folders that link to one another: a tree that grows with every level, or paths that are too long."""
    depth = chance.choice((3, 6, 40))
    name = b"n" * chance.choice((1, 90))
    for n in range(depth):
        members.append(TarMember(b"model/d%d/" % n, b"", b"5"))
        for side in (name, name[:-1] + b"m"):
            members.append(TarMember(b"model/d%d/%s" % (n, side), b"", b"2", b"../d%d" % (n + 1)))
    members.append(
        TarMember(b"model/d%d/file" % depth, b"content")
        if chance.random() < 0.5
        else TarMember(b"model/d%d/" % depth, b"", b"5")
    )


_TAR_WRONGS: tuple[Callable[[random.Random, list[TarMember]], None], ...] = (
    _tar_add_name, _tar_add_name, _tar_add_link, _tar_add_link, _tar_pax, _tar_pax, _tar_lie, _tar_kind, _tar_same, _tar_zero_block,
    _tar_spellings, _tar_chain, _tar_doubling,
)  # fmt: skip
