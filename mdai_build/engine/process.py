"""Starts commands: the one wrapper through which every process of this program goes."""

from __future__ import annotations

import logging
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)
_GRACE_SECONDS = 10
_running: set[subprocess.Popen[str]] = set()
"""What `started` has started and not ended yet, in all threads."""


@dataclass(frozen=True)
class Environment:
    """Environment variables of a command. Not shown when printed: they may hold secrets."""

    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """How a command ended; `output` is its standard output and error together."""

    exit_code: int
    output: str


def run_quietly(
    command: Sequence[str],
    environment: Environment,
    timeout: float = 60,
    secret: bool = False,
    folder: Path | None = None,
) -> Answer:
    """Runs a command to its end and keeps what it prints. One that cannot start or takes too long has exit code 127.

    The words of a `secret` command, apart from the program, are not logged.
    """
    log.debug("$ %s", f"{command[0]} ..." if secret else shlex.join(command))
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            command,
            env=dict(environment.values),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Answer(127, str(error))
    return Answer(done.returncode, done.stdout)


@contextmanager
def started(
    command: Sequence[str], environment: Environment, folder: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A running command whose lines can be read from its `stdout`; it is ended when the block is left.

    The command gets a session of its own, so that Ctrl-C reaches us first and we end it in order.
    """
    log.debug("$ %s", shlex.join(command))
    process = subprocess.Popen(  # noqa: S603 - a list of words, no shell
        command,
        env=dict(environment.values),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _running.add(process)
    try:
        yield process
    finally:
        _running.discard(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def end_started() -> None:
    """Ends what `started` has running in other threads: an interruption reaches the main one alone."""
    for process in tuple(_running):
        if process.poll() is None:
            process.terminate()
