"""What is shown while something goes on: in a log, on GitHub, and on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from mdai_build.cli.github import github, on_github
from mdai_build.cli.progress import _WORDS_OF_STEPS, Progress, _in_words
from mdai_build.engine.progress import Progress as BuildProgress
from mdai_build.engine.progress import follow, readable_step
from mdai_build.errors import Location, Problem

GOLDEN = Path(__file__).parent.parent / "dockerfile" / "golden"
BUILD = """\
#5 [packages 1/1] RUN /opt/uv/bin/uv pip install -r x
#5 0.5 Resolved 9 packages in 443ms
#5 0.6 Downloading scipy (33.7MiB)
#5 0.7 ::error::a model's own words ##[error]
#5 DONE 2.0s
#6 [model 1/2] COPY _mdai/code/ /src/lib/
#6 CACHED
"""


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "CI"):
        monkeypatch.delenv(name, raising=False)


def test_a_log_gets_a_line_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress("checking the bundle")
        follow(BUILD.splitlines(keepends=True), BuildProgress(), progress)
        progress("starting the image")
    lines = [re.sub(r"^ *[0-9.]+ s  ", "", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "checking the bundle",
        "[packages 1/1] RUN /opt/uv/bin/uv pip install -r x",
        "[model 1/2] COPY _mdai/code/ /src/lib/",
        "starting the image",
    ]


def commands(text: str) -> Iterator[str]:
    """The lines that GitHub's runner obeys, as it reads them: none while they are stopped."""
    stopped = None
    for line in text.splitlines():
        line = line.strip()
        if stopped is None and line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif stopped is not None and line == f"::{stopped}::":
            stopped = None
        elif stopped is None and line.startswith("::"):
            yield line
    assert stopped is None, "the job's other commands stay switched off"


def test_github_folds_the_build_and_obeys_us_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with on_github({"GITHUB_ACTIONS": "true"}), Progress() as progress:
        progress("checking the bundle")
        follow(BUILD.splitlines(keepends=True), BuildProgress(), progress)
        progress("starting the image")
        print("::error::from a model", file=sys.stderr)
    text = capsys.readouterr().err
    assert list(commands(text)) == ["::group::build", "::endgroup::"]
    group = text.partition("::group::build")[2].partition("::endgroup::")[0]
    assert "Downloading scipy (33.7MiB)" in group and "starting the image" not in group
    assert "##[error]" not in text


def test_github_shows_problems_beside_their_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "models" / "lungs" / ".mdai").mkdir(parents=True)
    (tmp_path / "models" / "lungs" / ".mdai" / "config.yaml").touch()
    model = tmp_path / "models"
    problems = [
        Problem("config.wrong-value", "wrong: 5%\nof it", Location(".mdai/config.yaml", 3, 5), next_step="mend, it"),
        Problem("smoke.mask-size", "too small", Location("sample ct")),
    ]
    with on_github({"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path)}):
        on = github()
        assert on is not None
        on.annotate(problems, "error", model)
        archive = tmp_path / "model.zip"
        on.annotate(problems[:1], "warning", archive)
    assert list(commands(capsys.readouterr().err)) == [
        "::error file=models/lungs/.mdai/config.yaml,line=3,col=5,title=MB305::.mdai/config.yaml:3:5: wrong: 5%25%0A"
        "of it%0Ahelp: mend, it",
        "::error title=MB714::sample ct: too small",
        "::warning file=model.zip,title=MB305::.mdai/config.yaml:3:5: wrong: 5%25%0Aof it%0Ahelp: mend, it",
    ]
    assert github() is None


def test_elsewhere_nothing_is_said_to_github(capsys: pytest.CaptureFixture[str]) -> None:
    with on_github({}):
        assert github() is None
    assert capsys.readouterr().err == ""


WATCHED = """
import sys, time
from mdai_build.cli.progress import _WORDS_OF_STEPS, Progress, _in_words
from mdai_build.engine.progress import Progress as BuildProgress, follow

def lines():
    yield "#5 [packages 1/1] RUN /opt/uv/bin/uv pip install -r x\\n"
    yield "#5 0.5 Resolved 9 packages in 443ms\\n"
    yield "#5 0.6 Downloading scipy (33.7MiB)\\n"
    yield "#5 0.6 Downloading \\x1b]0;a-title-of-its-own\\x1b\\\\evil\\x1b[2J (1MiB)\\n"
    yield "#6 [model 1/2] RUN " + "long " * 50 + "\\n"
    yield "#6 0.1 words of \\x1b[31ma log\\n"
    yield "#7 [mdai-parent 1/1] FROM example.org/base\\n"
    yield "#7 sha256:aa 10MB / 40MB 0.4s\\n"
    sys.stdin.readline()

with Progress() as progress:
    progress("checking the bundle")
    follow(lines(), BuildProgress(), progress)
print("the result")
"""


@pytest.mark.process
@pytest.mark.parametrize("columns", [50, 100])
@pytest.mark.parametrize("no_color", [True, False])
def test_on_a_real_terminal_it_is_live_and_gone_afterwards(columns: int, no_color: bool) -> None:
    """Starts an interpreter on a pseudo-terminal, as the live display has a thread and a cursor of its own."""
    screen = pyte.Screen(columns, 24)
    stream = pyte.ByteStream(screen)
    child, handle = pty.fork()
    if child == 0:
        settings = termios.tcgetattr(0)
        settings[3] &= ~termios.ECHO  # else the key that ends it moves the cursor
        termios.tcsetattr(0, termios.TCSANOW, settings)
        # An environment of its own: readline has put COLUMNS into this process's, past Python.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment |= {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
        environment |= {"NO_COLOR": "1"} if no_color else {}
        os.execve(sys.executable, [sys.executable, "-c", WATCHED], environment)
    raw = b""
    try:
        _resize(handle, columns)
        shown = ""
        deadline = time.monotonic() + 30
        while "of 40 MB" not in shown or "scipy" not in shown or "words of" not in shown:
            assert time.monotonic() < deadline, shown
            raw += _read(handle)
            screen.reset()
            stream.feed(raw)
            shown = "\n".join(line.rstrip() for line in screen.display)
        assert "building the image: 0 steps done" in shown
        assert "installing the preinstalled packages" in shown
        assert "0 of 9 packages; fetching scipy" in shown
        assert b"a-title-of-its-own" not in raw and b"\x1b[2J" not in raw
        assert max(len(line) for line in shown.splitlines()) < columns, shown
        assert len([line for line in shown.splitlines() if line]) == 7, shown  # nothing wrapped, nothing twice
        os.write(handle, b"\n")
        while "the result" not in shown:
            assert time.monotonic() < deadline, shown
            raw += _read(handle)
            screen.reset()
            stream.feed(raw)
            shown = "\n".join(line.rstrip() for line in screen.display)
        assert shown.split() == ["the", "result"]
        assert (b"\x1b[31m" not in raw) or not no_color
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(handle)


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the other end is closed
        time.sleep(0.05)
        return b""


def _resize(handle: int, columns: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def test_every_step_that_takes_its_time_is_told_in_words() -> None:
    steps = {step for file in GOLDEN.iterdir() for step in steps_of(file.read_text(encoding="utf-8"))}
    told = {_in_words(step) for step in steps} - steps
    assert told == {words for _, words in _WORDS_OF_STEPS} - {"writing the image", "reading the build cache"}


def steps_of(dockerfile: str) -> Iterator[str]:
    """The names that BuildKit gives to a Dockerfile's steps."""
    stage = ""
    for line in re.sub(r"\\\n", "", re.sub(r"(?m)^#.*\n", "", dockerfile)).splitlines():
        if named := re.match(r"FROM .* AS (\S+)", line):
            stage = named.group(1)
        elif line.startswith(("RUN", "COPY")):
            yield readable_step(f"[{stage} 1/1] {line}")
