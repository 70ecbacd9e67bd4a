"""One ``POST /inference``: the body into memory, its turn in the queue, the answer back to the client."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from typing import Any, NamedTuple

from .asgi import Receive, Scope, Send, Stalled, respond, start_response, while_it_moves
from .log import Log
from .memory import chunks, close_file, memory_file, write_all
from .settings import Settings
from .status import Status
from .supervisor import FAILED, Answer, Job, Supervisor

_MSGPACK = "application/msgpack"
_MEASURE = "mdai-measure"
"""A request with this header is told, beside the seconds of each step, the bytes of memory that it took."""
_AT_MOST = "at most half of the container's memory"
_RETRY_SECONDS = 5
_DISCARD_SECONDS = 10.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class Refusal(Exception):
    """The request is answered without the model."""

    def __init__(self, status: int, text: str, retry: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry = retry


class Disconnected(Exception):
    """The client has left; nobody waits for an answer."""


class Server(NamedTuple):
    """What all requests share."""

    settings: Settings
    supervisor: Supervisor
    status: Status
    log: Log
    room: Room


class Room:
    """The bytes of all bodies and answers that are held at once; bodies are taken up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    def take(self, size: int, own: int) -> None:
        """Accounts for so many bytes more; raises Refusal when they are too many; a body that is alone always fits.

        ``own`` is what the same body has taken already.
        """
        if self._held > own and self._held + size > self._limit:
            text = f"More than {self._limit} bytes would wait (MDAI_MAX_HELD_BYTES, {_AT_MOST}).\n"
            raise Refusal(503, text, retry=True)
        self.hold(size)

    def hold(self, size: int) -> None:
        """Accounts for an answer, which cannot be refused any more."""
        self._held += size

    def give_back(self, size: int) -> None:
        self._held -= size


class Inference:
    """One request from its first header to the last byte of its answer."""

    def __init__(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        self._server = server
        self._receive = receive
        self._send = send
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = self._headers.get("x-request-id", "")
        self._identity = given if _REQUEST_ID.match(given) else uuid.uuid4().hex[:12]
        self._started = time.monotonic()
        self._body_complete = False
        self._received = 0
        self._room = 0
        self._sent = 0
        self._job: Job | None = None

    async def run(self) -> None:
        """Answers the request, or notices that the client has left; logs and counts either."""
        seconds: dict[str, float] = {}
        try:
            answer = await self._answer()
            seconds = answer.seconds
            code = await self._reply(answer)
        except Refusal as refusal:
            code = await self._refuse(refusal)
        except Disconnected:
            code = "disconnected"
        self._server.status.count(code, self._received, self._sent, seconds)
        self._log(code, seconds)

    async def _answer(self) -> Answer:
        try:
            self._admit()
            return await self._have_answered()
        finally:
            self._server.room.give_back(self._room)

    async def _have_answered(self) -> Answer:
        try:
            body = memory_file("request")
        except OSError as error:
            raise Refusal(503, f"No memory file can be made: {error}.\n", retry=True) from None
        job = Job(self._identity, body, measure=bool(self._headers.get(_MEASURE)))
        try:
            await self._read_body(body)
            if self._server.supervisor.waiting >= self._server.settings.queue_limit:
                raise _too_many(self._server.supervisor.waiting)
            self._job = job
            self._server.supervisor.submit(job)
            return await self._wait_for(job)
        finally:
            if self._job is None:
                job.close_body()
            elif not job.answer.done():
                self._server.supervisor.withdraw(job)

    def _admit(self) -> None:
        """Raises Refusal for what can be known from the headers."""
        settings, supervisor = self._server.settings, self._server.supervisor
        kind = self._headers.get("content-type", "")
        if kind.split(";")[0].strip().lower() != _MSGPACK:
            raise Refusal(400, f"The content type has to be {_MSGPACK}, not {kind[:100]!r}.\n")
        if self._server.status.draining:
            raise Refusal(503, "The server is shutting down.\n", retry=True)
        if supervisor.state == FAILED:
            raise Refusal(500, f"The model is not loaded.\n\n{supervisor.reason}")
        if supervisor.waiting >= settings.queue_limit:
            raise _too_many(supervisor.waiting)
        announced = self._headers.get("content-length", "0")
        size = int(announced) if announced.isdigit() else 0
        self._check_size(size)
        # All of it now: of many that come together, those that fit are served rather than each refused half way.
        self._take_room(size)

    def _take_room(self, size: int) -> None:
        """Has this request hold room for so many bytes; raises Refusal when there is none."""
        if size > self._room:
            self._server.room.take(size - self._room, self._room)
            self._room = size

    def _check_size(self, size: int) -> None:
        limit = self._server.settings.max_body_bytes
        if size > limit:
            raise Refusal(413, f"The body is larger than {limit} bytes (MDAI_MAX_BODY_BYTES, {_AT_MOST}).\n")

    async def _read_body(self, fd: int) -> None:
        limit = self._server.settings.body_timeout
        try:
            await while_it_moves(self._copy_body(fd), lambda: self._received, limit)
        except Stalled:
            raise Refusal(408, f"No byte of the body arrived for {limit:g} s (MDAI_BODY_TIMEOUT).\n") from None

    async def _copy_body(self, fd: int) -> None:
        while not self._body_complete:
            chunk = await self._receive_chunk()
            self._check_size(self._received + len(chunk))
            self._take_room(self._received + len(chunk))
            self._received += len(chunk)
            try:
                write_all(fd, chunk)
            except OSError as error:
                raise Refusal(503, f"The body cannot be held in memory: {error}.\n", retry=True) from None

    async def _receive_chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self._body_complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def _wait_for(self, job: Job) -> Answer:
        # After the body there is nothing to receive but the news that the client has left.
        leaving = asyncio.ensure_future(self._receive())
        try:
            first: set[asyncio.Future[Any]] = {job.answer, leaving}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if job.answer.done():
                return job.answer.result()
            raise Disconnected
        finally:
            leaving.cancel()

    async def _reply(self, answer: Answer) -> str:
        headers = {"x-request-id": self._identity}
        if answer.seconds:
            headers["server-timing"] = _server_timing(answer)
        if answer.fd is None:
            self._server.status.note_error(self._identity, answer.text)
            status = 503 if answer.step == "shutdown" else 500
            headers["mdai-failure"] = answer.step
            await respond(self._send, status, answer.text, headers=headers)
            return str(status)
        self._server.room.hold(answer.size)
        try:
            await start_response(self._send, 200, answer.size, _MSGPACK, headers)
            limit = self._server.settings.body_timeout
            await while_it_moves(self._copy_answer(answer.fd, answer.size), lambda: self._sent, limit)
        except (Stalled, EOFError, OSError) as error:
            # The response has begun; all that can be done is to end the connection before its announced length.
            self._server.log.write(f"the answer was not sent: {error!r}", request=self._identity)
            return "disconnected"
        finally:
            close_file(answer.fd)
            self._server.room.give_back(answer.size)
        return "200"

    async def _copy_answer(self, fd: int, size: int) -> None:
        for chunk in chunks(fd, size):
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
            self._sent += len(chunk)
        await self._send({"type": "http.response.body", "body": b""})

    async def _refuse(self, refusal: Refusal) -> str:
        headers = {"x-request-id": self._identity}
        if refusal.retry:
            headers["retry-after"] = str(_RETRY_SECONDS)
        if refusal.status == 408 or not await self._discard_body():
            headers["connection"] = "close"
        if refusal.status >= 500:
            self._server.status.note_error(self._identity, refusal.text)
        await respond(self._send, refusal.status, refusal.text, headers=headers)
        return str(refusal.status)

    async def _discard_body(self) -> bool:
        """Reads what the client still sends, for a while: many clients only look for an answer once they have sent.

        Returns whether the whole body has been read.
        """
        if self._headers.get("expect"):
            return self._body_complete
        deadline = time.monotonic() + _DISCARD_SECONDS
        with contextlib.suppress(Disconnected, asyncio.TimeoutError):
            while not self._body_complete:
                await asyncio.wait_for(self._receive_chunk(), max(0.0, deadline - time.monotonic()))
        return self._body_complete

    def _log(self, code: str, seconds: dict[str, float]) -> None:
        now = time.monotonic()
        times = {name: f"{value:.3f}" for name, value in seconds.items()}
        if self._job is not None and self._job.started is not None:
            times["wait"] = f"{self._job.started - self._job.created:.3f}"
        self._server.log.write(
            "POST /inference",
            status=code,
            request=self._identity,
            received=self._received,
            sent=self._sent,
            total=f"{now - self._started:.3f}",
            **times,
        )


def _server_timing(answer: Answer) -> str:
    """The worker's time by step, as the Server-Timing header has it: in milliseconds; and bytes, where measured."""
    entries = []
    for step, value in answer.seconds.items():
        entry = f"{step};dur={1000 * value:.3f}"
        for name, steps in answer.measured.items():
            entry += f";{name}={steps[step]}" if step in steps else ""
        entries.append(entry)
    return ", ".join(entries)


def _too_many(waiting: int) -> Refusal:
    return Refusal(503, f"{waiting} requests wait already (MDAI_QUEUE_LIMIT).\n", retry=True)
