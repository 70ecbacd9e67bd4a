"""Ctrl-C and SIGTERM end a build with exit code 130, at whatever point, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import docker
import pytest
from harness.leftovers import engine_state
from harness.loopback import serving

from mdai_build.engine import Engine, connect, container
from mdai_build.engine.container import OWNER_LABEL
from mdai_build.settings import load_settings

NAME = "interrupted"
PARENT = "mdai-build/parent:local-cpu"

LOADS_FOREVER = """
import time


class MDAIModel:
    def __init__(self):
        time.sleep(600)

    def predict(self, data):
        return []
"""


class Interrupted:
    """A build that is stopped by a signal once something has happened."""

    def __init__(self, place: Path, cache_folder: Path, requirements: str) -> None:
        self.work, self.temporary, model = place / "work", place / "tmp", place / NAME
        for folder in (self.work, self.temporary, model / ".mdai"):
            folder.mkdir(parents=True)
        (model / ".mdai/config.yaml").write_text("base_image: py38\n")
        (model / ".mdai/requirements.txt").write_text(requirements)
        (model / ".mdai/mdai_deploy.py").write_text(LOADS_FOREVER)
        words = ["build", str(model), "--parent", "local", "--network", "host"]
        words += ["--tag", "mdai-build-test/interrupted:latest"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mdai_build.cli", *words],
            cwd=self.work,
            env={**os.environ, "TMPDIR": str(self.temporary), "MDAI_BUILD_CACHE_FOLDER": str(cache_folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def serves(self, engine: docker.DockerClient) -> bool:
        own = f"{OWNER_LABEL}={socket.gethostname()}:{self.process.pid}"
        return bool(engine.containers.list(filters={"label": own}))

    def after(self, happened: Callable[[], bool], number: signal.Signals) -> str:
        """Sends the signal when it has happened, and again, as the impatient do; gives the output."""
        deadline = time.monotonic() + 120
        while not happened():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"ended before it could be interrupted:\n{self.process.communicate()[0]}")
            time.sleep(0.1)
        for _ in range(3):
            self.process.send_signal(number)
            time.sleep(0.1)
        return self.process.communicate(timeout=60)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_during_the_smoke_test(
    number: signal.Signals, engine: docker.DockerClient, tmp_path: Path, cache_folder: Path
) -> None:
    before = engine_state(engine)
    build = Interrupted(tmp_path, cache_folder, requirements="")
    output = build.after(lambda: build.serves(engine), number)
    assert build.process.returncode == 130, output
    assert "Traceback" not in output
    assert engine_state(engine).leftovers(before, NAME, build.process.pid) == []
    assert not list(build.work.iterdir()) and not list(build.temporary.iterdir())


def test_what_a_killed_run_left_is_removed_by_the_next(
    engine: docker.DockerClient, tmp_path: Path, cache_folder: Path
) -> None:
    before = engine_state(engine)
    killed = Interrupted(tmp_path / "first", cache_folder, requirements="")
    # Its container runs, and stays: nobody can heed this signal. Any other run may be the next one.
    killed.after(lambda: killed.serves(engine), signal.SIGKILL)
    build = Interrupted(tmp_path / "second", cache_folder, requirements="")
    build.after(lambda: build.serves(engine), signal.SIGINT)
    assert engine_state(engine).leftovers(before, NAME, killed.process.pid) == []


def test_during_the_build(engine: docker.DockerClient, tmp_path: Path, cache_folder: Path) -> None:
    """The package server never answers, so the build hangs in the install step until the signal comes."""
    asked, released = threading.Event(), threading.Event()

    class Hangs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            released.wait(120)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    before = engine_state(engine)
    with serving(Hangs) as url:
        build = Interrupted(tmp_path, cache_folder, requirements=f"hangs @ {url}/hangs-1.0-py3-none-any.whl\n")
        output = build.after(asked.is_set, signal.SIGINT)
        released.set()
    assert build.process.returncode == 130, output
    assert "Traceback" not in output
    assert engine_state(engine).leftovers(before, NAME, build.process.pid) == []
    assert not list(build.work.iterdir()) and not list(build.temporary.iterdir())


def test_a_signal_while_a_container_is_created_leaves_none(
    engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def created_in_bad_time(*words: Any) -> Any:
        made = create(*words)
        signal.raise_signal(signal.SIGTERM)
        return made

    create = container._created
    monkeypatch.setattr(container, "_created", created_in_bad_time)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            container.running_container(found(), PARENT, container.RunOptions(memory=2**28)),
        ):
            pytest.fail("it was interrupted")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not engine.containers.list(all=True, filters={"label": f"{OWNER_LABEL}={container.owner()}"})


def test_containers_that_other_runs_remove_meanwhile_stop_none(engine: docker.DockerClient) -> None:
    ended = threading.Event()

    def others() -> None:
        client = found().client
        for _ in range(40):
            made = client.containers.create(PARENT, "true", labels={OWNER_LABEL: f"{socket.gethostname()}:1"})
            made.remove(force=True)
        client.close()
        ended.set()

    here = found()
    thread = threading.Thread(target=others)
    thread.start()
    while not ended.is_set():
        container.remove_abandoned(here)
    thread.join()
    here.client.close()


def found() -> Engine:
    """The engine that mdai-build itself finds, by a client of its own."""
    return connect(load_settings().engine_folder)
