"""A signal takes effect wherever it lands; one that comes in a short moment does so after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mdai_build.interrupts import SIGNALS, interruptible, uninterrupted


def test_a_signal_takes_effect_when_the_block_is_left() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the rest")
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_signal_and_in_another_thread_nothing_happens() -> None:
    seen = []

    def run() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    with uninterrupted():
        pass
    assert seen == [signal.default_int_handler]


LOST = """
import os, signal, threading, time, weakref
from mdai_build.interrupts import interruptible, uninterrupted

class Ends:
    pass

def in_a_callback():
    ends = Ends()
    kept = weakref.ref(ends, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del ends
    lock.acquire()

def in_another_thread():
    time.sleep(0.3)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

lock = threading.Lock()
lock.acquire()
with interruptible():
    if {elsewhere}:
        threading.Thread(target=in_another_thread, daemon=True).start()
    try:
        {wait}
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("elsewhere", "wait"),
    [(True, "lock.acquire()"), (True, "with uninterrupted(): lock.acquire(timeout=1.0)"), (False, "in_a_callback()")],
)
def test_a_signal_ends_the_wait_of_the_main_thread_wherever_it_lands(elsewhere: bool, wait: str) -> None:
    script = LOST.format(elsewhere=elsewhere, wait=wait)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("interrupted\n", "", 0)


def test_behind_the_block_no_signal_is_sent_again() -> None:
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    came: list[int] = []
    try:
        with pytest.raises(KeyboardInterrupt), interruptible(), uninterrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.25)  # it is sent again meanwhile, and would be once more
        assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}
        for number in SIGNALS:
            signal.signal(number, lambda number, frame: came.append(number))
        time.sleep(0.3)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert came == [] and signal.set_wakeup_fd(-1) == -1
