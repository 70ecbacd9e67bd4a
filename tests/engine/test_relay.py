"""Connections that are carried into a container, by a client that stands for the engine's and speaks its frames."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mdai_build.engine.relay import relayed

SIZE = 3_000_000


class Processes:
    """The engine's calls that start a process in a container: here it is one of this machine."""

    def __init__(self) -> None:
        self.api = self
        self.started: list[subprocess.Popen[bytes]] = []
        self._commands: dict[str, list[str]] = {}

    def exec_create(self, container: str, command: list[str], **_: Any) -> dict[str, str]:
        self._commands[container] = command
        return {"Id": container}

    def exec_start(self, identity: str, socket: bool) -> Any:
        ours, theirs = _pair()
        process = subprocess.Popen(self._commands[identity], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.started.append(process)
        threading.Thread(target=_in, args=(theirs, process), daemon=True).start()
        threading.Thread(target=_out, args=(theirs, process), daemon=True).start()
        return SimpleNamespace(_sock=ours)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def _in(theirs: socket.socket, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with process.stdin:
        while data := theirs.recv(65536):
            process.stdin.write(data)


def _out(theirs: socket.socket, process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    with process.stdout, theirs:
        theirs.sendall(struct.pack(">BxxxL", 2, 5) + b"noise")  # standard error is not the server's
        while data := process.stdout.read(65536):
            theirs.sendall(struct.pack(">BxxxL", 1, len(data)) + data)
        process.wait()


@pytest.fixture
def server() -> Iterator[int]:
    """Sends back what it was sent, once it has all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    data = bytearray()
                    while len(data) < SIZE and (part := connection.recv(65536)):
                        data += part
                    connection.sendall(bytes(reversed(data)))

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.process
def test_bytes_go_in_and_come_out(server: int) -> None:
    """Starts the program that runs in a container, in this machine's Python."""
    engine: Any = Processes()
    sent = bytes(range(250)) * (SIZE // 250)
    with relayed(engine, "x", sys.executable, server) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port)), 10) as connection:
                threading.Thread(target=connection.sendall, args=(sent,)).start()
                received = bytearray()
                while len(received) < SIZE and (part := connection.recv(65536)):
                    received += part
            assert received == bytes(reversed(sent))
    assert [process.wait(5) for process in engine.started] == [0, 0]
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)), 1).close()
