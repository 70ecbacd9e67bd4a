"""Watching real folders: what counts as saved, and what as one save."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.engine.watch import FolderWatch, concerns_model, watched

PATIENCE = 10.0
"""Seconds that a change may take to be told on a busy machine."""
SILENCE = 0.2
"""Seconds after which nothing more is expected."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "node_modules" / ".venv" / "model"  # the folder's own place says nothing about what is in it
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai" / "mdai_deploy.py").write_text("1")
    (folder / "weights.bin").write_bytes(b"w")
    return folder


@pytest.fixture(params=[False, True], ids=["told by the kernel", "polling"])
def watch(request: pytest.FixtureRequest, model: Path) -> Iterator[FolderWatch]:
    with watched(model, poll=request.param) as found:
        yield found


def told(watch: FolderWatch, *expected: str) -> None:
    saved = watch.wait(PATIENCE)
    assert saved is not None and saved.paths == set(expected)


def test_a_save_is_told_once(model: Path, watch: FolderWatch) -> None:
    begun = time.monotonic()
    (model / ".mdai" / "mdai_deploy.py").write_text("22")
    saved = watch.wait(PATIENCE)
    assert saved is not None and saved.paths == {".mdai/mdai_deploy.py"}
    assert begun < saved.noticed < time.monotonic()
    assert watch.wait(SILENCE) is None and not watch.pending


def test_a_burst_is_one_save(model: Path, watch: FolderWatch) -> None:
    for number in range(20):
        (model / f"module{number % 4}.py").write_text("x" * number)
    seen: set[str] = set()
    batches = 0
    while saved := watch.wait(SILENCE * 2):
        seen |= saved.paths
        batches += 1
    assert seen == {f"module{number}.py" for number in range(4)}
    assert batches <= 2  # polling may look in the middle of it


def test_what_comes_while_nobody_asks_is_kept_together(model: Path, watch: FolderWatch) -> None:
    (model / "a.py").write_text("a")
    time.sleep(SILENCE)
    (model / "b.py").write_text("b")
    deadline = time.monotonic() + PATIENCE
    while not watch.pending and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(SILENCE)
    told(watch, "a.py", "b.py")


def test_an_editor_that_saves_by_renaming(model: Path, watch: FolderWatch) -> None:
    """vim's way: tries out the folder, keeps the old file as a backup, writes the new one, drops the backup."""
    deploy = model / ".mdai" / "mdai_deploy.py"
    (model / ".mdai" / "4913").touch()
    (model / ".mdai" / "4913").unlink()
    deploy.rename(f"{deploy}~")
    (model / ".mdai" / ".mdai_deploy.py.swp").write_text("swap")
    (model / ".mdai" / "new").write_text("3")
    (model / ".mdai" / "new").rename(deploy)
    Path(f"{deploy}~").unlink()
    saved = watch.wait(PATIENCE)
    assert saved is not None and ".mdai/mdai_deploy.py" in saved.paths
    assert saved.paths <= {".mdai/mdai_deploy.py", ".mdai/new"}


def test_files_and_folders_that_come_and_go(model: Path, watch: FolderWatch) -> None:
    (model / "weights.bin").unlink()
    told(watch, "weights.bin")
    other = model.parent / "helpers"
    other.mkdir()
    other.rename(model / "helpers")
    told(watch, "helpers")
    (model / "helpers" / "inside.py").write_text("1")
    told(watch, "helpers/inside.py")


def test_what_changes_nothing_is_not_told(model: Path, watch: FolderWatch) -> None:
    """A build links the files into its context, and Python reads them and keeps its bytecode beside them."""
    os.link(model / "weights.bin", model.parent / "linked.bin")
    (model / "weights.bin").read_bytes()
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "mdai_deploy.cpython-311.pyc").write_bytes(b"bytecode")
    (model / ".git").mkdir()
    (model / ".git" / "index").write_bytes(b"index")
    (model / ".#mdai_deploy.py").symlink_to("someone@somewhere.123")
    assert watch.wait(SILENCE * 2) is None


def test_a_large_file_is_told_when_it_is_there_as_a_whole(model: Path, watch: FolderWatch) -> None:
    block = bytes(2**20)
    with (model / "weights.bin").open("wb", buffering=0) as file:
        for _ in range(8):
            file.write(block)
            time.sleep(0.1)
    told(watch, "weights.bin")
    assert watch.wait(SILENCE) is None


@pytest.mark.parametrize(
    ("path", "concerns"),
    [
        (".mdai/mdai_deploy.py", True),
        (".mdai/requirements.txt", True),
        (".hidden", True),
        ("swp", True),
        ("notes~/weights.bin", True),
        (".mdai/.mdai_deploy.py.swx", False),
        ("#scratch.py#", False),
        (".goutputstream-X1Y2Z3", False),
        ("model.py___jb_tmp___", False),
        ("a/__pycache__/b.pyc", False),
        (".idea/workspace.xml", False),
        ("._weights.bin", False),
    ],
)
def test_which_files_concern_a_model(path: str, concerns: bool) -> None:
    assert concerns_model(path) is concerns
