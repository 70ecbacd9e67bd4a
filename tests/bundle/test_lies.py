"""Archives that say two things: each tool would believe another, so none of them is unpacked."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from archives import MODEL, TarMember, ZipMember, _ZipEnd, pax, write_zip

from mdai_build.bundle import Limits, read_bundle, unpack_bundle
from mdai_build.errors import BundleError

EVIL = b"model/evil.py"


def members() -> list[ZipMember]:
    return [ZipMember(name.encode(), content) for name, content in MODEL.items()]


def refused(path: Path, content: bytes, words: str, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
    path.write_bytes(content)
    with pytest.raises(BundleError, match=words) as failure:
        unpack_bundle(read_bundle(path, limits), path.parent / "store")
    assert all(problem.where and (problem.next_step or problem.expected) for problem in failure.value.problems)


@pytest.mark.parametrize("method", [0, 8])
def test_a_content_cut_off_at_a_forged_size(tmp_path: Path, method: int) -> None:
    """Size and checksum fit the beginning; zipfile gives that, unzip all of it."""
    every = members()
    forged = {"size": 7, "crc": zlib.crc32(every[2].content[:7])}
    every[2] = replace(every[2], method=method, local=forged, central=forged)
    refused(tmp_path / "m.zip", write_zip(every), "cannot be read: it is not as long as it says")


def test_data_behind_a_content(tmp_path: Path) -> None:
    every = members()
    packed = zlib.compressobj(wbits=-15)
    every[2] = replace(every[2], packed=packed.compress(every[2].content) + packed.flush() + b"PK\3\4 more")
    refused(tmp_path / "m.zip", write_zip(every), "other data after its end")


@pytest.mark.parametrize("place", ["between members", "before the directory"])
def test_data_that_belongs_to_no_member(tmp_path: Path, place: str) -> None:
    """A reader of streams would find a whole member there."""
    hidden = write_zip([ZipMember(EVIL, b"evil", 0)])
    every, end = members(), _ZipEnd()
    if place == "between members":
        every[1].gap = hidden
    else:
        end.between = hidden
    refused(tmp_path / "m.zip", write_zip(every, end), "other data after it|directory is not where")


def test_a_second_name(tmp_path: Path) -> None:
    every = members()
    field = struct.pack("<HHBL", 0x7075, 5 + len(EVIL), 1, zlib.crc32(every[2].name)) + EVIL
    every[2].extra = field
    refused(tmp_path / "m.zip", write_zip(every), "it has two names")


def test_the_second_name_of_one_that_has_letters_is_its_name(tmp_path: Path) -> None:
    """As Info-ZIP writes it, with a first name in the code page of the machine."""
    raw, name = b"model/\x82.txt", "model/é.txt".encode()
    field = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zlib.crc32(raw)) + name
    (tmp_path / "m.zip").write_bytes(write_zip([*members(), ZipMember(raw, b"", extra=field)]))
    assert read_bundle(tmp_path / "m.zip").has("é.txt")


@pytest.mark.parametrize("descriptor", [b"", struct.pack("<4s3L", b"PK\7\x08", 1, 2, 3), b"x" * 13])
def test_sizes_after_the_data(tmp_path: Path, descriptor: bytes) -> None:
    every = members()
    every[2].descriptor = b""
    (tmp_path / "right.zip").write_bytes(write_zip(every))
    assert read_bundle(tmp_path / "right.zip").read_bytes("weights.bin") == MODEL["model/weights.bin"]
    if descriptor:
        every[2].descriptor = descriptor
        refused(tmp_path / "m.zip", write_zip(every), "sizes after its data|other data after it")


@pytest.mark.parametrize("wrong", ["count", "start", "size", "place", "apart"])
def test_two_end_records(tmp_path: Path, wrong: str) -> None:
    for right in ("right", "marked"):
        (tmp_path / "m.zip").write_bytes(write_zip(members(), _ZipEnd(zip64=right)))
        assert len(read_bundle(tmp_path / "m.zip").members) == 4
    refused(tmp_path / "m.zip", write_zip(members(), _ZipEnd(zip64=wrong)), "end records disagree|directory is|damaged")


@pytest.mark.parametrize(
    "end", [_ZipEnd(disk=1), _ZipEnd(disk=1, zip64="right"), *(_ZipEnd(zip64=z) for z in ("disk", "here", "locator"))]
)
def test_one_part_of_a_split_zip(tmp_path: Path, end: _ZipEnd) -> None:
    refused(tmp_path / "m.zip", write_zip(members(), end), "one part of a split zip")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (ZipMember(b"model/x/", b"content"), "a folder in one place and a file in another"),
        (ZipMember(b"model/x", b"", made_by=0, attributes=0x10), "a folder in one place and a file in another"),
        (ZipMember(b"model/x", b"weights.bin", made_by=0, mode=0o120777), "of a system that has none"),
        (ZipMember(b"model/x", b"", mode=0o070644), "of a kind that is not known"),
        (ZipMember(b"model/x", b"", flags=0x20), "flags that are not known"),
        (ZipMember(b"model/x", b"", method=12), "packed with bzip2"),
        (ZipMember(b"model/x", b"", extra=b"\1"), "extra fields are malformed"),
        (ZipMember("model/\u202ex".encode(), b"", flags=0x800), r"control character U\+202E"),
        (ZipMember("model/\u200fx".encode(), b"", flags=0x800), r"control character U\+200F"),
        (ZipMember(b"model/.wh.weights.bin", b""), "layers say that a file is gone"),
        (ZipMember(b"model/.wh..wh..opq", b""), "layers say that a file is gone"),
    ],
)
def test_members_that_tools_make_different_things_of(tmp_path: Path, member: ZipMember, words: str) -> None:
    refused(tmp_path / "m.zip", write_zip([*members(), member]), words)


def test_two_spellings_of_a_name(tmp_path: Path) -> None:
    """Some tools compose accents; one file would replace the other."""
    two = [ZipMember(f"model/{name}".encode(), name.encode(), flags=0x800) for name in ("\u00e9", "e\u0301")]
    refused(tmp_path / "m.zip", write_zip([*members(), *two]), "another spelling")


def tar(*more: TarMember) -> bytes:
    every = [*(TarMember(name.encode(), content) for name, content in MODEL.items()), *more]
    return gzip.compress(b"".join(member.bytes() for member in every) + bytes(1024), mtime=0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            (TarMember(EVIL, b"", b"2", b"weights.bin", size=512), TarMember(b"model/x", b"y")),
            "no file, and has a size",
        ),
        ((TarMember(EVIL, b"", b"5", size=512), TarMember(b"model/x", b"y")), "no file, and has a size"),
        ((pax({"path": EVIL}, b"g"), TarMember(b"model/x", b"y")), "says path of all files"),
        ((pax({"path": b"model/a\0b"}), TarMember(b"model/x", b"y")), "an extended header with path"),
        ((pax({"size": b"-1"}), TarMember(b"model/x", b"y")), "an extended header with size"),
        ((pax({"hdrcharset": b"BINARY"}), TarMember(b"model/x", b"y")), "an extended header with hdrcharset"),
        ((pax({"GNU.sparse.major": b"1"}), TarMember(b"model/x", b"y")), "an extended header with GNU.sparse.major"),
        ((pax({"mtime": b"nan"}), TarMember(b"model/x", b"y")), "an extended header with mtime"),
        ((TarMember(b"x", b"99999 path=x\n", b"x"), TarMember(b"model/x", b"y")), "a malformed extended header"),
        ((TarMember(b"x", b"10 path=x\n\n", b"x"), TarMember(b"model/x", b"y")), "a malformed extended header"),
        ((pax({"path": EVIL}), pax({"path": b"model/y"}), TarMember(b"model/x", b"y")), "two extended headers"),
        ((pax({"path": EVIL}, b"X"), TarMember(b"model/x", b"y")), "old Solaris"),
        ((TarMember(b"x", b"y", magic=b"ustar  \0", prefix=b"model"),), "a header of two formats"),
        ((TarMember(b"model/x/", b"y"),), "has the name of a folder"),
        ((TarMember(b"model/l", b"", b"1", b"model/weights.bin/"),), "the name of a folder"),
    ],
)
def test_headers_of_a_tar_that_tools_read_differently(tmp_path: Path, more: tuple[TarMember, ...], words: str) -> None:
    refused(tmp_path / "m.tar.gz", tar(*more), words)


def test_what_pax_headers_are_for_is_read(tmp_path: Path) -> None:
    long_name = b"model/" + b"n" * 200
    right = {"mtime": b"1700000000.25", "uid": b"4000000", "SCHILY.xattr.user.x": b"y", "comment": b"made with love"}
    (tmp_path / "m.tar.gz").write_bytes(
        tar(pax({"comment": b"0" * 40}, b"g"), pax({"path": long_name, **right}), TarMember(b"short", b"content"))
    )
    assert read_bundle(tmp_path / "m.tar.gz").read_bytes("n" * 200) == b"content"


def peak_of(path: Path, words: str, limits: Limits = Limits()) -> int:  # noqa: B008 - frozen
    """The most memory, in bytes, that a refusal takes."""
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=words):
            read_bundle(path, limits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_too_many_entries_take_no_memory(tmp_path: Path) -> None:
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", 788, 20, 0, 0, 0, 0x5021, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    count = 200_000
    with (tmp_path / "m.zip").open("wb") as file:
        file.write(b"PK\3\4" + bytes(27))
        for _ in range(count // 10_000):
            file.write(record * 10_000)
        directory = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, count * len(record), 31)
        file.write(directory + struct.pack("<4sLQL", b"PK\6\7", 0, 31 + count * len(record), 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    assert peak_of(tmp_path / "m.zip", "more than 100000 entries") < 2 * 1024**2


def test_headers_of_a_tar_are_not_kept(tmp_path: Path) -> None:
    """A megabyte of extended header before each of many members."""
    more = [each for n in range(60) for each in (pax({"comment": b"x" * 1_000_000}), TarMember(b"model/%d" % n))]
    (tmp_path / "m.tar.gz").write_bytes(tar(*more))
    assert peak_of(tmp_path / "m.tar.gz", "more than 50 entries", Limits(entries=50)) < 16 * 1024**2


def test_many_small_bombs_are_one(tmp_path: Path) -> None:
    every = [*members(), *(ZipMember(b"model/%d" % n, bytes(300_000)) for n in range(10))]
    limits = Limits(ratio_floor=1024**2)
    refused(tmp_path / "m.zip", write_zip(every), "the archive grows more than 200 times", limits)


def test_a_chain_of_hard_links_is_as_long_as_it_likes(tmp_path: Path) -> None:
    links = [TarMember(b"model/%d" % n, b"", b"1", b"model/%d" % (n - 1)) for n in range(1, 5000)]
    (tmp_path / "m.tar.gz").write_bytes(tar(TarMember(b"model/0", b"content"), *links))
    assert read_bundle(tmp_path / "m.tar.gz").read_bytes("4999") == b"content"


def test_links_that_double_a_tree_without_a_file(tmp_path: Path) -> None:
    """Forty folders with two links each to the next one: a tree of 2 ** 40 folders."""
    more = [TarMember(b"model/d40/", b"", b"5")]
    for n in range(40):
        to_next = [TarMember(b"model/d%d/%s" % (n, name), b"", b"2", b"../d%d" % (n + 1)) for name in (b"a", b"b")]
        more += [TarMember(b"model/d%d/" % n, b"", b"5"), *to_next]
    refused(tmp_path / "m.tar.gz", tar(*more), "after more steps than an archive may take", Limits(entries=1000))


def test_links_that_take_long_to_follow(tmp_path: Path) -> None:
    """Each of many short links leads through the same forty long ones."""
    long = [pax({"linkpath": b"lib/../" * 500 + b"c%d" % (n + 1)}) for n in range(38)]
    chain = [each for n, head in enumerate(long) for each in (head, TarMember(b"model/c%d" % n, b"", b"2", b"x"))]
    more = [*chain, TarMember(b"model/c38", b"y"), *(TarMember(b"model/s%d" % n, b"", b"2", b"c0") for n in range(900))]
    refused(tmp_path / "m.tar.gz", tar(*more), "after more steps than an archive may take", Limits(entries=1000))


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [(b"n" * 240, 20, r"too long \(.*\), by links"), (b"n", 200, r"too deep \(.*\), by links")],
)
def test_paths_that_links_make_too_long(tmp_path: Path, name: bytes, count: int, words: str) -> None:
    more = []
    for n in range(count):
        head = pax({"path": b"model/d%d/" % n + name})
        more += [head, TarMember(b"model/x", b"", b"2", b"../d%d" % (n + 1))]
    more += [TarMember(b"model/d%d/x" % count, b"y")]
    refused(tmp_path / "m.tar.gz", tar(*more), words)


def test_names_that_imply_more_folders_than_there_may_be(tmp_path: Path) -> None:
    """A name of 3000 bytes stands for a hundred folders, whose names are 200 kB."""
    more = []
    for n in range(200):
        more += [pax({"path": b"model/%d/" % n + (b"a" * 25 + b"/") * 120 + b"x"}), TarMember(b"model/x", b"")]
    (tmp_path / "m.tar.gz").write_bytes(tar(*more))
    assert peak_of(tmp_path / "m.tar.gz", "more than 3000 folders", Limits(entries=3000)) < 24 * 1024**2


def test_names_that_would_fill_the_memory(tmp_path: Path) -> None:
    more = [each for n in range(90) for each in (pax({"path": b"%d" % n * 6000}), TarMember(b"x", b""))]
    (tmp_path / "m.tar.gz").write_bytes(tar(*more))
    assert peak_of(tmp_path / "m.tar.gz", "the names in it are too long", Limits(entries=100)) < 4 * 1024**2


@pytest.mark.parametrize("kind", [b"0", b"2", b"5"])
def test_a_folder_that_is_another_spelling_of_what_there_is(tmp_path: Path, kind: bytes) -> None:
    """bsdtar composes accents: for it the file would lie in what the other entry is."""
    other = TarMember("model/\u00e9".encode(), b"", kind, b"lib" if kind == b"2" else b"")
    more = [other, TarMember("model/e\u0301/x".encode(), b"y")]
    refused(tmp_path / "m.tar.gz", tar(*more), "another spelling")
