"""Messages between server and worker: a small JSON object, and with it at most one open file."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from typing import Any, NamedTuple

_MESSAGE_BYTES = 32 * 1024
_FD_BYTES = array.array("i").itemsize


class ChannelError(Exception):
    """What arrived is not a message, or the channel is not the one that was opened."""


class Message(NamedTuple):
    """What was said, and a file that belongs to the receiver, who closes it."""

    content: dict[str, Any]
    fd: int | None

    def close(self) -> None:
        """Closes the file, if there is one."""
        if self.fd is not None:
            os.close(self.fd)


class Channel:
    """One end of a connected pair of sockets that keep message boundaries (``SOCK_SEQPACKET``)."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._identity = _identity(connection.fileno())

    @staticmethod
    def pair() -> tuple[Channel, socket.socket]:
        """Our end, and the socket for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Channel(ours), theirs

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_blocking(self, blocking: bool) -> None:
        self._socket.setblocking(blocking)

    def send(self, content: dict[str, Any], fd: int | None = None) -> None:
        """Sends a message; the file stays open here too. Raises OSError when nobody listens."""
        self._check()
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self._socket.sendmsg([json.dumps(content).encode("ascii")], ancillary)

    def receive(self) -> Message | None:
        """The next message, or None when the other side has closed.

        Raises BlockingIOError when there is none yet and the channel does not block, ChannelError for anything else
        than a message.
        """
        self._check()
        data, ancillary, flags, _ = self._socket.recvmsg(
            _MESSAGE_BYTES, socket.CMSG_SPACE(_FD_BYTES * 4), socket.MSG_CMSG_CLOEXEC
        )
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % _FD_BYTES])
        if not data and not fds:
            return None
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(fds) > 1:
                raise ValueError
            content = json.loads(data.decode("ascii"))
            if not isinstance(content, dict):
                raise ValueError
        except (ValueError, RecursionError):
            for fd in fds:
                os.close(fd)
            raise ChannelError("what arrived is not a message") from None
        return Message(content, fds[0] if fds else None)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _check(self) -> None:
        """Model code may close all descriptors and open its own file, which then bears this socket's number."""
        try:
            same = _identity(self._socket.fileno()) == self._identity
        except (OSError, ValueError):
            same = False
        if not same:
            raise ChannelError("the channel's file descriptor was closed")


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
