"""One worker process as the server sees it: started, spoken to, and told of its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import Any

from . import processes
from .channel import Channel, ChannelError, Message
from .log import Log, Pump

_MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
_TAIL_WAIT_SECONDS = 0.3
_DEAF_SECONDS = 2.0
_ABORT_SECONDS = 1.0
_KILL_SECONDS = 5.0
# One answer is due at a time; a process that says much more than that is not ours any more.
_MESSAGES = 4


class WorkerLost(Exception):
    """The worker has ended, or does not keep to what was agreed; the text says what happened."""


class WorkerProcess:
    """A child process that loads the model and answers; its output goes to the log."""

    def __init__(self, reaper: processes.Reaper, log: Log) -> None:
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._end: asyncio.Future[str] = self._loop.create_future()
        self._oom_kills = processes.oom_kills()
        self._channel, theirs = Channel.pair()
        self._channel.set_blocking(False)
        with theirs:
            # A session of its own, so that whatever the model starts can be killed together with it.
            self._popen = subprocess.Popen(
                [sys.executable, _MAIN, "worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._pumps = [self._pump(log, stream) for stream in ("stdout", "stderr")]
        reaper.watch(self.pid, self._ended)
        self._loop.add_reader(self._channel.fileno(), self._read)

    def _pump(self, log: Log, stream: str) -> Pump:
        pipe = getattr(self._popen, stream)
        fd = os.dup(pipe.fileno())
        pipe.close()
        return log.follow(fd, stream)

    @property
    def alive(self) -> bool:
        return not self._end.done()

    def send(self, content: dict[str, Any], fd: int) -> None:
        """Sends a message; raises WorkerLost when the worker does not listen."""
        try:
            self._channel.send(content, fd)
        except (OSError, ChannelError) as error:
            raise WorkerLost(f"does not listen any more: {error}") from None

    async def receive(self, timeout: float) -> Message:
        """The next message, of which the caller closes the file.

        Raises WorkerLost when the process has ended, asyncio.TimeoutError after so many seconds (0: never).
        """
        message = asyncio.ensure_future(self._messages.get())
        try:
            first: set[asyncio.Future[Any]] = {message, self._end}
            await asyncio.wait(first, timeout=timeout or None, return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                return message.result()
            if not self._messages.empty():
                return self._messages.get_nowait()
            if self._end.done():
                raise WorkerLost(self._end.result())
            raise asyncio.TimeoutError
        finally:
            message.cancel()

    async def ended(self) -> str:
        """Waits for the end and tells how it came."""
        return await asyncio.shield(self._end)

    def forget_output(self) -> None:
        """Has ``output_tail`` tell only what is printed from now on."""
        for pump in self._pumps:
            pump.forget()

    async def output_tail(self) -> str:
        """The last lines that it printed on stderr, or else on stdout; for after its end."""
        for pump in reversed(self._pumps):
            tail = await self._loop.run_in_executor(None, pump.tail, _TAIL_WAIT_SECONDS)
            if tail.strip():
                return tail
        return ""

    def stop(self) -> None:
        """Kills the process, without waiting for its end."""
        if self.alive:
            processes.kill_group(self.pid)

    async def leave(self, seconds: float) -> None:
        """Lets the process end by itself, for so long, then kills it."""
        self._close()
        await asyncio.wait({self._end}, timeout=seconds)
        await self.kill()

    async def abort(self) -> None:
        """Has it print where it hangs (faulthandler, on SIGABRT), then kills it."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(signal.SIGABRT)
            await asyncio.wait({self._end}, timeout=_ABORT_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """Kills the process and its group, and waits for the end.

        A process that hangs in the kernel cannot be waited for; it is left to itself after a while.
        """
        self._close()
        if self.alive:
            processes.kill_group(self.pid)
            await asyncio.wait({self._end}, timeout=_KILL_SECONDS)
        while not self._messages.empty():
            self._messages.get_nowait().close()

    def _read(self) -> None:
        if self._channel_closed():
            return
        try:
            message = self._channel.receive()
        except BlockingIOError:
            return
        except (OSError, ChannelError):
            message = None
        if message is not None and self._messages.qsize() < _MESSAGES:
            self._messages.put_nowait(message)
            return
        if message is not None:
            message.close()
        # Nothing more can be said to it, so it is of no use.
        self._close()
        if self.alive:
            self._loop.call_later(_DEAF_SECONDS, self.stop)

    def _channel_closed(self) -> bool:
        return self._channel.fileno() < 0

    def _ended(self, status: int) -> None:
        self._popen.returncode = status
        # What it said before it ended counts.
        for _ in range(_MESSAGES):
            self._read()
        self._close()
        for_memory = processes.oom_kills() > self._oom_kills
        self._end.set_result(processes.describe_end(status, for_memory))

    def _close(self) -> None:
        if not self._channel_closed():
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
