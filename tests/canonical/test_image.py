"""What two stores write for the same image comes to the same bytes, and what differs is told by file."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard
from canonical_images import file, image, layer, other, saved

from mdai_build.canonical import EPOCH, compare, normalise, open_archive
from mdai_build.canonical.archive import ImageArchive
from mdai_build.canonical.image import write_image

DIR, SYM, LNK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
PARENT = layer(
    other("etc", DIR), file("etc/passwd", b"root"), other("lib", DIR), file("lib/old", b"1"), file("lib/kept", b"2")
)


def written(archive: ImageArchive, folder: Path, with_parent: bool = True) -> tuple[bytes, str, str]:
    """The archive of an image on that parent in its normal form, and its digests."""
    normal = normalise(archive, archive.diff_ids[:1])
    folder.mkdir()
    out = io.BytesIO()
    result = write_image(normal, out, folder, with_parent=with_parent)
    return out.getvalue(), result.config, normal.digest


def test_what_stores_write_differently_is_the_same(tmp_path: Path) -> None:
    # One store empties a folder as a whole, writes rights of what is gone and what a step mounted; another does not.
    one = layer(
        other("etc", DIR, mtime=1), other("run", DIR, mtime=1), other("lib", DIR),
        file("lib/.wh..wh..opq", mode=0o600), file("lib/new", b"n", mtime=1), file("lib/kept", b"2", mtime=1),
    )  # fmt: skip
    two = layer(other("lib", DIR), file("lib/.wh.old", mode=0, mtime=0), file("lib/new", b"n", mtime=2))
    results = []
    for number, content in enumerate((one, two)):
        below = layer(other("etc", DIR), other("run", DIR), other("lib", DIR), file("lib/old"), file("lib/kept", b"2"))
        config = {"created": f"2026-11-25T10:00:0{number}Z"}
        with image(tmp_path / str(number), below, content, config=config) as archive:
            results.append(written(archive, tmp_path / f"{number}-out"))
    assert results[0] == results[1]


def test_a_layer_names_what_it_changes(tmp_path: Path) -> None:
    content = layer(
        other("etc", DIR), file("etc/passwd", b"root"), file("bin", b"x", mode=0o755), other("link", SYM, "bin"),
        file("lib", b"now a file"), file("hard", b"same"), other("a-hard", LNK, "hard"),
    )  # fmt: skip
    with image(tmp_path / "in", PARENT, content) as archive:
        bytes_out, config, _ = written(archive, tmp_path / "out", with_parent=False)
    place = tmp_path / "normal.tar"
    place.write_bytes(bytes_out)
    with tarfile.open(place) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        assert manifest["Config"] == f"blobs/sha256/{config.removeprefix('sha256:')}"
        names = set(outer.getnames())
        assert manifest["Layers"][0] not in names and manifest["Layers"][1] in names
        own = outer.extractfile(manifest["Layers"][1])
        with tarfile.open(fileobj=own) as inner:
            members = inner.getmembers()
    assert [member.name for member in members] == ["a-hard", "bin", "hard", "lib", "link"]
    assert {member.mtime for member in members} == {EPOCH}
    assert members[0].isreg() and members[2].islnk() and members[2].linkname == "a-hard"


def test_an_image_in_its_normal_form_is_its_own(tmp_path: Path) -> None:
    content = layer(other("lib", DIR), file("lib/.wh.old"), file("opt/x", b"y", mode=0o640, uid=5), file("tmp/z"))
    with image(tmp_path / "in", PARENT, content) as archive:
        first, config, digest = written(archive, tmp_path / "out")
    (tmp_path / "normal.tar").write_bytes(first)
    with open_archive(tmp_path / "normal.tar", tmp_path) as archive:
        assert written(archive, tmp_path / "again") == (first, config, digest)


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_packed_layers(tmp_path: Path, packing: str) -> None:
    own = layer(file("a", b"content" * 1000))
    plain = saved(tmp_path / "plain.tar", [PARENT, own])
    with open_archive(plain, tmp_path) as archive:
        expected = normalise(archive, archive.diff_ids[:1]).digest
    packed = gzip.compress(own) if packing == "gzip" else zstandard.compress(own)
    with tarfile.open(plain) as before, tarfile.open(tmp_path / "packed.tar", "w") as after:
        for member in before:
            content = before.extractfile(member).read()  # type: ignore[union-attr]
            content = packed if member.name == "layer1.tar" else content
            member.size = len(content)
            after.addfile(member, io.BytesIO(content))
    with open_archive(tmp_path / "packed.tar", tmp_path) as archive:
        assert normalise(archive, archive.diff_ids[:1]).digest == expected


def test_residue_and_order_of_layers_do_not_count(tmp_path: Path) -> None:
    one, two = layer(file("a", b"1")), layer(file("b", b"2"), file("var/cache/uv/x", b"3"), file("tmp/uv-0a.lock"))
    digests = []
    for number, layers in enumerate(((one, two), (two, one))):
        with image(tmp_path / str(number), PARENT, *layers) as archive:
            digests.append(normalise(archive, archive.diff_ids[:1]).digest)
    assert digests[0] == digests[1]


def test_of_a_bundle_the_right_to_execute_alone_counts(tmp_path: Path) -> None:
    digests = []
    for number, mode in enumerate((0o600, 0o664, 0o700)):
        with image(tmp_path / str(number), PARENT, layer(file("src/lib/x.py", b"1", mode=mode))) as archive:
            digests.append(normalise(archive, archive.diff_ids[:1]).digest)
    assert digests[0] == digests[1] != digests[2]


def test_differences_are_told_by_file(tmp_path: Path) -> None:
    site = "opt/conda/envs/mdai-env/lib/python3.8/site-packages"
    config = {"config": {"Labels": {"a": "1", "ignored": "x"}, "User": "1000"}}
    one = layer(file(f"{site}/numpy/core.py", b"1"), file("only", b"1"), file("mode", b"1"), file("same", b"1"))
    two = layer(file(f"{site}/numpy/core.py", b"2"), file("mode", b"1", mode=0o600), file("same", b"1", mtime=5),
                other("lib", DIR), file("lib/.wh.old"))  # fmt: skip
    with (
        image(tmp_path / "1", PARENT, one, config=config) as first,
        image(tmp_path / "2", PARENT, two, config={"config": {"Labels": {"a": "2"}, "User": "1000"}}) as second,
    ):
        ours, theirs = (normalise(archive, archive.diff_ids[:1], ["ignored"]) for archive in (first, second))
        found = {difference.path: difference for difference in compare(ours, theirs)}
    assert {path: difference.what for path, difference in found.items()} == {
        "label a": "'1' in the image, '2' in the rebuild",
        f"{site}/numpy/core.py": "content",
        "only": "only in the image",
        "mode": "mode",
        "lib/old": "removed in the rebuild only",
    }
    assert found[f"{site}/numpy/core.py"].package == "numpy"
    assert found["only"].made_by == "RUN step 1"


def test_another_parent_is_refused(tmp_path: Path) -> None:
    with image(tmp_path / "1", PARENT, layer(file("a"))) as archive, pytest.raises(ValueError, match="parent's layers"):
        normalise(archive, ("sha256:" + "0" * 64,))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "x.tar"
    with tarfile.open(place, "w"):
        pass
    with pytest.raises(ValueError, match="manifest"), open_archive(place, tmp_path):
        pass
