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


def test_pyenv_is_found_by_path_where_home_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pyenv" / "libexec" / "pyenv"
    for file in (program, tmp_path / "pyenv" / "versions" / "3.10.2" / "bin" / "python"):
        file.parent.mkdir(parents=True)
        file.touch(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pyenv").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)

    assert [folder.name for folder in parent.interpreters()] == ["3.10.2"]
    (tmp_path / "home" / ".pyenv").mkdir(parents=True)
    assert parent.interpreters() == []


def test_the_recipe_digest_follows_its_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages.txt").write_text("git\n")
    monkeypatch.setattr(parent, "RECIPE", tmp_path)
    first = parent.recipe_digest([Path("/versions/3.8.18")])

    assert parent.recipe_digest([Path("/versions/3.8.18")]) == first
    assert parent.recipe_digest([Path("/versions/3.9.18")]) != first
    (tmp_path / "packages.txt").write_text("git\nmake\n")
    assert parent.recipe_digest([Path("/versions/3.8.18")]) != first
