"""Requests that ask for another protocol, and headers that never end: on each Python, since each has its uvicorn."""

from __future__ import annotations

import socket
import time
from typing import Any

import msgpack
import pytest

# Starts the real server: what its packages make of bytes is what is tested.
pytestmark = pytest.mark.process

VERSIONS = ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
HEAD = b"POST /inference HTTP/1.1\r\nhost: x\r\ncontent-type: application/msgpack\r\n"
# As Java's HttpClient sends them by default.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n"
HEAD_SECONDS = 0.6


def connect(server: Any) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), 10)
    connection.settimeout(10)
    return connection


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer that announces its length."""
    answer = b""
    while True:
        got = connection.recv(65536)
        assert got, f"the connection ended after {answer!r}"
        answer += got
        head, end, content = answer.partition(b"\r\n\r\n")
        if end and len(content) == int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return int(answer.split()[1]), content


def body(note: str, do: str = "") -> bytes:
    packed: bytes = msgpack.packb({"files": [], "args": {"do": do, "note": note}})
    return packed


def note_of(answer: tuple[int, bytes]) -> str:
    status, content = answer
    assert status == 200, content
    note: str = msgpack.unpackb(content)[0]["note"]
    return note


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start: Any) -> Any:
    running = start(tmp_path_factory.mktemp("src"), version=request.param, MDAI_HEAD_TIMEOUT=str(HEAD_SECONDS))
    try:
        yield running.until_ready()
    finally:
        running.close()


def test_who_asks_for_http_2_is_answered_as_anyone(server: Any) -> None:
    large = body("x" * 300_000)
    with connect(server) as connection:
        connection.sendall(HEAD + H2C + b"content-length: %d\r\n\r\n" % len(large) + large)
        assert note_of(read_answer(connection)) == "x" * 300_000
        # The connection goes on, with such requests and with others.
        for extra in (H2C, b"", H2C):
            content = body("again")
            connection.sendall(HEAD + extra + b"content-length: %d\r\n\r\n" % len(content))
            time.sleep(0.02)
            connection.sendall(content)
            assert note_of(read_answer(connection)) == "again"
        connection.sendall(b"GET /version HTTP/1.1\r\nhost: x\r\n" + H2C + b"\r\n")
        assert read_answer(connection) == (200, b"0.3")
        content = body("chunked")
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:9], content[9:], b""))
        connection.sendall(HEAD + H2C + b"transfer-encoding: chunked\r\n\r\n" + chunks)
        assert note_of(read_answer(connection)) == "chunked"
        websocket = b"connection: upgrade\r\nupgrade: websocket\r\n"
        connection.sendall(HEAD + websocket + b"content-length: %d\r\n\r\n" % len(content) + content)
        assert note_of(read_answer(connection)) == "chunked"


def test_many_such_requests_at_once_are_answered_each(server: Any) -> None:
    one = b"GET /version HTTP/1.1\r\nhost: x\r\n" + H2C + b"\r\n"
    with connect(server) as connection:
        connection.sendall(1500 * one)
        answers = b""
        while answers.count(b"\r\n\r\n0.3") < 1500:
            got = connection.recv(65536)
            assert got
            answers += got
    assert answers.count(b"HTTP/1.1 200") == 1500


def test_connect_is_no_upgrade(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n")
        assert b" 200 " not in connection.recv(65536)[:15]
    assert server.get("/healthz").status_code == 200


def test_headers_that_take_too_long_end_the_connection(server: Any) -> None:
    begun = time.monotonic()
    with connect(server) as silent, connect(server) as slow, connect(server) as kept:
        kept.sendall(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_answer(kept) == (200, b"0.3")
        slow.sendall(HEAD)
        while not _is_readable(slow):
            assert time.monotonic() - begun < 10 * HEAD_SECONDS
            slow.sendall(b"x: y\r\n")
        status, text = read_answer(slow)
        assert (status, b"MDAI_HEAD_TIMEOUT" in text) == (408, True)
        assert time.monotonic() - begun >= HEAD_SECONDS
        assert silent.recv(1) == b""
        # A connection that waits for its next request is no such thing; one in whose next request bytes trickle is.
        assert not _is_readable(kept)
        kept.sendall(b"\r\n\r\n")
        assert not _is_readable(kept, 2 * HEAD_SECONDS)
        kept.sendall(b"GET /vers")
        assert read_answer(kept)[0] == 408


def test_a_body_and_an_answer_may_take_longer_than_headers(server: Any) -> None:
    content = body("slow", f"time.sleep({2 * HEAD_SECONDS})")
    with connect(server) as connection:
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(content))
        for byte in (content[:1], content[1:2], content[2:]):
            time.sleep(0.5 * HEAD_SECONDS)
            connection.sendall(byte)
        # The headers of the next request begin while this one is answered, which is not cut short.
        connection.sendall(b"GET /ver")
        answer = b""
        while got := connection.recv(65536):
            answer += got
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"\xa4slow" in answer
        assert b"HTTP/1.1 408" in answer


def _is_readable(connection: socket.socket, seconds: float = 0.1) -> bool:
    """Whether something, be it the end, came within that time."""
    connection.settimeout(seconds)
    try:
        return len(connection.recv(1, socket.MSG_PEEK)) >= 0
    except TimeoutError:
        return False
    finally:
        connection.settimeout(10)
