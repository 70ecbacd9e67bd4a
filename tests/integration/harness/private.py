"""Servers on loopback that ask for a login, with or without TLS: files, a package index, git; and a proxy."""

from __future__ import annotations

import base64
import contextlib
import functools
import html
import select
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from harness.loopback import _Git


@dataclass(frozen=True)
class Account:
    """Who may come in."""

    user: str
    password: str

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass
class Served:
    """A running server."""

    port: int
    scheme: str
    refused: list[str] = field(default_factory=list)
    """Paths that were asked for without the login."""
    answered: list[str] = field(default_factory=list)
    """Paths that were asked for with it."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def url_with(self, account: Account) -> str:
        """The address as somebody writes it who puts the login there."""
        login = f"{account.user}:{urllib.parse.quote(account.password, safe='')}"
        return f"{self.scheme}://{login}@127.0.0.1:{self.port}"


class _Private(BaseHTTPRequestHandler):
    """Lets nobody in without the login."""

    account: Account | None
    served: Served

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.account is not None and self.headers.get("Authorization") != self.account.basic:
            self.served.refused.append(self.path)
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        self.served.answered.append(self.path)
        return True

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Files(_Private, SimpleHTTPRequestHandler):
    """Files of a folder, and under /simple/ an index of the wheels and sdists at its top (PEP 503)."""

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if not path.startswith("/simple/"):
            super().do_GET()
            return
        name = path.removeprefix("/simple/").strip("/")
        files = [
            file.name
            for file in sorted(Path(self.directory).iterdir())
            if file.name.endswith((".whl", ".tar.gz")) and canonicalize_name(file.name.split("-")[0]) == name
        ]
        if not files:
            self.send_error(404)
            return
        links = "".join(f'<a href="/{urllib.parse.quote(file)}">{html.escape(file)}</a>\n' for file in files).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(links)))
        self.end_headers()
        self.wfile.write(links)


class _PrivateGit(_Private, _Git):
    """Git's smart protocol, behind the login."""


class _Proxy(BaseHTTPRequestHandler):
    """A proxy that asks for a login; it brings every host name to loopback."""

    account: Account
    served: Served

    def _let_in(self) -> bool:
        if self.headers.get("Proxy-Authorization") == self.account.basic:
            self.served.answered.append(self.path)
            return True
        self.served.refused.append(self.path)
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _forward(self) -> None:
        if not self._let_in():
            return
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        place = f"http://127.0.0.1:{parts.port or 80}{parts.path}{'?' + parts.query if parts.query else ''}"
        request = urllib.request.Request(place, body, kept, method=self.command)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                self._pass_on(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            self._pass_on(error.code, error.headers, error.read())

    def _pass_on(self, status: int, headers: Any, content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = _forward

    def do_CONNECT(self) -> None:
        if not self._let_in():
            return
        port = int(self.path.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while True:
                for end in select.select(list(ends), [], [], 60)[0]:
                    data = end.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _serving(handler: type[Any], account: Account | None, tls: ssl.SSLContext | None, **extra: Any) -> Iterator[Served]:
    served = Served(0, "https" if tls else "http")
    directory = {"directory": str(extra.pop("directory"))} if "directory" in extra else {}
    own = type("Own", (handler,), {"account": account, "served": served, **extra})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(own, **directory))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    served.port = server.server_address[1]
    # Clients break off connections on purpose: to offer a login, or when they distrust a certificate.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def private_files(folder: Path, account: Account | None, tls: ssl.SSLContext | None = None) -> Any:
    """A folder's files behind a login, if any; its wheels and sdists also as an index under /simple/."""
    return _serving(_Files, account, tls, directory=folder)


def private_git(folder: Path, account: Account, tls: ssl.SSLContext | None = None) -> Any:
    """The bare repositories of a folder behind a login."""
    return _serving(_PrivateGit, account, tls, root=folder)


def private_proxy(account: Account) -> Any:
    """A proxy behind a login, through which any host name leads to loopback."""
    return _serving(_Proxy, account, None)
