from __future__ import annotations

import bz2
import gzip
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mdai_build.bundle import Limits, read_bundle, unpack_bundle
from mdai_build.errors import BundleError, Problem

Only = Callable[[pytest.ExceptionInfo[BundleError]], Problem]


@pytest.mark.parametrize("prefix", ["", "model/", "./", "./model/"])
def test_the_model_is_at_the_top_or_in_one_folder(making, tmp_path: Path, prefix: str) -> None:
    path = making.zip(tmp_path / "My Model.zip", entries=making.entries(prefix))
    bundle = read_bundle(path)
    assert [member.path for member in bundle.members] == sorted(making.model)
    assert bundle.name == "my-model"
    assert bundle.kind == "zip"
    assert bundle.config_path == ".mdai/config.yaml"
    assert bundle.warnings == ()
    assert bundle.has("weights.bin") and not bundle.has("model/weights.bin")
    assert bundle.read_text(".mdai/config.yaml") == "base_image: py38\n"


def test_config_may_be_called_yml(making, tmp_path: Path) -> None:
    entries = [(str(name).replace(".yaml", ".yml"), content) for name, content in making.entries()]
    assert read_bundle(making.zip(tmp_path / "m.zip", entries=entries)).config_path == ".mdai/config.yml"


def test_empty_folders_are_kept_since_a_model_may_look_into_them(making, tmp_path: Path) -> None:
    names = ("deep/er", "empty")
    folder = making.folder(tmp_path / "m")
    for name in (*names, "__pycache__"):
        (folder / name).mkdir(parents=True)
    archive = making.zip(tmp_path / "m.zip", *((f"model/{name}/", b"") for name in (*names, "__pycache__")))
    tar = making.tar(
        tmp_path / "m.tar.gz", *((making.tar_info(f"model/{name}", tarfile.DIRTYPE), b"") for name in names)
    )
    unpacked = [unpack_bundle(read_bundle(path), tmp_path / "store") for path in (folder, archive, tar)]
    assert [each.bundle.empty_folders for each in unpacked] == [names] * 3
    without = unpack_bundle(read_bundle(making.zip(tmp_path / "n.zip")), tmp_path / "store")
    assert without.bundle.empty_folders == ()
    assert {each.digest for each in unpacked} != {without.digest}
    assert len({each.digest for each in unpacked}) == 1


def test_a_tar_may_hold_its_own_top(making, tmp_path: Path) -> None:
    """`tar.add(folder, arcname="")` of Python writes the folder itself as a member without a name."""
    path = tmp_path / "m.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(making.folder(tmp_path / "m"), arcname="")
    assert read_bundle(path).has("weights.bin")


@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz", "m.tgz", "m", "m.bin"])
def test_the_kind_is_told_by_the_first_bytes_not_by_the_name(making, tmp_path: Path, name: str) -> None:
    assert read_bundle(making.zip(tmp_path / name)).kind == "zip"
    assert read_bundle(making.tar(tmp_path / name)).kind == "tar.gz"
    assert read_bundle(tmp_path / name).name == "m" if "bin" not in name else True


def test_what_no_model_needs_is_left_out_and_said_so(making, tmp_path: Path) -> None:
    path = making.zip(
        tmp_path / "m.zip",
        ("__MACOSX/model/._weights.bin", b""),
        ("model/.DS_Store", b""),
        ("model/a/.DS_Store", b""),
        ("model/.git/config", b""),
        ("model/.git/HEAD", b""),
        ("model/a/__pycache__/b.pyc", b""),
    )
    bundle = read_bundle(path)
    assert [member.path for member in bundle.members] == sorted(making.model)
    assert bundle.warnings == ()  # nothing has to be done


def test_files_beside_the_model_folder_are_left_out_and_said_so(making, tmp_path: Path) -> None:
    (warning,) = read_bundle(making.zip(tmp_path / "m.zip", ("README.md", b""))).warnings
    assert warning.code == "bundle.beside-model"
    assert "`README.md`" in warning.what


@pytest.mark.parametrize(
    ("names", "code", "found", "advice"),
    [
        ([], "no-mdai", "empty", "put the model folder"),
        (["model/mdai/config.yaml"], "no-mdai", "`model/mdai`", "rename `mdai` to `.mdai`"),
        (["model/.MDAI/config.yaml"], "no-mdai", "`model/.MDAI`", "rename `.MDAI` to `.mdai`"),
        (["model/.mdai"], "no-mdai", "`model/.mdai` is a file", "make a folder"),
        (["config.yaml", "mdai_deploy.py"], "no-mdai", "`config.yaml`", "pack the folder around .mdai"),
        (["model/config.yaml"], "no-mdai", "`model/config.yaml`", "into a folder named .mdai"),
        (["model.zip"], "no-mdai", "another archive", "give `model.zip` instead"),
        (["model/weights.h5"], "no-mdai", "at its top: `model`", "zip -r"),
        (["a/b/.mdai/config.yaml"], "too-deep", "`a/b`", "pack `b` itself"),
        (["a/.mdai/x", "b/.mdai/x"], "two-models", "`a`, `b`", "its own archive"),
    ],
)
def test_where_mdai_should_be_is_told_by_what_is_there(
    making, tmp_path: Path, only_problem: Only, names: list[str], code: str, found: str, advice: str
) -> None:
    path = making.zip(tmp_path / "m.zip", entries=[(name, b"") for name in names])
    with pytest.raises(BundleError) as failure:
        read_bundle(path)
    problem = only_problem(failure)
    assert problem.code == f"bundle.{code}"
    assert found in problem.what
    assert advice in (problem.next_step or "")
    if names:
        folder = making.folder(tmp_path / "folder", dict.fromkeys(names, b""))
        with pytest.raises(BundleError) as failure:
            read_bundle(folder)
        assert only_problem(failure).code == problem.code


def test_a_mdai_at_the_top_wins_over_deeper_ones(making, tmp_path: Path) -> None:
    bundle = read_bundle(making.zip(tmp_path / "m.zip", *making.entries("a/"), entries=making.entries("")))
    assert bundle.has("weights.bin") and bundle.has("a/.mdai/config.yaml")


def test_both_config_names_are_refused(making, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as failure:
        read_bundle(making.zip(tmp_path / "m.zip", ("model/.mdai/config.yml", b"")))
    assert [problem.code for problem in failure.value.problems] == ["bundle.two-configs"]


def test_missing_main_files_are_told_together_with_what_was_meant(making, tmp_path: Path) -> None:
    entries = [("m/.mdai/config.yaml.txt", b""), ("m/mdai_deploy.py", b"")]
    with pytest.raises(BundleError) as failure:
        read_bundle(making.zip(tmp_path / "m.zip", entries=entries))
    config, deploy = failure.value.problems
    assert config.next_step == "rename `.mdai/config.yaml.txt` to `config.yaml`"
    assert deploy.next_step == "move `mdai_deploy.py` into .mdai/"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"Rar!\x1a\x07\0", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (bz2.compress(b"a"), "packed with bzip2"),
        (b"hello", "neither a zip nor a gzip file"),
        (b"MZ\x90" + b"\0" * 600, "neither a zip nor a gzip file"),
        (b"PK\7\x08PK\3\4", "one part of a split zip"),
    ],
)
def test_a_file_that_is_no_bundle_is_named_for_what_it_is(
    tmp_path: Path, only_problem: Only, content: bytes, found: str
) -> None:
    (tmp_path / "m.zip").write_bytes(content)
    with pytest.raises(BundleError, match=found) as failure:
        read_bundle(tmp_path / "m.zip")
    assert "a .zip or a .tar.gz" in (only_problem(failure).expected or "")


def test_a_tar_without_compression_is_told_how_to_get_it(making, tmp_path: Path, only_problem: Only) -> None:
    with pytest.raises(BundleError) as failure:
        read_bundle(making.tar(tmp_path / "m.tar", mode="w"))
    assert only_problem(failure).next_step == "compress it: gzip m.tar"


def test_a_gzip_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(gzip.compress(b"just text" * 1000))
    with pytest.raises(BundleError, match=r"not a tar|cannot be read"):
        read_bundle(tmp_path / "m.tar.gz")


def test_a_path_that_is_not_there_tells_what_is(making, tmp_path: Path, only_problem: Only) -> None:
    making.zip(tmp_path / "model.zip")
    with pytest.raises(BundleError, match="does not exist") as failure:
        read_bundle(tmp_path / "modle.zip")
    assert "model.zip" in (only_problem(failure).next_step or "")
    for path in (tmp_path / "model.zip" / "x", Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(BundleError):
            read_bundle(path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.zip")
    with pytest.raises(BundleError, match="neither a file nor a folder"):
        read_bundle(tmp_path / "m.zip")


def test_texts_are_read_with_care(making, tmp_path: Path) -> None:
    path = making.zip(
        tmp_path / "m.zip",
        ("model/bom.txt", "\ufeffé".encode()),
        ("model/latin.txt", "line\né".encode("latin-1")),
        ("model/utf16.txt", "é".encode("utf-16")),
        ("model/large.txt", b"x" * 101),
    )
    bundle = read_bundle(path, Limits(text_bytes=100))
    assert bundle.read_text("bom.txt") == "é"
    with pytest.raises(BundleError, match="not UTF-8") as failure:
        bundle.read_text("latin.txt")
    assert failure.value.problems[0].where.line == 2  # type: ignore[union-attr]
    with pytest.raises(BundleError, match="looks like UTF-16"):
        bundle.read_text("utf16.txt")
    with pytest.raises(BundleError, match="too many for a text file"):
        bundle.read_bytes("large.txt")
    with pytest.raises(BundleError, match=r"has no `nope\.txt`"):
        bundle.read_bytes("nope.txt")


@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_limits_hold_for_every_kind(making, tmp_path: Path, kind: str) -> None:
    path = {"zip": making.zip, "tar": making.tar, "folder": making.folder}[kind](tmp_path / "m")
    assert len(read_bundle(path, Limits(entries=4)).members) == 4
    with pytest.raises(BundleError, match="more than 3 "):
        read_bundle(path, Limits(entries=3))
    with pytest.raises(BundleError, match="the bundle holds more than"):
        read_bundle(path, Limits(total_bytes=50))


def test_reading_a_zip_reads_its_directory_only(making, tmp_path: Path) -> None:
    """All that stands before the directory is wiped out, and the listing is still the same."""
    path = making.zip(tmp_path / "m.zip")
    members = read_bundle(path).members
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    path.write_bytes(b"PK\3\4" + bytes(directory - 4) + content[directory:])
    bundle = read_bundle(path)
    assert bundle.members == members
    with pytest.raises(BundleError, match="headers disagree"):
        bundle.read_bytes("weights.bin")
