"""Statements beside images in registries that mean no good, all on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mdai_build.engine import Engine, attach, attached_statement
from mdai_build.engine.process import Environment
from mdai_build.errors import UnavailableError

KIND = "https://slsa.dev/provenance/v1"
DIGEST = "sha256:" + "ab" * 32
STATEMENT = b'{"payload": "of a statement"}'
LOGIN = base64.b64encode(b"user:registry-password").decode()
Say = Callable[[str, socket.socket], None]
"""Answers a request, of which it is given all lines."""


@contextmanager
def server(say: Say) -> Iterator[str]:
    """The `host:port` of a server that says to each request what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                if not (part := connection.recv(4096)):
                    return
                request += part
            say(request.decode(), connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def engine(tmp_path: Path) -> Callable[[str], Engine]:
    """An engine whose user has logged in at a registry."""

    def logged_in(address: str) -> Engine:
        (tmp_path / "config.json").write_text(json.dumps({"auths": {address: {"auth": LOGIN}}}))
        return Engine(None, "", "", Environment({"DOCKER_CONFIG": str(tmp_path)}))  # type: ignore[arg-type]

    return logged_in


def answer(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = (f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


def manifest(content: bytes = STATEMENT, **changed: object) -> bytes:
    layer = {
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
        "annotations": {"predicateType": KIND},
    }
    return answer(json.dumps({"layers": [{**layer, **changed}]}).encode())


def found(engine: Callable[[str], Engine], say: Say) -> bytes | None:
    with server(say) as address:
        return attached_statement(engine(address), f"{address}/models/lungs@{DIGEST}", KIND)


def endless(begin: bytes, part: bytes, pause: float = 0) -> Say:
    """Says it, and then one part after the other, for as long as somebody listens."""

    def say(request: str, connection: socket.socket) -> None:
        if "/manifests/" in request and b"blob" in begin:
            connection.sendall(manifest())
            return
        connection.sendall(begin.replace(b"blob", b""))
        while True:
            connection.sendall(part)
            time.sleep(pause)

    return say


def test_a_statement_is_found(engine: Callable[[str], Engine]) -> None:
    def say(request: str, connection: socket.socket) -> None:
        assert f"Authorization: Basic {LOGIN}" in request
        connection.sendall(manifest() if "/manifests/" in request else answer(STATEMENT))

    assert found(engine, say) == STATEMENT


@pytest.mark.parametrize(
    "say, why",
    [
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 2**20), "more than 32 MiB"),
        (endless(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nblob", b"\0" * 2**20), "more than 32 MiB"),
        (endless(b"HTTP/1.1 307 X\r\nLocation: /v2/\r\n\r\n", b"x" * 2**20), "more than 32 MiB"),
        (endless(b"HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm=\"x\"\r\n\r\n", b"x" * 2**20), "more than 32 MiB"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), "does not answer"),
        (endless(b"HTTP/1.1 200 OK\r\nA: ", b"x" * 2**20), "does not answer"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001), "no whole answer within 1 s"),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b" ", 0.05), "no whole answer within 1 s"),
        (endless(b"HTTP/1.1 200 OK\r\nA: ", b" ", 0.05), "no whole answer within 1 s"),
    ],
    ids=("manifest", "blob", "redirect", "login", "headers", "header", "continue", "trickle", "trickling header"),
)  # fmt: skip
def test_what_never_ends_is_given_up(
    say: Say, why: str, engine: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_LONGEST_SECONDS", 1 if "within" in why else 30)
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as failure:
        found(engine, say)
    assert why in failure.value.problems[0].what and failure.value.problems[0].code == "engine.registry-silent"
    assert time.monotonic() - begun < 20


def test_redirects_without_end_are_given_up(engine: Callable[[str], Engine]) -> None:
    asked = []

    def say(request: str, connection: socket.socket) -> None:
        asked.append(request)
        connection.sendall(answer(b"", "307 X", "Location: /v2/again"))

    assert found(engine, say) is None
    assert 1 < len(asked) < 10


def test_a_login_does_not_follow_to_another_place(
    engine: Callable[[str], Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a registry's blobs may be elsewhere; nor does one of the user's own netrc file."""
    (tmp_path / "netrc").write_text("default login user password netrc-password\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    elsewhere = []

    def store(request: str, connection: socket.socket) -> None:
        elsewhere.append(request)
        connection.sendall(answer(STATEMENT))

    with server(store) as other:

        def say(request: str, connection: socket.socket) -> None:
            there = answer(b"", "307 X", f"Location: http://{other}/blob")
            connection.sendall(manifest() if "/manifests/" in request else there)

        assert found(engine, say) == STATEMENT
    assert len(elsewhere) == 1 and "authorization" not in elsewhere[0].lower()


@pytest.mark.parametrize(
    "said",
    [
        answer(b"[]"),
        answer(b"null"),
        answer(b"[" * 200_000),
        answer(b"\xff"),
        answer(b'{"layers": {}}'),
        answer(b'{"layers": [1, {"annotations": []}, {"annotations": {"predicateType": "%s"}}]}' % KIND.encode()),
        manifest(digest="../../../elsewhere"),
        manifest(digest=["x"], size="many"),
        manifest(b"another statement"),
        answer(b"", "401 X", 'WWW-Authenticate: Bearer realm="http://127.0.0.1:1/", service="x"'),
    ],
    ids=range(10),
)
def test_what_is_no_statement_is_none(said: bytes, engine: Callable[[str], Engine]) -> None:
    asked = []

    def say(request: str, connection: socket.socket) -> None:
        asked.append(request.partition(" HTTP")[0])
        connection.sendall(said if "/manifests/" in request else answer(STATEMENT))

    if b"401" in said:
        with pytest.raises(UnavailableError, match="does not answer"):
            found(engine, say)
    else:
        assert found(engine, say) is None
    assert not [line for line in asked if "elsewhere" in line]


def test_a_token_that_is_none_is_not_sent(engine: Callable[[str], Engine]) -> None:
    asked = []

    def say(request: str, connection: socket.socket) -> None:
        asked.append(request)
        challenge = f'WWW-Authenticate: Bearer realm="http://{request.partition("Host: ")[2].split()[0]}/token"'
        connection.sendall(answer(b"[]") if "/token" in request else answer(b"", "401 X", challenge))

    assert found(engine, say) is None
    assert len(asked) == 2 and not any("Bearer" in request for request in asked)


def test_a_token_is_asked_for_with_the_login_and_then_stands_in_its_place(engine: Callable[[str], Engine]) -> None:
    asked = []

    def say(request: str, connection: socket.socket) -> None:
        asked.append(request)
        host = request.partition("Host: ")[2].split()[0]
        challenge = f'WWW-Authenticate: Bearer realm="http://{host}/token",service="s",scope="repository:x:pull"'
        if "/token?" in request:
            connection.sendall(answer(b'{"token": "T0ken"}'))
        elif "Bearer T0ken" not in request:
            connection.sendall(answer(b"", "401 X", challenge))
        else:
            connection.sendall(manifest() if "/manifests/" in request else answer(STATEMENT))

    assert found(engine, say) == STATEMENT
    assert "GET /token?service=s&scope=repository%3Ax%3Apull " in asked[1] and f"Basic {LOGIN}" in asked[1]
    assert len(asked) == 4 and all(LOGIN not in request for request in asked[2:])
