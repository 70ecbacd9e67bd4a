"""Zips that lie, are damaged, or were made by tools with other habits."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.bundle import Limits, read_bundle, unpack_bundle
from mdai_build.errors import BundleError

CENTRAL = b"PK\1\2"
LOCAL = b"PK\3\4"
END = b"PK\5\6"


def patched(path: Path, name: str, signature: bytes, offset: int, value: bytes) -> Path:
    """Overwrites a field of a member's local or central header."""
    content = bytearray(path.read_bytes())
    size = 30 if signature == LOCAL else 46
    place = -1
    while True:
        place = content.index(signature, place + 1)
        if content[place + size :].startswith(name.encode()):
            break
    content[place + offset : place + offset + len(value)] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("mode", "content", "reason"),
    [
        (stat.S_IFLNK | 0o777, b"../../../etc/passwd", "leaves the archive"),
        (stat.S_IFLNK | 0o777, b"/etc/passwd", "leaves the archive"),
        (stat.S_IFLNK | 0o777, b"..\\..\\x", "leaves the archive"),
        (stat.S_IFLNK | 0o777, b"C:/x", "leaves the archive"),
        (stat.S_IFLNK | 0o777, b"nothing", "which is not in the archive"),
        (stat.S_IFLNK | 0o777, b"", "leaves the archive"),
        (stat.S_IFLNK | 0o777, b"x", "leads back to itself"),
        (stat.S_IFLNK | 0o777, b"..", "never ends"),
        (stat.S_IFLNK | 0o777, b"\xff", "not in the archive"),
        (stat.S_IFLNK | 0o777, b"a" * 5000, "too long"),
        (stat.S_IFIFO | 0o644, b"", "a named pipe"),
        (stat.S_IFCHR | 0o644, b"", "a device"),
        (stat.S_IFBLK | 0o644, b"", "a device"),
        (stat.S_IFSOCK | 0o644, b"", "a socket"),
        (stat.S_IFDIR | 0o755, b"", "a folder in one place and a file in another"),
    ],
)
def test_what_is_no_file_is_refused_by_name(making, tmp_path: Path, mode: int, content: bytes, reason: str) -> None:
    path = making.zip(tmp_path / "m.zip", (making.unix("model/x", mode), content))
    with pytest.raises(BundleError, match=reason) as failure:
        read_bundle(path)
    assert "`model/x`" in failure.value.problems[0].what


def test_links_inside_the_tree_become_copies(making, tmp_path: Path) -> None:
    link = stat.S_IFLNK | 0o777
    path = making.zip(
        tmp_path / "m.zip",
        (making.unix("model/a", link), b"sub/../weights.bin"),
        (making.unix("model/sub/b", link), b"../a"),
        (making.unix("model/again", link), b"sub"),
    )
    bundle = read_bundle(path)
    for name in ("a", "sub/b", "again/b"):
        assert bundle.read_bytes(name) == b"weights"
    files = {file.path: file.source.read_bytes() for file in unpack_bundle(bundle, tmp_path / "store").files}
    assert files["again/b"] == b"weights"


def test_execute_bits_survive_and_no_other_bits_do(making, tmp_path: Path) -> None:
    dos = zipfile.ZipInfo("model/dos.exe")
    dos.create_system = 0
    dos.external_attr = 0o100777 << 16
    path = making.zip(
        tmp_path / "m.zip",
        (making.unix("model/run.sh", 0o100755), b"#!"),
        (making.unix("model/setuid", 0o104644), b""),
        (dos, b""),
    )
    bundle = read_bundle(path)
    assert [member.path for member in bundle.members if member.executable] == ["run.sh"]
    for file in unpack_bundle(bundle, tmp_path / "store").files:
        assert stat.S_IMODE(file.source.stat().st_mode) == (0o755 if file.path == "run.sh" else 0o644)


def test_a_name_given_twice_is_refused(making, tmp_path: Path) -> None:
    for extra in ("model/weights.bin", "./model//weights.bin"):
        with pytest.raises(BundleError, match="more than once"):
            read_bundle(making.zip(tmp_path / "m.zip", (extra, b"other")))


def test_a_file_cannot_be_a_folder_too(making, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a file in the archive, and a folder"):
        read_bundle(making.zip(tmp_path / "m.zip", ("model/weights.bin/x", b"")))
    entries = [(making.unix("model/l", stat.S_IFLNK | 0o777), b".mdai"), ("model/l/x", b"")]
    with pytest.raises(BundleError, match="is a link in the archive, and a folder"):
        read_bundle(making.zip(tmp_path / "m.zip", *entries))


def test_names_that_differ_in_case_alone_are_kept_with_a_warning(making, tmp_path: Path) -> None:
    bundle = read_bundle(making.zip(tmp_path / "m.zip", ("model/Weights.bin", b"other")))
    assert bundle.read_bytes("Weights.bin") == b"other"
    assert [warning.code for warning in bundle.warnings] == ["bundle.case-collision"]


def test_a_name_with_a_nul_is_not_cut_at_it(making, tmp_path: Path) -> None:
    path = making.zip(tmp_path / "m.zip", ("model/xYz", b""))
    path.write_bytes(path.read_bytes().replace(b"model/xYz", b"model/x\0z"))
    with pytest.raises(BundleError, match=r"control character U\+0000"):
        read_bundle(path)


def test_many_members_of_one_fault_are_told_in_one_line(making, tmp_path: Path) -> None:
    path = making.zip(tmp_path / "m.zip", *((f"model\\{number}", b"") for number in range(50)))
    with pytest.raises(BundleError) as failure:
        read_bundle(path)
    (problem,) = failure.value.problems
    assert "so it is with 49 more" in problem.what
    assert len((problem.details or "").splitlines()) == 50


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, struct.pack("<H", 0x1), "is encrypted"),
        (8, struct.pack("<H", 0x41), "is encrypted"),
        (10, struct.pack("<H", 9), "is packed with Deflate64"),
        (10, struct.pack("<H", 99), "is packed with AES encryption"),
        (10, struct.pack("<H", 1), "is packed with method 1"),
        (34, struct.pack("<H", 1), "another part of a split zip"),
        (20, struct.pack("<L", 2**31), "overlaps"),
        (24, struct.pack("<L", 2**31), "grows more than 200 times"),
        (42, struct.pack("<L", 2**31), "overlaps"),
        (42, struct.pack("<L", 0), "overlaps"),
    ],
)
def test_a_directory_that_lies_is_refused_at_once(
    making, tmp_path: Path, offset: int, value: bytes, reason: str
) -> None:
    path = patched(making.zip(tmp_path / "m.zip"), "model/weights.bin", CENTRAL, offset, value)
    with pytest.raises(BundleError, match=reason):
        read_bundle(path)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, b"PK\3\5"),
        (6, struct.pack("<H", 0x1)),
        (6, struct.pack("<H", 0x800)),
        (8, struct.pack("<H", 0)),
        (14, b"\1\2\3\4"),
        (18, struct.pack("<L", 1)),
        (22, struct.pack("<L", 1)),
        (30, b"modes"),
    ],
)
def test_a_local_header_that_disagrees_is_refused(making, tmp_path: Path, offset: int, value: bytes) -> None:
    path = patched(making.zip(tmp_path / "m.zip"), "model/weights.bin", LOCAL, offset, value)
    bundle = read_bundle(path)
    with pytest.raises(BundleError, match=r"headers disagree|cannot be read"):
        bundle.read_bytes("weights.bin")
    with pytest.raises(BundleError, match=r"headers disagree|cannot be read"):
        unpack_bundle(bundle, tmp_path / "store")
    assert not list((tmp_path / "store").glob("temporary/*"))


def test_headers_of_what_is_not_read_must_agree_too(making, tmp_path: Path) -> None:
    """A folder's entry is never opened by us; another tool would take its local name."""
    path = making.zip(tmp_path / "m.zip", ("model/sub/", b""))
    patched(path, "model/sub/", LOCAL, 30, b"../..")
    with pytest.raises(BundleError, match="headers disagree"):
        unpack_bundle(read_bundle(path), tmp_path / "store")


def test_a_directory_that_hides_members_in_a_comment_is_refused(making, tmp_path: Path) -> None:
    content = making.zip(tmp_path / "m.zip").read_bytes()
    last = content.rindex(CENTRAL)
    before = content.rindex(CENTRAL, 0, last)
    hidden = struct.pack("<H", content.index(END) - last)
    (tmp_path / "m.zip").write_bytes(content[: before + 32] + hidden + content[before + 34 :])
    with pytest.raises(BundleError, match="as many members"):
        read_bundle(tmp_path / "m.zip")


def test_a_wrong_checksum_is_told_as_such(making, tmp_path: Path) -> None:
    path = making.zip(tmp_path / "m.zip", method=zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"weights", b"weighty").replace(b"weighty.bin", b"weights.bin"))
    with pytest.raises(BundleError, match=r"`model/weights\.bin` cannot be read: its checksum is wrong"):
        unpack_bundle(read_bundle(path), tmp_path / "store")


@pytest.mark.parametrize("size", [1, 1000])
def test_a_size_that_lies_never_gives_a_cut_or_padded_file(making, tmp_path: Path, size: int) -> None:
    path = making.zip(tmp_path / "m.zip")
    patched(path, "model/weights.bin", CENTRAL, 24, struct.pack("<L", size))
    patched(path, "model/weights.bin", LOCAL, 22, struct.pack("<L", size))
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(path).read_bytes("weights.bin")


def test_truncation_anywhere_is_told(making, tmp_path: Path) -> None:
    content = making.zip(tmp_path / "m.zip").read_bytes()
    for size in range(0, len(content), 7):
        (tmp_path / "cut.zip").write_bytes(content[:size])
        with pytest.raises(BundleError, match=r"cut off|neither a zip|is empty"):
            read_bundle(tmp_path / "cut.zip")


def test_other_data_before_or_after_is_refused(making, tmp_path: Path) -> None:
    content = making.zip(tmp_path / "m.zip").read_bytes()
    for other, reason in ((b"#!/bin/sh\n" + content, "before it"), (content + b"x", "after its end")):
        (tmp_path / "other.zip").write_bytes(other)
        with pytest.raises(BundleError, match=reason):
            read_bundle(tmp_path / "other.zip")
    (tmp_path / "other.zip").write_bytes(LOCAL + b"\0" * 40 + content)
    with pytest.raises(BundleError, match="directory is not where"):
        read_bundle(tmp_path / "other.zip")


def test_a_comment_is_no_other_data(making, tmp_path: Path) -> None:
    path = making.zip(tmp_path / "m.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"made with love"
    assert len(read_bundle(path).members) == 4


def test_two_archives_in_one_file_are_refused(making, tmp_path: Path) -> None:
    first = making.zip(tmp_path / "a.zip").read_bytes()
    second = making.zip(tmp_path / "b.zip", ("model/evil.py", b"")).read_bytes()
    (tmp_path / "both.zip").write_bytes(first + second)
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "both.zip")


def test_more_entries_than_told_are_counted_before_they_are_loaded(making, tmp_path: Path) -> None:
    path = making.zip(tmp_path / "m.zip", *((f"model/{number}", b"") for number in range(300)))
    content = bytearray(path.read_bytes())
    end = content.rindex(END)
    content[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    path.write_bytes(content)
    with pytest.raises(BundleError, match="more than 200 entries"):
        read_bundle(path, Limits(entries=200))


def test_zip64_is_read(making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)  # makes zipfile write the end record of zip64
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in making.entries():
            with archive.open(str(name), "w", force_zip64=True) as file:
                file.write(content)
    content = path.read_bytes()
    assert b"PK\6\6" in content and b"PK\6\7" in content
    assert read_bundle(path).read_bytes("weights.bin") == b"weights"
    for signature in (b"PK\6\6", b"PK\6\7"):
        path.write_bytes(content.replace(signature, b"PK\6\5"))
        with pytest.raises(BundleError, match="its directory is"):
            read_bundle(path)


def test_a_bomb_of_one_member_is_refused_by_its_ratio(making, tmp_path: Path) -> None:
    path = making.zip(tmp_path / "m.zip", ("model/zeros", bytes(3 * 1024**2)))
    assert len(read_bundle(path).members) == 5
    with pytest.raises(BundleError, match="`model/zeros` grows more than 200 times"):
        read_bundle(path, Limits(ratio_floor=1024**2))


def test_names_without_the_utf8_mark_are_read_as_utf8_where_they_are(making, tmp_path: Path) -> None:
    windows = zipfile.ZipInfo("model/yy.txt")
    windows.create_system = 0
    path = making.zip(tmp_path / "m.zip", ("model/xx.txt", b""), (windows, b""))
    content = path.read_bytes().replace(b"xx.txt", "é.txt".encode()).replace(b"yy.txt", b"\x82\x82.txt")
    path.write_bytes(content)
    names = {member.path for member in read_bundle(path).members}
    assert {"é.txt", "éé.txt"} <= names  # 0x82 is é in CP437 and CP850


@pytest.mark.parametrize(("system", "name"), [(3, b"\x82\x82.txt"), (0, b"\xe0\xe9.txt")])
def test_names_in_an_encoding_that_nothing_tells_are_refused(making, tmp_path: Path, system: int, name: bytes) -> None:
    """Each tool would make another name of them: in CP437 0xe9 is a Greek letter, in CP850 it is not."""
    info = zipfile.ZipInfo("model/yy.txt")
    info.create_system = system
    path = making.zip(tmp_path / "m.zip", (info, b""))
    path.write_bytes(path.read_bytes().replace(b"yy.txt", name))
    with pytest.raises(BundleError, match="not UTF-8"):
        read_bundle(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutated_archives_are_refused_or_read_right(making, tmp_path_factory, data: st.DataObject) -> None:
    """Whatever bytes are changed: a clear refusal, or the very files that were packed; nothing outside of the store."""
    folder = tmp_path_factory.mktemp("mutated")
    content = bytearray(making.zip(folder / "m.zip", (making.unix("model/l", 0o120777), b"weights.bin")).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "m.zip").write_bytes(content)
    before = set(folder.rglob("*"))
    try:
        unpacked = unpack_bundle(read_bundle(folder / "m.zip"), folder / "store")
    except BundleError as failure:
        assert all(problem.where for problem in failure.problems)
        return
    finally:
        assert {path for path in folder.rglob("*") if not path.is_relative_to(folder / "store")} == before
    for file in unpacked.files:
        assert file.source.is_relative_to(folder / "store" / "objects")
        assert file.source.read_bytes() in {*making.model.values()}


@pytest.mark.parametrize("system", [0, 10])
def test_backslashes_that_windows_tools_write_separate_folders(tmp_path: Path, system: int) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as writing:
        for name, text in (("config.yaml", "base_image: py38\n"), ("mdai_deploy.py", "")):
            info = zipfile.ZipInfo(f"model\\.mdai\\{name}")
            info.create_system = system
            writing.writestr(info, text)
    bundle = read_bundle(archive)
    assert [member.path for member in bundle.members] == [".mdai/config.yaml", ".mdai/mdai_deploy.py"]
    assert unpack_bundle(bundle, tmp_path / "store").files[0].source.read_text() == "base_image: py38\n"


def test_backslashes_of_windows_do_not_leave_the_archive(tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as writing:
        info = zipfile.ZipInfo("model\\..\\..\\evil.py")
        info.create_system = 0
        writing.writestr(info, "x")
    with pytest.raises(BundleError, match=r"leaves the archive|leads out"):
        read_bundle(archive)
