"""What is said of an engine that is there and does not serve."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdai_build.engine import connect
from mdai_build.errors import UnavailableError


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket where connections are taken and nobody answers."""
    path = tmp_path / "engine.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr("mdai_build.engine.connection._GREETING_SECONDS", 0.2)
    yield path
    server.close()


def code(folder: Path) -> str:
    with pytest.raises(UnavailableError) as failure:
        connect(folder)
    return failure.value.problems[0].code


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_that_hangs(listener: Path, tmp_path: Path) -> None:
    assert code(tmp_path) == "engine.silent"


@pytest.mark.skipif(os.geteuid() == 0, reason="root is let in everywhere")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_that_lets_nobody_in(listener: Path, tmp_path: Path) -> None:
    listener.chmod(0)
    assert code(tmp_path) == "engine.denied"
