"""Ctrl-C and its kind: heard by the main thread wherever they land, and held back for moments in which half a thing
must not stay behind.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""What ends a run in good order."""

_AGAIN_SECONDS = 0.1


def interrupt_by(handler: Callable[[int, object], object]) -> None:
    """Has every signal of `SIGNALS` run this handler in the main thread, soon, whatever that thread waits for.

    Python runs handlers in the main thread alone, but the system may hand a signal to any thread: to one that just then
    starts another, for one. The main thread then sleeps on, for ever if it waits for a lock. So each signal is sent to
    it again, until the handler has put itself out of the way. To be called once, by the main thread.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    for number in SIGNALS:
        signal.signal(number, handler)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def send_again() -> None:
        # Each that arrives is told here once more, so this goes on for as long as there is a handler.
        while came := reading.recv(1):
            time.sleep(_AGAIN_SECONDS)
            if callable(signal.getsignal(came[0])):
                signal.pthread_kill(main_thread, came[0])

    threading.Thread(target=send_again, daemon=True).start()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A signal that comes while the block runs takes effect when it is left. Keep it short.

    Signals reach the main thread alone; in any other nothing has to be done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
