"""A signal that comes in a short moment takes effect after it."""

from __future__ import annotations

import os
import signal
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
