"""What is said of an engine that is there and does not serve."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import docker.errors
import pytest

from mdai_build.engine import Engine, connect
from mdai_build.engine.connection import lost_or_restarted, restarts_told
from mdai_build.engine.failures import engine_words
from mdai_build.errors import Problem, UnavailableError


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket where connections are taken and nobody answers."""
    path = tmp_path / "engine.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr("mdai_build.engine.finding._GREETING_SECONDS", 0.2)
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


class Pings:
    """What an engine answers, one after the other; the last stays."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)

    def ping(self) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


@pytest.mark.parametrize(
    ("answers", "code"),
    (
        ((None,), "engine.restarted"),
        ((ConnectionError("refused"), ConnectionError("refused"), None), "engine.restarted"),
        ((ConnectionError("refused"),), "engine.lost"),
        ((TimeoutError("timed out"),), "engine.silent"),
        ((docker.errors.APIError("write /data: no space left on device"),), "engine.disk-full"),
    ),
)
def test_one_that_broke_off(answers: tuple[Exception | None, ...], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdai_build.engine.connection._RESTART_SECONDS", 0.5)
    engine = cast(Engine, SimpleNamespace(client=Pings(*answers)))
    assert lost_or_restarted(engine, "during the build").problems[0].code == code


@pytest.mark.parametrize("back", [True, False])
def test_a_question_that_meets_a_restart_first(back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdai_build.engine.connection._RESTART_SECONDS", 0.5)
    refused = ConnectionError("refused")
    engine = cast(Engine, SimpleNamespace(client=Pings(*((refused, None) if back else (refused,)))))
    warning = Problem("config.doubt", "told before")
    with pytest.raises(UnavailableError) as told, restarts_told(engine):
        try:
            with engine_words():
                raise refused
        except UnavailableError as failure:
            failure.warnings = (warning,)
            raise
    assert told.value.problems[0].code == ("engine.restarted" if back else "engine.lost")
    assert told.value.warnings == (warning,)
    with pytest.raises(UnavailableError, match="elsewhere"), restarts_told(engine):
        raise UnavailableError(Problem("other", "elsewhere"))
