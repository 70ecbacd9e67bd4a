"""The server process: PID 1 of the image, and the same outside of one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import signal
import socket
import sys
import time
from typing import Any, Iterator

from . import processes
from .app import Application
from .inference import Room, Server
from .log import Log
from .settings import Settings, SettingsError, read_settings, within_memory
from .status import Status
from .supervisor import Supervisor

_USAGE_EXIT_CODE = 2
_CACHE_VARIABLES = (
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "TORCH_HOME",
    "MPLCONFIGDIR",
    "NUMBA_CACHE_DIR",
    "TMPDIR",
)
_POLL_SECONDS = 0.02
_FLUSH_SECONDS = 1
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


def main() -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    try:
        settings = within_memory(read_settings(os.environ), processes.memory_limit())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return _USAGE_EXIT_CODE
    prepare_home()
    processes.keep_to_oneself()
    processes.become_subreaper()
    log = Log(settings.log_format == "json")
    sys.path.insert(0, settings.server_packages)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(settings, log))
    finally:
        log.close()


def prepare_home() -> None:
    """Makes the home and cache folders that the environment names, and a user name where the number has none.

    The folders may lie on an empty temporary file system; libraries ask for the name of any user (getpass).
    """
    for name in _CACHE_VARIABLES:
        path = os.environ.get(name, "")
        if os.path.isabs(path):
            with contextlib.suppress(OSError):
                os.makedirs(path, exist_ok=True)
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("LOGNAME", "mdai")


async def _serve(settings: Settings, log: Log) -> int:
    try:
        listener = _listen(settings)
    except OSError as error:
        log.write(f"cannot listen on {settings.host}:{settings.port}: {error}")
        return 1
    loop = asyncio.get_running_loop()
    reaper = processes.Reaper()
    loop.add_signal_handler(signal.SIGCHLD, reaper.reap)
    supervisor = Supervisor(settings, reaper, log)
    status = Status(supervisor)
    app = Application(Server(settings, supervisor, status, log, Room(settings.max_held_bytes)))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    # The worker starts while the server still imports what it needs.
    supervising = asyncio.ensure_future(supervisor.run())
    await asyncio.sleep(0)
    http = _http_server(app, settings, log)
    serving = asyncio.ensure_future(http.serve(sockets=[listener]))
    log.write("listening", address="{}:{}".format(*listener.getsockname()[:2]), pid=os.getpid())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopping, serving, supervising}, return_when=asyncio.FIRST_COMPLETED)
    code = 0 if stopping.done() else 1
    await _drain(settings, supervisor, status, app, log)
    supervising.cancel()
    await asyncio.wait({supervising})
    http.should_exit = True
    await asyncio.wait({serving}, timeout=2 * _FLUSH_SECONDS)
    log.write("stopped")
    for task in (supervising, serving):
        if task.done() and not task.cancelled() and task.exception() is not None:
            logging.getLogger("uvicorn.error").error("the server failed", exc_info=task.exception())
            code = 1
    return code


async def _drain(settings: Settings, supervisor: Supervisor, status: Status, app: Application, log: Log) -> None:
    """Lets the accepted requests finish within the grace period; those that do not are told so."""
    status.draining = True
    deadline = time.monotonic() + settings.grace_period if settings.grace_period else float("inf")
    if app.active:
        log.write(f"shutting down: {app.active} requests are still to be answered")
    while app.active and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    if app.active:
        text = (
            f"The server was shut down before the model had answered (MDAI_GRACE_PERIOD={settings.grace_period:g}).\n"
        )
        supervisor.refuse_all("shutdown", text)
        await asyncio.sleep(10 * _POLL_SECONDS)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio knows that it is TCP and turns Nagle's delay off for each connection.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    # From here on a client waits for its answer, where it would be turned away until uvicorn listens.
    listener.listen(_BACKLOG)
    return listener


def _http_server(app: Application, settings: Settings, log: Log) -> Any:
    # Of the server's own packages, which main() has put on sys.path.
    import uvicorn

    from .protocol import Protocol

    class Connection(Protocol):
        head_timeout = settings.head_timeout

    class HttpServer(uvicorn.Server):
        """Leaves the signals to us, under both names that uvicorn has had for that."""

        def install_signal_handlers(self) -> None:
            pass

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    logging.getLogger("uvicorn").addHandler(_ToLog(log))
    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=Connection,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_FLUSH_SECONDS,
    )
    return HttpServer(config)


class _ToLog(logging.Handler):
    """Passes what uvicorn has to say on to our log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write(self.format(record))
