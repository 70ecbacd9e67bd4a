"""The real server as a process, on every Python that an image may have.

Its packages are installed from the pins once for each Python, into pytest's cache folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import requests
import uv

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "mdai_build" / "runtime" / "__main__.py"
PINS = ROOT / "base_images" / "server"
# `RUNTIME_PYTHON=3.7 pytest tests/runtime` runs everything on another one.
DEFAULT_VERSION = os.environ.get("RUNTIME_PYTHON", "3.11")

# What `args["do"]` holds is run as code, with `data` and `self` at hand; it may set `outputs`.
MODEL = """
import os, signal, sys, threading, time

class MDAIModel:
    def __init__(self):
        self.count = 0

    def predict(self, data):
        self.count += 1
        variables = {
            "self": self,
            "data": data,
            "outputs": [{"type": "NONE", "study_uid": "1.2", "note": str(data["args"].get("note", ""))}],
        }
        exec(data["args"].get("do", ""), globals(), variables)
        return variables["outputs"]
"""


def interpreter(version: str) -> str | None:
    """The path of a Python of this version (major and minor), looked for on PATH and among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        candidates.append(sys.executable)
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout.split()[0] == version:
            return asked.stdout.split()[1]
    return None


@pytest.fixture(scope="session")
def python_of() -> Callable[[str], str]:
    def find(version: str) -> str:
        path = interpreter(version)
        if path is None:
            pytest.skip(f"no Python {version} on this machine")
        return path

    return find


@pytest.fixture(scope="session")
def packages_of(pytestconfig: pytest.Config) -> Callable[[str, str], Path]:
    """The folder of the server's packages for a Python, made from its pins."""

    def install(python: str, version: str) -> Path:
        pins = PINS / f"py{version.replace('.', '')}.txt"
        key = hashlib.sha256(pins.read_bytes() + python.encode()).hexdigest()[:16]
        assert pytestconfig.cache is not None
        folder = pytestconfig.cache.mkdir("server-packages") / key
        if not folder.exists():
            part = folder.with_name(f"{key}.{os.getpid()}")
            command = [uv.find_uv_bin(), "pip", "install", "-q", "--only-binary", ":all:"]
            subprocess.run([*command, "--python", python, "--target", str(part), "-r", str(pins)], check=True)
            with contextlib.suppress(OSError):
                part.rename(folder)
        return folder

    return install


class RunningServer:
    """A server process with a model of ours; its log is collected line by line."""

    def __init__(self, python: str, packages: Path, source: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [python, "-I", "-S", str(MAIN)],
            cwd=source,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("MDAI_")},
                "MDAI_MODEL_ROOT": str(source / "lib"),
                "MDAI_SERVER_PACKAGES": str(packages),
                "MDAI_HOST": "127.0.0.1",
                "MDAI_PORT": "0",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.session = requests.Session()
        self.session.trust_env = False

    @functools.cached_property
    def port(self) -> int:
        return int(self.wait_for_line("listening").split("127.0.0.1:")[1].split()[0].strip('",'))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.log.append(line.rstrip("\n"))

    def wait_for_line(self, text: str, seconds: float = 20) -> str:
        def line() -> str | None:
            return next((line for line in self.log if text in line), None)

        self.wait(lambda: line() is not None, seconds, f"{text!r} in the log")
        found = line()
        assert found is not None
        return found

    def wait(self, true: Callable[[], bool], seconds: float = 20, what: str = "it") -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n" + "\n".join(self.log[-50:])
            time.sleep(0.01)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=20)

    def until_ready(self) -> RunningServer:
        self.wait(lambda: self.get("/ready").status_code == 200, what="/ready")
        return self

    def post(self, do: str = "", *, timeout: float = 30, **args: Any) -> requests.Response:
        data = {
            "files": [{"content": b"DICM", "content_type": "application/dicom"}],
            "annotations": [],
            "label_classes": [],
            "args": {"do": do, **args},
        }
        return self.post_body(msgpack.packb(data), timeout=timeout)

    def post_body(
        self, body: Any, kind: str = "application/msgpack", timeout: float = 30, **headers: str
    ) -> requests.Response:
        # One connection a call: a session is not for several threads.
        return requests.post(
            self.url + "/inference", data=body, headers={"content-type": kind, **headers}, timeout=timeout
        )

    def outputs(self, do: str = "", **args: Any) -> Any:
        response = self.post(do, **args)
        assert response.status_code == 200, response.text
        return msgpack.unpackb(response.content)

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = self.get("/status").json()
        return content

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def close(self) -> None:
        self.session.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)


@pytest.fixture(scope="session")
def start(python_of: Callable[[str], str], packages_of: Callable[[str, str], Path]) -> Callable[..., RunningServer]:
    """Starts a server over a new bundle in a folder; the caller closes it."""

    def start_in(
        folder: Path,
        model: str = MODEL,
        version: str = DEFAULT_VERSION,
        files: dict[str, str] | None = None,
        alias: Path | None = None,
        **environment: str,
    ) -> RunningServer:
        python = python_of(version)
        packages = packages_of(python, version)
        if alias is not None:
            alias.symlink_to(python)
            python = str(alias)
        for name, content in {".mdai/mdai_deploy.py": model, **(files or {})}.items():
            path = folder / "lib" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return RunningServer(python, packages, folder, environment)

    return start_in


@pytest.fixture
def serve(tmp_path: Path, start: Callable[..., RunningServer]) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers: ``serve(model, version="3.11", files={...}, MDAI_X="...")``; stops them after the test."""
    with contextlib.ExitStack() as stack:

        def start_one(*arguments: Any, **options: Any) -> RunningServer:
            server = start(tmp_path / "src", *arguments, **options)
            stack.callback(server.close)
            return server

        yield start_one


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., RunningServer]) -> Iterator[RunningServer]:
    """A server that is ready and serves all tests of a module that leave it as it was."""
    server = start(tmp_path_factory.mktemp("shared"))
    with contextlib.closing(server):
        yield server.until_ready()
