"""Ctrl-C and its kind: heard by the main thread wherever they land, and held back for moments in which half a thing
must not stay behind.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""What ends a run in good order."""

_AGAIN_SECONDS = 0.1


@contextmanager
def interruptible() -> Iterator[None]:
    """The first of `SIGNALS` that comes raises KeyboardInterrupt in the main thread, soon, whatever that waits for.

    Those after it do nothing, since what was begun is being taken back. For the main thread to enter.

    Python runs handlers in the main thread alone, but the system may hand a signal to any thread: to one that just then
    starts another, for one. The main thread then sleeps on, for ever if it waits for a lock. And what a handler raises
    is dropped where it happens to run in a finalizer or the like (`sys.unraisablehook`). So each signal is sent to the
    main thread again until it was heard, or the block is left.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    left = threading.Event()
    main_thread = threading.get_ident()

    def send_again() -> None:
        with reading:
            # Each that arrives is told here once more, so this goes on until they are ignored.
            while came := reading.recv(1):
                if not left.wait(_AGAIN_SECONDS) and callable(signal.getsignal(came[0])):
                    signal.pthread_kill(main_thread, came[0])

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if what.exc_type is not KeyboardInterrupt or left.is_set():
            tell_dropped(what)
            return
        _handle_by(_interrupt)
        writing.send(bytes([signal.SIGINT]))

    threading.Thread(target=send_again, daemon=True).start()
    tell_dropped, sys.unraisablehook = sys.unraisablehook, dropped
    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        _handle_by(_interrupt)
        yield
    finally:
        left.set()
        sys.unraisablehook = tell_dropped
        signal.set_wakeup_fd(before)
        writing.close()


def ignore_interrupts() -> None:
    """From here on none of `SIGNALS` does anything."""
    _handle_by(signal.SIG_IGN)


def _interrupt(number: int, frame: object) -> NoReturn:
    ignore_interrupts()  # an impatient second Ctrl-C must not stop half-way what takes back what was begun
    raise KeyboardInterrupt


def _handle_by(handler: Callable[[int, object], object] | signal.Handlers) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


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
