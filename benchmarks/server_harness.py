"""Starts the servers that the benchmarks measure, and speaks to them."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import platformdirs
import uv

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
MODEL = HERE / "server_model"
RUNTIME = ROOT / "mdai_build" / "runtime" / "__main__.py"


def find_python(version: str) -> str:
    """The path of a Python of this version, on PATH or among pyenv's; raises LookupError."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for candidate in [*map(str, pyenv.glob(f"versions/{version}.*/bin/python")), shutil.which(f"python{version}")]:
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    raise LookupError(f"no Python {version} on this machine")


def install(python: str, *what: str) -> Path:
    """A folder with packages for this Python, made once."""
    key = hashlib.sha256(repr((python, what)).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("mdai-build") / "benchmarks" / key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [uv.find_uv_bin(), "pip", "install", "-q", "--python", python, "--target", str(folder)]
        subprocess.run([*command, *what], check=True)
    return folder


def server_packages(python: str, version: str) -> Path:
    """The server's own packages, by its pins."""
    return install(python, "-r", str(ROOT / "base_images" / "server" / f"py{version.replace('.', '')}.txt"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Client:
    """One connection to a server."""

    def __init__(self, port: int, timeout: float = 600) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def get(self, path: str) -> tuple[int, bytes]:
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        return response.status, response.read()

    def post(self, body: Any) -> tuple[int, bytes]:
        self.connection.request("POST", "/inference", body, {"content-type": "application/msgpack"})
        response = self.connection.getresponse()
        return response.status, response.read()

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.get("/status")[1])
        return content


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    """Runs a server until the block ends; gives its process id once it is ready."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=MODEL, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            wait_until_ready(port, process)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            if Client(port).get("/ready")[0] == 200:
                return
        except OSError:
            if process.poll() is not None:
                raise
        time.sleep(0.005)


@contextmanager
def our_server(python: str, version: str, **environment: str) -> Iterator[tuple[int, int]]:
    """Our server with the benchmarks' model: its port and process id."""
    port = free_port()
    variables = {
        "MDAI_MODEL_ROOT": str(MODEL / "lib"),
        "MDAI_SERVER_PACKAGES": str(server_packages(python, version)),
        "MDAI_HOST": "127.0.0.1",
        "MDAI_PORT": str(port),
        **environment,
    }
    with running([python, "-I", "-S", str(RUNTIME)], port, variables) as pid:
        yield port, pid


@contextmanager
def event_loop_server(python: str) -> Iterator[tuple[int, int]]:
    """The baseline that does everything in its event loop: its port and process id."""
    port = free_port()
    packages = install(python, "fastapi", "uvicorn", "httptools", "msgpack")
    script = [str(HERE / "server_event_loop.py"), str(packages), str(MODEL / "lib" / ".mdai"), str(port)]
    with running([python, *script], port, {}) as pid:
        yield port, pid


def request(slices: int = 0, **args: str) -> bytes:
    """A packed request with so many random 16-bit slices of 512x512 pixels."""
    files = [{"content": os.urandom(2 * 512 * 512), "content_type": "application/dicom"} for _ in range(slices)]
    packed: bytes = msgpack.packb({"files": files, "annotations": [], "label_classes": [], "args": args})
    return packed


def memory(pid: int, field: str) -> int:
    """Bytes of a process, by a field of /proc/PID/status: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
