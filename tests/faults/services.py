"""Servers that misbehave: one that never answers, one that breaks off, an engine that is too old."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from harness.packing import write_wheel


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

    wheel: bytes

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.wheel)))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(OSError):
                self.wfile.write(self.wheel[: len(self.wheel) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def server_that_breaks_off(place: Path) -> Iterator[str]:
    """The URL of a server whose answers end in their middle."""
    wheel = place / "probe-1.0-py3-none-any.whl"
    write_wheel(wheel, "probe", f"VALUE = {secrets.token_hex(200_000)!r}\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Own", (_BreaksOff,), {"wheel": wheel.read_bytes()}))
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


class _OneWheel(BaseHTTPRequestHandler):
    """The same wheel under every path, so that each build can have a requirement that is new to it."""

    wheel: bytes

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.wheel)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.wheel)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def one_wheel(place: Path) -> Iterator[str]:
    """The URL of a server that gives the wheel of `probe` 1.0 under every path."""
    wheel = place / "probe-1.0-py3-none-any.whl"
    write_wheel(wheel, "probe", "VALUE = 1\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Own", (_OneWheel,), {"wheel": wheel.read_bytes()}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"
