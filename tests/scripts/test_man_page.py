"""The manual page says what the help says, and man renders it without a complaint."""

from __future__ import annotations

import shutil
import subprocess

import click
import man_page
import pytest

from mdai_build.cli.main import cli


def test_the_page_is_current() -> None:
    """`python scripts/man_page.py` writes it."""
    assert man_page.PAGE.read_text(encoding="utf-8") == man_page.man_page()


@pytest.mark.process  # man is a program
@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man here")
def test_man_renders_it() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(man_page.PAGE)],
        env={"MANWIDTH": "100", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "NAME\n       mdai-build - check, build and test MD.ai model bundles\n" in done.stdout
    for name, command in cli.commands.items():
        if not isinstance(command, click.Group):
            assert f"\n   {name}\n       mdai-build {name} " in done.stdout
    assert "\n       --strict\n              Exit with 3 where there are warnings too." in done.stdout
    assert "`" not in done.stdout.partition("OPTIONS")[0]
