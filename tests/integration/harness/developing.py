"""Runs `mdai-build dev` in the background, and waits for what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

VERDICT = re.compile(r"\d\d:\d\d:\d\d  (?P<outcome>ok|FAILED)(?P<more> so far)?  (?P<seconds>[\d.]+) s")
_PATIENCE = 90.0


class Session:
    """A `dev` that runs."""

    def __init__(self, model: Path, place: Path, *words: str) -> None:
        self.work, self.temporary = place / "work", place / "tmp"
        for folder in (self.work, self.temporary):
            folder.mkdir()
        self.output: list[str] = []
        self._lines: Queue[str] = Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mdai_build.cli", "dev", str(model), "--port", "0", *words],
            cwd=self.work,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.output.append(line)
            self._lines.put(line)

    def wait_for(self, found: Callable[[str], object], seconds: float = _PATIENCE) -> str:
        """The first line from here on that is so."""
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except Empty:
                raise AssertionError(f"nothing came of it:\n{''.join(self.output)}") from None
            if found(line):
                return line

    def verdict(self, seconds: float = _PATIENCE) -> str:
        """The outcome of the next complete verdict."""
        line = self.wait_for(lambda line: (found := VERDICT.match(line)) and not found["more"], seconds)
        return line.split()[1]

    def interrupt(self) -> int:
        """Ctrl-C; gives the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def left(self) -> list[str]:
        """What it left in its folders."""
        return [str(path) for folder in (self.work, self.temporary) for path in folder.iterdir()]


@contextmanager
def developing(model: Path, place: Path, *words: str) -> Iterator[Session]:
    """A `dev` for as long as the block lasts."""
    session = Session(model, place, *words)
    try:
        yield session
    finally:
        # A killed one could not end what it serves with.
        if session.process.poll() is None:
            session.process.send_signal(signal.SIGINT)
        try:
            session.process.wait(30)
        finally:
            session.process.kill()
        if session.process.stdout is not None:
            session.process.stdout.close()
