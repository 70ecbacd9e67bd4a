"""The wheel carries the templates and the data, and needs nothing of the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.process
def test_a_wheel_in_an_empty_environment_renders_a_model(tmp_path: Path) -> None:
    """Builds the wheel, installs it, and runs its command: three processes and more."""
    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", REPO, folder=tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", folder=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, wheel, folder=tmp_path)
    assert (tmp_path / "venv/share/man/man1/mdai-build.1").is_file()  # where `man` looks
    typed = "from importlib.resources import files; print((files('mdai_build') / 'py.typed').is_file())"
    assert run(python, "-c", typed, folder=tmp_path) == "True\n"
    shutil.copytree(REPO / "examples" / "classification", tmp_path / "model")
    command = tmp_path / "venv" / "bin" / "mdai-build"
    dockerfile = run(
        command,
        "render",
        tmp_path / "model",
        "--parent",
        "local",
        "--cache-folder",
        tmp_path / "cache",
        folder=tmp_path,
    )
    assert "create --yes --prefix /opt/conda/envs/mdai-env python=3." in dockerfile
    folder = tmp_path / "context"
    run(command, "render", tmp_path / "model", "-o", folder, "--cache-folder", tmp_path / "cache", folder=tmp_path)
    assert (folder / "_mdai/runtime/mdai_runtime/__main__.py").is_file()
    assert list((folder / "_mdai/pins/server").iterdir())
    script = "from mdai_build.report.page import Page, render_page; print(render_page(Page('x', True, 'x'))[:15])"
    assert run(python, "-c", script, folder=tmp_path) == "<!doctype html>\n"
    assert "MB101: there is no .mdai folder" in run(command, "explain", "MB101", folder=tmp_path)
    run(command, "init", tmp_path / "new", folder=tmp_path)
    assert (tmp_path / "new/.mdai/mdai_deploy.py").is_file()
