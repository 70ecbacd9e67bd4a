from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mdai_build.bundle import Limits, read_bundle, unpack_bundle
from mdai_build.errors import BundleError


@pytest.fixture
def model(making, tmp_path: Path) -> Path:
    folder: Path = making.folder(tmp_path / "model")
    return folder


def test_a_folder_may_hold_the_model_folder(making, model: Path, tmp_path: Path) -> None:
    inner, outer = read_bundle(model), read_bundle(tmp_path)
    assert inner.members == outer.members
    assert (inner.name, inner.kind) == ("model", "folder")


def test_the_mdai_folder_itself_is_told_apart(model: Path) -> None:
    with pytest.raises(BundleError, match=r"this is the \.mdai folder itself") as failure:
        read_bundle(model / ".mdai")
    assert failure.value.problems[0].next_step == f"give {model} instead"


def test_a_relative_path_has_the_folder_s_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    assert read_bundle(Path()).name == "model"


def test_what_no_model_needs_is_not_even_looked_into(model: Path) -> None:
    for name in (".git/objects/x", "a/__pycache__/b.pyc", ".DS_Store"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).touch()
    (model / ".git" / "link").symlink_to("/etc")
    bundle = read_bundle(model)
    assert len(bundle.members) == 4
    assert bundle.warnings == ()


def test_links_inside_the_folder_are_followed(model: Path) -> None:
    (model / "alias.bin").symlink_to("weights.bin")
    (model / "absolute.bin").symlink_to(model / "weights.bin")
    (model / "sub").mkdir()
    (model / "sub" / "mdai").symlink_to("../.mdai", target_is_directory=True)
    bundle = read_bundle(model)
    for name in ("alias.bin", "absolute.bin"):
        assert bundle.read_bytes(name) == b"weights"
    assert bundle.has("sub/mdai/config.yaml")
    for file in unpack_bundle(bundle, model.parent / "store").files:
        assert file.source.is_file() and not file.source.is_symlink()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "leaves the model folder"),
        ("../../outside", "leaves the model folder"),
        ("..", "leaves the model folder"),
        (".", "never ends"),
        ("link", "leads back to itself"),
    ],
)
def test_links_that_leave_or_never_end_are_refused_by_name(model: Path, target: str, reason: str) -> None:
    (model / "sub").mkdir()
    (model / "link").symlink_to(target)
    with pytest.raises(BundleError, match=reason) as failure:
        read_bundle(model)
    assert "`link`" in failure.value.problems[0].what


def test_a_link_to_nothing_is_left_out_and_said_so(model: Path) -> None:
    (model / ".#weights.bin").symlink_to("user@host.1234:567")  # the lock file of an editor
    bundle = read_bundle(model)
    assert [warning.code for warning in bundle.warnings] == ["bundle.dangling-link"]
    assert len(bundle.members) == 4


def test_pipes_and_sockets_are_refused_by_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(model / "pipe")
    monkeypatch.chdir(model)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(BundleError) as failure:
            read_bundle(model)
    assert sorted(p.where.key for p in failure.value.problems if p.where) == ["pipe", "socket"]


@pytest.mark.parametrize("name", [b"a\nb", b"a\\b", b"\xff"])
def test_names_that_an_archive_could_not_have_are_refused(model: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(model) + b"/" + name)).touch()
    with pytest.raises(BundleError, match=r"in its name|not UTF-8"):
        read_bundle(model)


def test_a_file_that_shrinks_while_it_is_read_is_told(model: Path) -> None:
    bundle = read_bundle(model)
    (model / "weights.bin").write_bytes(b"w")
    with pytest.raises(BundleError, match="file changed while it was read"):
        unpack_bundle(bundle, model.parent / "store")


def test_mdai_is_found_beside_a_folder_with_thousands_of_files(model: Path) -> None:
    data = model.parent / "data"
    data.mkdir()
    for number in range(3000):
        (data / str(number)).touch()
    assert read_bundle(model.parent).has("weights.bin")


def test_links_that_double_a_folder_without_a_file(making, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = making.folder(tmp_path / "model")
    for n in range(12):
        (model / f"d{n}").mkdir()
        for name in ("a", "b"):
            (model / f"d{n}" / name).symlink_to(f"../d{n + 1}")
    (model / "d12").mkdir()
    with pytest.raises(BundleError, match="more than 1000 folders"):
        read_bundle(model, Limits(entries=1000))
