from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts" / "setup"
# What it says is what is tested; it ends before it makes anything.
pytestmark = pytest.mark.process


def program(path: Path, version: str, new_enough: bool) -> Path:
    """What answers as a Python of that version would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!/bin/sh\n[ $1 != --version ] || {{ echo Python {version}; exit 0; }}\nexit {int(not new_enough)}\n"
    )
    path.chmod(0o755)
    return path


def said(tmp_path: Path, **more: str) -> str:
    environment = {"PATH": f"{tmp_path / 'bin'}:{tmp_path / 'tools'}", "HOME": str(tmp_path / "home"), **more}
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "dirname").symlink_to("/usr/bin/dirname")
    done = subprocess.run(["/bin/sh", str(SETUP)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_an_old_python_is_named_and_a_newer_one_that_is_there_too(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3", "3.9.2", new_enough=False)
    newer = program(tmp_path / "bin" / "python3.11", "3.11.4", new_enough=True)
    text = said(tmp_path)
    assert "`python3` is Python 3.9.2" in text
    assert f"Next step: make quickstart PYTHON={newer} " in text


def test_a_newer_python_of_pyenv_is_found(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3", "3.8.10", new_enough=False)
    newer = program(tmp_path / "pyenv" / "versions" / "3.12.1" / "bin" / "python", "3.12.1", new_enough=True)
    assert f"PYTHON={newer} " in said(tmp_path, PYENV_ROOT=str(tmp_path / "pyenv"))


def test_where_there_is_none_how_to_get_one_is_told(tmp_path: Path) -> None:
    text = said(tmp_path, PYTHON="python-of-mine")
    assert "`python-of-mine` is not there" in text
    assert "apt install python3" in text and "make quickstart PYTHON=" in text
