"""Which files the words of a command line mean."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from mdai_build.errors import UsageError
from mdai_build.smoke import gather
from mdai_build.smoke.gather import gathered


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.dcm", "a/b/2.dcm", "c/3.png", "4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str) -> dict[str, bytes]:
    with gathered(words) as found:
        return {name: path.read_bytes() for name, path in found.items()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["4.jpg"], ["4.jpg"]),
        (["a"], ["1.dcm", "b/2.dcm"]),
        (["a", "c"], ["a/1.dcm", "a/b/2.dcm", "c/3.png"]),
        (["a", "a/1.dcm"], ["1.dcm", "b/2.dcm"]),
        (["a/*.dcm"], ["1.dcm"]),
        (["**/*.dcm"], ["1.dcm", "b/2.dcm"]),
        (["*"], ["4.jpg"]),
        ([".", "4.jpg"], ["4.jpg", "a/1.dcm", "a/b/2.dcm", "c/3.png"]),
    ],
)
def test_files_folders_patterns(folder: Path, words: list[str], expected: list[str]) -> None:
    assert sorted(names(*words)) == expected


def test_a_path_from_the_root(folder: Path) -> None:
    assert sorted(names(str(folder / "a"))) == ["1.dcm", "b/2.dcm"]
    assert len(names(str(folder / "a"), "c")) == 3


def test_a_folder_that_holds_itself(folder: Path) -> None:
    (folder / "a" / "loop").symlink_to(folder / "a", target_is_directory=True)
    assert sorted(names("a")) == ["1.dcm", "b/2.dcm"]


def test_what_is_not_there_is_told_all_at_once(folder: Path) -> None:
    with pytest.raises(UsageError) as raised, gathered(["4.jpeg", "x/y", "*.dcm", "a"]):
        pass
    told = [(str(problem.where), problem.what, problem.next_step) for problem in raised.value.problems]
    assert told == [
        ("4.jpeg", "there is no such file or folder", "did you mean 4.jpg?"),
        ("x/y", "there is no such file or folder", "there is no folder x either; check the path"),
        ("*.dcm", "no file matches this pattern", "`**` goes into folders, `*` does not"),
    ]


# ---- zip ----


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_an_archive(folder: Path) -> None:
    zipped(folder / "s.zip", {"x/1.png": b"1", "x/1.json": b"{}", "y/1.png": b"2", "z/": b""})
    with gathered(["s.zip"]) as found:
        assert {name: path.read_bytes() for name, path in found.items()} == {
            "x/1.png": b"1",
            "x/1.json": b"{}",
            "y/1.png": b"2",
        }
        # The tags of a picture are found beside it.
        assert found["x/1.png"].with_suffix(".json").read_bytes() == b"{}"
        place = found["x/1.png"]
    assert not place.exists()


def test_nothing_leaves_the_folder_that_an_archive_is_unpacked_to(folder: Path) -> None:
    zipped(folder / "s.zip", {"../../evil": b"1", "/abs": b"2", "..\\win": b"3", "a/../../b": b"4", "n" * 250: b"5"})
    before = sorted(folder.iterdir())
    found = names("s.zip")
    assert sorted(found.values()) == [b"1", b"2", b"3", b"4", b"5"]
    assert not any(name.startswith(("/", "..")) for name in found)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("damage", ["cut", "password", "method", "bits"])
def test_an_archive_that_does_not_unpack(damage: str, folder: Path) -> None:
    zipped(folder / "s.zip", {"x": b"hello " * 100})
    content = bytearray((folder / "s.zip").read_bytes())
    if damage == "cut":
        content = content[40:]
    elif damage == "bits":
        content[60] ^= 0xFF
    else:
        central = content.index(b"PK\1\2")
        for place in (6, central + 8) if damage == "password" else (8, central + 10):
            content[place] = 1 if damage == "password" else 99
    (folder / "s.zip").write_bytes(content)
    with pytest.raises(UsageError) as raised, gathered(["s.zip"]):
        pass
    assert str(raised.value.problems[0].where) == "s.zip"


def test_an_archive_that_is_a_bomb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_MOST_UNPACKED", 5_000_000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(50_000_000))
    (folder / "s.zip").write_bytes(content.getvalue())
    with pytest.raises(UsageError, match="too large to unpack"), gathered(["s.zip"]):
        pass


# ---- DICOMDIR ----

WRONG_NAMES = pytest.mark.filterwarnings("ignore:Invalid value for VR CS")


def directory(path: Path, *files: list[str]) -> None:
    records = []
    for words in ([], *files):
        record = Dataset()
        record.DirectoryRecordType = "IMAGE" if words else "PATIENT"
        if words:
            record.ReferencedFileID = words
        records.append(record)
    ds = Dataset()
    ds.FileSetID = "X"
    ds.DirectoryRecordSequence = records
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def test_a_dicomdir_names_its_images(folder: Path) -> None:
    (folder / "MEDIA" / "IMG").mkdir(parents=True)
    for name in ("IMG/I1", "IMG/i2", "IMG/OTHER"):
        (folder / "MEDIA" / name).write_bytes(name.encode())
    directory(folder / "MEDIA" / "DICOMDIR", ["IMG", "I1"], ["IMG", "I2"])
    # Of one that was copied from a medium, the names may have lost their capitals.
    (folder / "MEDIA" / "img").symlink_to("IMG")
    assert sorted(names("MEDIA/DICOMDIR").values()) == [b"IMG/I1", b"IMG/i2"]


def test_a_dicomdir_without_its_images(folder: Path) -> None:
    directory(folder / "DICOMDIR", ["IMG", "I1"], ["IMG", "I2"])
    with pytest.raises(UsageError) as raised, gathered(["DICOMDIR"]):
        pass
    assert raised.value.problems[0].what == "this DICOMDIR lists files that are not there: IMG/I1 and 1 more"


@WRONG_NAMES
@pytest.mark.parametrize("words", [["..", "secret"], ["a/b"], ["."]])
def test_a_dicomdir_does_not_lead_elsewhere(folder: Path, words: list[str]) -> None:
    directory(folder / "a" / "DICOMDIR", words)
    with pytest.raises(UsageError, match="names a file elsewhere"), gathered(["a/DICOMDIR"]):
        pass


@WRONG_NAMES
def test_a_broken_dicomdir(folder: Path) -> None:
    directory(folder / "DICOMDIR", ["4.JPG"])
    content = (folder / "DICOMDIR").read_bytes()
    (folder / "DICOMDIR").write_bytes(content[: len(content) - 30] + b"\xff" * 30)
    with pytest.raises(UsageError), gathered(["DICOMDIR"]):
        pass
