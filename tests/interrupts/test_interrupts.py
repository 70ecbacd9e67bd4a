"""A signal takes effect wherever it lands; one that comes in a short moment does so after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from mdai_build.interrupts import uninterrupted


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
import signal, threading, time
from mdai_build.interrupts import SIGNALS, interrupt_by, uninterrupted

def interrupt(number, frame):
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt

def elsewhere():
    time.sleep(0.3)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

interrupt_by(interrupt)
lock = threading.Lock()
lock.acquire()
threading.Thread(target=elsewhere, daemon=True).start()
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.process
@pytest.mark.parametrize("wait", ["lock.acquire()", "with uninterrupted(): lock.acquire(timeout=1.0)"])
def test_a_signal_that_another_thread_is_given_ends_the_wait_of_the_main_thread(wait: str) -> None:
    ran = subprocess.run([sys.executable, "-c", LOST.format(wait=wait)], capture_output=True, text=True, timeout=30)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("interrupted\n", "", 0)
