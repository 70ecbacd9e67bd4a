"""Tars that lie, are damaged, or use tar's darker corners."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdai_build.bundle import Limits, read_bundle, unpack_bundle
from mdai_build.errors import BundleError


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def raw(path: Path, *blocks: bytes) -> Path:
    path.write_bytes(gzip.compress(b"".join(blocks)))
    return path


def model_blocks(making) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in making.entries():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        length = archive.offset
    return stream.getvalue()[:length]


@pytest.mark.parametrize(
    ("kind", "link", "reason"),
    [
        (tarfile.SYMTYPE, "../../etc/passwd", "leaves the archive"),
        (tarfile.SYMTYPE, "/etc/passwd", "leaves the archive"),
        (tarfile.SYMTYPE, "x", "leads back to itself"),
        (tarfile.SYMTYPE, "gone", "not in the archive"),
        (tarfile.LNKTYPE, "/etc/passwd", "has an absolute path"),
        (tarfile.LNKTYPE, "../../etc/passwd", "leads out of its folder"),
        (tarfile.LNKTYPE, "model/later", "which is no file before it"),
        (tarfile.LNKTYPE, "model/x", "which is no file before it"),
        (tarfile.LNKTYPE, "model/.mdai", "which is no file before it"),
        (tarfile.CHRTYPE, "", "a device"),
        (tarfile.BLKTYPE, "", "a device"),
        (tarfile.FIFOTYPE, "", "a named pipe"),
        (b"Z", "", "of a kind that is not known"),
    ],
)
def test_what_is_no_file_is_refused_by_name(making, tmp_path: Path, kind: bytes, link: str, reason: str) -> None:
    path = making.tar(
        tmp_path / "m.tar.gz",
        (making.tar_info("model/x", kind, link), b""),
        (making.tar_info("model/later"), b""),
    )
    with pytest.raises(BundleError, match=reason) as failure:
        read_bundle(path)
    assert "`model/x`" in failure.value.problems[0].what


def test_links_inside_the_tree_become_copies(making, tmp_path: Path) -> None:
    path = making.tar(
        tmp_path / "m.tar.gz",
        (making.tar_info("model/hard", tarfile.LNKTYPE, "model/weights.bin"), b""),
        (making.tar_info("model/hard2", tarfile.LNKTYPE, "model/hard"), b""),
        (making.tar_info("model/soft", tarfile.SYMTYPE, "hard2"), b""),
        (making.tar_info("model/folder", tarfile.SYMTYPE, ".mdai/"), b""),
    )
    bundle = read_bundle(path)
    for name in ("hard", "hard2", "soft"):
        assert bundle.read_bytes(name) == b"weights"
    assert bundle.has("folder/config.yaml")
    assert all(file.source.is_file() for file in unpack_bundle(bundle, tmp_path / "store").files)


def test_a_link_that_later_members_pass_through_is_refused(making, tmp_path: Path) -> None:
    """The classic: a link to a folder outside, then a file beneath the link."""
    path = making.tar(
        tmp_path / "m.tar.gz",
        (making.tar_info("model/l", tarfile.SYMTYPE, "/tmp"), b""),
        (making.tar_info("model/l/evil"), b"evil"),
    )
    with pytest.raises(BundleError, match="is a link in the archive, and a folder"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["/abs", "../up", "model/../../up", "C:/x", "a\\b", "a\x1bb", "a\udcffb"])
def test_unsafe_names_are_refused(making, tmp_path: Path, name: str) -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = making.tar(tmp_path / "m.tar.gz", (making.tar_info(name), b""), format=format)
        with pytest.raises(BundleError):
            read_bundle(path)


def test_a_pax_header_cannot_rename_a_member_out_of_the_tree(making, tmp_path: Path) -> None:
    info = making.tar_info("model/harmless")
    info.pax_headers = {"path": "../../evil"}
    path = making.tar(tmp_path / "m.tar.gz", (info, b""), format=tarfile.PAX_FORMAT)
    with pytest.raises(BundleError, match="leads out of its folder"):
        read_bundle(path)
    info.pax_headers = {"linkpath": "/etc/passwd"}
    info.type = tarfile.SYMTYPE
    path = making.tar(tmp_path / "m.tar.gz", (info, b""), format=tarfile.PAX_FORMAT)
    with pytest.raises(BundleError, match="leaves the archive"):
        read_bundle(path)


@pytest.mark.parametrize("size", ["-512", "99999999999", "x"])
def test_a_pax_size_that_lies_is_refused(making, tmp_path: Path, size: str) -> None:
    info = making.tar_info("model/x")
    info.pax_headers = {"size": size}
    path = making.tar(tmp_path / "m.tar.gz", (info, b"abc"), format=tarfile.PAX_FORMAT)
    with pytest.raises(BundleError, match=r"cannot be read|holds more than"):
        unpack_bundle(read_bundle(path), tmp_path / "store")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [-512, 2 * 1024**2, 8 * 1024**3])
def test_a_header_that_asks_for_the_whole_memory_is_refused(making, tmp_path: Path, kind: bytes, size: int) -> None:
    path = raw(tmp_path / "m.tar.gz", model_blocks(making), header("x", kind, size), bytes(10240))
    with pytest.raises(BundleError, match="a header with a wrong size"):
        read_bundle(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.XHDTYPE, "two extended headers"),
        (tarfile.GNUTYPE_LONGNAME, "two extended headers"),
        (tarfile.XGLTYPE, "its data is damaged"),
    ],
)
def test_a_long_chain_of_headers_is_refused(making, tmp_path: Path, kind: bytes, reason: str) -> None:
    chain = header("x", kind, 0) * 5000
    with pytest.raises(BundleError, match=reason):
        read_bundle(raw(tmp_path / "m.tar.gz", model_blocks(making), chain, bytes(1024)))


def test_sparse_files_are_refused(making, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="sparse"):
        read_bundle(
            raw(
                tmp_path / "m.tar.gz",
                model_blocks(making),
                header("model/sparse", tarfile.GNUTYPE_SPARSE, 0),
                bytes(1024),
            )
        )
    for headers in (
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "9"},
        {"GNU.sparse.size": "9", "GNU.sparse.map": "0,1"},
        {"GNU.sparse.size": "9", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "1"},
    ):
        info = making.tar_info("model/sparse")
        info.pax_headers = headers
        path = making.tar(tmp_path / "m.tar.gz", (info, b"1\n0\n1\n"), format=tarfile.PAX_FORMAT)
        with pytest.raises(BundleError, match="sparse"):
            read_bundle(path)


def test_a_damaged_header_does_not_end_the_archive_in_silence(making, tmp_path: Path) -> None:
    blocks = bytearray(model_blocks(making))
    blocks[2 * 1024 + 150] ^= 1  # a checksum in the third header
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(raw(tmp_path / "m.tar.gz", bytes(blocks), bytes(1024)))


def test_data_after_the_end_is_refused_and_padding_is_not(making, tmp_path: Path) -> None:
    blocks = model_blocks(making)
    path = tmp_path / "m.tar.gz"
    assert len(read_bundle(raw(path, blocks, bytes(1024 * 1024))).members) == 4
    assert len(read_bundle(raw(path, blocks)).members) == 4  # no end mark at all, as some writers do
    with pytest.raises(BundleError, match="other data after its end"):
        read_bundle(raw(path, blocks, bytes(1024), blocks))


def test_truncation_and_wrong_checksums_of_gzip_are_told(making, tmp_path: Path) -> None:
    content = making.tar(tmp_path / "m.tar.gz").read_bytes()
    path = tmp_path / "cut.tar.gz"
    for size in range(3, len(content), 11):
        path.write_bytes(content[:size])
        with pytest.raises(BundleError, match="cut off"):
            read_bundle(path)
    path.write_bytes(content[:-8] + b"\0\0\0\0" + content[-4:])
    with pytest.raises(BundleError, match="checksum is wrong"):
        read_bundle(path)


def test_bombs_are_refused_while_they_are_read(making, tmp_path: Path) -> None:
    path = making.tar(tmp_path / "m.tar.gz", (making.tar_info("model/zeros"), bytes(8 * 1024**2)))
    assert len(read_bundle(path).members) == 5
    with pytest.raises(BundleError, match="grows more than 100 times"):
        read_bundle(path, Limits(ratio=100, ratio_floor=1024**2))
    with pytest.raises(BundleError, match="holds more than"):
        read_bundle(path, Limits(total_bytes=1024**2))


def test_files_too_large_to_be_kept_are_read_from_the_archive(making, tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    path = making.tar(tmp_path / "m.tar.gz", (making.tar_info("model/.mdai/big"), content))
    bundle = read_bundle(path, Limits(text_bytes=1024))
    assert bundle.read_bytes(".mdai/config.yaml") == making.model[".mdai/config.yaml"]
    (big,) = [f for f in unpack_bundle(bundle, tmp_path / "store").files if f.path == ".mdai/big"]
    assert big.source.read_bytes() == content


def test_an_archive_that_changes_between_reading_and_unpacking_is_refused(making, tmp_path: Path) -> None:
    path = making.tar(tmp_path / "m.tar.gz")
    bundle = read_bundle(path)
    making.tar(path, (making.tar_info("model/new"), b""))
    with pytest.raises(BundleError, match="changed while it was read"):
        unpack_bundle(bundle, tmp_path / "store")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutated_archives_are_refused_or_read_as_tarfile_reads_them(making, tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    blocks = bytearray(model_blocks(making) + bytes(1024))
    for _ in range(data.draw(st.integers(1, 3))):
        blocks[data.draw(st.integers(0, len(blocks) - 1))] = data.draw(st.integers(0, 255))
    path = raw(folder / "m.tar.gz", bytes(blocks))
    try:
        bundle = read_bundle(path)
    except BundleError:
        return
    with tarfile.open(path) as archive:
        expected = {
            info.name.removeprefix("model/"): archive.extractfile(info).read()  # type: ignore[union-attr]
            for info in archive
            if info.isreg()
        }
    assert {member.path: bundle.read_bytes(member.path) for member in bundle.members}.items() <= expected.items()
