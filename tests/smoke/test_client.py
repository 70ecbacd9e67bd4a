"""The client against servers that mean harm: the one in an image is as much a stranger's as the model."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import msgpack
import pytest

from mdai_build.smoke import client as client_module
from mdai_build.smoke import decode
from mdai_build.smoke.client import Client, NoReplyError, TooLargeError, TooSlowError
from mdai_build.smoke.decode import NotDecodableError, decode_answer

Serve = Callable[[Callable[[socket.socket], None]], str]


@pytest.fixture
def served() -> Iterator[Serve]:
    """Serves each connection by a function; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def start(answer: Callable[[socket.socket], None]) -> str:
        def loop() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        answer(connection)
                    except OSError:
                        pass

        threading.Thread(target=loop, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_nobody_is_followed_elsewhere(served: Serve) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as inner:
        inner.settimeout(0.3)
        place = f"http://127.0.0.1:{inner.getsockname()[1]}/latest/meta-data"

        def answer(connection: socket.socket) -> None:
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())

        with Client(served(answer)) as client:
            assert client.get("/version").status == 302
        with pytest.raises(TimeoutError):
            asked.append(inner.accept()[0].recv(100))
    assert not asked


@pytest.mark.parametrize("part", ["status", "headers", "body"])
def test_an_answer_that_drips_ends_at_its_limit(served: Serve, part: str) -> None:
    begin = {
        "status": b"",
        "headers": b"HTTP/1.1 200 OK\r\n",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
    }

    def answer(connection: socket.socket) -> None:
        connection.sendall(begin[part])
        for _ in range(200):
            connection.sendall(b"H")
            time.sleep(0.02)

    begun = time.monotonic()
    with Client(served(answer)) as client, pytest.raises(TooSlowError):
        client.get("/ready", seconds=0.3)
    assert time.monotonic() - begun < 2


def test_a_page_may_not_fill_the_memory(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_PAGE_BYTES", 1000)

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with Client(served(answer)) as client, pytest.raises(TooLargeError):
        client.get("/status", seconds=2)


def test_packed_answers_stay_packed(served: Serve) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\0")

    with Client(served(answer)) as client:
        assert client.get("/status").body == b"\x1f\x8b\x08\0"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
    ],
)
def test_what_is_no_http_is_no_reply(served: Serve, said: bytes) -> None:
    with Client(served(lambda connection: connection.sendall(said))) as client, pytest.raises(NoReplyError):
        client.get("/ready", seconds=1)


def test_a_connection_that_was_closed_is_opened_anew(served: Serve) -> None:
    with Client(served(lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))) as client:
        for _ in range(3):
            assert client.post("/inference", b"x" * 100_000, "a/b", 2).body == b"x"
            time.sleep(0.02)


def test_a_small_body_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_answer(msgpack.packb([{"a": [[1, 2]]}])) == [{"a": [[1, 2]]}]
    monkeypatch.setattr(decode, "MAX_PARTS", 100)
    for part in (b"\x90", b"\x80", b"\xd4\x05x"):
        with pytest.raises(NotDecodableError, match="more than 100 lists and maps"):
            decode_answer(b"\xdc\x00\xc8" + part * 200)
    for broken in (b"", b"\xc1", b"\x91", b"\x81\x90\x01", b"\x91" * 5000 + b"\x90", b"\xd9\x01\xff"):
        with pytest.raises(NotDecodableError, match="not msgpack"):
            decode_answer(broken)
