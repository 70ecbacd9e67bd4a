"""`test --local` and `run --local`: a model served from a Python of this machine, without an engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from schema_checks import check_printed

REPO = Path(__file__).resolve().parents[2]
EXAMPLE = REPO / "examples" / "classification"
COMMAND = [sys.executable, "-m", "mdai_build.cli"]
pytestmark = pytest.mark.process  # the thing under test is a process that starts others


def run(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    check_printed(words, done.stdout)
    return done


def failing_model(folder: Path, body: str) -> Path:
    (folder / ".mdai").mkdir(parents=True)
    (folder / ".mdai" / "config.yaml").write_text("base_image: py310\nenv:\n  GREETING: hello there\n")
    (folder / ".mdai" / "requirements.txt").write_text("")
    (folder / ".mdai" / "mdai_deploy.py").write_text(body)
    return folder


def test_an_example_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "test", "--local", EXAMPLE, "--python", sys.executable, "--json", "--out", tmp_path / "out")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"]) == (0, 0), done.stderr
    assert told["smoke"]["peak_memory_bytes"] > 10_000_000
    assert list((tmp_path / "out").glob("*.png"))


def test_an_archive_is_served_like_the_folder(tmp_path: Path) -> None:
    """The model finds its weights by the working folder, its variables in the environment, and its script runs."""
    body = (
        "import os, subprocess\n"
        "class MDAIModel:\n"
        "    def __init__(self):\n"
        "        assert os.environ['GREETING'] == 'hello there'\n"
        "        assert open('./lib/weights.txt').read() == 'w'\n"
        "        assert subprocess.check_output(['./lib/tool.sh']) == b'ran\\n'\n"
        "    def predict(self, data):\n"
        "        return []\n"
    )
    model = failing_model(tmp_path / "model", body)
    (model / "weights.txt").write_text("w")
    (model / "tool.sh").write_text("#!/bin/sh\necho ran\n")
    (model / "tool.sh").chmod(0o755)
    archive = tmp_path / "model.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", tmp_path, "model"], check=True)
    for target in (model, archive):
        done = run(tmp_path, "test", "--local", target, "--python", sys.executable)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_model_that_fails_to_load_shows_its_traceback(tmp_path: Path) -> None:
    model = failing_model(
        tmp_path / "model",
        "class MDAIModel:\n    def __init__(self):\n        raise ValueError('no weights')\n"
        "    def predict(self, data):\n        return []\n",
    )
    done = run(tmp_path, "test", "--local", model, "--python", sys.executable)
    assert done.returncode == 7
    assert "ValueError: no weights" in done.stdout + done.stderr
    assert "mdai_deploy.py" in done.stdout + done.stderr


def test_what_is_no_python_is_wrong_usage(tmp_path: Path) -> None:
    done = run(tmp_path, "test", "--local", EXAMPLE, "--python", tmp_path / "none")
    assert done.returncode == 2
    assert "is no Python" in done.stderr
    assert run(tmp_path, "test", "an-image", "--python", "python3").returncode == 2


def test_run_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    words = ["run", "--local", str(EXAMPLE), "--python", sys.executable, "--port", "0"]
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    deadline = threading.Timer(120, process.kill)
    deadline.start()
    try:
        url = next(line for line in process.stderr if line.startswith("serving at")).split()[2].rstrip(";")
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{url}/version", timeout=20).text == "0.3"
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert (process.returncode, "stopped" in rest) == (0, True)
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
