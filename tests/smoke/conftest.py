"""The real server as a process, with models made by the tests: what a container would run, without an engine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mdai_build.engine import find_python, install_server_packages
from mdai_build.engine.target import TargetState
from mdai_build.resources import resource
from mdai_build.settings import load_settings

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "mdai_build" / "runtime" / "__main__.py"


def _server_packages() -> Path:
    python = find_python(sys.executable)
    pins = resource("base_images", "server", f"py{python.version.replace('.', '')}.txt")
    return install_server_packages(python, pins, load_settings().cache_folder / "server-packages")


class LocalTarget:
    """The server as a process of this machine; satisfies `mdai_build.engine.target.Target`."""

    def __init__(self, model_root: Path, folder: Path) -> None:
        self._log: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(MAIN)],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONDONTWRITEBYTECODE": "1",
                "MDAI_MODEL_ROOT": str(model_root),
                "MDAI_SERVER_PACKAGES": str(_server_packages()),
                "MDAI_HOST": "127.0.0.1",
                "MDAI_PORT": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = "http://" + self._address()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._log.append(line)

    def _address(self) -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for line in list(self._log):
                if "listening" in line and "127.0.0.1:" in line:
                    return "127.0.0.1:" + line.split("127.0.0.1:")[1].split()[0].strip('",')
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError("the server does not listen:\n" + "".join(self._log))

    def logs(self) -> str:
        return "".join(self._log)

    def state(self) -> TargetState:
        code = self._process.poll()
        return TargetState(running=code is None, exit_code=code)

    def peak_memory(self) -> int | None:
        return None

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._reader.join(10)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str | Path], LocalTarget]]:
    """Serves a model folder, or the source of an mdai_deploy.py; stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(model: str | Path) -> LocalTarget:
            root = model if isinstance(model, Path) else tmp_path / "lib"
            if isinstance(model, str):
                (root / ".mdai").mkdir(parents=True)
                (root / ".mdai" / "mdai_deploy.py").write_text(model)
            target = LocalTarget(root, tmp_path)
            stack.callback(target.close)
            return target

        yield start
