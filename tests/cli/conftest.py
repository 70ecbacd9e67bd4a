"""The command in this process, as a user's words would start it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from schema_checks import check_printed

from mdai_build.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs the command with words, where there is no engine; gives its exit code, standard output and standard error.

    It runs in a folder of the test's own, and its terminal is 200 columns wide.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setenv("MDAI_BUILD_CACHE_FOLDER", str(tmp_path / "cache"))
    monkeypatch.setenv("MDAI_BUILD_ENGINE_FOLDER", str(tmp_path / "engine"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)

    def go(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mdai-build", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        check_printed(words, printed.out)
        code = ended.value.code
        return code if isinstance(code, int) else 0, printed.out, printed.err

    yield go
    for number, handler in handlers.items():
        signal.signal(number, handler)
