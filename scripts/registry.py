"""A plain image registry on loopback, for tests and benchmarks.

The program is Debian's package, unpacked into a folder of ours once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import debian

PACKAGE = "docker-registry"
START_SECONDS = 20


def install(folder: Path) -> Path:
    """The program, unpacked below `folder` once.

    Raises:
        debian.Unavailable: not root, not Debian, or no package to be had.
    """
    root = folder / "registry"
    program = root / "usr/bin/docker-registry"
    if not program.exists():
        debian.unpack([PACKAGE], suite=debian.codename(), into=root, work=folder / "apt-registry", dependencies=False)
    return program


@contextlib.contextmanager
def serving(programs: Path, data: Path, port: int = 0, htpasswd: str = "") -> Iterator[str]:
    """A registry while the block lasts; gives its `host:port`. Docker trusts plain HTTP on loopback.

    It asks for a login where `htpasswd` has some, as lines of `name:bcrypt`.

    Raises:
        debian.Unavailable: it cannot be installed, or does not start.
    """
    program = install(programs)
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    configuration = data / "registry.json"  # JSON is YAML
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    data.mkdir(parents=True, exist_ok=True)
    if htpasswd:
        (data / "htpasswd").write_text(htpasswd)
        settings["auth"] = {"htpasswd": {"realm": "private", "path": str(data / "htpasswd")}}
    configuration.write_text(json.dumps(settings))
    log = data / "registry.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "serve", configuration],
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise debian.Unavailable(f"the registry did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
