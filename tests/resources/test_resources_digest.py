"""What an image is made from besides its plan has one digest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mdai_build import resources


@pytest.mark.parametrize(
    "file",
    [
        "templates/stages/model.j2",
        "base_images/uv.txt",
        "base_images/preinstalled/py38.txt",
        "base_images/server/py313.txt",
        "mdai_build/runtime/worker.py",
    ],
)
def test_a_change_of_any_of_them_changes_it(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changes(file, tmp_path, monkeypatch)


def test_the_look_of_a_report_is_no_part_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changes("templates/report/page.html.j2", tmp_path, monkeypatch)


def changes(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a change of the file changes the digest."""
    for folder in ("templates", "base_images"):
        shutil.copytree(resources.resource(folder), tmp_path / folder)
    shutil.copytree(resources.runtime_folder(), tmp_path / "mdai_build" / "runtime")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "mdai_build")
    of = resources.resources_digest.__wrapped__
    before = of()
    assert of() == before
    (tmp_path / file).write_text("changed")
    return bool(of() != before)
