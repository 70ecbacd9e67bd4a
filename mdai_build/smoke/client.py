"""HTTP with the served model: limits on time and size, no proxies, every way of not answering told apart.

The server in an image is a stranger's as much as the model: what a requirement's setup.py did to its Python, nobody
knows. So it is neither followed to other addresses nor asked for packed answers, and no answer outlasts its limit, even
one that arrives byte by byte.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from typing_extensions import Self

if TYPE_CHECKING:
    from mdai_build.smoke.request import RequestBody

MAX_ANSWER_BYTES = 256 * 1024**2
MAX_PAGE_BYTES = 1024**2
"""Of `/status` and the like."""
_NO_HEADERS: Mapping[str, str] = {}
_CONNECT_SECONDS = 5.0
_MOST_TEXT_BYTES = 1024**2
_LONG_LINE = re.compile(r"([^\n]{4096})[^\n]+")
_LONGEST_WORD = 100
_LONGEST_TIMING = 4096
_CHUNK = 1024 * 1024


class NoReplyError(Exception):
    """The connection was refused, or it broke before the answer was complete."""


class TooSlowError(Exception):
    """No complete answer within the limit."""


class TooLargeError(Exception):
    """The answer is larger than we are ready to hold."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes = field(repr=False)
    seconds: float = 0.0
    failure: str = ""
    """The step that our server says has failed (header `mdai-failure`); empty from others."""
    timing: str = ""
    """What our server says that the steps took (header `server-timing`); empty from others."""

    @property
    def text(self) -> str:
        """The body as text, whatever bytes it holds; of what nobody could read, the begin."""
        text = self.body[:_MOST_TEXT_BYTES].decode("utf-8", "replace")
        return _LONG_LINE.sub(r"\1…", text)


class Client:
    """Talks to one target, over one connection while that lasts. No proxy is asked: the target is on this machine."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_CONNECT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, seconds: float = 5.0) -> Reply:
        """GET; raises NoReplyError, TooSlowError or TooLargeError."""
        return self._ask("GET", path, seconds, MAX_PAGE_BYTES)

    def post(
        self, path: str, body: bytes | RequestBody, content_type: str, seconds: float, measure: bool = False
    ) -> Reply:
        """POST; raises NoReplyError, TooSlowError or TooLargeError. `measure` asks for memory in `Reply.timing`."""
        # The length is told, since http.client would send what it can only go through in chunks.
        headers = {"content-type": content_type, "content-length": str(len(body))}
        if measure:
            headers["mdai-measure"] = "memory"
        return self._ask("POST", path, seconds, MAX_ANSWER_BYTES, body, headers)

    def _ask(
        self,
        method: str,
        path: str,
        seconds: float,
        most: int,
        body: bytes | RequestBody | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Reply:
        begin = time.monotonic()
        whole, cut_off = False, threading.Event()
        try:
            with self._connected(seconds, cut_off):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered all the same
                    self._connection.request(method, path, body, dict(headers))
                reply = self._connection.getresponse()
                content = bytearray()
                while chunk := reply.read(_CHUNK):
                    content += chunk
                    if len(content) > most:
                        raise TooLargeError(f"more than {most} bytes")
                if cut_off.is_set():
                    raise TimeoutError
                if reply.length:
                    raise NoReplyError(f"the answer ends {reply.length} bytes too early")
                whole = True
                return Reply(
                    status=reply.status,
                    content_type=(reply.getheader("content-type") or "")
                    .partition(";")[0]
                    .strip()
                    .lower()[:_LONGEST_WORD],
                    body=bytes(content),
                    seconds=time.monotonic() - begin,
                    failure=(reply.getheader("mdai-failure") or "")[:_LONGEST_WORD],
                    timing=(reply.getheader("server-timing") or "")[:_LONGEST_TIMING],
                )
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, TimeoutError) or cut_off.is_set():
                raise TooSlowError(f"no complete answer within {seconds:g} s") from error
            raise NoReplyError(str(error) or type(error).__name__) from error
        finally:
            if not whole:
                self._connection.close()

    @contextlib.contextmanager
    def _connected(self, seconds: float, cut_off: threading.Event) -> Iterator[None]:
        """A connection that ends after so long, whatever arrives on it: a socket's own limit is on silence alone."""
        if self._connection.sock is None or select.select([self._connection.sock], [], [], 0)[0]:
            self._connection.close()  # if there was one, the server has closed it, or says what nobody asked
            self._connection.timeout = min(_CONNECT_SECONDS, seconds)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected = self._connection.sock
        connected.settimeout(seconds)

        def end() -> None:
            cut_off.set()
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
