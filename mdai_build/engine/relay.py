"""Reaches the server of a container that has no network: each connection to a port of loopback here is carried in by a
process that the engine runs beside the server.

So nothing is published, the model reaches neither this machine nor any other, and an engine elsewhere is reached too.
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import docker

_BLOCK = 256 * 1024
_FRAME = struct.Struct(">BxxxL")  # Docker Engine API, "Attach to a container": stream, size
_STDOUT = 1
_CLOSE_SECONDS = 2.0
"""An engine that does not answer is not waited for longer."""
_INSIDE = """
import os, socket, sys, threading, time
until = time.monotonic() + 4
while True:
    try:
        server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        if time.monotonic() > until:
            sys.exit(1)
        time.sleep(0.02)
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

def carry_in():
    while True:
        data = os.read(0, 262144)
        if not data:
            break
        server.sendall(data)
    server.shutdown(socket.SHUT_WR)

threading.Thread(target=carry_in, daemon=True).start()
while True:
    data = memoryview(server.recv(262144))
    if not data:
        break
    while data:
        data = data[os.write(1, data):]
"""
"""What runs in the container, on Python 3.7 or newer. A server that does not listen yet is waited for."""


@contextmanager
def relayed(client: docker.DockerClient, container: str, interpreter: str, port: int) -> Iterator[str]:
    """The URL under which a server on this port of a container's loopback is reached, while the block lasts.

    `interpreter` is a Python of the image.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = _Relay(client, container, [interpreter, "-I", "-S", "-c", _INSIDE, str(port)])
        accepting = threading.Thread(target=relay.accept, args=(listener,), daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # else `accept` would wait on
            relay.end()


class _Relay:
    def __init__(self, client: docker.DockerClient, container: str, command: list[str]) -> None:
        self._client = client
        self._container = container
        self._command = command
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def accept(self, listener: socket.socket) -> None:
        """Carries connections until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            carrying = threading.Thread(target=self._carry, args=(connection,), daemon=True)
            self._threads = [*(thread for thread in self._threads if thread.is_alive()), carrying]
            carrying.start()

    def end(self) -> None:
        """Ends every connection, and sees them closed."""
        with self._lock:
            for connection in self._open:
                _shut(connection)
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)

    def _carry(self, connection: socket.socket) -> None:
        with contextlib.suppress(docker.errors.APIError, OSError), connection:
            stream, inside = self._start()
            with self._lock:
                self._open |= {connection, inside}
            try:
                threading.Thread(target=_copy_in, args=(connection, inside), daemon=True).start()
                _copy_out(inside, connection)
            finally:
                with self._lock:
                    self._open -= {connection, inside}
                _shut(inside)
                _shut(connection)
                # The library hangs it on the stream, and leaves it to the garbage collector.
                if (response := getattr(stream, "_response", None)) is not None:
                    response.close()
                inside.close()

    def _start(self) -> tuple[Any, socket.socket]:
        """The process in the container, as the library's stream and its socket: what is sent there is its standard
        input, what is received its output in frames."""
        api = cast(Any, self._client.api)
        process = api.exec_create(self._container, self._command, stdin=True, stdout=True, stderr=False)
        stream = api.exec_start(process["Id"], socket=True)
        inside = cast(socket.socket, getattr(stream, "_sock", stream))
        inside.settimeout(None)
        return stream, inside


def _copy_in(connection: socket.socket, inside: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := connection.recv(_BLOCK):
            inside.sendall(data)
    with contextlib.suppress(OSError):
        inside.shutdown(socket.SHUT_WR)


def _copy_out(inside: socket.socket, connection: socket.socket) -> None:
    with cast(io.BufferedReader, inside.makefile("rb", _BLOCK)) as stream:
        while len(head := stream.read(_FRAME.size)) == _FRAME.size:
            kind, size = _FRAME.unpack(head)
            while size:
                data = stream.read1(min(size, _BLOCK))
                if not data:
                    return
                size -= len(data)
                if kind == _STDOUT:
                    connection.sendall(data)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
