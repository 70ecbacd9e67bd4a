from __future__ import annotations

from pathlib import Path

import parent
import pytest


def test_the_newest_release_of_each_python_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    for name in ("2.7.18", "3.6.15", "3.9.9", "3.9.18", "3.10.2", "3.14.0rc1", "3.8.20-broken", "miniconda3-4"):
        program = tmp_path / "versions" / name / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.touch()
    (tmp_path / "versions/3.11.7").mkdir()

    assert [folder.name for folder in parent.interpreters()] == ["3.9.18", "3.10.2"]


def test_no_pyenv_means_no_interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    assert parent.interpreters() == []


def test_the_recipe_digest_follows_its_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages.txt").write_text("git\n")
    monkeypatch.setattr(parent, "RECIPE", tmp_path)
    first = parent.recipe_digest([Path("/versions/3.8.18")])

    assert parent.recipe_digest([Path("/versions/3.8.18")]) == first
    assert parent.recipe_digest([Path("/versions/3.9.18")]) != first
    (tmp_path / "packages.txt").write_text("git\nmake\n")
    assert parent.recipe_digest([Path("/versions/3.8.18")]) != first
