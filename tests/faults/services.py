"""Servers that misbehave: one that never answers, one that breaks off, an engine that is too old."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any


@contextlib.contextmanager
def silent(listener: socket.socket) -> Iterator[None]:
    """Takes connections and never says a word."""
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in taken:
            connection.close()


@contextlib.contextmanager
def silent_engine(place: Path) -> Iterator[str]:
    """The address of an engine that hangs."""
    path = place / "silent.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    with silent(listener):
        yield f"unix://{path}"


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a server that hangs."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with silent(listener):
        yield f"http://127.0.0.1:{port}"


class _OldEngine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"Version": "20.10.5", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def old_engine(place: Path) -> Iterator[str]:
    """The address of an engine that says it is of version 20.10."""
    path = place / "old.sock"
    with _serving(_UnixServer(str(path), _OldEngine)):
        yield f"unix://{path}"


class _BreaksOff(BaseHTTPRequestHandler):
    """Promises a wheel and breaks off in its middle."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(b"PK\3\4" + bytes(10_000))
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def server_that_breaks_off() -> Iterator[str]:
    """The URL of a server whose answers end in their middle."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BreaksOff)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextlib.contextmanager
def _serving(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Cutting:
    """A way to a port of loopback that is cut after so many bytes, each time."""

    def __init__(self, port: int, after: int) -> None:
        self._port, self._after = port, after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Cutting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self._port)) as far:
            threading.Thread(target=_copy, args=(near, far), daemon=True).start()
            rest = self._after
            while rest > 0 and (data := far.recv(min(65536, rest))):
                near.sendall(data)
                rest -= len(data)


def _copy(near: socket.socket, far: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := near.recv(65536):
            far.sendall(data)
