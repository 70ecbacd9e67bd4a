"""The container's log: what the model prints, line by line, and what the server has to say, each marked."""

from __future__ import annotations

import collections
import contextlib
import datetime
import json
import os
import queue
import threading
from typing import Any

_READ_BYTES = 64 * 1024
_LINE_BYTES = 16 * 1024
_TAIL_LINES = 60
_OWN_MESSAGES = 10_000


class Log:
    """Writes lines to a file descriptor. No caller waits for a slow reader of the log, except the model itself."""

    def __init__(self, json_lines: bool, fd: int = 1) -> None:
        self._json_lines = json_lines
        self._fd = fd
        self._lock = threading.Lock()
        self.dropped = 0
        self._own_lines: queue.Queue[bytes | None] = queue.Queue(_OWN_MESSAGES)
        self._writer = threading.Thread(target=self._write_own_lines, name="log", daemon=True)
        self._writer.start()

    def write(self, message: str, **fields: Any) -> None:
        """One line of the server's own; returns at once. Fields are added as ``name=value``, or as JSON."""
        if not self._json_lines:
            message = " ".join([message, *(f"{name}={value}" for name, value in fields.items())])
            fields = {}
        # Where nobody reads the log, what would wait in memory for ever is dropped.
        try:
            self._own_lines.put_nowait(b"".join(self._line("server", line, fields) for line in message.splitlines()))
        except queue.Full:
            self.dropped += 1

    def follow(self, fd: int, stream: str) -> Pump:
        """Copies what arrives on a pipe, marked as the model's, until its end; closes the pipe."""
        return Pump(fd, lambda lines: self._write_now(b"".join(self._model_line(stream, line) for line in lines)))

    def close(self) -> None:
        """Writes what is left, waiting at most two seconds for it."""
        with contextlib.suppress(queue.Full):
            self._own_lines.put(None, timeout=1)
        self._writer.join(1)

    def _model_line(self, stream: str, line: bytes) -> bytes:
        # What a terminal would show of a progress bar: the part that was written last.
        text = line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "replace")
        return self._line("model", text, {"stream": stream})

    def _line(self, source: str, message: str, fields: Any) -> bytes:
        if not self._json_lines:
            return f"[{source}] {message}\n".encode("utf-8", "replace")
        time = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        return json.dumps({"time": time, "source": source, "message": message, **fields}).encode("ascii") + b"\n"

    def _write_own_lines(self) -> None:
        while True:
            line = self._own_lines.get()
            if line is None:
                return
            self._write_now(line)

    def _write_now(self, data: bytes) -> None:
        view = memoryview(data)
        with self._lock, contextlib.suppress(OSError):
            while view:
                view = view[os.write(self._fd, view) :]


class Pump(threading.Thread):
    """Reads a pipe to its end, hands its lines on, and remembers the last ones."""

    def __init__(self, fd: int, write: Any) -> None:
        super().__init__(name="pump", daemon=True)
        self._pipe = fd
        self._write = write
        self._tail: collections.deque[bytes] = collections.deque(maxlen=_TAIL_LINES)
        self.start()

    def run(self) -> None:
        pending = b""
        with contextlib.suppress(OSError):
            while True:
                chunk = os.read(self._pipe, _READ_BYTES)
                if not chunk:
                    break
                lines = (pending + chunk).split(b"\n")
                pending = lines.pop()
                if len(pending) > _LINE_BYTES:
                    lines.append(pending)
                    pending = b""
                self._hand_on(lines)
        if pending:
            self._hand_on([pending])
        os.close(self._pipe)

    def _hand_on(self, lines: list[bytes]) -> None:
        self._tail.extend(lines[-_TAIL_LINES:])
        if lines:
            self._write(lines)

    def forget(self) -> None:
        """Empties the tail."""
        self._tail.clear()

    def tail(self, wait: float = 0.0) -> str:
        """The last lines; waits at most so many seconds for the pipe's end."""
        self.join(wait)
        return b"\n".join(line[:_LINE_BYTES] for line in list(self._tail)).decode("utf-8", "replace")
