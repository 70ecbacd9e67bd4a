"""The tree that we see is the tree that the standard library's own filter would make on disk."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mdai_build.bundle import Limits
from mdai_build.bundle.tree import Entry, build_tree
from mdai_build.errors import BundleError

PARTS = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(PARTS | st.sampled_from(["..", "."]), min_size=1, max_size=4).map("/".join)
ENTRIES = st.lists(
    st.builds(Entry, PATHS, st.sampled_from(["file", "folder"]))
    | st.builds(Entry, PATHS, st.sampled_from(["symlink", "hardlink"]), target=TARGETS),
    max_size=8,
)
_TAR_TYPES = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
}


def content(number: int) -> bytes:
    return b"content of entry %d" % number


def on_disk(entries: list[Entry], folder: Path) -> dict[str, bytes]:
    """What tarfile makes of the entries; links to folders are gone into, as our tree does."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, entry in enumerate(entries):
            info = tarfile.TarInfo(entry.name)
            info.type = _TAR_TYPES[entry.kind]
            info.mode = 0o755
            info.linkname = entry.target
            info.size = len(content(number)) if entry.kind == "file" else 0
            archive.addfile(info, io.BytesIO(content(number)))
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        archive.extractall(folder, filter="data")
    files: dict[str, bytes] = {}
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_dir():
                waiting.append(path)
            else:
                files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ENTRIES)
@example([Entry("a/b", "folder"), Entry("a/a", "symlink", target="b/a/..")])
@example([Entry("a/b", "file"), Entry("a/a", "symlink", target="b/a/..")])
@example([Entry("a/b", "file"), Entry("a/a", "symlink", target="b/.")])
def test_an_accepted_tree_is_what_tarfile_unpacks(entries: list[Entry]) -> None:
    try:
        tree = build_tree(entries, Path("m.tar.gz"), Limits(entries=200))
    except BundleError:
        return
    with tempfile.TemporaryDirectory() as folder:
        expected = on_disk(entries, Path(folder))
    assert {path: content(number) for path, number in tree.files.items()} == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ENTRIES)
def test_every_file_of_a_tree_is_a_file_of_the_archive(entries: list[Entry]) -> None:
    try:
        tree = build_tree(entries, Path("m.zip"), Limits(entries=200))
    except BundleError:
        return
    assert len(tree.files) <= 200
    for path, number in tree.files.items():
        assert entries[number].kind == "file"
        assert ".." not in path.split("/")


def test_links_that_multiply_are_stopped_by_the_limit() -> None:
    """Twenty folders, each with ten links to the next one, would be 10^20 files."""
    entries = [Entry("f19/file", "file")]
    for level in range(19):
        entries += [Entry(f"f{level}/l{n}", "symlink", target=f"../f{level + 1}") for n in range(10)]
    with pytest.raises(BundleError, match="after more steps than an archive may take"):
        build_tree(entries, Path("m.zip"), Limits(entries=1000))


def test_all_kinds_of_refusals_are_told_at_once() -> None:
    entries = [
        Entry("../up", "file"),
        Entry("pipe", "special", target="a named pipe"),
        Entry("twice", "file"),
        Entry("twice", "file"),
        Entry("link", "symlink", target="/etc"),
    ]
    with pytest.raises(BundleError) as failure:
        build_tree(entries, Path("m.zip"), Limits())
    codes = {problem.code.removeprefix("bundle.") for problem in failure.value.problems}
    assert codes == {"parent-path", "special-file", "duplicate", "link"}
