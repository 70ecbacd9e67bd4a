"""Servers that misbehave: they never answer, break off in the middle, or are too old. All are on loopback."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
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

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


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


class _Quiet(BaseHTTPRequestHandler):
    """Answers with some bytes, whole or up to their middle, and logs nothing."""

    def answer(self, content: bytes, *, whole: bool = True, **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(OSError):
                self.wfile.write(content if whole else content[: len(content) // 2])
                self.wfile.flush()
                if not whole:
                    self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _OneWheel(_Quiet):
    """The same wheel under every path, so that each build can have a requirement that is new to it."""

    wheel: bytes
    whole = True

    def do_GET(self) -> None:
        self.answer(self.wheel, whole=self.whole)

    do_HEAD = do_GET


class _Registry(_Quiet):
    """Has one image under every name, of which the layer never comes whole."""

    blobs: dict[str, bytes]
    manifest: bytes
    layer: str

    def do_GET(self) -> None:
        digest = self.path.rpartition("/")[2]
        if "/manifests/" in self.path:
            self.answer(self.manifest, Content_Type=_MANIFEST, Docker_Content_Digest=_digest(self.manifest))
        elif "/blobs/" in self.path:
            self.answer(self.blobs[digest], whole=digest != self.layer)
        else:
            self.answer(b"{}")

    do_HEAD = do_GET


class _OldEngine(_Quiet):
    def do_GET(self) -> None:
        self.answer(json.dumps({"Version": "20.10.5", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode())

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


@contextlib.contextmanager
def wheel_server(place: Path, size: int = 0, whole: bool = True) -> Iterator[str]:
    """The URL of a server that gives the wheel of `probe` 1.0 under every path, `size` bytes larger than it need be.

    Not `whole`: each answer breaks off in its middle.
    """
    wheel = place / "probe-1.0-py3-none-any.whl"
    write_wheel(wheel, "probe", f"VALUE = {secrets.token_hex(size // 2)!r}\n")
    with _listening(_OneWheel, wheel=wheel.read_bytes(), whole=whole) as url:
        yield url


@contextlib.contextmanager
def breaking_registry() -> Iterator[str]:
    """The `host:port` of a registry whose connections break off in the middle of a layer."""
    layer = gzip.compress(secrets.token_bytes(2**20))
    rootfs = {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    kinds = ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip")
    told = [
        {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}
        for kind, blob in zip(kinds, (config, layer), strict=True)
    ]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": told[0], "layers": told[1:]}
    blobs = {_digest(blob): blob for blob in (config, layer)}
    written = json.dumps(manifest).encode()
    with _listening(_Registry, blobs=blobs, manifest=written, layer=_digest(layer)) as url:
        yield url.removeprefix("http://")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextlib.contextmanager
def _listening(handler: type[_Quiet], **values: object) -> Iterator[str]:
    """The URL of a server on loopback whose handlers have these values."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Own", (handler,), values))
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
