"""What a real bash offers when a word of the command line is completed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import CompletionItem
from click.testing import CliRunner

from mdai_build.cli import completing
from mdai_build.cli.main import cli

SCRIPT = """
eval "$(mdai-build completion bash)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo compopt "$@"; }
_mdai_build_completion mdai-build
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with bundles, and the command on a PATH of its own."""
    for folder in ("work/chest/.mdai", "work/other", "work/models/one/.mdai", "bin", "few/chest/.mdai"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("work/chest.zip", "work/notes.txt", "few/chest.zip", "few/chess.txt"):
        (tmp_path / file).touch()
    command = tmp_path / "bin/mdai-build"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mdai_build.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def offered(place: Path, *words: str, folder: str = "work") -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT, "bash", "mdai-build", *words],
        cwd=place / folder,
        env={**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}", "MDAI_BUILD_ENGINE_FOLDER": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.process  # bash asks the command itself, as it does for its user
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash(place: Path) -> None:
    assert offered(place, "ins") == ["compopt -o default", "inspect"]
    assert offered(place, "parents", "p") == ["pin"]
    assert offered(place, "check", "--stri") == ["--strict"]
    # Without the word `build`, its options are meant.
    assert "--no-test" in offered(place, "chest.zip", "--no")
    assert offered(place, "build", "chest.zip", "--parent", "") == ["gcp", "slim", "local"]
    assert offered(place, "build", "ch", folder="few") == ["chest", "chest.zip"]
    assert offered(place, "explain", "mb30")[:2] == ["MB301", "MB302"]
    assert offered(place, "schema", "parents-") == ["parents-list", "parents-pin"]
    assert offered(place, "init", "--python", "3.1") == ["3.10", "3.11", "3.12", "3.13"]


def offer(incomplete: str) -> list[tuple[str, str]]:
    found: list[CompletionItem] = completing.bundles(click.Context(cli), click.Argument(["model"]), incomplete)
    return [(item.type, item.value) for item in found]


def test_bundles_are_offered_where_nothing_else_may_be_meant(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "work")
    assert offer("ch") == [("plain", "chest"), ("plain", "chest.zip")]
    assert offer("models/") == [("plain", "models/one")]
    # `other` and `models` are no models, and may hold some.
    assert offer("") == [("file", "")]
    assert offer("m") == [("file", "m")]
    assert offer("no") == [("file", "no")]
    assert offer("nowhere/x") == [("file", "nowhere/x")]
    assert offer(f"{place}/few/") == [("plain", f"{place}/few/chest"), ("plain", f"{place}/few/chest.zip")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    script = CliRunner().invoke(cli, ["completion", shell])
    assert script.exit_code == 0
    assert "_MDAI_BUILD_COMPLETE" in script.stdout and f"{shell}_complete" in script.stdout
