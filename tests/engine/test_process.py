"""Commands that are started: they end with us, however we end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdai_build.engine.process import Environment, run_quietly, started

HERE = Environment(dict(os.environ))
pytestmark = pytest.mark.process  # what is tested is how processes start and end
RUN = """
import os, sys, threading
from mdai_build.engine.process import Environment, run_quietly, started
here = Environment(dict(os.environ))
command = ["sh", "-c", f"echo $$ > {sys.argv[2]}; exec sleep 60"]
def quietly():
    run_quietly(command, here)
def stay():
    with started(command, here) as process:
        process.wait()
threading.Thread(target={"quietly": quietly, "stay": stay}[sys.argv[1]]).start()
"""


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do this")
@pytest.mark.parametrize("way", ("quietly", "stay"))
def test_a_command_ends_with_a_run_that_is_killed(way: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    run = subprocess.Popen([sys.executable, "-c", RUN, way, str(note)])
    deadline = time.monotonic() + 20
    while not (note.exists() and note.read_text().strip()):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.01)
    command = int(note.read_text())
    assert alive(command)
    run.kill()
    run.wait()
    while alive(command):
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.01)


def test_a_carriage_return_ends_no_line() -> None:
    """Else what a package prints while it is built could stand there as a line of BuildKit's own."""
    with started(["printf", "%b", r"#7 0.1 said\r#7 DONE 0.1s\r\nnext\n"], HERE) as process:
        assert process.stdout is not None
        assert list(process.stdout) == ["#7 0.1 said\r#7 DONE 0.1s\r\n", "next\n"]


def test_a_program_that_is_missing_is_told_by_its_own_name() -> None:
    answer = run_quietly(["no-such-program"], HERE)
    assert answer.exit_code == 127 and "no-such-program" in answer.output and "setpriv" not in answer.output
    with pytest.raises(FileNotFoundError, match="no-such-program"), started(["no-such-program"], HERE):
        pass


def test_without_the_program_that_sees_to_it_a_command_runs_all_the_same(tmp_path: Path) -> None:
    for name in ("echo", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "setpriv").write_text("#!/bin/sh\nexit 1\n")  # as busybox answers
    (tmp_path / "setpriv").chmod(0o755)
    words = (
        "from mdai_build.engine.process import Environment, run_quietly;"
        "import os; print(run_quietly(['echo', 'heard'], Environment(dict(os.environ))).output)"
    )
    there = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", words], env=there, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "heard"
