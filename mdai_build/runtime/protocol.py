"""How a connection is read: uvicorn's way, with a limit of time for headers, and bodies whatever they ask beside.

Imports the server's own packages: only to be loaded once they are on ``sys.path``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_SLOW = "The headers of the request took longer than {:g} s (MDAI_HEAD_TIMEOUT).\n"


class _Parser(httptools.HttpRequestParser):  # type: ignore[misc]
    """Tells the protocol of an upgrade and what was behind it, where uvicorn would drop it."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: bytes) -> None:
        parser = self
        while True:  # a client may send many such requests at once
            try:
                super(_Parser, parser).feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self._protocol.upgrades():
                    raise  # CONNECT, which is no request for a page
                parser, data = self._protocol.begin_again(data[upgrade.args[0] :])


class Protocol(HttpToolsProtocol):
    """One connection.

    A server may ignore ``Upgrade`` (RFC 9110, 7.8), and clients that would like HTTP/2 count on that: Java's sends it
    with every first request, the body included. The parser takes such a request for one without a body, so it is read
    once more without that header.
    """

    head_timeout = 0.0
    """Seconds that the headers of a request may take; 0 for no limit."""

    def __init__(self, *arguments: Any, **names: Any) -> None:
        super().__init__(*arguments, **names)
        self.parser = _Parser(self)
        self._between = True
        self._in_head = True  # until the first one is read: who connects has something to ask
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._limit_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Empty lines before a request mean nothing (RFC 9112, 2.2), and do not keep a connection.
        if self._between and not data.strip(b"\r\n"):
            return
        super().data_received(data)
        if self._in_head:
            self._limit_head()
        elif self._timer is not None:
            self._stop_timer()

    def on_message_begin(self) -> None:
        self._between, self._in_head = False, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if not self.upgrades():
            self._in_head = False
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.upgrades():
            self._between = True
            super().on_message_complete()

    def upgrades(self) -> bool:
        """Whether the request at hand asks for another protocol, and so is to be read once more."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def begin_again(self, rest: bytes) -> tuple[_Parser, bytes]:
        """A new parser for the request at hand, and the request as if it did not ask for another protocol.

        ``rest`` came behind its headers.
        """
        version = self.parser.get_http_version().encode("ascii")
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines.extend(name + b": " + value for name, value in self.headers if name != b"upgrade")
        self.parser = _Parser(self)
        return self.parser, b"\r\n".join(lines) + b"\r\n\r\n" + rest

    def _limit_head(self) -> None:
        if self._timer is None and self.head_timeout:
            self._timer = self.loop.call_later(self.head_timeout, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._limit_head()  # the one before is still being answered
            return
        if not self._between:
            text = _TOO_SLOW.format(self.head_timeout).encode("ascii")
            head = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
            self.transport.write(head + b"content-length: %d\r\n\r\n" % len(text) + text)
        self.transport.close()
